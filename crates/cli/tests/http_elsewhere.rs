//! Batches, chats on a WebSocket and tursi's prompts for models that another service serves, played within
//! the tests; and entries that change while the server runs.

mod http_support;

use std::sync::mpsc;
use std::time::{Duration, Instant};

use http_support::service::{EVENTS, Service, answer, chunk, entry, send, server, with_service};
use http_support::socket::Client;
use http_support::{Server, merge, named_events};
use serde_json::{Value, json};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// A whole chat whose message is `content`.
fn whole(content: &str) -> String {
    let body = json!({
        "id": "chatcmpl-1", "object": "chat.completion", "model": "big-2026",
        "choices": [{
            "index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop",
        }],
        "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12},
    });
    answer(200, "", &body.to_string())
}

/// An event of a streamed chat.
fn delta(delta: Value, finish_reason: Value) -> String {
    let choice = json!({"index": 0, "delta": delta, "finish_reason": finish_reason});
    chunk(&format!("data: {}\n\n", json!({"choices": [choice]})))
}

/// An event of a streamed completion.
fn text(text: &str) -> String {
    chunk(&format!(
        "data: {}\n\n",
        json!({"choices": [{"index": 0, "text": text}]})
    ))
}

/// What ends a stream of so many tokens.
fn end(tokens: u64) -> String {
    let usage = json!({"prompt_tokens": 2, "completion_tokens": tokens});
    let usage = json!({"choices": [], "usage": usage});
    chunk(&format!("data: {usage}\n\n")) + &chunk("data: [DONE]\n\n") + &chunk("")
}

fn tokens(server: &Server) -> String {
    let page = server.get("/metrics").body;
    let name = "hearth_upstream_tokens_total{upstream=\"far\"} ";
    let value = page.lines().find_map(|line| line.strip_prefix(name));
    value.expect("the count").to_owned()
}

/// What a chat or an item of a batch says last.
fn said(body: &Value) -> &str {
    body["messages"][0]["content"].as_str().unwrap_or_default()
}

fn item(id: &str, content: &str, more: Value) -> Value {
    let item = json!({"id": id, "messages": [{"role": "user", "content": content}]});
    merge(item, more)
}

