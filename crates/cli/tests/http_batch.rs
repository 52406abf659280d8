//! `/v1/batch`, from outside.

mod http_support;

use http_support::{CHAT, Server, chat};
use serde_json::{Value, json};

const PATH: &str = "/v1/batch";

fn item(id: &str, text: &str) -> Value {
    json!({"id": id, "messages": [{"role": "user", "content": text}]})
}

#[test]
fn the_documented_batch_is_answered() {
    let server = Server::start(&[]);
    let body = json!({
        "model": CHAT, "requests": [item("req1", "Hello"), item("req2", "Goodbye")], "max_tokens": 8,
    });
    let answer = server.ok(PATH, &body);
    assert_eq!(answer["object"], "batch_completion");
    let responses = answer["responses"].as_array().expect("responses");
    assert_eq!(responses.len(), 2);
    for (response, id) in responses.iter().zip(["req1", "req2"]) {
        assert_eq!(response["id"], id);
        let choice = &response["choices"][0];
        assert!(choice["message"]["content"].is_string(), "{response}");
        assert!(choice["finish_reason"].is_string());
        let usage = &response["usage"];
        assert_eq!(
            usage["total_tokens"].as_u64(),
            Some(
                usage["prompt_tokens"].as_u64().unwrap_or(0)
                    + usage["completion_tokens"].as_u64().unwrap_or(0)
            )
        );
        assert!(usage["completion_tokens"].as_u64() <= Some(8));
        assert!(response.get("error").is_none());
    }
}

#[test]
fn an_answer_does_not_depend_on_the_company_and_a_bad_one_fails_alone() {
    let server = Server::start(&[]);
    let more = json!({"max_tokens": 12, "temperature": 0});
    let alone = server.ok(
        "/v1/chat/completions",
        &chat("Tell me a joke", more.clone()),
    );
    let mut requests: Vec<Value> = (0..40)
        .map(|n| item(&format!("r{n}"), "Tell me a joke"))
        .collect();
    requests[7] = json!({"id": "bad", "messages": []});
    requests[8] = http_support::merge(item("hot", "Hello"), json!({"temperature": 9}));
    requests[9] = http_support::merge(item("other", "Hello"), json!({"model": "no-such-model"}));
    requests[10] = http_support::merge(item("streamed", "Hello"), json!({"stream": true}));
    let body = http_support::merge(json!({"model": CHAT, "requests": requests}), more);
    let answer = server.ok(PATH, &body);
    for (index, response) in answer["responses"]
        .as_array()
        .expect("responses")
        .iter()
        .enumerate()
    {
        if (7..=10).contains(&index) {
            assert_eq!(
                response["error"]["code"], "invalid_parameters",
                "{response}"
            );
            assert!(response.get("choices").is_none() && response.get("usage").is_none());
        } else {
            assert_eq!(response["choices"], alone["choices"], "{index}");
        }
    }
}

#[test]
fn a_batch_that_is_wrong_as_a_whole_is_refused() {
    let server = Server::start(&[]);
    for body in [
        json!({"model": CHAT}),
        json!({"model": CHAT, "requests": []}),
        json!({"requests": [item("a", "Hello")]}),
        json!({"model": CHAT, "requests": [item("a", "Hello"), item("a", "Hello")]}),
        json!({"model": CHAT, "requests": [{"messages": []}]}),
    ] {
        let reply = server.post(PATH, &body);
        assert_eq!(
            (reply.status, &reply.json()["error"]["code"]),
            (400, &json!("invalid_parameters")),
            "{body}"
        );
    }
    let reply = server.send("POST", PATH, &[], b"{}}");
    assert_eq!(reply.status, 400);
    let reply = server.post(
        PATH,
        &json!({"model": "no-such-model", "requests": [item("a", "Hello")]}),
    );
    assert_eq!(
        (reply.status, &reply.json()["error"]["code"]),
        (404, &json!("model_not_found"))
    );
}
