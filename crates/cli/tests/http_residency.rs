//! `/v1/models/{id}/{load,unload,status}`, `/autoscaler/*`, `/models*`: how models come and go, from outside.

mod http_support;

use http_support::{CHAT, EMBED, Server, chat, completion, is_datetime, is_size};
use serde_json::{Value, json};

fn post(server: &Server, path: &str) -> Value {
    let reply = server.send("POST", path, &[], b"");
    assert_eq!(reply.status, 200, "{path}: {}", reply.body);
    reply.json()
}

#[test]
fn the_inferno_dialect_loads_tells_and_unloads() {
    let server = Server::start(&[]);
    let path = |action: &str| format!("/v1/models/{CHAT}/{action}");
    let status = server.get(&path("status")).json();
    let expected = json!({
        "model_id": CHAT, "status": "not_loaded", "backend": "gguf", "memory_usage": "0MB",
        "metrics": {"total_requests": 0, "avg_latency_ms": null, "tokens_per_second": null, "last_used": null},
    });
    assert_eq!(status, expected);
    let loaded = post(&server, &path("load"));
    assert_eq!(
        (&loaded["status"], &loaded["model_id"]),
        (&json!("success"), &json!(CHAT))
    );
    assert_eq!(loaded["backend"], "gguf");
    assert!(
        is_size(&loaded["memory_usage"]) && loaded["message"].is_string(),
        "{loaded}"
    );
    assert_ne!(loaded["memory_usage"], "0MB");

    server.ok(
        "/v1/chat/completions",
        &chat("Hello!", json!({"max_tokens": 8})),
    );
    let status = server.get(&path("status")).json();
    assert_eq!(status["status"], "loaded");
    let figures = &status["metrics"];
    assert_eq!(figures["total_requests"], 1, "{status}");
    assert!(
        figures["avg_latency_ms"]
            .as_f64()
            .is_some_and(|millis| millis > 0.0)
    );
    assert!(
        figures["tokens_per_second"]
            .as_f64()
            .is_some_and(|rate| rate > 0.0),
        "{status}"
    );
    assert!(is_datetime(&figures["last_used"]));

    for _ in 0..2 {
        let unloaded = post(&server, &path("unload"));
        assert_eq!(
            (&unloaded["status"], &unloaded["model_id"]),
            (&json!("success"), &json!(CHAT))
        );
        assert_eq!(server.get(&path("status")).json()["status"], "not_loaded");
    }
    for (method, action) in [("POST", "load"), ("POST", "unload"), ("GET", "status")] {
        let reply = server.send(
            method,
            &format!("/v1/models/no-such-model/{action}"),
            &[],
            b"",
        );
        assert_eq!(reply.status, 404, "{}", reply.body);
        let error = &reply.json()["error"];
        assert_eq!(
            (&error["type"], &error["code"]),
            (&json!("invalid_request_error"), &json!("model_not_found"))
        );
        assert!(
            error["details"]["available_models"]
                .as_array()
                .is_some_and(|names| !names.is_empty())
        );
        assert!(error["details"]["suggestion"].is_string());
    }
}

