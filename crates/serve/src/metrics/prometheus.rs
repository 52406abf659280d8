//! `GET /metrics`: every figure in the text format 0.0.4 of Prometheus.

use std::fmt::{Display, Write};
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use super::histogram::{BOUNDS, Snapshot};
use super::{Labels, Series};
use crate::dialects::inferno::error::Errors;
use crate::hardware::Gpu;
use crate::meter::Reading;
use crate::state::App;
use crate::upstream::{Figures, Upstream};

/// Tells all measurements, in the text format of Prometheus.
#[utoipa::path(
    get, path = "/metrics", tag = "inferno", operation_id = "metrics",
    responses((status = 200, description = "The measurements", body = String, content_type = "text/plain"), Errors)
)]
pub async fn metrics(State(app): State<App>) -> impl IntoResponse {
    let reading = app.meter.read().await;
    let gpus = app.hardware.gpus().await;
    let text = render(&app, &reading, &gpus);
    (
        [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        text,
    )
}

fn render(app: &App, reading: &Reading, gpus: &[Gpu]) -> String {
    let mut page = Page::default();
    requests(&mut page, app);
    engines(&mut page, app);
    models(&mut page, app);
    upstreams(&mut page, app);
    server(&mut page, app);
    machine(&mut page, reading);
    graphics(&mut page, gpus);
    page.text
}

/// Requests for inference, by model and endpoint.
fn requests(page: &mut Page, app: &App) {
    let series = app.metrics.series();
    let labels_of = |labels: &Labels| {
        [
            ("model", labels.model.to_string()),
            ("endpoint", labels.endpoint.to_owned()),
        ]
    };

    page.head(
        "inferno_requests_total",
        "counter",
        "Total number of requests",
    );
    for (labels, series) in &series {
        let count: u64 = series.requests().iter().sum();
        page.sample("inferno_requests_total", &labels_of(labels), count);
    }
    page.head(
        "hearth_requests_failed_total",
        "counter",
        "Requests that failed",
    );
    for (labels, series) in &series {
        let [_, failed] = series.requests();
        page.sample("hearth_requests_failed_total", &labels_of(labels), failed);
    }

    let mut all = Snapshot::default();
    for (_, series) in &series {
        all.add(&series.duration.snapshot());
    }
    page.head(
        "inferno_request_duration_seconds",
        "histogram",
        "Request duration",
    );
    page.histogram("inferno_request_duration_seconds", &[], &all);
    type Pick = fn(&Series) -> Snapshot;
    let histograms: [(&str, &str, Pick); 3] = [
        (
            "hearth_request_duration_seconds",
            "Request duration by model and endpoint",
            |series| series.duration.snapshot(),
        ),
        (
            "hearth_time_to_first_token_seconds",
            "Time from a request's arrival to its first token",
            |series| series.first_token.snapshot(),
        ),
        (
            "hearth_time_per_token_seconds",
            "Mean time of a token after the first, one count a request",
            |series| series.per_token.snapshot(),
        ),
    ];
    for (name, help, pick) in histograms {
        page.head(name, "histogram", help);
        for (labels, series) in &series {
            page.histogram(name, &labels_of(labels), &pick(series));
        }
    }

    page.head(
        "hearth_tokens_total",
        "counter",
        "Tokens of prompts (in) and of answers (out)",
    );
    for (labels, series) in &series {
        for (direction, count) in ["in", "out"].into_iter().zip(series.tokens()) {
            let [model, endpoint] = labels_of(labels);
            let labels = [model, endpoint, ("direction", direction.to_owned())];
            page.sample("hearth_tokens_total", &labels, count);
        }
    }
}

/// Models as they come and go, and the memory that they share.
fn models(page: &mut Page, app: &App) {
    let stats = app.runtime.stats();
    let gauges = [
        (
            "hearth_memory_budget_bytes",
            "Bytes that all models together may take",
            stats.memory_budget,
        ),
        (
            "hearth_memory_used_bytes",
            "Bytes that loaded models take",
            stats.memory_used,
        ),
        (
            "hearth_model_requests_waiting",
            "Requests that wait for a model or an instance",
            stats.queue_depth as u64,
        ),
        (
            "hearth_model_requests_at_work",
            "Requests that have an instance",
            stats.active_requests as u64,
        ),
        (
            "hearth_loads_under_way",
            "Models that are being loaded",
            stats.active_loads as u64,
        ),
    ];
    for (name, help, value) in gauges {
        page.head(name, "gauge", help);
        page.sample(name, &[], value);
    }
    let name = "hearth_model_instances";
    page.head(name, "gauge", "Instances of loaded models");
    for (model, instances) in &stats.instances {
        page.sample(name, &[("model", model.clone())], instances);
    }
    let name = "hearth_model_loads_total";
    page.head(name, "counter", "Loads of models that have ended");
    for (outcome, count) in [
        ("ok", stats.successful_loads),
        ("failed", stats.failed_loads),
        ("cancelled", stats.cancelled_loads),
    ] {
        page.sample(name, &[("outcome", outcome.to_owned())], count);
    }
    let counters = [
        (
            "hearth_model_unloads_total",
            "Times that a model was unloaded",
            stats.unloads,
        ),
        (
            "hearth_model_evictions_total",
            "Times that a model made room for another",
            stats.evictions,
        ),
        (
            "hearth_model_scale_to_zero_total",
            "Times that a model was unloaded for being idle",
            stats.scale_to_zero_events,
        ),
    ];
    for (name, help, value) in counters {
        page.head(name, "counter", help);
        page.sample(name, &[], value);
    }
    let name = "hearth_model_load_seconds";
    page.head(
        name,
        "histogram",
        "Time from asking for a model to its end of loading",
    );
    let times = &stats.load_time;
    for (bound, count) in times.buckets() {
        page.sample(
            &format!("{name}_bucket"),
            &[("le", bound.to_string())],
            count,
        );
    }
    page.sample(
        &format!("{name}_bucket"),
        &[("le", "+Inf".to_owned())],
        times.count(),
    );
    page.sample(&format!("{name}_sum"), &[], times.sum());
    page.sample(&format!("{name}_count"), &[], times.count());
}

/// What the engines of loaded text models tell.
fn engines(page: &mut Page, app: &App) {
    let loaded = app.runtime.loaded();
    page.head(
        "hearth_model_loaded",
        "gauge",
        "Models in memory; 1 while the engine takes requests",
    );
    for model in &loaded {
        let labels = [("model", model.name.clone())];
        page.sample("hearth_model_loaded", &labels, u8::from(model.running));
    }
    type Pick = fn(&hearth_runtime::EngineFigures) -> u64;
    let gauges: [(&str, &str, &str, Pick); 4] = [
        (
            "hearth_queue_depth",
            "gauge",
            "Requests that wait",
            |figures| figures.waiting_requests as u64,
        ),
        (
            "hearth_batch_size",
            "gauge",
            "Sequences that run in each step",
            |figures| figures.running_sequences as u64,
        ),
        (
            "hearth_requests_cancelled_total",
            "counter",
            "Requests whose clients went away",
            |figures| figures.cancelled,
        ),
        (
            "hearth_preemptions_total",
            "counter",
            "Sequences that had to give their cache blocks up for a while",
            |figures| figures.preemptions,
        ),
    ];
    for (name, kind, help, pick) in gauges {
        page.head(name, kind, help);
        for model in &loaded {
            if let Some(figures) = model.text() {
                page.sample(name, &[("model", model.name.clone())], pick(figures));
            }
        }
    }
    page.head(
        "hearth_cache_blocks",
        "gauge",
        "Blocks of the KV cache by what they hold",
    );
    for model in &loaded {
        let Some(figures) = model.text() else {
            continue;
        };
        let (used, cached) = (figures.cache_blocks_used, figures.cache_blocks_cached);
        let free = figures.cache_blocks_total.saturating_sub(used + cached);
        for (state, count) in [("used", used), ("cached", cached), ("free", free)] {
            let labels = [("model", model.name.clone()), ("state", state.to_owned())];
            page.sample("hearth_cache_blocks", &labels, count);
        }
    }
}

/// The HTTP server itself.
fn server(page: &mut Page, app: &App) {
    page.head(
        "hearth_http_responses_total",
        "counter",
        "Answers by endpoint and status",
    );
    for ((endpoint, status), count) in app.metrics.answers() {
        let labels = [
            ("endpoint", endpoint.to_owned()),
            ("status", status.to_string()),
        ];
        page.sample("hearth_http_responses_total", &labels, count);
    }
    let counters = app.admission.counters();
    let of = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    for (name, kind, help, value) in [
        (
            "hearth_requests_in_work",
            "gauge",
            "Requests for inference that are inside",
            counters.active as u64,
        ),
        (
            "hearth_requests_waiting",
            "gauge",
            "Requests for inference that wait for their turn",
            app.turns.waiting() as u64,
        ),
        (
            "hearth_connections",
            "gauge",
            "Connections that are open",
            of(&app.metrics.connections),
        ),
        (
            "hearth_requests_limited_total",
            "counter",
            "Requests turned away because their client had used up what it is allowed",
            of(&app.metrics.limited),
        ),
        (
            "hearth_requests_unauthenticated_total",
            "counter",
            "Requests turned away because their credential was missing or wrong",
            of(&app.metrics.unauthenticated),
        ),
    ] {
        page.head(name, kind, help);
        page.sample(name, &[], value);
    }
    page.head("hearth_uptime_seconds", "gauge", "Time since the start");
    page.sample(
        "hearth_uptime_seconds",
        &[],
        app.started.elapsed().as_secs_f64(),
    );
}

/// The services on other machines that serve models too.
fn upstreams(page: &mut Page, app: &App) {
    type Pick = fn(&Figures) -> u64;
    let counters: [(&str, &str, Pick); 4] = [
        (
            "hearth_upstream_requests_total",
            "Requests to services on other machines, those that were made again included",
            |figures| figures.requests,
        ),
        (
            "hearth_upstream_retries_total",
            "Requests to services on other machines that were made again",
            |figures| figures.retries,
        ),
        (
            "hearth_upstream_failures_total",
            "Requests that services on other machines failed to answer",
            |figures| figures.failures,
        ),
        (
            "hearth_upstream_tokens_total",
            "Tokens in and out that services on other machines told of",
            |figures| figures.tokens,
        ),
    ];
    let upstreams = app.upstreams();
    let labels = |upstream: &Upstream| [("upstream", upstream.name().to_owned())];
    for (name, help, pick) in counters {
        page.head(name, "counter", help);
        for upstream in upstreams.services() {
            page.sample(name, &labels(upstream), pick(&upstream.figures()));
        }
    }
    let name = "hearth_upstream_open";
    page.head(
        name,
        "gauge",
        "1 while a service is left alone because it failed repeatedly",
    );
    for upstream in upstreams.services() {
        page.sample(name, &labels(upstream), u8::from(!upstream.is_trusted()));
    }
}

/// The machine and this process.
fn machine(page: &mut Page, reading: &Reading) {
    page.head("hearth_cpu_percent", "gauge", "Use of all processors");
    page.sample("hearth_cpu_percent", &[], reading.cpu_percent);
    for (name, help, bytes) in [
        (
            "hearth_memory_used_bytes",
            "Memory in use on the machine",
            reading.memory_used,
        ),
        (
            "hearth_memory_total_bytes",
            "Memory of the machine",
            reading.memory_total,
        ),
    ] {
        page.head(name, "gauge", help);
        page.sample(name, &[], bytes);
    }
    if let Some(bytes) = reading.process_memory {
        page.head(
            "hearth_process_memory_bytes",
            "gauge",
            "Memory of this process",
        );
        page.sample("hearth_process_memory_bytes", &[], bytes);
    }
    page.head(
        "hearth_build_info",
        "gauge",
        "Always 1; the version is in the label",
    );
    page.sample(
        "hearth_build_info",
        &[("version", env!("CARGO_PKG_VERSION").to_owned())],
        1,
    );
}

/// The GPUs, as far as their drivers tell.
fn graphics(page: &mut Page, gpus: &[Gpu]) {
    type Read = fn(&Gpu) -> Option<f64>;
    let gauges: [(&str, &str, Read); 3] = [
        (
            "hearth_gpu_utilization_ratio",
            "How busy a GPU is, 0 to 1",
            |gpu| gpu.utilization,
        ),
        ("hearth_gpu_memory_total_bytes", "Memory of a GPU", |gpu| {
            (gpu.memory_bytes > 0).then_some(gpu.memory_bytes as f64)
        }),
        (
            "hearth_gpu_memory_free_bytes",
            "Free memory of a GPU",
            |gpu| gpu.available_bytes.map(|bytes| bytes as f64),
        ),
    ];
    for (name, help, read) in gauges {
        let known = gpus.iter().filter_map(|gpu| Some((gpu, read(gpu)?)));
        for (index, (gpu, value)) in known.enumerate() {
            if index == 0 {
                page.head(name, "gauge", help);
            }
            let labels = [("gpu", gpu.id.to_string()), ("name", gpu.name.clone())];
            page.sample(name, &labels, value);
        }
    }
}

/// The text as it is written.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    fn sample(&mut self, name: &str, labels: &[(&str, String)], value: impl Display) {
        let labels = write_labels(labels);
        self.line(format_args!("{name}{labels} {value}"));
    }

    fn histogram(&mut self, name: &str, labels: &[(&str, String)], snapshot: &Snapshot) {
        let cumulative = snapshot.cumulative();
        let bounds = BOUNDS
            .iter()
            .map(ToString::to_string)
            .chain(["+Inf".to_owned()]);
        for (bound, count) in bounds.zip(&cumulative) {
            let mut labels = labels.to_vec();
            labels.push(("le", bound));
            self.sample(&format!("{name}_bucket"), &labels, count);
        }
        self.sample(&format!("{name}_sum"), labels, snapshot.sum_seconds);
        self.sample(&format!("{name}_count"), labels, snapshot.count());
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{line}");
    }
}

