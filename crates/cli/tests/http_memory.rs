//! Models that come and go: kept for a time, unloaded when idle, making room for each other, waited for; and the numbers
//! that tell of it.

mod http_support;

use std::path::Path;
use std::time::{Duration, Instant};

use http_support::{Answer, CHAT, EMBED, Event, Server, chat, completion, events};
use serde_json::{Value, json};

/// A server with `settings` in its hearth.toml.
fn server_with(settings: &str, arguments: &[&str]) -> Server {
    let home = tempfile::tempdir().expect("a folder for the server's home");
    std::fs::write(home.path().join("hearth.toml"), settings).expect("a file");
    Server::start_with(home, arguments, &[])
}

/// A number at the path `pointer` of `/autoscaler/stats`.
fn stat(server: &Server, pointer: &str) -> Value {
    let stats = server.get("/autoscaler/stats").json();
    let found = stats.pointer(pointer);
    found
        .unwrap_or_else(|| panic!("{pointer} in {stats}"))
        .clone()
}

/// Asks for a number of `/autoscaler/stats` until it is as expected.
fn wait_for_stat(server: &Server, pointer: &str, expected: &Value) {
    let patience = Instant::now() + Duration::from_secs(30);
    while stat(server, pointer) != *expected {
        assert!(Instant::now() < patience, "{pointer} is not {expected}");
    }
}

fn assert_measured(server: &Server, lines: &[&str]) {
    let page = server.get("/metrics").body;
    for line in lines {
        assert!(page.lines().any(|own| own == *line), "{line} in {page}");
    }
}

fn plain(model: &str) -> Value {
    json!({"model": model, "prompt": "Hello", "max_tokens": 2})
}

/// The built-in chat model's file.
fn file() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/ember.gguf")
}

/// A budget in which one model like the built-in one fits, with a small cache.
const ROOM_FOR_ONE: &str = "48MiB";

fn loaded(server: &Server) -> Value {
    server.get("/health").json()["models_loaded"].clone()
}

/// Asks for the loaded models until they are as expected.
fn wait_for_loaded(server: &Server, expected: &Value) {
    let patience = Instant::now() + Duration::from_secs(30);
    while loaded(server) != *expected {
        assert!(
            Instant::now() < patience,
            "{} is not {expected}",
            loaded(server)
        );
    }
}

/// A stream whose client does not read it: longer than all buffers on its way, so that it holds its model.
fn unread_stream(server: &Server) -> Answer {
    let more = json!({"stream": true, "n": 16, "max_tokens": 1000, "ignore_eos": true, "logprobs": true, "top_logprobs": 20});
    let body = chat("Tell me a long story.", more).to_string();
    let headers = [("content-type", "application/json")];
    let answer = server.open("POST", "/v1/chat/completions", &headers, body.as_bytes());
    assert_eq!(answer.status, 200);
    answer
}

#[test]
fn a_request_says_how_long_its_model_stays() {
    let server = Server::start(&[]);
    for (keep_alive, stays) in [(json!(0), false), (json!("5m"), true), (json!("0s"), false)] {
        let more = json!({"max_tokens": 2, "keep_alive": keep_alive});
        server.ok("/v1/completions", &completion("Hello", more));
        match stays {
            true => assert_eq!(loaded(&server), json!([CHAT])),
            false => wait_for_loaded(&server, &json!([])),
        }
    }
    let body = json!({"model": EMBED, "input": "Hello", "keep_alive": 0});
    server.ok("/v1/embeddings", &body);
    wait_for_loaded(&server, &json!([]));
    for wrong in [json!("soon"), json!(true), json!({})] {
        let more = json!({"keep_alive": wrong});
        let reply = server.post("/v1/completions", &completion("Hello", more));
        assert_eq!(reply.status, 400);
        assert_eq!(reply.json()["error"]["param"], "keep_alive");
    }
}

#[test]
fn models_go_by_themselves_where_the_server_is_told_so() {
    let server = Server::start(&["--keep-alive", "0"]);
    server.ok(
        "/v1/completions",
        &completion("Hello", json!({"max_tokens": 2})),
    );
    wait_for_loaded(&server, &json!([]));
    // And come back.
    server.ok(
        "/v1/completions",
        &completion("Hello", json!({"max_tokens": 2})),
    );
}

#[test]
fn an_alias_is_a_name_like_any_other() {
    let server = Server::start(&["--alias", "gpt-4o=ember", "--alias", "nobody=nothing"]);
    let body = json!({"model": "gpt-4o", "prompt": "Hello", "max_tokens": 2});
    assert_eq!(server.ok("/v1/completions", &body)["model"], "gpt-4o");
    let models = server.get("/v1/models").json();
    let data = models["data"].as_array().expect("a list");
    let alias = data
        .iter()
        .find(|model| model["id"] == "gpt-4o")
        .expect("it is listed");
    assert_eq!(alias["root"], CHAT);
    assert!(data.iter().all(|model| model["id"] != "nobody"));
    let body = json!({"model": "nobody", "prompt": "Hello"});
    let reply = server.post("/v1/completions", &body);
    assert_eq!(reply.status, 404);
    let available = reply.json()["error"]["details"]["available_models"].clone();
    assert_eq!(
        available,
        json!([CHAT, EMBED, "digits", "example", "gpt-4o"])
    );
}