#[test]
fn the_autoscaler_loads_scales_and_unloads() {
    let server = Server::start(&[]);
    let before = server.get("/autoscaler/stats").json();
    let loader = &before["model_loader"];
    assert_eq!(loader["total_load_requests"], 0, "{before}");
    assert!(loader["avg_load_time"].is_null() && loader["load_balancing_strategy"].is_string());
    assert_eq!(loader["active_instances"], json!({}));
    assert!(before["zero_scaler"]["avg_scale_up_time"].is_null());
    assert!(before["performance"]["avg_response_time"].is_null());

    let loaded = post(
        &server,
        &format!("/autoscaler/load?model_name={CHAT}&version=v1"),
    );
    let expected = json!({
        "success": true, "message": format!("Successfully loaded {CHAT}:v1"), "model_name": CHAT, "version": "v1",
    });
    assert_eq!(loaded, expected);
    let scaled = post(
        &server,
        &format!("/autoscaler/scale?model_name={CHAT}&target_instances=3"),
    );
    let expected = json!({
        "success": true, "message": format!("Successfully scaled {CHAT} to 3 instances"),
        "model_name": CHAT, "target_instances": 3,
    });
    assert_eq!(scaled, expected);
    server.ok(
        "/v1/completions",
        &completion("Hello", json!({"max_tokens": 3})),
    );
    let stats = server.get("/autoscaler/stats").json();
    assert_eq!(stats["model_loader"]["active_instances"], json!({CHAT: 3}));
    let loads = |name: &str| stats["model_loader"][name].as_u64().expect("a count");
    assert_eq!(
        loads("total_load_requests"),
        loads("successful_loads") + loads("failed_loads")
    );
    assert!(loads("successful_loads") >= 1);
    assert!(
        stats["model_loader"]["avg_load_time"]
            .as_f64()
            .is_some_and(|seconds| seconds > 0.0)
    );
    assert!(
        stats["performance"]["memory_usage_mb"]
            .as_f64()
            .is_some_and(|size| size > 0.0)
    );
    assert!(
        stats["performance"]["avg_response_time"]
            .as_f64()
            .is_some_and(|seconds| seconds > 0.0)
    );
    assert_eq!(stats["health"]["healthy"], true);
    assert!(stats["health"]["last_health_check"].is_number());

    let health = server.get("/autoscaler/health").json();
    assert_eq!(health["healthy"], true, "{health}");
    let parts = &health["components"];
    assert_eq!(parts["zero_scaler"]["status"], "healthy");
    assert!(parts["zero_scaler"]["last_activity"].is_number());
    assert_eq!(
        parts["model_loader"],
        json!({"status": "healthy", "active_loaders": 0})
    );
    assert!(
        parts["metrics_collector"]["events_processed"]
            .as_u64()
            .is_some_and(|count| count > 0)
    );

    let metrics = server.get("/autoscaler/metrics?window_seconds=300").json();
    assert_eq!(metrics["window_seconds"], 300);
    assert!(metrics["timestamp"].is_number());
    let detailed = &metrics["metrics"]["detailed_metrics"];
    for name in ["prediction_rate", "response_times", "memory_usage"] {
        let series = detailed[name].as_array().expect(name);
        assert!(
            series
                .iter()
                .all(|number| number.as_f64().is_some_and(|number| number >= 0.0))
        );
    }
    assert_eq!(
        metrics["metrics"]["model_loader"]["success_rate"], 1.0,
        "{metrics}"
    );

    let back = post(
        &server,
        &format!("/autoscaler/scale?model_name={CHAT}&target_instances=1"),
    );
    assert_eq!(back["target_instances"], 1);
    let reply = server.send(
        "DELETE",
        &format!("/autoscaler/unload?model_name={CHAT}"),
        &[],
        b"",
    );
    let expected = json!({
        "success": true, "message": format!("Successfully unloaded {CHAT}:v1"), "model_name": CHAT, "version": "v1",
    });
    assert_eq!(reply.json(), expected);
    assert_eq!(
        server.get("/autoscaler/stats").json()["model_loader"]["active_instances"],
        json!({})
    );
}

#[test]
fn the_autoscaler_refuses_with_400_404_and_422() {
    let server = Server::start(&[]);
    for (method, path, status) in [
        (
            "POST",
            "/autoscaler/load?model_name=no-such-model&version=v1".to_owned(),
            404,
        ),
        (
            "POST",
            format!("/autoscaler/load?model_name={CHAT}&version=v9"),
            404,
        ),
        ("POST", "/autoscaler/load?version=v1".to_owned(), 422),
        (
            "DELETE",
            "/autoscaler/unload?model_name=no-such-model".to_owned(),
            404,
        ),
        ("DELETE", "/autoscaler/unload".to_owned(), 422),
        (
            "POST",
            "/autoscaler/scale?model_name=no-such-model&target_instances=3".to_owned(),
            404,
        ),
        (
            "POST",
            format!("/autoscaler/scale?model_name={CHAT}&target_instances=-1"),
            400,
        ),
        (
            "POST",
            format!("/autoscaler/scale?model_name={CHAT}&target_instances=17"),
            400,
        ),
        (
            "POST",
            format!("/autoscaler/scale?model_name={CHAT}&target_instances=many"),
            422,
        ),
        ("POST", format!("/autoscaler/scale?model_name={CHAT}"), 422),
        (
            "GET",
            "/autoscaler/metrics?window_seconds=0".to_owned(),
            400,
        ),
        (
            "GET",
            "/autoscaler/metrics?window_seconds=long".to_owned(),
            422,
        ),
        (
            "POST",
            "/models/manage?action=optimize&model_name=no-such-model".to_owned(),
            404,
        ),
        (
            "POST",
            format!("/models/manage?action=levitate&model_name={CHAT}"),
            400,
        ),
        (
            "POST",
            format!("/models/manage?action=retry&model_name={CHAT}"),
            400,
        ),
        ("POST", format!("/models/manage?model_name={CHAT}"), 422),
        (
            "POST",
            format!("/models/manage?action=delete&model_name={CHAT}"),
            409,
        ),
    ] {
        let reply = server.send(method, &path, &[], b"");
        assert_eq!(reply.status, status, "{method} {path}: {}", reply.body);
        let body = reply.json();
        assert_eq!(
            (&body["success"], &body["status_code"]),
            (&json!(false), &json!(status))
        );
        assert!(
            body["error"].is_string() && body["detail"].is_string(),
            "{body}"
        );
        assert!(is_datetime(&body["timestamp"]));
    }
}

