//! Limits, logs, the record, settings that change, and clients that mean no good.

mod http_support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use http_support::socket::Client;
use http_support::{Reply, Server, chat, completion, hearth};
use serde_json::{Value, json};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

fn home() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder for the server's home")
}

fn number(reply: &Reply, name: &str) -> u64 {
    let text = reply.header(name).unwrap_or_else(|| panic!("no {name}"));
    text.parse().unwrap_or_else(|_| panic!("{name}: {text}"))
}

#[test]
fn a_limit_is_enforced_and_worded_by_each_family() {
    let server = Server::start(&["--rate-limit", "6", "--burst-limit", "6"]);
    for remaining in (0..6).rev() {
        let reply = server.get("/v1/models");
        assert_eq!(
            (
                reply.status,
                number(&reply, "x-ratelimit-limit"),
                number(&reply, "x-ratelimit-remaining")
            ),
            (200, 6, remaining)
        );
    }
    for (path, pointer, word) in [
        ("/v1/models", "/error/code", json!("rate_limit_exceeded")),
        ("/v1/models", "/error/type", json!("rate_limit_error")),
        (
            "/api/v1/models",
            "/error/code",
            json!("rate_limit_exceeded"),
        ),
        ("/voices", "/error/code", json!("RATE_LIMIT")),
        ("/predict", "/status_code", json!(429)),
    ] {
        let reply = server.get(path);
        assert_eq!(reply.status, 429, "{path}: {}", reply.body);
        assert_eq!(
            reply.json().pointer(pointer),
            Some(&word),
            "{path}: {}",
            reply.body
        );
        assert!((1..=60).contains(&number(&reply, "retry-after")), "{path}");
        assert_eq!(number(&reply, "x-ratelimit-remaining"), 0);
    }
    let voice = server.get("/voices").json();
    assert!(
        voice["error"]["details"]["retry_after"]
            .as_f64()
            .is_some_and(|seconds| seconds >= 0.0),
        "{voice}"
    );
}

#[test]
fn built_in_limits_are_announced_only() {
    let server = Server::start(&[]);
    let mut last = server.get("/v1/models");
    for _ in 0..150 {
        last = server.get("/v1/models");
    }
    assert_eq!(
        (last.status, number(&last, "x-ratelimit-limit")),
        (200, 1000)
    );
}

#[test]
fn tokens_are_a_quota() {
    let server = Server::start_with(home(), &[], &[("HEARTH_TOKENS_PER_DAY", "10")]);
    let body = completion(
        "Once upon a time",
        json!({"max_tokens": 20, "temperature": 0}),
    );
    server.ok("/v1/completions", &body);
    // The tokens are charged when the answer has been sent, which its reader may be a moment ahead of.
    let until = Instant::now() + PATIENCE;
    loop {
        let reply = server.get("/v1/models");
        if reply.status == 429 {
            assert!(reply.body.contains("tokens a day"), "{}", reply.body);
            assert!(number(&reply, "retry-after") > 3600);
            break;
        }
        assert!(Instant::now() < until, "no quota");
    }
}

#[test]
fn metrics_tell_what_was_done() {
    let server = Server::start(&[]);
    server.ok(
        "/v1/chat/completions",
        &chat("Hello!", json!({"max_tokens": 4})),
    );
    server.stream(
        "/v1/completions",
        &completion("Hello", json!({"max_tokens": 4, "stream": true})),
    );
    server.post(
        "/v1/chat/completions",
        &json!({"model": "no-such", "messages": [{"role": "user", "content": "x"}]}),
    );
    let until = Instant::now() + PATIENCE;
    let page = loop {
        let reply = server.get("/metrics");
        assert_eq!(reply.status, 200);
        assert!(
            reply
                .header("content-type")
                .is_some_and(|kind| kind.starts_with("text/plain"))
        );
        if reply
            .body
            .contains("inferno_request_duration_seconds_count 3\n")
        {
            break reply.body;
        }
        assert!(Instant::now() < until, "{}", reply.body);
    };
    for line in [
        "# TYPE inferno_requests_total counter",
        "inferno_requests_total{model=\"ember\",endpoint=\"chat\"} 1",
        "inferno_requests_total{model=\"ember\",endpoint=\"completions\"} 1",
        "inferno_requests_total{model=\"\",endpoint=\"chat\"} 1",
        "hearth_requests_failed_total{model=\"\",endpoint=\"chat\"} 1",
        "# TYPE inferno_request_duration_seconds histogram",
        "inferno_request_duration_seconds_bucket{le=\"+Inf\"} 3",
        "inferno_request_duration_seconds_count 3",
        "hearth_time_to_first_token_seconds_count{model=\"ember\",endpoint=\"completions\"} 1",
        "hearth_queue_depth{model=\"ember\"} 0",
        "hearth_http_responses_total{endpoint=\"chat\",status=\"404\"} 1",
    ] {
        assert!(page.lines().any(|own| own == line), "{line}:\n{page}");
    }
    assert!(!page.contains("no-such"), "a made-up name is no label");
    let out = page.lines().find(|line| {
        line.starts_with("hearth_tokens_total{model=\"ember\",endpoint=\"chat\",direction=\"out\"}")
    });
    assert!(out.is_some_and(|line| {
        line.rsplit(' ')
            .next()
            .is_some_and(|count| (1..=4).contains(&count.parse::<u64>().unwrap_or(0)))
    }));
}

