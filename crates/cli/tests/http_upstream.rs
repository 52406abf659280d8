//! Models that another service serves, played within the tests, faults included.

mod http_support;

use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_support::service::{EVENTS, Service, answer, chunk, entry, send, server, with_service};
use http_support::{Reply, Server, hearth, merge};
use serde_json::{Value, json};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

const ANSWER: &str = r#"{"id":"chatcmpl-1", "object":"chat.completion","model":"big-2026", "choices":[{"index":0,
  "message":{"role":"assistant","content":"Héllo!"},"finish_reason":"stop"}],
  "usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}}"#;

fn chat(more: Value) -> Value {
    let body = json!({"model": "big", "messages": [{"role": "user", "content": "Hello!"}]});
    merge(body, more)
}

fn ask(server: &Server, more: Value) -> Reply {
    server.post("/v1/chat/completions", &chat(more))
}

/// Status, code and message of an error.
fn error(reply: &Reply) -> (u16, String, String) {
    let body = reply.json();
    let text = |name: &str| body["error"][name].as_str().unwrap_or_default().to_owned();
    (reply.status, text("code"), text("message"))
}

/// Whether `text` is in any file below `folder`.
fn is_in_files(folder: &Path, text: &str) -> bool {
    let entries = std::fs::read_dir(folder).expect("a folder").flatten();
    entries
        .map(|entry| entry.path())
        .any(|path| match path.is_dir() {
            true => is_in_files(&path, text),
            false => {
                let bytes = std::fs::read(&path).unwrap_or_default();
                bytes
                    .windows(text.len())
                    .any(|window| window == text.as_bytes())
            }
        })
}

#[test]
fn a_request_is_passed_on_and_its_answer_comes_back_as_it_is() {
    let service = Service::answering(200, "", ANSWER);
    let aliases = "aliases = { fast = 'small-2026' }";
    let server = server(&entry("other", &service.url(), aliases), &[], &[]);
    let body = chat(
        json!({"model": "fast", "temperature": 0.25, "timeout": 60, "tools": [{"type": "function"}]}),
    );
    let reply = server.post("/v1/chat/completions", &body);
    assert_eq!((reply.status, reply.body.as_str()), (200, ANSWER));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let asked = &service.asked()[0];
    assert_eq!(asked.line, "POST /v1/chat/completions HTTP/1.1");
    assert_eq!(asked.header("authorization"), None);
    let expected = json!({
        "model": "small-2026", "messages": [{"role": "user", "content": "Hello!"}],
        "temperature": 0.25, "tools": [{"type": "function"}],
    });
    assert_eq!(asked.json(), expected);

    server.ok(
        "/v1/completions",
        &json!({"model": "big", "prompt": "Hello"}),
    );
    server.ok("/v1/embeddings", &json!({"model": "big", "input": "Hello"}));
    let lines: Vec<String> = service
        .asked()
        .into_iter()
        .map(|asked| asked.line)
        .collect();
    assert_eq!(
        lines[1..],
        [
            "POST /v1/completions HTTP/1.1",
            "POST /v1/embeddings HTTP/1.1"
        ]
    );
    let metrics = server.get("/metrics").body;
    for line in [
        "hearth_upstream_requests_total{upstream=\"far\"} 3",
        "hearth_upstream_tokens_total{upstream=\"far\"} 36",
        "hearth_upstream_open{upstream=\"far\"} 0",
    ] {
        assert!(metrics.lines().any(|own| own == line), "{line}: {metrics}");
    }
}

#[test]
fn models_elsewhere_are_listed_and_are_not_loaded_here() {
    let service = Service::answering(200, "", ANSWER);
    let server = with_service(&service);
    let models = server.get("/v1/models").json();
    let models = models["data"].as_array().expect("a list");
    let big: Vec<&Value> = models.iter().filter(|model| model["id"] == "big").collect();
    assert_eq!(big.len(), 1);
    assert_eq!(
        (&big[0]["owned_by"], &big[0]["root"]),
        (&json!("far"), &json!("big"))
    );
    assert_eq!(server.get("/v1/models/big").json(), *big[0]);
    for path in [
        "/v1/models/big/load",
        "/v1/models/big/unload",
        "/api/v1/models/big/load",
        "/api/v1/models/big/unload",
    ] {
        let reply = server.post(path, &json!({}));
        assert_eq!(reply.status, 400, "{path}: {}", reply.body);
        let message = reply.json()["error"]["message"].to_string();
        assert!(message.contains("'far'"), "{path}: {message}");
    }
    for (field, value) in [("keep_alive", json!("5m")), ("priority", json!(9))] {
        let reply = ask(&server, json!({field: value}));
        assert_eq!(
            (reply.status, &reply.json()["error"]["param"]),
            (400, &json!(field))
        );
    }
    assert_eq!(service.asked().len(), 0);
}