#[test]
fn the_framework_lists_and_manages_models() {
    let server = Server::start(&[]);
    let list = server.get("/models").json();
    let names = list["models"].as_array().expect("models");
    assert!(
        names.contains(&json!(CHAT)) && names.contains(&json!(EMBED)),
        "{list}"
    );
    assert_eq!(list["total_models"], names.len());
    assert_eq!(
        list["model_info"].as_object().map(serde_json::Map::len),
        Some(names.len())
    );
    let expected =
        json!({"model_name": CHAT, "device": "cpu", "loaded": false, "optimized": false});
    assert_eq!(list["model_info"][CHAT], expected);

    let managed = post(
        &server,
        &format!("/models/manage?action=optimize&model_name={CHAT}"),
    );
    assert_eq!(
        (
            &managed["success"],
            &managed["action"],
            &managed["model_name"]
        ),
        (&json!(true), &json!("optimize"), &json!(CHAT))
    );
    let info = &server.get("/models").json()["model_info"][CHAT];
    assert_eq!(
        (&info["loaded"], &info["optimized"]),
        (&json!(true), &json!(true))
    );

    let managed = server.get("/models/managed").json();
    let models = managed["downloaded_models"].as_array().expect("models");
    assert_eq!(managed["total_models"], models.len());
    let model = models
        .iter()
        .find(|model| model["name"] == CHAT)
        .expect("it is installed");
    assert_eq!(
        (&model["loaded"], &model["is_tts"]),
        (&json!(true), &json!(false))
    );
    assert!(
        model["parameters"].as_u64().is_some_and(|count| count > 0),
        "{model}"
    );
    assert!(
        model["memory_usage"]["allocated_mb"]
            .as_f64()
            .is_some_and(|size| size > 0.0)
    );
    let idle = models
        .iter()
        .find(|model| model["name"] == EMBED)
        .expect("it is installed");
    assert!(
        idle["parameters"].as_u64().is_some_and(|count| count > 0),
        "{idle}"
    );
    assert_eq!(managed["summary"]["total_parameters"], model["parameters"]);
    assert_eq!(
        idle["memory_usage"],
        json!({"allocated_mb": 0.0, "reserved_mb": 0.0})
    );
    assert_eq!(managed["summary"]["total_loaded"], 1);
    assert_eq!(
        managed["summary"]["tts_models_count"],
        managed["categories"]["tts_models"]
            .as_array()
            .expect("a list")
            .len()
    );

    for action in ["pin", "unpin"] {
        let managed = post(
            &server,
            &format!("/models/manage?action={action}&model_name={CHAT}"),
        );
        assert_eq!(
            (&managed["success"], &managed["action"]),
            (&json!(true), &json!(action))
        );
        let pinned = &server.get("/autoscaler/stats").json()["zero_scaler"]["preloaded_models"];
        assert_eq!(
            pinned
                .as_array()
                .is_some_and(|names| names.contains(&json!(CHAT))),
            action == "pin"
        );
    }
    let optimized = post(&server, "/server/optimize");
    assert_eq!(optimized["success"], true);
    assert!(optimized["memory_freed_mb"].is_number() && optimized["models_optimized"].is_u64());
    assert!(optimized["optimizations_applied"].is_array());
}

