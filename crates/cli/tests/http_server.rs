//! What holds for every path: health, models, unknown paths and methods, origins, common headers.

mod http_support;

use http_support::{CHAT, EMBED, Server, completion};
use serde_json::{Value, json};

#[test]
fn health_tells_what_is_measured() {
    let server = Server::start(&[]);
    let reply = server.get("/health");
    assert_eq!(reply.status, 200, "{}", reply.body);
    let health = reply.json();
    assert_eq!(
        (&health["healthy"], &health["status"]),
        (&json!(true), &json!("healthy"))
    );
    assert_eq!(
        health["models_loaded"],
        json!([]),
        "nothing is loaded before it is asked for"
    );
    assert_eq!(health["engine_stats"]["requests_processed"], 0);
    assert!(
        health["engine_stats"]["avg_processing_time"].is_null(),
        "no requests have no average"
    );
    for name in ["inference_engine", "model", "device"] {
        assert_eq!(health["checks"][name], true, "{name}");
    }
    assert!(
        health["version"].is_string()
            && health["timestamp"].is_number()
            && health["uptime"].is_number()
    );
    assert_eq!(
        health["api_status"],
        json!({"openai": "not_configured", "baseten": "not_configured"})
    );
    assert_eq!(health["autoscaler"]["healthy"], true);
    let system = &health["system"];
    assert!(system["cpu_usage"].is_number() && system["gpu_usage"].is_null());
    assert!(
        system["memory_usage"]
            .as_str()
            .is_some_and(|text| text.ends_with("GB") || text.ends_with("MB"))
    );
    assert!(
        system["uptime"]
            .as_str()
            .is_some_and(|text| text.ends_with('s'))
    );

    server.ok(
        "/v1/completions",
        &completion("Hello", json!({"max_tokens": 3})),
    );
    let health = server.get("/health").json();
    assert_eq!(health["models_loaded"], json!([CHAT]));
    let stats = &health["engine_stats"];
    assert_eq!(
        (&stats["requests_processed"], &stats["active_requests"]),
        (&json!(1), &json!(0))
    );
    assert!(
        stats["avg_processing_time"]
            .as_f64()
            .is_some_and(|seconds| seconds > 0.0)
    );
    assert_eq!(stats["engines"][CHAT]["cache_blocks_used"], 0);
    assert!(
        stats["engines"][CHAT]["tokens_out"]
            .as_u64()
            .is_some_and(|count| (1..=3).contains(&count))
    );
}

#[test]
fn models_are_listed_and_shown() {
    let server = Server::start(&[]);
    let list = server.get("/v1/models").json();
    assert_eq!(list["object"], "list");
    let models = list["data"].as_array().expect("models");
    for name in [CHAT, EMBED] {
        let model = models
            .iter()
            .find(|model| model["id"] == name)
            .expect("built in");
        assert_eq!(
            (&model["object"], &model["root"]),
            (&json!("model"), &json!(name))
        );
        assert!(model["created"].is_u64() && model["owned_by"].is_string());
        assert_eq!(
            (&model["permission"], &model["parent"]),
            (&json!([]), &Value::Null)
        );
        assert_eq!(&server.get(&format!("/v1/models/{name}")).json(), model);
    }
    assert_eq!(
        server.get("/v1/models/%65mber").status,
        200,
        "names are percent-decoded"
    );
    assert_eq!(server.get("/v1/models/org%2Fnone").status, 404);
    assert_eq!(server.get("/v1/models/%ff").status, 400);
}

#[test]
fn a_model_is_served_under_the_name_it_is_given() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/ember.gguf");
    std::fs::copy(&path, folder.path().join("small one.gguf")).expect("the built-in model's file");
    let named = format!("org/mine={}", path.display());
    let models_dir = folder.path().to_str().expect("a plain path");
    let server = Server::start(&["--models-dir", models_dir, "--model", &named]);
    let request = |model: &str| {
        let more = json!({"model": model, "max_tokens": 5, "temperature": 0});
        server.ok("/v1/completions", &completion("Hello", more))
    };
    let built_in = request(CHAT);
    for name in ["org/mine", "small one"] {
        let answer = request(name);
        assert_eq!(answer["model"], name);
        assert_eq!(answer["choices"], built_in["choices"]);
    }
    for path in ["/v1/models/org%2Fmine", "/v1/models/small%20one"] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
}