#[test]
fn a_key_goes_to_its_service_and_nowhere_else() {
    let service = Service::answering(200, "", ANSWER);
    let entry = entry("openai", &service.url(), "");
    let server = server(&entry, &[], &[("OPENAI_API_KEY", "sk-of-the-environment")]);
    let own = [
        ("X-OpenAI-Key", "sk-of-the-request"),
        ("X-Baseten-Key", "bk-of-the-request"),
    ];
    let body = chat(json!({})).to_string();
    for headers in [&own[..], &[]] {
        let reply = server.send("POST", "/v1/chat/completions", headers, body.as_bytes());
        assert_eq!(reply.status, 200, "{}", reply.body);
    }
    let keys: Vec<Option<String>> = service
        .asked()
        .iter()
        .map(|asked| asked.header("authorization").map(str::to_owned))
        .collect();
    let bearer = |key: &str| Some(format!("Bearer {key}"));
    assert_eq!(
        keys,
        [bearer("sk-of-the-request"), bearer("sk-of-the-environment")]
    );
    for asked in service.asked() {
        assert_eq!(
            (asked.header("x-openai-key"), asked.header("x-baseten-key")),
            (None, None)
        );
    }
    let health = server.get("/health").json();
    assert_eq!(
        health["api_status"],
        json!({"openai": "connected", "baseten": "not_configured"})
    );
    let usage = &server.get("/status").json()["api_usage"];
    let expected =
        json!({"openai": {"requests": 2, "tokens": 24}, "baseten": {"requests": 0, "tokens": 0}});
    assert_eq!(*usage, expected);
    for key in [
        "sk-of-the-request",
        "bk-of-the-request",
        "sk-of-the-environment",
    ] {
        assert!(!is_in_files(server.home(), key), "{key} lies in a file");
    }
}

#[test]
fn the_key_of_an_entry_is_stronger_than_the_environments_and_is_not_shown() {
    let service = Service::answering(
        401,
        "",
        r#"{"error": {"message": "no such key: bk-of-the-entry"}}"#,
    );
    let entry = entry("baseten", &service.url(), "key = 'bk-of-the-entry'");
    let server = server(&entry, &[], &[("BASETEN_API_KEY", "bk-of-the-environment")]);
    let reply = ask(&server, json!({}));
    let (status, code, message) = error(&reply);
    assert_eq!((status, code.as_str()), (401, "authentication_failed"));
    assert_eq!(reply.json()["error"]["details"]["service"], "baseten");
    assert!(
        message.contains("Invalid API key") && !reply.body.contains("bk-of"),
        "{}",
        reply.body
    );
    let asked = service.asked();
    assert_eq!(
        asked[0].header("authorization"),
        Some("Bearer bk-of-the-entry")
    );
    let (is_good, shown) = hearth(server.home(), &["config"], "");
    assert!(is_good && shown.contains("[[upstream]]") && shown.contains("service = \"baseten\""));
    assert!(!shown.contains("bk-of"), "{shown}");
}