#[test]
fn the_models_on_disk_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/ember.gguf");
    std::fs::copy(&path, folder.path().join("mine.gguf")).expect("the built-in model's file");
    let models_dir = folder.path().to_str().expect("a plain path");
    let server = Server::start(&["--models-dir", models_dir]);
    let cache = server.get("/models/cache/info").json();
    assert_eq!(cache["cache_directory"], models_dir);
    assert_eq!(
        (&cache["total_models"], &cache["models"]),
        (&json!(1), &json!(["mine"]))
    );
    let bytes = std::fs::metadata(&path).expect("a file").len() as f64;
    assert_eq!(
        cache["total_size_mb"].as_f64(),
        Some(bytes / f64::from(1 << 20))
    );
    assert_eq!(cache["tts_specific"]["tts_models_count"], 0);
    assert!(
        cache["cache_optimization"]["cache_hit_rate"].is_null(),
        "nothing was asked for yet"
    );
}

#[test]
fn models_are_verified_and_deleted_where_they_are_the_servers_own() {
    let (folder, elsewhere) = (
        tempfile::tempdir().expect("a folder"),
        tempfile::tempdir().expect("a folder"),
    );
    let original = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/ember.gguf");
    let (mine, other) = (
        folder.path().join("mine.gguf"),
        elsewhere.path().join("other.gguf"),
    );
    let torn = folder.path().join("torn.gguf");
    for path in [&mine, &other] {
        std::fs::copy(&original, path).expect("the built-in model's file");
    }
    let whole = std::fs::read(&original).expect("the built-in model's file");
    std::fs::write(&torn, &whole[..whole.len() - 1]).expect("a file");
    let named = format!("other={}", other.display());
    let models_dir = folder.path().to_str().expect("a plain path");
    let server = Server::start(&[
        "--models-dir",
        models_dir,
        "--model",
        &named,
        "--alias",
        "gpt=mine",
    ]);
    let manage = |action: &str, model: &str| {
        let path = format!("/models/manage?action={action}&model_name={model}");
        let reply = server.send("POST", &path, &[], b"");
        (reply.status, reply.json())
    };
    let verify = |model: &str, success: bool, words: &str| {
        let (status, body) = manage("verify", model);
        assert_eq!((status, &body["success"]), (200, &json!(success)), "{body}");
        assert_eq!(body["action"], "verify");
        let message = body["message"].as_str().expect("a sentence");
        assert!(message.contains(words), "{message}");
    };
    for model in [CHAT, EMBED, "other", "gpt"] {
        verify(model, true, "no SHA-256");
    }
    verify("torn", false, "torn.gguf");
    // The hash of something else, then no hash, then its own.
    let hash = folder.path().join("mine.gguf.sha256");
    let wrong = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  mine.gguf\n";
    std::fs::write(&hash, wrong).expect("a file");
    verify("mine", false, "e3b0c44298fc1c14");
    std::fs::write(&hash, "soon").expect("a file");
    verify("mine", false, "64 hexadecimal digits");
    let own = std::process::Command::new("sha256sum")
        .arg(&mine)
        .output()
        .expect("sha256sum is there");
    std::fs::write(&hash, own.stdout).expect("a file");
    verify("mine", true, "1 of its files");

    // What is not the server's own stays, and what is pinned.
    for (model, words) in [
        (CHAT, "part of the program"),
        ("other", "folder of models"),
        ("gpt", "another name"),
    ] {
        let (status, body) = manage("delete", model);
        assert_eq!((status, &body["success"]), (409, &json!(false)), "{body}");
        let told = body["detail"].as_str().expect("a sentence");
        assert!(told.contains(words), "{told}");
    }
    assert_eq!(manage("pin", "mine").0, 200);
    assert_eq!(manage("delete", "mine").0, 409);
    assert_eq!(manage("unpin", "mine").0, 200);
    assert!(other.exists() && mine.exists());

    server.ok(
        "/v1/completions",
        &json!({"model": "mine", "prompt": "Hello", "max_tokens": 1}),
    );
    let (status, body) = manage("delete", "mine");
    assert_eq!((status, &body["success"]), (200, &json!(true)), "{body}");
    assert!(!mine.exists() && !hash.exists() && torn.exists());
    assert_eq!(manage("delete", "mine").0, 404);
    let loaded = server.get("/health").json()["models_loaded"].clone();
    assert_eq!(loaded, json!([]));
    let (status, body) = manage("delete", "torn");
    assert_eq!(status, 200, "an unsound one too: {body}");
}