#[test]
fn a_model_makes_room_for_another_and_a_busy_one_is_waited_for() {
    let copy = format!("copy={}", file().display());
    let server = Server::start(&["--model", &copy, "--memory", ROOM_FOR_ONE]);
    server.ok("/v1/completions", &plain(CHAT));
    server.ok("/v1/completions", &plain("copy"));
    assert_eq!(loaded(&server), json!(["copy"]), "the idle one has gone");
    assert_measured(
        &server,
        &[
            "hearth_memory_budget_bytes 50331648",
            "hearth_model_evictions_total 1",
            "hearth_model_instances{model=\"copy\"} 1",
            "hearth_model_loads_total{outcome=\"ok\"} 2",
            "hearth_model_load_seconds_count 2",
        ],
    );
    let used = stat(&server, "/performance/memory_usage_mb");
    assert!(used.as_f64().is_some_and(|size| size > 0.0 && size <= 48.0));

    let holding = unread_stream(&server);
    assert_eq!(loaded(&server), json!([CHAT]));
    // A plain request gives up at its deadline.
    let mut body = plain("copy");
    body["timeout"] = json!(0.5);
    let reply = server.post("/v1/completions", &body);
    assert_eq!(
        (reply.status, reply.json()["error"]["code"].as_str()),
        (503, Some("deadline_exceeded"))
    );
    // A stream begins, and says what it waits for.
    let mut body = plain("copy");
    body["stream"] = json!(true);
    let headers = [("content-type", "application/json")];
    let mut answer = server.open(
        "POST",
        "/v1/completions",
        &headers,
        body.to_string().as_bytes(),
    );
    assert_eq!(answer.status, 200);
    let first = String::from_utf8(answer.piece()).expect("text");
    assert_eq!(first.trim(), ": loading copy: queued, 0 %");
    drop(holding);
    let rest = answer.finish().body;
    let told = events(&rest);
    assert!(matches!(told.last(), Some(Event::Done)), "{rest}");
    assert!(told.len() > 1, "{rest}");
    assert_eq!(loaded(&server), json!(["copy"]));
}

#[test]
fn a_model_that_cannot_fit_is_refused_with_all_figures() {
    let server = Server::start(&["--memory", "4MiB"]);
    let reply = server.post("/v1/completions", &completion("Hello", json!({})));
    assert_eq!(reply.status, 503);
    let error = &reply.json()["error"];
    assert_eq!(error["code"], "insufficient_memory");
    assert_eq!(error["details"]["budget_bytes"], 4 << 20);
    assert!(error["details"]["needed_bytes"].as_u64() > Some(4 << 20));
    assert_eq!(loaded(&server), json!([]));
}

#[test]
fn scaling_to_zero_and_back_is_counted() {
    let server = server_with("[models.ember]\nkeep_alive = 0\n", &[]);
    assert_eq!(stat(&server, "/zero_scaler/enabled"), true);
    for round in 1..=2 {
        server.ok("/v1/completions", &plain(CHAT));
        wait_for_stat(&server, "/zero_scaler/scale_to_zero_events", &json!(round));
    }
    assert_eq!(stat(&server, "/zero_scaler/models_scaled_to_zero"), 1);
    assert_eq!(stat(&server, "/performance/memory_usage_mb"), 0.0);
    let mean = stat(&server, "/zero_scaler/avg_scale_up_time");
    assert!(mean.as_f64().is_some_and(|seconds| seconds > 0.0));
    // Its own setting, not the server's.
    server.ok("/v1/embeddings", &json!({"model": EMBED, "input": "Hello"}));
    assert_eq!(loaded(&server), json!([EMBED]));
}

#[test]
fn a_pinned_model_is_there_from_the_start() {
    let settings = "[models]\nkeep_alive = 0\n[models.ember-embed]\npinned = true\n";
    let server = server_with(settings, &[]);
    wait_for_loaded(&server, &json!([EMBED]));
    assert_eq!(
        stat(&server, "/zero_scaler/preloaded_models"),
        json!([EMBED])
    );
    server.ok("/v1/completions", &plain(CHAT));
    wait_for_stat(&server, "/zero_scaler/scale_to_zero_events", &json!(1));
    assert_eq!(loaded(&server), json!([EMBED]));
}

#[test]
fn three_instances_work_at_once_and_one_more_request_waits() {
    let settings =
        "[models]\ndispatch = 'round_robin'\n[models.ember]\ninstances = 3\nconcurrency = 1\n";
    let server = server_with(settings, &[]);
    let strategy = stat(&server, "/model_loader/load_balancing_strategy");
    assert_eq!(strategy, "round_robin");
    let held = [(); 3].map(|()| unread_stream(&server));
    assert_eq!(
        stat(&server, "/model_loader/active_instances"),
        json!({CHAT: 3})
    );
    assert_measured(
        &server,
        &[
            "hearth_model_requests_at_work 3",
            "hearth_model_requests_waiting 0",
            "hearth_model_instances{model=\"ember\"} 3",
            "hearth_model_loads_total{outcome=\"ok\"} 1",
        ],
    );
    std::thread::scope(|scope| {
        let fourth = scope.spawn(|| server.post("/v1/completions", &plain(CHAT)));
        wait_for_stat(&server, "/performance/queue_depth", &json!(1));
        drop(held);
        assert_eq!(fourth.join().expect("no panic").status, 200);
    });
    wait_for_stat(&server, "/performance/queue_depth", &json!(0));
}

