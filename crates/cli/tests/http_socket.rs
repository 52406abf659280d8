//! `/ws`, from outside, with the API document's own messages.

mod http_support;

use http_support::socket::Client;
use http_support::{CHAT, Server, chat, is_datetime};
use serde_json::{Value, json};
use tungstenite::Message;

fn asked(id: &str, text: &str, more: Value) -> Value {
    json!({"type": "chat", "id": id, "data": chat(text, more)})
}

#[test]
fn a_chat_comes_in_pieces_that_are_the_whole_answer() {
    let server = Server::start(&[]);
    let more = json!({"max_tokens": 12, "temperature": 0});
    let whole = server.ok(
        "/v1/chat/completions",
        &chat("Tell me a story", more.clone()),
    );
    let content = whole["choices"][0]["message"]["content"]
        .as_str()
        .expect("a text");
    let mut client = Client::open(&server);
    for stream in [true, false] {
        let id = format!("chat_{stream}");
        client.say(&asked(
            &id,
            "Tell me a story",
            http_support::merge(more.clone(), json!({"stream": stream})),
        ));
        let (text, done) = client.rest_of(&id);
        assert_eq!(text, content);
        assert_eq!(done["type"], "chat_done", "{done}");
        assert_eq!(
            done["data"]["usage"]["total_tokens"],
            whole["usage"]["total_tokens"]
        );
        assert_eq!(
            done["data"]["finish_reason"],
            whole["choices"][0]["finish_reason"]
        );
    }
}

#[test]
fn measurements_come_at_the_asked_interval() {
    let server = Server::start(&[]);
    let mut client = Client::open(&server);
    client.say(&json!({
        "type": "subscribe_metrics", "id": "metrics_001",
        "data": {"interval": 250, "metrics": ["cpu", "memory", "gpu", "inference_rate"]},
    }));
    for _ in 0..3 {
        let update = client.hear();
        assert_eq!(
            (&update["type"], &update["id"]),
            (&json!("metrics_update"), &json!("metrics_001"))
        );
        let data = &update["data"];
        assert!(is_datetime(&data["timestamp"]), "{update}");
        assert!(data["cpu"].as_f64().is_some_and(|percent| percent >= 0.0));
        assert!(
            data["memory"]
                .as_f64()
                .is_some_and(|percent| (0.0..=100.0).contains(&percent))
        );
        assert!(data["gpu"].is_null() || data["gpu"].is_number());
        assert!(
            data["inference_rate"]
                .as_f64()
                .is_some_and(|rate| rate >= 0.0)
        );
    }
    client.say(&json!({"type": "cancel", "id": "metrics_001"}));
    client.say(&json!({"type": "subscribe_metrics", "id": "metrics_002", "data": {"interval": 100, "metrics": ["cpu"]}}));
    let update = client.hear_of("metrics_002");
    assert!(
        update["data"]["cpu"].is_number() && update["data"].get("memory").is_none(),
        "{update}"
    );
    for _ in 0..3 {
        assert_eq!(
            client.hear()["id"],
            "metrics_002",
            "what was cancelled is silent"
        );
    }
}

#[test]
fn models_are_told_as_they_are_and_as_they_change() {
    let server = Server::start(&[]);
    let mut client = Client::open(&server);
    client.say(&json!({"type": "subscribe_models", "id": "models_001"}));
    let mut told = Vec::new();
    // All of the built-in ones.
    for _ in 0..4 {
        let message = client.hear();
        assert_eq!(
            (&message["type"], &message["id"]),
            (&json!("model_status"), &json!("models_001"))
        );
        let data = &message["data"];
        assert_eq!(
            (&data["status"], &data["progress"]),
            (&json!("not_loaded"), &json!(0.0)),
            "{message}"
        );
        assert!(data["eta"].is_null());
        told.push(data["model_id"].as_str().expect("a name").to_owned());
    }
    assert!(told.contains(&CHAT.to_owned()), "{told:?}");
    let reply = server.send("POST", &format!("/v1/models/{CHAT}/load"), &[], b"");
    assert_eq!(reply.status, 200, "{}", reply.body);
    let mut states = Vec::new();
    while states.last().is_none_or(|state| state != "loaded") {
        let data = &client.hear()["data"];
        assert_eq!(data["model_id"], CHAT);
        assert!(
            data["progress"]
                .as_f64()
                .is_some_and(|percent| (0.0..=100.0).contains(&percent))
        );
        states.push(data["status"].as_str().expect("a state").to_owned());
    }
    assert_eq!(
        states.first().map(String::as_str),
        Some("loading"),
        "{states:?}"
    );
    server.send("POST", &format!("/v1/models/{CHAT}/unload"), &[], b"");
    while client.hear()["data"]["status"] != "not_loaded" {}
}

