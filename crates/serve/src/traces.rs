//! Traces: a span for each request, sent to a collector over OTLP where one is configured. The caller's `traceparent` is
//! carried through to services that are asked on his behalf, with a collector or without.
//!
//! Sending, sampling and what a span is told with follow OpenTelemetry's own variables (`OTEL_SERVICE_NAME`,
//! `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_TRACES_SAMPLER`, `OTEL_BSP_*`).

use std::future::Future;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, Request as HttpRequest, Response as HttpResponse, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use opentelemetry::context::FutureExt;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{SpanKind, Status, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{HeaderExtractor, HeaderInjector, HttpClient, HttpError};
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, SpanExporter, WithExportConfig, WithHttpConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tokio::runtime::Handle;

use crate::route::Route;
use crate::upstream::Client;
use crate::watched::Watched;

/// How long a collector may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long what is left may take to be sent when the server ends.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Longest answer of a collector that is read, in bytes.
const LONGEST_ANSWER: usize = 1 << 20;

static PROPAGATOR: LazyLock<TraceContextPropagator> = LazyLock::new(TraceContextPropagator::new);

/// Why traces cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// The address of the collector, or another setting of the exporter.
    #[error("traces: {0}")]
    Exporter(#[from] ExporterBuildError),
    /// The client has no TLS.
    #[error("traces: {0}")]
    Tls(#[from] tokio_rustls::rustls::Error),
}

/// The spans of a server, where they are recorded.
#[derive(Default)]
pub struct Traces(Option<Recording>);

struct Recording {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl Traces {
    /// Sends spans to `/v1/traces` below `endpoint`; records none without, or where it is empty. Has to be called within a
    /// runtime.
    ///
    /// # Errors
    /// An endpoint that is no address.
    pub fn to(endpoint: Option<&str>) -> Result<Self, TracesError> {
        let Some(endpoint) = endpoint.filter(|endpoint| !endpoint.is_empty()) else {
            return Ok(Self::default());
        };
        let sender = Sender {
            client: Client::new()?,
            runtime: Handle::current(),
            is_failing: AtomicBool::new(false),
        };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(sender)
            .with_protocol(Protocol::HttpJson)
            .with_timeout(PATIENCE)
            .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
            .build()?;
        let resource = Resource::builder();
        let resource = match std::env::var_os("OTEL_SERVICE_NAME") {
            Some(_named) => resource,
            None => resource.with_service_name("hearth"),
        };
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource.with_attribute(version).build())
            .build();
        let tracer = provider.tracer("hearth");
        Ok(Self(Some(Recording { provider, tracer })))
    }

    /// Begins the span of a request, within the trace that its caller names. Probes have none.
    pub fn begin(&self, request: &Request) -> Trace {
        let headers = request.headers();
        let told = headers.contains_key("traceparent").then(|| {
            let extractor = HeaderExtractor(headers);
            PROPAGATOR.extract_with_context(&Context::new(), &extractor)
        });
        let told = told.filter(|context| context.span().span_context().is_valid());
        let path = request.uri().path();
        let Self(recording) = self;
        let Some(recording) = recording.as_ref().filter(|_| !path.starts_with("/health")) else {
            return Trace {
                context: told,
                is_recorded: false,
            };
        };
        let method = request.method().as_str().to_owned();
        let parent = told.unwrap_or_default();
        let builder = recording
            .tracer
            .span_builder(method.clone())
            .with_kind(SpanKind::Server)
            .with_attributes([
                KeyValue::new("http.request.method", method),
                KeyValue::new("url.path", path.to_owned()),
            ]);
        let span = recording.tracer.build_with_context(builder, &parent);
        Trace {
            context: Some(parent.with_span(span)),
            is_recorded: true,
        }
    }

    /// Sends what is left.
    pub async fn end(&self) {
        let Self(Some(recording)) = self else {
            return;
        };
        let provider = recording.provider.clone();
        // It waits for its own thread.
        let ended = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(LAST_WORDS));
        if let Ok(Err(error)) = ended.await {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}

/// The trace of a request.
pub struct Trace {
    context: Option<Context>,
    is_recorded: bool,
}

impl Trace {
    /// Does `work` within the trace, so that [`carry`] knows of it.
    pub async fn within<T>(&self, work: impl Future<Output = T>) -> T {
        match &self.context {
            Some(context) => work.with_context(context.clone()).await,
            None => work.await,
        }
    }

    /// Tells how the request to `route` was answered. The span ends with the last byte, or when the client has gone.
    pub fn answered(self, response: Response, route: Option<&Route>) -> Response {
        let Some(context) = self.context.filter(|_| self.is_recorded) else {
            return response;
        };
        let status = response.status();
        let span = context.span();
        if let Some(route) = route {
            span.update_name(format!("{} {}", route.method, route.path));
            span.set_attribute(KeyValue::new("http.route", route.path));
        }
        let code = i64::from(status.as_u16());
        span.set_attribute(KeyValue::new("http.response.status_code", code));
        if status.is_server_error() {
            span.set_status(Status::error(reason(status)));
        }
        response.map(|body| Body::new(Watched::new(body, context)))
    }
}

fn reason(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or_default()
}

/// Names the trace of the request in work, if it has one, in the headers of a request to another service.
pub fn carry(headers: &mut HeaderMap) {
    PROPAGATOR.inject_context(&Context::current(), &mut HeaderInjector(headers));
}

/// Sends spans over the server's own client. The exporter's thread is none of the runtime's, so the runtime does it.
#[derive(Debug)]
struct Sender {
    client: Client,
    runtime: Handle,
    is_failing: AtomicBool,
}

#[async_trait]
impl HttpClient for Sender {
    async fn send_bytes(
        &self,
        request: HttpRequest<Bytes>,
    ) -> Result<HttpResponse<Bytes>, HttpError> {
        let client = self.client.clone();
        let sending = async move {
            let (head, body) = client.send(request.map(Body::from)).await?.into_parts();
            let body = axum::body::to_bytes(Body::new(body), LONGEST_ANSWER).await?;
            Ok::<_, HttpError>(HttpResponse::from_parts(head, body))
        };
        let sending = async { tokio::time::timeout(PATIENCE, sending).await? };
        let sent = self.runtime.spawn(sending).await?;
        // Said once, not with every batch.
        match &sent {
            Ok(response) if response.status().is_success() => {
                self.is_failing.store(false, Ordering::Relaxed);
            }
            _ if self.is_failing.swap(true, Ordering::Relaxed) => {}
            Ok(response) => {
                tracing::warn!(status = %response.status(), "the collector of traces refuses them");
            }
            Err(error) => tracing::warn!(%error, "traces cannot be sent"),
        }
        sent
    }
}