#[test]
fn unknown_paths_and_methods_are_worded_by_their_family() {
    let server = Server::start(&[]);
    let inferno = server.get("/v1/no/such");
    assert_eq!(
        (inferno.status, &inferno.json()["error"]["code"]),
        (404, &json!("not_found"))
    );
    let tursi = server.get("/api/v1/no/such");
    assert_eq!(
        (tursi.status, &tursi.json()["error"]["code"]),
        (404, &json!("not_found"))
    );
    assert!(tursi.json()["error"].get("type").is_none());
    let voice = server.get("/voices/no/such");
    assert_eq!(
        (voice.status, &voice.json()["error"]["code"]),
        (404, &json!("NOT_FOUND"))
    );
    let framework = server.get("/no/such/path");
    let body = framework.json();
    assert_eq!(
        (framework.status, &body["success"], &body["status_code"]),
        (404, &json!(false), &json!(404))
    );
    assert!(
        body["error"].is_string() && body["detail"].is_string() && body["timestamp"].is_string()
    );

    let wrong = server.send("DELETE", "/v1/completions", &[], b"");
    assert_eq!(
        (wrong.status, &wrong.json()["error"]["code"]),
        (405, &json!("method_not_allowed"))
    );
    assert_eq!(wrong.header("allow"), Some("POST"));
    let wrong = server.send("POST", "/v1/models", &[], b"{}");
    assert_eq!(
        (wrong.status, wrong.header("allow")),
        (405, Some("GET,HEAD"))
    );
    let wrong = server.send("POST", "/health", &[], b"");
    assert_eq!(
        (wrong.status, &wrong.json()["status_code"]),
        (405, &json!(405))
    );
}

#[test]
fn head_works_where_get_does() {
    let server = Server::start(&[]);
    for path in ["/health", "/v1/models", "/v1/models/ember"] {
        let reply = server.send("HEAD", path, &[], b"");
        assert_eq!((reply.status, reply.body.as_str()), (200, ""), "{path}");
    }
}

#[test]
fn every_answer_has_the_common_headers() {
    let server = Server::start(&[]);
    let replies = [
        server.get("/health"),
        server.get("/v1/models"),
        server.get("/no/such/path"),
        server.post("/v1/completions", &json!({})),
        server.send("DELETE", "/v1/completions", &[], b""),
        server.send(
            "POST",
            "/v1/completions",
            &[("Origin", "http://elsewhere.example")],
            b"{}",
        ),
    ];
    let mut last = 1001;
    for reply in replies {
        assert_eq!(
            reply.header("x-content-type-options"),
            Some("nosniff"),
            "{reply:?}"
        );
        assert!(
            reply
                .header("x-request-id")
                .is_some_and(|id| !id.is_empty()),
            "{reply:?}"
        );
        let number = |name: &str| {
            reply
                .header(name)
                .and_then(|text| text.parse::<u64>().ok())
                .expect(name)
        };
        assert_eq!(number("x-ratelimit-limit"), 1000);
        assert_eq!(
            number("x-ratelimit-remaining"),
            last - 2,
            "every request counts once"
        );
        last -= 1;
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("after 1970")
            .as_secs();
        assert!((now..=now + 61).contains(&number("x-ratelimit-reset")));
    }
    let own = server.send("GET", "/health", &[("X-Request-Id", "abc-123")], b"");
    assert_eq!(own.header("x-request-id"), Some("abc-123"));
}

#[test]
fn pages_of_this_machine_may_ask_and_others_may_not() {
    let server = Server::start(&[]);
    let local = ("Origin", "http://localhost:3000");
    let foreign = ("Origin", "http://elsewhere.example");
    let reply = server.send("GET", "/health", &[local], b"");
    assert_eq!(reply.header("access-control-allow-origin"), Some(local.1));
    assert_eq!(
        server
            .send("GET", "/health", &[foreign], b"")
            .header("access-control-allow-origin"),
        None
    );

    let asked = [
        ("Access-Control-Request-Method", "POST"),
        (
            "Access-Control-Request-Headers",
            "authorization,content-type",
        ),
    ];
    let preflight = server.send(
        "OPTIONS",
        "/v1/chat/completions",
        &[local, asked[0], asked[1]],
        b"",
    );
    assert_eq!(preflight.status, 204);
    assert_eq!(
        preflight.header("access-control-allow-origin"),
        Some(local.1)
    );
    assert!(
        preflight
            .header("access-control-allow-methods")
            .is_some_and(|methods| methods.contains("POST"))
    );
    assert_eq!(
        preflight.header("access-control-allow-headers"),
        Some("authorization,content-type")
    );
    let preflight = server.send(
        "OPTIONS",
        "/v1/chat/completions",
        &[foreign, asked[0], asked[1]],
        b"",
    );
    assert_eq!(preflight.header("access-control-allow-origin"), None);

    let body = completion("Hello", json!({"max_tokens": 1})).to_string();
    let refused = server.send("POST", "/v1/completions", &[foreign], body.as_bytes());
    assert_eq!(
        (refused.status, &refused.json()["error"]["code"]),
        (403, &json!("permission_denied"))
    );
    let refused = server.send("POST", "/predict", &[foreign], b"{}");
    assert_eq!(
        (refused.status, &refused.json()["status_code"]),
        (403, &json!(403))
    );
    assert_eq!(
        server
            .send("POST", "/v1/completions", &[local], body.as_bytes())
            .status,
        200
    );
    assert_eq!(server.get("/health").json()["models_loaded"], json!([CHAT]));
}

#[test]
fn a_credential_is_ignored_without_authentication() {
    let server = Server::start(&[]);
    let body = completion("Hello", json!({"max_tokens": 1})).to_string();
    let reply = server.send(
        "POST",
        "/v1/completions",
        &[("Authorization", "Bearer not-needed")],
        body.as_bytes(),
    );
    assert_eq!(reply.status, 200);
}