#[test]
fn several_things_share_a_connection_and_end_by_their_ids() {
    let server = Server::start(&[]);
    let mut client = Client::open(&server);
    client.say(&json!({"type": "subscribe_metrics", "id": "m", "data": {"interval": 100, "metrics": ["cpu"]}}));
    client.say(&asked(
        "long",
        "Tell me a story",
        json!({"max_tokens": 2000, "ignore_eos": true, "temperature": 0}),
    ));
    client.say(&asked("short", "Hello!", json!({"max_tokens": 4})));
    let (_, done) = client.rest_of("short");
    assert_eq!(done["type"], "chat_done", "{done}");
    client.say(&json!({"type": "subscribe_metrics", "id": "m", "data": {"metrics": ["cpu"]}}));
    let error = loop {
        let message = client.hear_of("m");
        if message["type"] == "error" {
            break message;
        }
    };
    let code = &error["data"]["error"]["code"];
    assert_eq!(code, "invalid_parameters", "an id is used once at a time");
    client.say(&json!({"type": "cancel", "id": "long", "data": {}}));
    server.wait_until_idle();
    client.say(&asked("after", "Hello!", json!({"max_tokens": 4})));
    assert_eq!(client.rest_of("after").1["type"], "chat_done");
}

#[test]
fn a_client_that_goes_away_frees_what_it_held() {
    let server = Server::start(&[]);
    let mut client = Client::open(&server);
    client.say(&asked(
        "long",
        "Tell me a story",
        json!({"max_tokens": 2000, "ignore_eos": true, "temperature": 0}),
    ));
    assert_eq!(client.hear()["type"], "chat_chunk");
    drop(client);
    let engine = server.wait_until_idle();
    assert_eq!(engine["cache_blocks_used"], 0, "{engine}");
}

#[test]
fn failures_are_messages_and_the_connection_stays() {
    let server = Server::start(&[]);
    let mut client = Client::open(&server);
    let unknown =
        json!({"model": "no-such-model", "messages": [{"role": "user", "content": "Hello!"}]});
    for (message, id, code) in [
        ("{oops".to_owned(), "", "invalid_parameters"),
        (
            json!({"type": "chat", "id": "chat_003", "data": unknown}).to_string(),
            "chat_003",
            "model_not_found",
        ),
        (
            json!({"type": "levitate", "id": "odd_001", "data": {}}).to_string(),
            "odd_001",
            "invalid_parameters",
        ),
        (
            json!({"type": "chat", "data": {}}).to_string(),
            "",
            "invalid_parameters",
        ),
        (
            json!({"type": "chat", "id": "a", "data": {"model": CHAT}}).to_string(),
            "a",
            "invalid_parameters",
        ),
        (
            asked("b", "Hello!", json!({"n": 2})).to_string(),
            "b",
            "invalid_parameters",
        ),
        (
            json!({"type": "subscribe_metrics", "id": "c", "data": {"interval": 1}}).to_string(),
            "c",
            "invalid_parameters",
        ),
    ] {
        client.raw(&message);
        let error = client.hear();
        assert_eq!(
            (&error["type"], &error["id"]),
            (&json!("error"), &json!(id)),
            "{message}"
        );
        let error = &error["data"]["error"];
        assert_eq!(error["code"], code, "{message}: {error}");
        assert!(
            error["type"].is_string()
                && error["message"].is_string()
                && error["details"].is_object()
        );
    }
    client
        .0
        .send(Message::binary(vec![1, 2, 3]))
        .expect("the server reads");
    assert_eq!(client.hear()["type"], "error");
    client
        .0
        .send(Message::Ping("hearth".into()))
        .expect("the server reads");
    match client.0.read().expect("an answer") {
        Message::Pong(data) => assert_eq!(&data[..], b"hearth"),
        other => panic!("no pong: {other:?}"),
    }
    client.say(&asked("last", "Hello!", json!({"max_tokens": 2})));
    assert_eq!(client.rest_of("last").1["type"], "chat_done");
}

#[test]
fn a_chat_counts_as_a_request() {
    let server = Server::start(&["--rate-limit", "6", "--burst-limit", "3"]);
    // The handshake is the first.
    let mut client = Client::open(&server);
    for (id, kind) in [("a", "chat_done"), ("b", "chat_done"), ("c", "error")] {
        client.say(&asked(id, "Hello!", json!({"max_tokens": 1})));
        let (_, last) = client.rest_of(id);
        assert_eq!(last["type"], kind, "{last}");
        if kind == "error" {
            assert_eq!(last["data"]["error"]["code"], "rate_limit_exceeded");
        }
    }
}

#[test]
fn a_request_that_is_no_handshake_is_refused() {
    let server = Server::start(&[]);
    let reply = server.get("/ws");
    assert_eq!(
        (reply.status, &reply.json()["error"]["code"]),
        (400, &json!("invalid_parameters"))
    );
}