#[test]
fn a_stream_comes_through_event_by_event() {
    let events = [
        ": waiting\n\n",
        "data: {\"id\":\"c-1\", \"choices\":[{\"index\":0,\"delta\":{\"content\":\"H\u{e9}\"}}],\"usage\":null}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\r\n\r\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":2,\"completion_tokens\":3,\"total_tokens\":5}}\n\n",
        "data: [DONE]\n\n",
    ];
    let (go, gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let service = Service::start(move |_, _, socket| {
        send(socket, EVENTS);
        for (index, event) in events.iter().enumerate() {
            if index == 2 {
                let gone = gone.lock().expect("one call at a time");
                gone.recv_timeout(PATIENCE).expect("the test goes on");
            }
            // Events do not come as pieces of the connection.
            let middle = (event.len() / 2..)
                .find(|at| event.is_char_boundary(*at))
                .unwrap_or(0);
            send(socket, &chunk(&event[..middle]));
            send(socket, &chunk(&event[middle..]));
        }
        send(socket, &chunk(""));
    });
    let server = with_service(&service);
    for (more, kept) in [
        (json!({}), [&events[..3], &events[4..]].concat()),
        (
            json!({"stream_options": {"include_usage": true}}),
            events.to_vec(),
        ),
    ] {
        let body = chat(merge(json!({"stream": true}), more)).to_string();
        let mut answer = server.open("POST", "/v1/chat/completions", &[], body.as_bytes());
        assert_eq!(answer.status, 200);
        let mut text = Vec::new();
        while text.len() < events[0].len() + events[1].len() {
            text.extend(answer.piece());
        }
        go.send(()).expect("the service plays on");
        text.extend(answer.finish().body.into_bytes());
        assert_eq!(String::from_utf8(text).expect("text"), kept.concat());
    }
    for asked in service.asked() {
        assert_eq!(asked.json()["stream_options"]["include_usage"], true);
    }
    let metrics = server.get("/metrics").body;
    assert!(
        metrics.contains("hearth_upstream_tokens_total{upstream=\"far\"} 10"),
        "{metrics}"
    );
}

#[test]
fn a_client_that_hangs_up_ends_the_services_work() {
    let (ended, end) = mpsc::channel::<()>();
    let service = Service::start(move |_, _, socket| {
        send(socket, EVENTS);
        let event =
            chunk("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"more\"}}]}\n\n");
        // A stream that never ends by itself: it goes on until nobody takes it.
        while std::io::Write::write_all(socket, event.as_bytes()).is_ok() {}
        let _ = ended.send(());
    });
    let server = with_service(&service);
    let body = chat(json!({"stream": true})).to_string();
    let mut answer = server.open("POST", "/v1/chat/completions", &[], body.as_bytes());
    assert!(!answer.piece().is_empty());
    drop(answer);
    end.recv_timeout(PATIENCE).expect("the service is told");
    // It is the client who went: nobody failed.
    let metrics = server.get("/metrics").body;
    assert!(
        metrics.contains("hearth_upstream_failures_total{upstream=\"far\"} 0"),
        "{metrics}"
    );
}

#[test]
fn what_is_safe_is_asked_again() {
    let service = Service::start(|number, _, socket| {
        let text = match number {
            0 => answer(
                429,
                "Retry-After: 0\r\n",
                r#"{"error": {"message": "slow down"}}"#,
            ),
            1 => answer(503, "", "<html>"),
            2 => answer(200, "", ANSWER),
            3 => answer(500, "", r#"{"error": {"message": "a defect"}}"#),
            4 => answer(200, "", ANSWER),
            _ => answer(
                429,
                "Retry-After: 77\r\n",
                r#"{"error": {"message": "slow down"}}"#,
            ),
        };
        send(socket, &text);
    });
    let server = with_service(&service);
    assert_eq!(ask(&server, json!({})).body, ANSWER);
    assert_eq!(service.asked().len(), 3);
    let (status, code, message) = error(&ask(&server, json!({})));
    assert_eq!((status, code.as_str()), (502, "upstream_failed"));
    assert!(
        message.contains("a defect") && message.contains("500"),
        "{message}"
    );
    assert_eq!(service.asked().len(), 4, "a defect is not asked again");
    assert_eq!(ask(&server, json!({})).body, ANSWER);
    let reply = ask(&server, json!({}));
    assert_eq!(error(&reply).1, "rate_limit_exceeded");
    assert_eq!(
        (reply.status, reply.header("retry-after")),
        (429, Some("77"))
    );
    assert_eq!(service.asked().len(), 6, "a wait that long is the client's");
    let metrics = server.get("/metrics").body;
    assert!(
        metrics.contains("hearth_upstream_retries_total{upstream=\"far\"} 2"),
        "{metrics}"
    );
}

#[test]
fn a_service_that_cannot_be_reached_is_left_alone_after_a_while() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    drop(listener);
    let server = server(
        &entry("openai", &format!("http://{address}/v1"), ""),
        &[],
        &[],
    );
    assert_eq!(
        server.get("/health").json()["api_status"]["openai"],
        "disconnected"
    );
    let (status, code, message) = error(&ask(&server, json!({})));
    assert_eq!(
        (status, code.as_str()),
        (502, "upstream_failed"),
        "{message}"
    );
    assert!(message.contains("'far' cannot be reached"), "{message}");
    let mut last = None;
    for _ in 0..5 {
        let reply = ask(&server, json!({}));
        last = Some((
            error(&reply),
            reply.header("retry-after").map(str::to_owned),
        ));
        if reply.status == 503 {
            break;
        }
    }
    let ((status, code, message), retry_after) = last.expect("it was asked");
    assert_eq!((status, code.as_str()), (503, "overloaded"), "{message}");
    let retry_after: u64 = retry_after
        .and_then(|text| text.parse().ok())
        .expect("a wait");
    assert!((1..=30).contains(&retry_after));
    assert!(message.contains("left alone"), "{message}");
    let usage = &server.get("/status").json()["api_usage"]["openai"];
    assert_eq!(
        *usage,
        json!({"requests": 0, "tokens": 0}),
        "nothing reached it"
    );
    assert_eq!(
        server.get("/health").json()["api_status"]["openai"],
        "disconnected"
    );
    // Models of this machine are none the worse.
    server.ok(
        "/v1/chat/completions",
        &http_support::chat("Hello!", json!({"max_tokens": 2})),
    );
}

#[test]
fn a_stream_that_is_cut_ends_with_an_error() {
    let event = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hel\"}}]}\n\n";
    let service = Service::start(move |number, _, socket| {
        send(socket, EVENTS);
        send(socket, &chunk(event));
        match number {
            // The connection breaks within an event,
            0 => send(socket, "ff\r\ndata: {\"choices\""),
            // the stream ends before its answer,
            1 => send(socket, &chunk("")),
            // or the service says itself what went wrong.
            _ => send(
                socket,
                &chunk("data: {\"error\": {\"message\": \"out of memory\"}}\n\n"),
            ),
        }
    });
    let server = with_service(&service);
    for words in ["broke off", "ended before", "out of memory"] {
        let reply = ask(&server, json!({"stream": true}));
        assert_eq!(reply.status, 200);
        let rest = reply
            .body
            .strip_prefix(event)
            .expect("what came before the cut");
        let data = rest.strip_prefix("data: ").expect("one event more");
        let failure: Value = serde_json::from_str(data.trim_end()).expect("JSON");
        assert_eq!(failure["error"]["code"], "upstream_failed");
        let message = failure["error"]["message"].to_string();
        assert!(message.contains(words), "{message}");
    }
    let failed = "hearth_upstream_failures_total{upstream=\"far\"} 3";
    assert!(server.get("/metrics").body.contains(failed));
}

#[test]
fn a_service_has_so_much_time_and_a_request_may_have_less() {
    let service = Service::start(|number, _, socket| {
        match number {
            // Silence,
            0 | 1 => {}
            // and bytes that drip without end.
            _ => send(socket, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"),
        }
        let mut byte = [0];
        while number >= 2 && std::io::Write::write_all(socket, b" ").is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
        // Until the server goes.
        let _ = socket.read(&mut byte);
    });
    let server = server(&entry("other", &service.url(), "timeout = '1s'"), &[], &[]);
    let (status, code, message) = error(&ask(&server, json!({"timeout": 0.2})));
    assert_eq!(
        (status, code.as_str()),
        (503, "deadline_exceeded"),
        "{message}"
    );
    for _ in 0..2 {
        let (status, code, message) = error(&ask(&server, json!({})));
        assert_eq!(
            (status, code.as_str()),
            (502, "upstream_failed"),
            "{message}"
        );
        assert!(message.contains("within 1 s"), "{message}");
    }
    assert_eq!(
        service.asked().len(),
        3,
        "what may have been worked on is not asked again"
    );
}

#[test]
fn an_answer_that_cannot_be_passed_on_is_refused() {
    let service = Service::start(|number, _, socket| {
        let text = match number {
            0 => answer(200, "", &format!("[{}1]", "1,".repeat(1 << 20))),
            1 => answer(200, "", "<html>"),
            2 => answer(302, "Location: http://127.0.0.1:9/v1\r\n", "{}"),
            _ => format!("{EVENTS}{}", chunk("data: [DONE]\n\n")),
        };
        send(socket, &text);
    });
    let home = entry("other", &service.url(), "");
    let server = server(&format!("[server]\nbody_limit = '1MB'\n{home}"), &[], &[]);
    for words in [
        "longer than 1048576 bytes",
        "not a JSON object",
        "302",
        "not asked for",
    ] {
        let (status, code, message) = error(&ask(&server, json!({})));
        assert_eq!(
            (status, code.as_str()),
            (502, "upstream_failed"),
            "{message}"
        );
        assert!(message.contains(words), "{message}");
    }
    assert_eq!(service.asked().len(), 4);
}

#[test]
fn what_the_service_refuses_is_told_in_its_words() {
    let service = Service::start(|number, _, socket| {
        let (status, body) = match number {
            0 => (
                400,
                r#"{"error": {"message": "tools: not today", "code": "bad_tools"}}"#,
            ),
            1 => (404, r#"{"error": {"message": "the model is gone"}}"#),
            _ => (
                400,
                r#"{"error": {"message": "too long", "code": "context_length_exceeded"}}"#,
            ),
        };
        send(socket, &answer(status, "", body));
    });
    let server = with_service(&service);
    for (status, code, words) in [
        (400, "invalid_parameters", "tools: not today"),
        (404, "not_found", "the model is gone"),
        (400, "context_length_exceeded", "too long"),
    ] {
        let reply = ask(&server, json!({"stream": true}));
        let (own_status, own_code, message) = error(&reply);
        assert_eq!((own_status, own_code.as_str()), (status, code), "{message}");
        assert!(
            message.contains(words) && message.contains("'far'"),
            "{message}"
        );
        assert_eq!(reply.json()["error"]["details"]["upstream_status"], status);
    }
}

#[test]
fn the_documented_limits_are_kept() {
    let full = ANSWER.replace("\"prompt_tokens\":5", "\"prompt_tokens\":200000");
    let service = Service::answering(200, "", full);
    let server = server(&entry("openai", &service.url(), ""), &[], &[]);
    assert_eq!(ask(&server, json!({})).status, 200);
    let reply = ask(&server, json!({}));
    let (status, code, message) = error(&reply);
    assert_eq!((status, code.as_str()), (429, "rate_limit_exceeded"));
    assert!(
        message.contains("200000 tokens a minute of the service"),
        "{message}"
    );
    let retry_after: u64 = reply
        .header("retry-after")
        .and_then(|text| text.parse().ok())
        .expect("a wait");
    assert!((1..=60).contains(&retry_after));
    assert_eq!(service.asked().len(), 1);
    assert_eq!(
        server.get("/status").json()["api_usage"]["openai"]["requests"],
        1
    );
}

#[test]
fn a_slow_client_holds_the_service_back() {
    let sent = Arc::new(Mutex::new(0_usize));
    let (stuck, is_stuck) = mpsc::channel::<usize>();
    let count = Arc::clone(&sent);
    let service = Service::start(move |_, _, socket| {
        send(socket, EVENTS);
        let event = chunk(&format!(
            "data: {{\"choices\":[{{\"text\":\"{}\"}}]}}\n\n",
            "x".repeat(1 << 16)
        ));
        socket
            .set_write_timeout(Some(Duration::from_secs(2)))
            .expect("a timeout");
        while std::io::Write::write_all(socket, event.as_bytes()).is_ok() {
            *count.lock().expect("one call") += event.len();
        }
        let _ = stuck.send(*count.lock().expect("one call"));
    });
    let server = with_service(&service);
    let body = chat(json!({"stream": true})).to_string();
    let answer = server.open("POST", "/v1/chat/completions", &[], body.as_bytes());
    let taken = is_stuck
        .recv_timeout(PATIENCE)
        .expect("the service has to wait");
    assert!(taken < 64 << 20, "{taken} bytes are somewhere");
    drop(answer);
}

#[test]
fn https_is_trusted_by_certificate() {
    let tls = concat!(env!("CARGO_MANIFEST_DIR"), "/../serve/tests/tls");
    let (certificate, key) = (format!("{tls}/cert.pem"), format!("{tls}/key.pem"));
    let far = Server::start(&["--tls-cert", &certificate, "--tls-key", &key]);
    let url = format!("https://localhost:{}/v1", far.port());
    let entry = entry("other", &url, "aliases = { remote = 'ember' }");
    let trusting = server(&entry, &[], &[("SSL_CERT_FILE", &certificate)]);
    let body = http_support::chat(
        "Hello!",
        json!({"model": "remote", "max_tokens": 4, "seed": 1}),
    );
    let told = trusting.ok("/v1/chat/completions", &body);
    assert_eq!(told["usage"]["completion_tokens"], 4);
    let events = trusting.stream(
        "/v1/chat/completions",
        &merge(body.clone(), json!({"stream": true})),
    );
    assert!(http_support::chunks(events).len() > 2);
    let distrusting = server(&entry, &[], &[]);
    let (status, code, message) = error(&distrusting.post("/v1/chat/completions", &body));
    assert_eq!((status, code.as_str()), (502, "upstream_failed"));
    assert!(message.contains("certificate"), "{message}");
}
