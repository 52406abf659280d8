//! `/api/v1`, from outside, with the API document's own examples.

mod http_support;

use http_support::{
    CHAT, EMBED, Reply, Server, is_datetime, is_duration, is_percent, is_size, named_events,
};
use serde_json::{Value, json};

const GENERATE: &str = "/api/v1/generate";

fn refused(reply: &Reply, status: u16, code: &str) -> Value {
    assert_eq!(reply.status, status, "{}", reply.body);
    let body = reply.json();
    let error = &body["error"];
    assert_eq!(error["code"], code, "{body}");
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|text| !text.is_empty())
    );
    assert!(
        error["details"].is_object() && error.get("type").is_none(),
        "{body}"
    );
    for name in [
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
    ] {
        let header = reply.header(name).expect(name);
        assert!(header.parse::<u64>().is_ok(), "{name}: {header}");
    }
    body
}

#[test]
fn the_documented_request_is_answered() {
    let server = Server::start(&[]);
    let body = json!({
        "model": CHAT, "prompt": "Once upon a time", "max_tokens": 20, "temperature": 0.7, "top_p": 0.9,
        "stop": ["\n\n", "THE END"], "stream": false,
    });
    let answer = server.ok(GENERATE, &body);
    let text = answer["text"].as_str().expect("a text");
    assert!(text.starts_with("Once upon a time"), "{answer}");
    assert!(
        answer["tokens_generated"]
            .as_u64()
            .is_some_and(|count| count <= 20)
    );
    assert!(is_duration(&answer["generation_time"]), "{answer}");
    assert_eq!(answer.as_object().map(serde_json::Map::len), Some(3));

    let minimal = json!({"model": CHAT, "prompt": "Once upon a time", "max_tokens": 8});
    let reply = server.post(GENERATE, &minimal);
    assert_eq!(reply.status, 200);
    assert!(reply.header("x-ratelimit-limit").is_some());
}

#[test]
fn a_stream_is_the_whole_answer_in_events() {
    let server = Server::start(&[]);
    let body = |stream: bool| {
        json!({
            "model": CHAT, "prompt": "Once upon a time", "max_tokens": 12, "temperature": 0,
            "stream": stream,
        })
    };
    let whole = server.ok(GENERATE, &body(false));
    let reply = server.post(GENERATE, &body(true));
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(reply.header("content-type"), Some("text/event-stream"));
    let mut events = named_events(&reply.body);
    let (name, done) = events.pop().expect("a last event");
    assert_eq!(name, "done");
    assert_eq!(done["tokens_generated"], whole["tokens_generated"]);
    assert!(is_duration(&done["generation_time"]));
    let mut text = String::new();
    for (name, data) in &events {
        assert_eq!((name.as_str(), &data["finished"]), ("text", &json!(false)));
        text += data["text"].as_str().expect("a text");
    }
    assert!(events.len() > 1, "{events:?}");
    assert_eq!(whole["text"], text);
}

