//! Models that come and go: kept for a time, unloaded when idle, making room for each other, waited for.

mod http_support;

use std::path::Path;
use std::time::{Duration, Instant};

use http_support::{Answer, CHAT, EMBED, Event, Server, chat, completion, events};
use serde_json::{Value, json};

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
    assert_eq!(available, json!([CHAT, EMBED, "gpt-4o"]));
}

#[test]
fn a_model_makes_room_for_another_and_a_busy_one_is_waited_for() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/ember.gguf");
    let copy = format!("copy={}", file.display());
    // One of the two fits, with a small cache.
    let server = Server::start(&["--model", &copy, "--memory", "48MiB"]);
    let request = |model: &str| json!({"model": model, "prompt": "Hello", "max_tokens": 2});
    server.ok("/v1/completions", &request(CHAT));
    server.ok("/v1/completions", &request("copy"));
    assert_eq!(loaded(&server), json!(["copy"]), "the idle one has gone");
    let page = server.get("/metrics").body;
    for line in [
        "hearth_memory_budget_bytes 50331648",
        "hearth_model_evictions_total 1",
        "hearth_model_instances{model=\"copy\"} 1",
        "hearth_model_loads_total{outcome=\"ok\"} 2",
        "hearth_model_load_seconds_count 2",
    ] {
        assert!(page.lines().any(|own| own == line), "{line} in {page}");
    }

    let holding = unread_stream(&server);
    assert_eq!(loaded(&server), json!([CHAT]));
    // A plain request gives up at its deadline.
    let mut body = request("copy");
    body["timeout"] = json!(0.5);
    let reply = server.post("/v1/completions", &body);
    assert_eq!(
        (reply.status, reply.json()["error"]["code"].as_str()),
        (503, Some("deadline_exceeded"))
    );
    // A stream begins, and says what it waits for.
    let mut body = request("copy");
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
