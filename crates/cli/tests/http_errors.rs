//! The failures that the contract says how to provoke, from outside.

mod http_support;

use http_support::{CHAT, EMBED, Server};
use serde_json::{Value, json};

/// Checks the envelope of the OpenAI family, and answers the error in it.
fn envelope(reply: &http_support::Reply, status: u16, code: &str, what: &str) -> Value {
    assert_eq!(reply.status, status, "{what}: {}", reply.body);
    let error = reply.json()["error"].clone();
    assert_eq!(error["code"], code, "{what}: {error}");
    assert!(
        error["type"].as_str().is_some_and(|kind| !kind.is_empty()),
        "{what}: {error}"
    );
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|text| !text.is_empty()),
        "{what}: {error}"
    );
    assert!(error["details"].is_object(), "{what}: {error}");
    error
}

#[test]
fn an_unknown_model_is_answered_with_those_there_are() {
    let server = Server::start(&[]);
    let unknown = "no-such-model";
    let replies = [
        server.post(
            "/v1/chat/completions",
            &json!({"model": unknown, "messages": [{"role": "user", "content": "Hello!"}]}),
        ),
        server.post(
            "/v1/completions",
            &json!({"model": unknown, "prompt": "Hello"}),
        ),
        server.post(
            "/v1/embeddings",
            &json!({"model": unknown, "input": "Hello world"}),
        ),
        server.get("/v1/models/no-such-model"),
    ];
    for reply in replies {
        let error = envelope(&reply, 404, "model_not_found", unknown);
        assert_eq!(error["type"], "invalid_request_error");
        let available = error["details"]["available_models"]
            .as_array()
            .expect("names");
        assert!(
            available.contains(&json!(CHAT)) && available.contains(&json!(EMBED)),
            "{error}"
        );
        assert!(error["details"]["suggestion"].is_string());
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|text| text.contains(unknown))
        );
    }
}

#[test]
fn wrong_requests_are_refused_and_the_field_is_named() {
    let server = Server::start(&[]);
    let chat = |more: Value| {
        let base = json!({"model": CHAT, "messages": [{"role": "user", "content": "Hello!"}]});
        http_support::merge(base, more)
    };
    let rows = [
        ("/v1/chat/completions", json!({"model": CHAT}), "messages"),
        (
            "/v1/chat/completions",
            chat(json!({"messages": []})),
            "messages",
        ),
        (
            "/v1/chat/completions",
            chat(json!({"messages": [{"role": "oracle", "content": "Hello!"}]})),
            "messages[0].role",
        ),
        (
            "/v1/chat/completions",
            chat(json!({"temperature": 2.5})),
            "temperature",
        ),
        (
            "/v1/chat/completions",
            chat(json!({"presence_penalty": -3})),
            "presence_penalty",
        ),
        (
            "/v1/chat/completions",
            chat(json!({"max_tokens": 0})),
            "max_tokens",
        ),
        (
            "/v1/chat/completions",
            chat(json!({"stream": "maybe"})),
            "stream",
        ),
        ("/v1/chat/completions", chat(json!({"model": 5})), "model"),
        (
            "/v1/chat/completions",
            chat(json!({"logit_bias": {"4000000000": 1}})),
            "logit_bias",
        ),
        (
            "/v1/chat/completions",
            chat(json!({"response_format": {"type": "json_object"}})),
            "response_format",
        ),
        ("/v1/completions", json!({"model": CHAT}), "prompt"),
        (
            "/v1/completions",
            json!({"model": CHAT, "prompt": "Hello", "temperature": -0.5}),
            "temperature",
        ),
        (
            "/v1/completions",
            json!({"model": CHAT, "prompt": "Hello", "n": 0}),
            "n",
        ),
        (
            "/v1/completions",
            json!({"model": CHAT, "prompt": "Hello", "n": 3, "best_of": 2}),
            "best_of",
        ),
        (
            "/v1/completions",
            json!({"model": CHAT, "prompt": [1, 4_000_000_000_u32]}),
            "prompt",
        ),
        (
            "/v1/completions",
            json!({"model": CHAT, "prompt": "Hello", "suffix": "!"}),
            "suffix",
        ),
        ("/v1/embeddings", json!({"model": EMBED}), "input"),
        (
            "/v1/embeddings",
            json!({"model": EMBED, "input": []}),
            "input",
        ),
        (
            "/v1/embeddings",
            json!({"model": EMBED, "input": {"text": "Hello"}}),
            "input",
        ),
    ];
    for (path, body, field) in rows {
        let error = envelope(
            &server.post(path, &body),
            400,
            "invalid_parameters",
            &body.to_string(),
        );
        assert_eq!(error["type"], "invalid_request_error");
        assert_eq!(error["param"], field, "{error}");
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|text| text.contains(field)),
            "{error}"
        );
    }
}

#[test]
fn a_body_that_is_no_json_is_refused() {
    let server = Server::start(&[]);
    for (path, body) in [
        (
            "/v1/chat/completions",
            &b"{\"model\": \"gpt2\", \"messages\": ["[..],
        ),
        ("/v1/completions", b""),
        ("/v1/embeddings", b"]"),
        ("/v1/chat/completions", b"{}}"),
        ("/v1/chat/completions", b"\xff\xfe"),
        ("/v1/chat/completions", b"[1]"),
    ] {
        let what = String::from_utf8_lossy(body).into_owned();
        envelope(
            &server.send("POST", path, &[], body),
            400,
            "invalid_parameters",
            &what,
        );
    }
}

#[test]
fn json_is_read_whatever_the_header_says() {
    let server = Server::start(&[]);
    let body = json!({"model": CHAT, "prompt": "Hello", "max_tokens": 1}).to_string();
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=utf-8",
    ] {
        let reply = server.send(
            "POST",
            "/v1/completions",
            &[("Content-Type", kind)],
            body.as_bytes(),
        );
        assert_eq!(reply.status, 200, "{kind}: {}", reply.body);
    }
}

#[test]
fn a_body_above_the_limit_is_refused_unread() {
    let server = Server::start(&[]);
    // Only the length is sent: an answer without the body means that nobody waited for it.
    let reply = server.send_declared("/v1/chat/completions", 200 << 20);
    let error = envelope(&reply, 413, "request_too_large", "a body of 200 MB");
    assert_eq!(error["details"]["limit_bytes"], 100 << 20);
}