#[test]
fn a_full_queue_is_told_with_a_time_to_come_back() {
    let server = server_with("[models.ember]\nconcurrency = 1\nqueue_limit = 1\n", &[]);
    let held = unread_stream(&server);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| server.post("/v1/completions", &plain(CHAT)));
        wait_for_stat(&server, "/performance/queue_depth", &json!(1));
        let refused = server.post("/v1/completions", &plain(CHAT));
        assert_eq!(refused.status, 503, "{}", refused.body);
        assert_eq!(refused.json()["error"]["code"], "overloaded");
        let seconds = refused.header("retry-after").map(str::parse::<u64>);
        assert!(matches!(seconds, Some(Ok(1..))), "{seconds:?}");
        drop(held);
        assert_eq!(waits.join().expect("no panic").status, 200);
    });
    assert_eq!(server.post("/v1/completions", &plain(CHAT)).status, 200);
}

#[test]
fn all_who_ask_for_a_model_wait_for_one_load() {
    let copy = format!("copy={}", file().display());
    let server = Server::start(&["--model", &copy, "--memory", ROOM_FOR_ONE]);
    let held = unread_stream(&server);
    std::thread::scope(|scope| {
        let ask = || server.post("/v1/completions", &plain("copy"));
        let asked = [scope.spawn(ask), scope.spawn(ask)];
        wait_for_stat(&server, "/performance/queue_depth", &json!(2));
        let status = server.get("/v1/models/copy/status").json();
        assert_eq!(status["status"], "loading");
        drop(held);
        for answer in asked {
            let answer = answer.join().expect("no panic");
            assert_eq!(answer.status, 200, "{}", answer.body);
        }
    });
    assert_eq!(stat(&server, "/model_loader/successful_loads"), 2);
    let ended = server.get("/v1/models/copy/status").json();
    assert_eq!(ended["metrics"]["total_requests"], 2);
}

#[test]
fn a_load_that_fails_answers_all_with_its_cause() {
    // Its tokens are called otherwise, which is found out only when it is loaded.
    let (known, unknown) = (b"tokenizer.ggml.tokens", b"tokenizer.ggml.tokenz");
    let mut bytes = std::fs::read(file()).expect("the built-in model's file");
    let place = bytes.windows(known.len()).position(|part| part == known);
    let place = place.expect("it has tokens");
    bytes[place..place + known.len()].copy_from_slice(unknown);
    let folder = tempfile::tempdir().expect("a folder");
    let torn = folder.path().join("torn.gguf");
    std::fs::write(&torn, bytes).expect("a file");
    let torn = format!("torn={}", torn.display());
    let server = Server::start(&["--model", &torn, "--memory", ROOM_FOR_ONE]);
    let held = unread_stream(&server);
    std::thread::scope(|scope| {
        let ask = || server.post("/v1/completions", &plain("torn"));
        let asked = [scope.spawn(ask), scope.spawn(ask)];
        wait_for_stat(&server, "/performance/queue_depth", &json!(2));
        drop(held);
        for answer in asked {
            let answer = answer.join().expect("no panic");
            assert_eq!(answer.status, 500, "{}", answer.body);
            let error = answer.json()["error"]["message"].clone();
            let told = error.as_str().is_some_and(|text| {
                text.contains("'torn'") && text.contains("tokenizer.ggml.tokens")
            });
            assert!(told, "{error}");
        }
    });
    assert_eq!(stat(&server, "/model_loader/failed_loads"), 1);
    assert_measured(
        &server,
        &[
            "hearth_model_loads_total{outcome=\"failed\"} 1",
            "hearth_model_loads_total{outcome=\"cancelled\"} 0",
        ],
    );
}

#[test]
fn who_would_wait_too_long_for_a_load_is_told_how_far_it_is() {
    let copy = format!("copy={}", file().display());
    let server = Server::start(&[
        "--model",
        &copy,
        "--memory",
        ROOM_FOR_ONE,
        "--load-wait",
        "100ms",
    ]);
    let held = unread_stream(&server);
    let refused = server.post("/v1/completions", &plain("copy"));
    assert_eq!(refused.status, 503, "{}", refused.body);
    let error = refused.json()["error"].clone();
    assert_eq!(error["code"], "loading");
    let loading = &error["details"]["loading"];
    assert_eq!(
        (&loading["state"], &loading["progress"], &loading["bytes"]),
        (&json!("queued"), &json!(0.0), &json!(0)),
        "{error}"
    );
    assert!(loading["eta"].is_null() && refused.header("retry-after").is_some());
    drop(held);
    wait_for_stat(&server, "/performance/queue_depth", &json!(0));
}