#[test]
fn probes_answer() {
    let server = Server::start(&[]);
    assert_eq!(
        (
            server.get("/health/live").status,
            server.get("/health/ready").status
        ),
        (200, 200)
    );
}

#[test]
fn logs_are_listed_read_and_cleared() {
    let server = Server::start(&[]);
    server.get("/health");
    let list = server.get("/logs").json();
    assert_eq!(list["log_level"], "INFO");
    let names: Vec<&str> = list["available_log_files"]
        .as_array()
        .expect("files")
        .iter()
        .filter_map(|file| file["name"].as_str())
        .collect();
    assert_eq!(names, ["api_requests.log", "server.log"]);
    for file in list["available_log_files"].as_array().expect("files") {
        assert!(
            file["size_bytes"].is_u64()
                && file["line_count"].is_u64()
                && file["last_modified"].is_string(),
            "{file}"
        );
    }

    let reply = server.get("/logs/server.log?lines=100&from_end=true");
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(
        reply.header("content-disposition"),
        Some("inline; filename=server.log")
    );
    assert_eq!(
        number(&reply, "x-total-lines"),
        reply.body.lines().count() as u64
    );
    assert!(number(&reply, "x-file-size") > 0);
    let line = reply
        .body
        .lines()
        .find(|line| line.contains("[API REQUEST] GET /health - Client: 127.0.0.1"));
    let parts: Vec<&str> = line
        .unwrap_or_else(|| panic!("{}", reply.body))
        .splitn(4, " - ")
        .collect();
    assert!(
        parts[0].len() == 23 && parts[0].as_bytes()[19] == b',' && parts[2] == "INFO",
        "{parts:?}"
    );
    let two = server.get("/logs/api_requests.log?lines=2");
    assert_eq!(
        (two.body.lines().count(), number(&two, "x-total-lines")),
        (2, 2)
    );

    for (path, status) in [
        ("/logs/server.log?lines=-1", 400),
        ("/logs/server.log?lines=0", 400),
        ("/logs/server.log?lines=100001", 400),
        ("/logs/server.log?lines=many", 422),
        ("/logs/server.log?from_end=perhaps", 422),
        ("/logs/no-such.log", 404),
        ("/logs/..%2F..%2F..%2F..%2F..%2F..%2Fetc%2Fpasswd", 404),
        ("/logs/..%252F..%252Fetc%252Fpasswd", 404),
        ("/logs/%2Fetc%2Fpasswd", 404),
        ("/logs/..%5C..%5Cetc%5Cpasswd", 404),
        ("/logs/server.log%00.txt", 404),
        ("/logs/..%2Fstate.db", 404),
        ("/logs/../../../../../../etc/passwd", 404),
    ] {
        let reply = server.get(path);
        assert_eq!(reply.status, status, "{path}: {}", reply.body);
        assert!(!reply.body.contains("root:"), "{path}");
    }

    let cleared = server.send("DELETE", "/logs/server.log", &[], b"").json();
    assert!(
        cleared["success"] == true
            && cleared["original_size_bytes"]
                .as_u64()
                .is_some_and(|size| size > 0),
        "{cleared}"
    );
    let rest = server.get("/logs/server.log").body;
    assert!(
        rest.lines().count() <= 2 && !rest.contains("/health"),
        "{rest}"
    );
}

/// Ends the server, and gives what it has recorded.
fn record(server: &mut Server) -> String {
    server.terminate();
    assert!(server.wait());
    let path = server.home().join("audit/audit-000000000001.jsonl");
    std::fs::read_to_string(path).expect("the record")
}

#[test]
fn the_record_is_whole_until_somebody_changes_it() {
    let mut server = Server::start(&[]);
    server.ok(
        "/v1/completions",
        &completion("a secret prompt", json!({"max_tokens": 2})),
    );
    server.post(
        "/auth/login",
        &json!({"username": "nobody", "password": "wrong password"}),
    );
    let record = record(&mut server);
    let (whole, text) = hearth(server.home(), &["audit", "verify"], "");
    assert!(whole && text.contains("whole"), "{text}");
    let path = server.home().join("audit/audit-000000000001.jsonl");
    assert!(
        record.contains("\"event\":\"login\"") && record.contains("/v1/completions"),
        "{record}"
    );
    assert!(
        !record.contains("secret prompt") && !record.contains("wrong password"),
        "{record}"
    );
    std::fs::write(
        &path,
        record.replacen("\"status\":200", "\"status\":201", 1),
    )
    .expect("the record");
    let (whole, text) = hearth(server.home(), &["audit", "verify"], "");
    assert!(!whole && text.contains("changed"), "{text}");
}