#[test]
fn what_is_wrong_is_refused_in_this_envelope() {
    let server = Server::start(&[]);
    let base = json!({"model": CHAT, "prompt": "Once upon a time"});
    for change in [
        json!({"prompt": null}),
        json!({"model": null}),
        json!({"temperature": -1}),
        json!({"temperature": 2.5}),
        json!({"top_p": 1.1}),
        json!({"max_tokens": "many"}),
        json!({"max_tokens": 0}),
        json!({"stop": {"a": 1}}),
        json!({"stream": "maybe"}),
        json!({"model": EMBED}),
    ] {
        let body = http_support::merge(base.clone(), change);
        refused(&server.post(GENERATE, &body), 400, "invalid_parameters");
    }
    let raw = server.send("POST", GENERATE, &[], br#"{"model": "gpt2",}"#);
    refused(&raw, 400, "invalid_parameters");
    let unknown = json!({"model": "gpt3", "prompt": "Once upon a time"});
    let body = refused(&server.post(GENERATE, &unknown), 404, "model_not_found");
    assert_eq!(
        body["error"]["message"],
        "The requested model 'gpt3' was not found"
    );
    let names = body["error"]["details"]["available_models"].as_array();
    assert!(
        names.is_some_and(|names| names.contains(&json!(CHAT))),
        "{body}"
    );
    refused(&server.get("/api/v1/no/such"), 404, "not_found");
    let reply = server.send("DELETE", GENERATE, &[], b"");
    refused(&reply, 405, "method_not_allowed");
    assert!(
        reply
            .header("allow")
            .is_some_and(|allow| allow.contains("POST"))
    );
}

#[test]
fn models_are_loaded_listed_measured_and_unloaded() {
    let server = Server::start(&[]);
    let listed = |name: &str| {
        let list = server.get("/api/v1/models").json();
        let models = list["models"].as_array().expect("models").clone();
        let model = models.into_iter().find(|model| model["name"] == name);
        model.unwrap_or_else(|| panic!("{name} is not listed: {list}"))
    };
    assert_eq!(listed(CHAT), json!({"name": CHAT, "status": "not_loaded"}));
    assert_eq!(
        listed(EMBED),
        json!({"name": EMBED, "status": "not_loaded"})
    );
    let metrics = format!("/api/v1/models/{CHAT}/metrics");
    let before = server.get(&metrics).json();
    let expected = json!({"name": CHAT, "metrics": {
        "requests_total": 0, "tokens_generated": 0, "average_generation_time": null,
        "memory_usage": "0MB", "load_time": null, "error_rate": null,
    }});
    assert_eq!(before, expected);

    let load = format!("/api/v1/models/{CHAT}/load");
    let answer = server.ok(
        &load,
        &json!({"quantize": true, "bits": 8, "mode": "dynamic"}),
    );
    assert!(
        ["loading", "loaded"].contains(&answer["status"].as_str().expect("a state")),
        "{answer}"
    );
    assert!(answer["message"].is_string());
    assert!(answer["estimated_time"].is_null() || is_duration(&answer["estimated_time"]));
    server.ok(
        GENERATE,
        &json!({"model": CHAT, "prompt": "Once", "max_tokens": 4}),
    );
    let reply = server.send("POST", &load, &[], b"");
    assert_eq!(reply.status, 200, "{}", reply.body);
    let answer = reply.json();
    assert_eq!(
        (&answer["status"], &answer["estimated_time"]),
        (&json!("loaded"), &json!("0s"))
    );

    let model = listed(CHAT);
    assert_eq!(model["status"], "loaded");
    assert!(model["quantized"].is_boolean(), "{model}");
    assert!(
        is_size(&model["memory_usage"]) && is_duration(&model["uptime"]),
        "{model}"
    );
    let after = server.get(&metrics).json();
    let figures = &after["metrics"];
    assert_eq!(figures["requests_total"], 1, "{after}");
    assert!(
        figures["tokens_generated"]
            .as_u64()
            .is_some_and(|count| (1..=4).contains(&count))
    );
    assert!(is_duration(&figures["average_generation_time"]));
    assert!(is_size(&figures["memory_usage"]) && is_datetime(&figures["load_time"]));
    assert!(is_percent(&figures["error_rate"]));

    let unload = format!("/api/v1/models/{CHAT}/unload");
    for _ in 0..2 {
        let answer = server.send("POST", &unload, &[], b"").json();
        assert_eq!(answer["status"], "success");
        assert!(answer["message"].is_string());
        assert_eq!(listed(CHAT), json!({"name": CHAT, "status": "not_loaded"}));
    }
    server.ok(
        GENERATE,
        &json!({"model": CHAT, "prompt": "Once", "max_tokens": 1}),
    );
}

#[test]
fn residency_is_refused_by_name() {
    let server = Server::start(&[]);
    let load = format!("/api/v1/models/{CHAT}/load");
    refused(
        &server.post(&load, &json!({"quantize": true, "bits": 7})),
        400,
        "invalid_parameters",
    );
    let odd = json!({"quantize": true, "mode": "sideways"});
    refused(&server.post(&load, &odd), 400, "invalid_parameters");
    refused(
        &server.send("POST", &load, &[], b"{bits: 8"),
        400,
        "invalid_parameters",
    );
    for (method, action) in [("POST", "load"), ("POST", "unload"), ("GET", "metrics")] {
        let path = format!("/api/v1/models/no-such-model/{action}");
        let body = refused(
            &server.send(method, &path, &[], b""),
            404,
            "model_not_found",
        );
        let names = body["error"]["details"]["available_models"].as_array();
        assert!(names.is_some_and(|names| !names.is_empty()), "{body}");
    }
}

#[test]
fn the_status_adds_up() {
    let server = Server::start(&[]);
    server.get("/api/v1/no/such");
    server.get("/api/v1/models");
    let status = server.get("/api/v1/status").json();
    assert_eq!(
        (&status["status"], &status["active_models"]),
        (&json!("healthy"), &json!(0))
    );
    assert!(is_duration(&status["uptime"]), "{status}");
    for part in ["total", "used", "free"] {
        assert!(is_size(&status["memory_usage"][part]), "{status}");
    }
    match &status["gpu_usage"] {
        Value::Null => {}
        gpu => assert!(is_size(&gpu["total"]) && is_size(&gpu["used"]) && is_size(&gpu["free"])),
    }
    let requests = &status["requests"];
    let count = |name: &str| requests[name].as_u64().expect("a count");
    assert_eq!(count("total"), count("success") + count("failed"));
    assert!(count("success") >= 1, "{status}");
    let rate = requests["rate"].as_str().expect("a text");
    assert!(
        rate.strip_suffix("/minute")
            .is_some_and(|count| count.parse::<u64>().is_ok())
    );
}