/// Labels in braces; nothing where there are none.
fn write_labels(labels: &[(&str, String)]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let escape = |value: &str| {
        value
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n")
    };
    let pairs: Vec<String> = labels
        .iter()
        .map(|(name, value)| format!("{name}=\"{}\"", escape(value)))
        .collect();
    format!("{{{}}}", pairs.join(","))
}

#[cfg(test)]
mod tests {
    use super::super::Histogram;
    use super::*;
    use std::time::Duration;

    #[test]
    fn histograms_have_every_bucket_sum_and_count() {
        let histogram = Histogram::default();
        histogram.observe(Duration::from_millis(300));
        let mut page = Page::default();
        page.histogram("x", &[("model", "m".into())], &histogram.snapshot());
        for line in [
            "x_bucket{model=\"m\",le=\"0.1\"} 0",
            "x_bucket{model=\"m\",le=\"0.5\"} 1",
            "x_bucket{model=\"m\",le=\"1\"} 1",
            "x_bucket{model=\"m\",le=\"+Inf\"} 1",
            "x_sum{model=\"m\"} 0.3",
            "x_count{model=\"m\"} 1",
        ] {
            assert!(
                page.text.lines().any(|own| own == line),
                "{line}: {}",
                page.text
            );
        }
    }

    #[test]
    fn of_a_gpu_is_told_what_is_known() {
        let gpu = |id, utilization| Gpu {
            id,
            device_id: id,
            name: "GPU".into(),
            vendor: "nvidia",
            architecture: "unknown".into(),
            memory_bytes: 1 << 30,
            available_bytes: None,
            utilization,
            compute_capability: None,
        };
        let mut page = Page::default();
        graphics(&mut page, &[gpu(0, None), gpu(1, Some(0.25))]);
        let expected = [
            "# HELP hearth_gpu_utilization_ratio How busy a GPU is, 0 to 1",
            "# TYPE hearth_gpu_utilization_ratio gauge",
            "hearth_gpu_utilization_ratio{gpu=\"1\",name=\"GPU\"} 0.25",
            "# HELP hearth_gpu_memory_total_bytes Memory of a GPU",
            "# TYPE hearth_gpu_memory_total_bytes gauge",
            "hearth_gpu_memory_total_bytes{gpu=\"0\",name=\"GPU\"} 1073741824",
            "hearth_gpu_memory_total_bytes{gpu=\"1\",name=\"GPU\"} 1073741824",
        ];
        assert_eq!(page.text.lines().collect::<Vec<_>>(), expected);
        let mut page = Page::default();
        graphics(&mut page, &[]);
        assert_eq!(page.text, "");
    }

    #[test]
    fn a_name_cannot_break_out_of_its_label() {
        let labels = write_labels(&[("model", "a\"} 1\nx\\".into())]);
        assert_eq!(labels, "{model=\"a\\\"} 1\\nx\\\\\"}");
    }
}