#[test]
fn the_items_of_a_batch_are_asked_one_by_one_and_one_that_fails_fails_alone() {
    let service = Service::start(|_, asked, socket| {
        let body = asked.json();
        let reply = match said(&body) {
            "bad" => answer(400, "", r#"{"error": {"message": "not this one"}}"#),
            content => whole(&content.to_uppercase()),
        };
        send(socket, &reply);
    });
    let aliases = "aliases = { fast = 'small-2026' }";
    let server = server(&entry("openai", &service.url(), aliases), &[], &[]);
    let body = json!({
        "model": "fast", "temperature": 0.25, "max_tokens": 8,
        "requests": [
            item("a", "hello", json!({})),
            item("b", "bad", json!({})),
            item("c", "not sent", json!({"stream": true})),
            item("d", "not sent", json!({"priority": 3})),
            item("e", "not sent", json!({"model": "big"})),
            item("f", "goodbye", json!({"max_tokens": 2})),
        ],
    });
    let keys = [("X-OpenAI-Key", "sk-of-the-request")];
    let reply = server.send("POST", "/v1/batch", &keys, body.to_string().as_bytes());
    assert_eq!(reply.status, 200, "{}", reply.body);
    let answers = reply.json();
    let answers = answers["responses"].as_array().expect("answers");
    let ids: Vec<&str> = answers
        .iter()
        .filter_map(|own| own["id"].as_str())
        .collect();
    assert_eq!(ids, ["a", "b", "c", "d", "e", "f"]);
    for (index, content) in [(0, "HELLO"), (5, "GOODBYE")] {
        let own = &answers[index];
        assert_eq!(own["choices"][0]["message"]["content"], content, "{own}");
        assert_eq!(own["usage"]["total_tokens"], 12);
        assert!(own.get("error").is_none());
    }
    for (index, words) in [
        (1, "not this one"),
        (2, "stream"),
        (3, "priority"),
        (4, "the batch's model"),
    ] {
        let own = &answers[index];
        let message = own["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(words), "{own}");
        assert!(own.get("choices").is_none() && own.get("usage").is_none());
    }
    let mut asked = service.asked();
    assert_eq!(asked.len(), 3, "what is refused here is not sent");
    asked.sort_by_key(|asked| said(&asked.json()).to_owned());
    for (asked, max_tokens) in asked.iter().zip([8, 2, 8]) {
        assert_eq!(asked.line, "POST /v1/chat/completions HTTP/1.1");
        assert_eq!(
            asked.header("authorization"),
            Some("Bearer sk-of-the-request")
        );
        let body = asked.json();
        let fields = (&body["model"], &body["temperature"], &body["max_tokens"]);
        assert_eq!(
            fields,
            (&json!("small-2026"), &json!(0.25), &json!(max_tokens))
        );
        assert!(body.get("id").is_none() && body.get("requests").is_none());
    }
    assert_eq!(tokens(&server), "24");
}

#[test]
fn a_batch_waits_where_single_requests_are_refused() {
    let service = Service::start(|_, _, socket| send(socket, &whole("hello")));
    // A service of this kind is asked three times a second.
    let server = server(&entry("openai", &service.url(), ""), &[], &[]);
    let requests: Vec<Value> = (0..4)
        .map(|number| item(&number.to_string(), "hello", json!({})))
        .collect();
    let answers = server.ok("/v1/batch", &json!({"model": "big", "requests": requests}));
    let answers = answers["responses"].as_array().expect("answers").clone();
    assert_eq!(answers.len(), 4);
    for own in answers {
        assert!(own.get("error").is_none(), "{own}");
    }
}

fn chat(id: &str, more: Value) -> Value {
    let data = json!({"model": "big", "messages": [{"role": "user", "content": "Hello!"}]});
    json!({"type": "chat", "id": id, "data": merge(data, more)})
}

#[test]
fn a_chat_on_a_socket_comes_in_the_services_pieces() {
    let service = Service::start(|_, asked, socket| {
        if asked.json()["stream"] == false {
            return send(socket, &whole("Hello, all at once"));
        }
        let pieces = [
            delta(json!({"role": "assistant", "content": "Hel"}), Value::Null),
            chunk(": a comment\n\n"),
            delta(json!({"content": "lo"}), Value::Null),
            delta(json!({}), json!("length")),
        ];
        send(socket, EVENTS);
        send(socket, &(pieces.concat() + &end(3)));
    });
    let server = server(&entry("openai", &service.url(), ""), &[], &[]);
    let mut client = Client::open_with(&server, &[("X-OpenAI-Key", "sk-of-the-socket")]);
    client.say(&chat("one", json!({"max_tokens": 3})));
    let (text, done) = client.rest_of("one");
    assert_eq!(
        (text.as_str(), &done["type"]),
        ("Hello", &json!("chat_done"))
    );
    let usage = json!({"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5});
    assert_eq!(
        done["data"],
        json!({"finish_reason": "length", "usage": usage})
    );

    client.say(&chat("two", json!({"stream": false})));
    let (text, done) = client.rest_of("two");
    assert_eq!(text, "Hello, all at once");
    assert_eq!(done["data"]["usage"]["total_tokens"], 12, "{done}");
    assert_eq!(done["data"]["finish_reason"], "stop");

    for (more, field) in [
        (json!({"n": 2}), "n"),
        (json!({"keep_alive": "5m"}), "keep_alive"),
    ] {
        client.say(&chat("three", more));
        let (_, failure) = client.rest_of("three");
        assert_eq!(failure["data"]["error"]["param"], field, "{failure}");
    }
    let asked = service.asked();
    assert_eq!(asked.len(), 2);
    for asked in asked {
        assert_eq!(
            asked.header("authorization"),
            Some("Bearer sk-of-the-socket")
        );
    }
    assert_eq!(tokens(&server), "17");
}

#[test]
fn a_cancelled_chat_ends_the_services_work_and_a_broken_one_is_told() {
    let (ended, end) = mpsc::channel::<()>();
    let service = Service::start(move |number, _, socket| {
        send(socket, EVENTS);
        let piece = delta(json!({"content": "more"}), Value::Null);
        match number {
            0 => {
                while std::io::Write::write_all(socket, piece.as_bytes()).is_ok() {}
                let _ = ended.send(());
            }
            1 => send(socket, &(piece + &chunk(""))),
            _ => send(socket, &(piece + &chunk("data: [DONE]\n\n") + &chunk(""))),
        }
    });
    let server = with_service(&service);
    let mut client = Client::open(&server);
    client.say(&chat("one", json!({})));
    assert_eq!(client.hear_of("one")["type"], "chat_chunk");
    client.say(&json!({"type": "cancel", "id": "one"}));
    end.recv_timeout(PATIENCE).expect("the service is told");
    for (id, words) in [
        ("two", "ended before"),
        ("three", "does not tell how many tokens"),
    ] {
        client.say(&chat(id, json!({})));
        let (text, failure) = client.rest_of(id);
        assert_eq!((text.as_str(), &failure["type"]), ("more", &json!("error")));
        let error = &failure["data"]["error"];
        assert_eq!(error["code"], "upstream_failed");
        assert!(error["message"].to_string().contains(words), "{failure}");
    }
}

#[test]
fn a_prompt_is_continued_elsewhere_and_answered_in_this_dialect() {
    let service = Service::start(|number, asked, socket| {
        let usage = json!({"prompt_tokens": 4, "completion_tokens": 6});
        match number {
            0 => {
                let body = json!({"choices": [{"text": " there was", "index": 0}], "usage": usage});
                send(socket, &answer(200, "", &body.to_string()));
            }
            1 => {
                assert_eq!(asked.json()["stream_options"]["include_usage"], true);
                send(socket, EVENTS);
                send(
                    socket,
                    &(text(" there") + &text(" was") + &text("") + &end(6)),
                );
            }
            2 => send(
                socket,
                &answer(404, "", r#"{"error": {"message": "no such model"}}"#),
            ),
            _ => {
                send(socket, EVENTS);
                send(socket, &(text(" there") + &chunk("")));
            }
        }
    });
    let server = with_service(&service);
    let path = "/api/v1/generate";
    let body =
        json!({"model": "big", "prompt": "Once", "max_tokens": 20, "stop": ["\n\n", "THE END"]});
    let whole = server.ok(path, &body);
    assert_eq!(
        (&whole["text"], &whole["tokens_generated"]),
        (&json!("Once there was"), &json!(6))
    );
    assert!(
        http_support::is_duration(&whole["generation_time"]),
        "{whole}"
    );
    let sent = json!({
        "model": "big", "prompt": "Once", "max_tokens": 20, "temperature": 0.7, "top_p": 0.9, "stream": false,
        "stop": ["\n\n", "THE END"],
    });
    assert_eq!(service.asked()[0].json(), sent);

    let streamed = merge(body.clone(), json!({"stream": true}));
    let events = named_events(&server.post(path, &streamed).body);
    let texts: String = events
        .iter()
        .filter_map(|(_, data)| data["text"].as_str())
        .collect();
    assert_eq!(texts, "Once there was");
    let (name, done) = events.last().expect("events");
    assert_eq!(
        (name.as_str(), &done["tokens_generated"]),
        ("done", &json!(6))
    );
    assert_eq!(tokens(&server), "18");

    let reply = server.post(path, &streamed);
    assert_eq!(reply.status, 404, "{}", reply.body);
    assert_eq!(reply.json()["error"]["code"], "not_found");
    let events = named_events(&server.post(path, &streamed).body);
    let (name, failure) = events.last().expect("events");
    assert_eq!(
        (name.as_str(), &failure["error"]["code"]),
        ("error", &json!("upstream_failed"))
    );
}

#[test]
fn a_text_is_spoken_elsewhere_and_the_audio_comes_through() {
    let service = Service::start(|number, _, socket| {
        let head =
            "HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nTransfer-Encoding: chunked\r\n\r\n";
        match number {
            0 => send(
                socket,
                &[
                    head,
                    &chunk("ID3 the first "),
                    &chunk("and the rest"),
                    &chunk(""),
                ]
                .concat(),
            ),
            1 => send(socket, &answer(200, "", r#"{"audio": "none"}"#)),
            2 => send(
                socket,
                &answer(400, "", r#"{"error": {"message": "no such voice"}}"#),
            ),
            // It breaks off.
            _ => send(
                socket,
                &[head, &chunk("ID3 the first "), "ff\r\nand"].concat(),
            ),
        }
    });
    let server = server(&entry("baseten", &service.url(), ""), &[], &[]);
    let path = "/v1/audio/speech";
    let body = json!({"model": "big", "input": "Hello", "voice": "tara", "response_format": "mp3"});
    let keys = [("X-Baseten-Key", "bk-of-the-request")];
    let reply = server.send("POST", path, &keys, body.to_string().as_bytes());
    assert_eq!(
        (reply.status, reply.body.as_str()),
        (200, "ID3 the first and the rest")
    );
    assert_eq!(reply.header("content-type"), Some("audio/mpeg"));
    let asked = &service.asked()[0];
    assert_eq!(
        (asked.line.as_str(), asked.json()),
        ("POST /v1/audio/speech HTTP/1.1", body.clone())
    );
    assert_eq!(
        asked.header("authorization"),
        Some("Bearer bk-of-the-request")
    );
    for (status, words) in [(502, "no audio"), (400, "no such voice")] {
        let reply = server.post(path, &body);
        assert_eq!(reply.status, status, "{}", reply.body);
        assert!(reply.body.contains(words), "{}", reply.body);
    }
    let mut broken = server.open("POST", path, &[], body.to_string().as_bytes());
    assert_eq!(broken.piece(), b"ID3 the first ");
    let rest = broken.rest();
    assert!(!rest.ends_with(b"0\r\n\r\n"), "the answer has no end");

    for (change, status, code) in [
        (json!({"model": "ember"}), 501, "not_implemented"),
        (json!({"model": "no-such-model"}), 404, "model_not_found"),
        (json!({"input": ""}), 400, "invalid_parameters"),
    ] {
        let reply = server.post(path, &merge(body.clone(), change));
        assert_eq!(
            (reply.status, &reply.json()["error"]["code"]),
            (status, &json!(code))
        );
    }
    assert_eq!(service.asked().len(), 4);
}

#[test]
fn entries_are_read_again_at_a_hangup_and_what_was_asked_stays_counted() {
    let service = Service::start(|_, _, socket| send(socket, &whole("hello")));
    let server = server(&entry("openai", &service.url(), "key = 'sk-old'"), &[], &[]);
    let ask = |model: &str| {
        let messages = json!([{"role": "user", "content": "Hello!"}]);
        server.post(
            "/v1/chat/completions",
            &json!({"model": model, "messages": messages}),
        )
    };
    assert_eq!(ask("big").status, 200);
    let path = server.home().join("hearth.toml");
    let renamed = entry("openai", &service.url(), "key = 'sk-new'").replace("big", "bigger");
    std::fs::write(&path, renamed).expect("a file");
    server.signal("HUP");
    let until = Instant::now() + PATIENCE;
    while ask("bigger").status != 200 {
        assert!(Instant::now() < until, "the entries are not read again");
    }
    let reply = ask("big");
    assert_eq!(
        (reply.status, &reply.json()["error"]["code"]),
        (404, &json!("model_not_found"))
    );
    let asked = service.asked();
    let keys: Vec<_> = asked
        .iter()
        .map(|asked| asked.header("authorization"))
        .collect();
    assert_eq!(keys, [Some("Bearer sk-old"), Some("Bearer sk-new")]);
    assert_eq!(tokens(&server), "24");

    std::fs::write(&path, "").expect("a file");
    server.signal("HUP");
    while ask("bigger").status != 404 {
        assert!(Instant::now() < until, "the entry is not forgotten");
    }
    let usage = &server.get("/status").json()["api_usage"]["openai"];
    let asked = service.asked().len();
    assert_eq!(*usage, json!({"requests": asked, "tokens": 12 * asked}));
}