#[test]
fn changes_to_models_are_recorded_whatever_their_dialect() {
    let mut server = Server::start(&[]);
    let mut expected = Vec::new();
    for (method, path, action, model, outcome) in [
        ("POST", "/v1/models/ember/load", "load", Some("ember"), "ok"),
        (
            "POST",
            "/models/manage?action=pin&model_name=ember",
            "pin",
            Some("ember"),
            "ok",
        ),
        (
            "POST",
            "/autoscaler/scale?model_name=ember&target_instances=1",
            "scale",
            Some("ember"),
            "ok",
        ),
        // It is pinned.
        (
            "DELETE",
            "/autoscaler/unload?model_name=ember",
            "unload",
            Some("ember"),
            "refused",
        ),
        (
            "POST",
            "/api/v1/models/ember/load",
            "load",
            Some("ember"),
            "ok",
        ),
        (
            "POST",
            "/api/v1/models/no%2Fsuch/unload",
            "unload",
            Some("no/such"),
            "refused",
        ),
        (
            "POST",
            "/models/manage?action=levitate&model_name=ember",
            "levitate",
            Some("ember"),
            "refused",
        ),
        ("POST", "/models/download", "download", None, "failed"),
        ("POST", "/server/optimize", "optimize", None, "ok"),
    ] {
        let reply = server.send(method, path, &[], b"");
        expected.push(json!({
            "action": action, "model": model, "outcome": outcome, "status": reply.status, "username": "local",
        }));
    }
    server.get("/v1/models/ember/status");
    let record = record(&mut server);
    let lines = record
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    let changes: Vec<Value> = lines
        .filter(|line: &Value| line["event"] == "model")
        .map(|line| {
            let of = |name: &str| line[name].clone();
            json!({
                "action": of("action"), "model": of("model"), "outcome": of("outcome"),
                "status": of("status"), "username": of("username"),
            })
        })
        .collect();
    assert_eq!(changes, expected);
    let (whole, text) = hearth(server.home(), &["audit", "verify"], "");
    assert!(whole, "{text}");
}

#[test]
fn prompts_are_recorded_when_asked_for() {
    let mut server = Server::start_with(home(), &[], &[("HEARTH_AUDIT_PROMPTS", "true")]);
    server.ok(
        "/v1/completions",
        &completion("a secret prompt", json!({"max_tokens": 2})),
    );
    let mut client = Client::open(&server);
    let data = chat("a secret message", json!({"max_tokens": 2}));
    client.say(&json!({"type": "chat", "id": "chat_001", "data": data}));
    assert_eq!(client.rest_of("chat_001").1["type"], "chat_done");
    let record = record(&mut server);
    assert!(record.contains("a secret prompt"), "{record}");
    let chat = record
        .lines()
        .find(|line| line.contains("\"event\":\"chat\""));
    let chat = chat.expect("chats on a socket are recorded");
    assert!(
        chat.contains("chat_001")
            && chat.contains("\"outcome\":\"ok\"")
            && chat.contains("a secret message"),
        "{chat}"
    );
}

#[test]
fn settings_are_read_again_at_a_hangup() {
    let server = Server::start(&[]);
    assert_eq!(number(&server.get("/v1/models"), "x-ratelimit-limit"), 1000);
    let path = server.home().join("hearth.toml");
    std::fs::write(&path, "[limits]\nrequests_per_minute = 123\n").expect("a file");
    let until = Instant::now() + PATIENCE;
    server.signal("HUP");
    while number(&server.get("/v1/models"), "x-ratelimit-limit") != 123 {
        assert!(Instant::now() < until, "the settings are not read again");
    }
    std::fs::write(&path, "[limits]\nrequests_per_minut = 5\n").expect("a file");
    server.signal("HUP");
    while !server
        .get("/logs/server.log")
        .body
        .contains("'limits.requests_per_minut'")
    {
        assert!(Instant::now() < until, "the slip is not told");
    }
    assert_eq!(
        number(&server.get("/v1/models"), "x-ratelimit-limit"),
        123,
        "wrong settings change nothing"
    );
}

