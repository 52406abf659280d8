//! Clients that are slow, broken or malicious: each gets a clear answer or loses its connection, and others are
//! answered while it goes on.

mod http_support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use http_support::service::{EVENTS, Service, chunk, entry, send, server};
use http_support::socket::Client;
use http_support::{CHAT, Server, chat, completion, events};
use serde_json::json;

/// Raises this process' limit of open files, which servers that it starts have too, and answers what it is.
fn file_limit() -> usize {
    let pid = std::process::id().to_string();
    // Where it cannot be raised, the limit says so.
    let _ = Command::new("prlimit")
        .args(["--pid", &pid, "--nofile=8192:"])
        .status();
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    soft.unwrap_or(256)
}

/// Reads until the other side has closed.
fn until_closed(mut socket: TcpStream) -> String {
    let mut text = Vec::new();
    // A reset is an end as well.
    let _ = socket.read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn assert_answers(server: &Server) {
    let reply = server.post(
        "/v1/completions",
        &completion("Hello", json!({"max_tokens": 1})),
    );
    assert_eq!(reply.status, 200, "{}", reply.body);
}

#[test]
fn a_thousand_half_open_connections_harm_nobody_and_are_closed() {
    let count = (file_limit().saturating_sub(200)).min(1000);
    let home = tempfile::tempdir().expect("a folder for the server's home");
    let server = Server::start_with(home, &[], &[("HEARTH_HEADER_TIMEOUT", "5s")]);
    let beginnings = [
        "",
        "P",
        "GET /health HT",
        "POST /v1/completions HTTP/1.1\r\nHost: x\r\n",
    ];
    let half_open: Vec<TcpStream> = (0..count)
        .map(|number| {
            let mut socket = server.connect();
            let beginning = beginnings[number % beginnings.len()];
            socket
                .write_all(beginning.as_bytes())
                .expect("the server reads");
            socket
        })
        .collect();
    for _ in 0..5 {
        assert_answers(&server);
    }
    let page = server.get("/metrics").body;
    let open = page
        .lines()
        .find_map(|line| line.strip_prefix("hearth_connections "));
    let open: usize = open.expect("the count").parse().expect("a number");
    assert!(
        open > count / 2,
        "{open} of {count} connections are open, so that little was shown"
    );
    for socket in half_open {
        let said = until_closed(socket);
        assert!(
            said.is_empty() || said.starts_with("HTTP/1.1 408"),
            "{said}"
        );
    }
}

#[test]
fn a_client_that_reads_one_byte_at_a_time_gets_its_whole_answer() {
    let server = Server::start(&[]);
    let body = chat(
        "Hello!",
        json!({"max_tokens": 24, "stream": true, "temperature": 0, "ignore_eos": true}),
    );
    let quick = server.post("/v1/chat/completions", &body).body;

    let body = body.to_string();
    let mut socket = server.announce("/v1/chat/completions", body.len() as u64);
    socket.write_all(body.as_bytes()).expect("the server reads");
    let mut slow = Vec::new();
    let mut byte = [0];
    while socket.read(&mut byte).expect("the server goes on") == 1 {
        slow.push(byte[0]);
        if slow.len().is_multiple_of(1000) {
            assert_answers(&server);
        }
    }
    let slow = String::from_utf8(slow).expect("text");
    let (head, chunked) = slow.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let text = |body: &str| {
        let pieces = body.split("\"content\":\"").skip(1);
        let pieces = pieces.map(|rest| rest.split('"').next().unwrap_or_default());
        pieces.collect::<String>()
    };
    assert!(chunked.ends_with("0\r\n\r\n") && chunked.contains("data: [DONE]"));
    assert_eq!(text(chunked), text(&quick));
    assert!(!events(&quick).is_empty() && !text(&quick).is_empty());
}

/// A service whose streams go on until nobody takes them, which it tells then.
fn endless() -> (Service, mpsc::Receiver<()>) {
    let (ended, end) = mpsc::channel();
    let service = Service::start(move |_, _, socket| {
        let content = "x".repeat(1 << 12);
        let choice = json!({"index": 0, "delta": {"content": content}});
        let event = chunk(&format!("data: {}\n\n", json!({"choices": [choice]})));
        send(socket, EVENTS);
        while socket.write_all(event.as_bytes()).is_ok() {}
        let _ = ended.send(());
    });
    (service, end)
}

fn memory(server: &Server) -> u64 {
    let page = server.get("/metrics").body;
    let name = "hearth_process_memory_bytes ";
    let bytes = page.lines().find_map(|line| line.strip_prefix(name));
    let bytes: f64 = bytes.expect("the measure").parse().expect("a number");
    bytes as u64
}

/// Takes a little of an endless answer between answers to others, until the service behind it is told that
/// nobody takes it any more.
fn take_slowly(server: &Server, end: &mpsc::Receiver<()>, mut take: impl FnMut()) {
    assert_answers(server);
    let before = memory(server);
    let until = Instant::now() + Duration::from_secs(60);
    while end.try_recv().is_err() {
        assert!(Instant::now() < until, "the stream goes on");
        take();
        assert_answers(server);
        let grown = memory(server).saturating_sub(before);
        assert!(grown < 64 << 20, "{grown} bytes wait for one client");
    }
}

#[test]
fn a_client_that_takes_one_byte_now_and_then_loses_its_stream_not_the_servers_memory() {
    let (service, end) = endless();
    let server = server(
        &entry("other", &service.url(), ""),
        &[],
        &[("HEARTH_WRITE_TIMEOUT", "1s")],
    );
    let body = chat("Hello!", json!({"model": "big", "stream": true})).to_string();
    let mut socket = server.announce("/v1/chat/completions", body.len() as u64);
    socket.write_all(body.as_bytes()).expect("the server reads");
    let mut byte = [0];
    take_slowly(&server, &end, || {
        // The end of the connection comes as an end or as a reset.
        let _ = socket.read(&mut byte);
    });

    let mut client = Client::open(&server);
    let data = chat("Hello!", json!({"model": "big"}));
    client.say(&json!({"type": "chat", "id": "one", "data": data}));
    assert_eq!(client.hear()["type"], "chat_chunk");
    // One that takes nothing at all.
    take_slowly(&server, &end, || {});
}

#[test]
fn a_body_that_comes_too_slowly_is_given_up() {
    let home = tempfile::tempdir().expect("a folder for the server's home");
    let server = Server::start_with(home, &[], &[("HEARTH_BODY_TIMEOUT", "1s")]);
    let slow: Vec<TcpStream> = ["/v1/chat/completions", "/api/v1/generate", "/auth/login"]
        .into_iter()
        .map(|path| {
            let mut socket = server.announce(path, 1000);
            socket.write_all(b"{\"model\":").expect("the server reads");
            socket
        })
        .collect();
    assert_answers(&server);
    for socket in slow {
        let said = until_closed(socket);
        assert!(said.starts_with("HTTP/1.1 400"), "{said}");
        assert!(said.contains("did not arrive"), "{said}");
    }
}

#[test]
fn malformed_requests_are_refused() {
    let server = Server::start(&[]);
    let deep = "[".repeat(100_000);
    let good = completion("Hello", json!({"max_tokens": 1})).to_string();
    let post = |more: &str, body: &str| {
        format!(
            "POST /v1/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{more}\r\n\r\n{body}"
        )
    };
    let sized = |body: &str| post(&format!("Content-Length: {}", body.len()), body);
    for (what, request) in [
        ("a negative length", post("Content-Length: -1", "{}")),
        ("a length that is none", post("Content-Length: many", "{}")),
        (
            "two lengths",
            post("Content-Length: 2\r\nContent-Length: 3", "{}x"),
        ),
        (
            "a chunk whose size is none",
            post("Transfer-Encoding: chunked", "xyz\r\n{}\r\n0\r\n\r\n"),
        ),
        (
            "a chunk of more than fits an address",
            post("Transfer-Encoding: chunked", "fffffffffffffffff\r\n{}\r\n"),
        ),
        (
            "a header's name with a space",
            format!("GET /health HTTP/1.1\r\nHost: x\r\nX Y: z\r\nConnection: close\r\n\r\n{good}"),
        ),
        (
            "a header's value with a zero",
            "GET /health HTTP/1.1\r\nHost: x\r\nX-A: a\0b\r\nConnection: close\r\n\r\n".into(),
        ),
        (
            "a line feed within a header",
            "GET /health HTTP/1.1\r\nHost: x\r\nX-A: a\nInjected\r\nConnection: close\r\n\r\n"
                .into(),
        ),
        ("nesting without end", sized(&deep)),
        (
            "half a surrogate",
            sized(r#"{"model": "ember", "prompt": "\ud800"}"#),
        ),
        (
            "a number beyond all",
            sized(r#"{"model": "ember", "prompt": "a", "temperature": 1e999}"#),
        ),
        (
            "a method that is none",
            "G(T /health HTTP/1.1\r\nHost: x\r\n\r\n".into(),
        ),
        (
            "a version that is none",
            "GET /health HTTP/9.9\r\nHost: x\r\n\r\n".into(),
        ),
    ] {
        let mut socket = server.connect();
        let _ = socket.write_all(request.as_bytes());
        let said = until_closed(socket);
        assert!(
            said.starts_with("HTTP/1.1 400") || said.is_empty(),
            "{what}: {said}"
        );
        assert_eq!(said.matches("HTTP/1.1").count().max(1), 1, "{what}: {said}");
        assert_answers(&server);
    }
    // A body that ends before its announced end is no answer to wait for, and no reason to fall.
    let mut socket = server.announce("/v1/completions", 1000);
    socket.write_all(good.as_bytes()).expect("the server reads");
    drop(socket);
    assert_answers(&server);
}

#[test]
fn names_lead_to_no_file() {
    let server = Server::start(&[]);
    let outside = [
        "..%2F..%2F..%2F..%2F..%2Fetc%2Fpasswd",
        "%2Fetc%2Fpasswd",
        "..%5C..%5Cetc%5Cpasswd",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "..%252F..%252Fetc%252Fpasswd",
        "ember%00.gguf",
    ];
    for name in outside {
        for (method, path) in [
            ("GET", format!("/v1/models/{name}")),
            ("GET", format!("/v1/models/{name}/status")),
            ("POST", format!("/v1/models/{name}/load")),
            ("POST", format!("/api/v1/models/{name}/load")),
            ("GET", format!("/api/v1/models/{name}/metrics")),
            ("GET", format!("/voices/{name}")),
            ("GET", format!("/audio/files/{name}")),
            ("POST", format!("/autoscaler/load?model_name={name}")),
        ] {
            let reply = server.send(method, &path, &[], b"");
            assert_eq!(reply.status, 404, "{method} {path}: {}", reply.body);
            assert!(!reply.body.contains("root:"), "{method} {path}");
        }
    }
    for model in [
        "../../../etc/passwd",
        "/etc/passwd",
        "file:///etc/passwd",
        "ember\0",
        "ember\r\nX-Injected: yes",
    ] {
        let body = chat("Hello!", json!({"model": model, "max_tokens": 1}));
        let reply = server.post("/v1/chat/completions", &body);
        assert_eq!(reply.status, 404, "{model:?}: {}", reply.body);
        assert_eq!(reply.header("x-injected"), None);
    }
    let reply = server.get(&format!("/v1/models/{CHAT}"));
    assert_eq!(reply.status, 200, "{}", reply.body);
}