#[test]
fn settings_are_shown_with_their_origin() {
    let home = home();
    std::fs::write(
        home.path().join("hearth.toml"),
        "[server]\nport = 1234\n[auth]\nsecret = \"hunter2\"\n[models.'a.b']\npinned = true\npriority = 7\n",
    )
    .expect("a file");
    let (good, text) = hearth(home.path(), &["config", "--rate-limit", "7"], "");
    assert!(good, "{text}");
    for line in [
        "port = 1234  # server.port in ./hearth.toml",
        "requests_per_minute = 7  # --rate-limit",
        "[server]",
        "[models.\"a.b\"]",
        "pinned = true  # models.a.b.pinned in ./hearth.toml",
        "priority = 7  # models.a.b.priority in ./hearth.toml",
    ] {
        assert!(text.lines().any(|own| own == line), "{line}:\n{text}");
    }
    assert!(!text.contains("hunter2"), "{text}");
    let (good, explained) = hearth(home.path(), &["config", "--explain"], "");
    assert!(
        good && explained.contains("# --port, HEARTH_PORT"),
        "{explained}"
    );
    std::fs::write(home.path().join("hearth.toml"), "[server]\nprot = 1234\n").expect("a file");
    for command in ["config", "serve"] {
        let (good, text) = hearth(home.path(), &[command], "");
        assert!(
            !good && text.contains("server.prot") && text.contains("'server.port'"),
            "{text}"
        );
    }
}

/// Reads until the other side has closed; a server that keeps the connection fails the test.
fn until_closed(mut socket: TcpStream) -> String {
    let mut text = Vec::new();
    // A reset is an end as well.
    let _ = socket.read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn a_client_that_takes_nothing_loses_its_answer() {
    let server = Server::start_with(home(), &[], &[("HEARTH_WRITE_TIMEOUT", "1s")]);
    for _ in 0..2_000 {
        // Fills the log that is then asked for.
        server.get(
            "/v1/no/such/path/that/is/long/enough/to/make/the/log/long/without/many/requests/of/it",
        );
    }
    let mut socket = server.connect();
    for _ in 0..200 {
        let head = "GET /logs/server.log?lines=100000 HTTP/1.1\r\nHost: x\r\n\r\n";
        if socket.write_all(head.as_bytes()).is_err() {
            break;
        }
    }
    let until = Instant::now() + PATIENCE;
    let page = || server.get("/metrics").body;
    // One connection is the one that asks.
    while !page().lines().any(|line| line == "hearth_connections 1") {
        assert!(Instant::now() < until, "the connection is kept");
    }
    assert_eq!(server.get("/health").status, 200);
}

#[test]
fn hostile_heads_are_refused() {
    let server = Server::start(&[]);
    let raw = |text: &str| {
        let mut socket = server.connect();
        let _ = socket.write_all(text.as_bytes());
        until_closed(socket)
    };
    let long = "x".repeat(200 << 10);
    let large = raw(&format!(
        "GET /health HTTP/1.1\r\nHost: x\r\nX-Large: {long}\r\nConnection: close\r\n\r\n"
    ));
    assert!(
        large.is_empty() || large.starts_with("HTTP/1.1 431"),
        "{large}"
    );
    let uri = raw(&format!(
        "GET /{long} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    ));
    assert!(uri.is_empty() || uri.starts_with("HTTP/1.1 4"), "{uri}");
    let split = raw(
        "GET /health%0d%0aSet-Cookie:%20a=b HTTP/1.1\r\nHost: x\r\nX-Request-Id: a\tb\r\nConnection: close\r\n\r\n",
    );
    let head = split
        .split("\r\n\r\n")
        .next()
        .expect("a head")
        .to_lowercase();
    assert!(
        split.starts_with("HTTP/1.1 404") && !head.contains("set-cookie"),
        "{split}"
    );
    assert!(
        head.contains("x-request-id: req-"),
        "an id that is none is not given back: {head}"
    );
    assert!(raw("nonsense\r\n\r\n").starts_with("HTTP/1.1 400"));
    let twice = raw(
        "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\nGET /evil HTTP/1.1\r\n\r\n",
    );
    assert!(
        twice.matches("HTTP/1.1").count() <= 1 || !twice.contains("/evil"),
        "{twice}"
    );
    assert_eq!(server.get("/health").status, 200);
}

#[test]
fn answers_are_protected() {
    let server = Server::start(&[]);
    let reply = server.get("/health");
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
    ] {
        assert_eq!(reply.header(name), Some(value));
    }
    assert_eq!(reply.header("strict-transport-security"), None);
    let bare = Server::start_with(home(), &[], &[("HEARTH_SECURITY_HEADERS", "false")]);
    assert_eq!(bare.get("/health").header("x-frame-options"), None);
}

#[test]
fn large_bodies_of_account_endpoints_are_refused() {
    let server = Server::start(&[]);
    let body = json!({"username": "x".repeat(100 << 10), "password": "correct horse"});
    assert_eq!(server.post("/auth/login", &body).status, 413);
    let value: Value = json!({"name": "x".repeat(100 << 10)});
    assert_eq!(server.post("/v1/auth/keys", &value).status, 413);
}
