//! The framework and voice dialects beside model residency, from outside.

mod http_support;

use http_support::{CHAT, Server, completion, hearth, is_datetime, is_percent, is_size};
use serde_json::{Value, json};

#[test]
fn the_server_tells_what_it_is() {
    let server = Server::start(&[]);
    let root = server.get("/").json();
    assert_eq!(root["status"], "running");
    for name in ["message", "version", "environment"] {
        assert!(root[name].is_string(), "{name}: {root}");
    }
    assert!(is_datetime(&root["timestamp"]));
    assert_eq!(
        root["tts_support"],
        json!({"enabled": false, "supported_models": [], "features": []})
    );
    assert_eq!(root["endpoints"]["inference"]["batch"], "/predict/batch");
    assert_eq!(root["endpoints"]["audio"]["transcribe"], "/stt/transcribe");
    let paths = server.get("/openapi.json").json();
    for group in root["endpoints"].as_object().expect("groups").values() {
        for path in group.as_object().expect("paths").values() {
            let path = path.as_str().expect("a path");
            assert!(
                !paths["paths"][path].is_null(),
                "{path} is told, but not there"
            );
        }
    }

    let info = server.get("/info").json();
    assert_eq!(
        (&info["name"], &info["status"]),
        (&json!("Hearth"), &json!("healthy"))
    );
    assert!(info["uptime"].as_f64().is_some_and(|seconds| seconds > 0.0));
    let system = &info["system"];
    assert_eq!(system["os"], std::env::consts::OS);
    assert!(system["cpu_count"].as_u64().is_some_and(|count| count > 0));
    let (total, available) = (&system["memory_total_gb"], &system["memory_available_gb"]);
    assert!(
        total.as_f64() >= available.as_f64() && available.as_f64() > Some(0.0),
        "{info}"
    );
    assert_eq!(
        (&info["device"]["device_type"], &info["device"]["device_id"]),
        (&json!("cpu"), &json!(0))
    );
    assert!(
        info["device"]["device_name"]
            .as_str()
            .is_some_and(|name| !name.is_empty())
    );
    assert_eq!(info["models"]["loaded"], json!([]));
    assert_eq!(
        info["api_families"],
        json!(["framework", "voice", "tursi", "inferno"])
    );
}

#[test]
fn measurements_are_null_before_the_first_request_and_numbers_after() {
    let server = Server::start(&[]);
    let before = server.get("/stats").json();
    assert_eq!(before["stats"]["requests_processed"], 0, "{before}");
    assert!(before["stats"]["avg_processing_time"].is_null());
    for name in ["latency_p50", "latency_p95", "latency_p99"] {
        assert!(before["performance_report"][name].is_null(), "{name}");
    }
    server.ok(
        "/v1/completions",
        &completion("Hello", json!({"max_tokens": 3})),
    );
    let after = server.get("/stats").json();
    let stats = &after["stats"];
    assert_eq!(
        (
            &stats["requests_processed"],
            &stats["active_requests"],
            &stats["queue_size"]
        ),
        (&json!(1), &json!(0), &json!(0))
    );
    for name in [
        "total_processing_time",
        "avg_processing_time",
        "memory_usage_mb",
    ] {
        assert!(
            stats[name].as_f64().is_some_and(|number| number > 0.0),
            "{name}: {after}"
        );
    }
    let report = &after["performance_report"];
    let percentile = |name: &str| report[name].as_f64().expect("a number");
    assert!(percentile("latency_p50") <= percentile("latency_p95"));
    assert!(percentile("latency_p95") <= percentile("latency_p99"));
    assert!(
        report["throughput_fps"]
            .as_f64()
            .is_some_and(|rate| rate > 0.0)
    );
    assert!(
        report["device_utilization"]
            .as_f64()
            .is_some_and(|share| (0.0..=1.0).contains(&share))
    );

    let metrics = server.get("/metrics/server").json();
    assert_eq!(metrics["models_in_memory"], 1);
    assert!(
        metrics["cache_hit_rate"]
            .as_f64()
            .is_some_and(|rate| (0.0..=1.0).contains(&rate))
    );
    let system = &metrics["system_metrics"];
    for name in [
        "cpu_percent",
        "memory_percent",
        "memory_available_gb",
        "memory_total_gb",
    ] {
        assert!(
            system[name].as_f64().is_some_and(|number| number >= 0.0),
            "{name}: {metrics}"
        );
    }
    let gpu = &metrics["gpu_metrics"];
    if gpu["gpu_available"] == false {
        let expected = json!({
            "gpu_available": false, "gpu_count": 0, "current_device": null, "memory_allocated_mb": 0.0,
            "memory_reserved_mb": 0.0, "gpu_utilization": null,
        });
        assert_eq!(gpu, &expected);
    }
    let speech = json!({
        "tts_models_loaded": 0, "tts_models": [], "avg_synthesis_time_ms": null, "synthesis_requests_total": 0,
    });
    assert_eq!(metrics["tts_metrics"], speech);

    let speech = server.get("/metrics/tts").json();
    let expected = json!({
        "requests_processed": 0, "avg_processing_time": null, "success_rate": null, "models_performance": {},
        "audio_stats": {"total_audio_generated_minutes": 0.0, "avg_audio_length_seconds": null, "formats_used": {}},
        "optimization_stats": {"cache_hits": 0, "gpu_accelerated_requests": 0, "batch_processed_requests": 0},
    });
    assert_eq!(speech, expected);
}

#[test]
fn settings_are_told() {
    let server = Server::start(&[]);
    let config = server.get("/config").json();
    let device =
        json!({"device_type": "cpu", "device_id": 0, "use_fp16": false, "use_tensorrt": false});
    assert_eq!(config["configuration"]["device"], device);
    let batch = &config["configuration"]["batch"];
    assert!(
        batch["batch_size"].as_u64() >= Some(1)
            && batch["max_batch_size"].as_u64() >= batch["batch_size"].as_u64()
    );
    assert_eq!(
        config["inference_config"]["batch_size"],
        batch["batch_size"]
    );
    assert_eq!(config["server_config"]["host"], "127.0.0.1");
    assert_eq!(
        config["server_config"]["port"],
        server.port(),
        "the port that the system chose"
    );
    for name in ["server_config", "logging_config"] {
        let level = config[name]["log_level"].as_str().expect("a level");
        assert!(
            ["DEBUG", "INFO", "WARNING", "ERROR"].contains(&level),
            "{config}"
        );
    }
    assert!(config["logging_config"]["log_directory"].is_string());
    for file in config["logging_config"]["log_files"]
        .as_object()
        .expect("a map")
        .values()
    {
        assert!(
            file["size_mb"].is_number() && is_datetime(&file["last_modified"]),
            "{config}"
        );
    }

    let own = server.get("/server/config").json();
    for name in ["optimization_level", "caching_strategy", "tts_backend"] {
        assert!(own[name].is_string(), "{name}: {own}");
    }
    assert!(
        own["server_features"]
            .as_array()
            .is_some_and(|features| features.contains(&json!("chat")))
    );
    assert_eq!(
        own["tts_configuration"]["default_models"],
        json!({"tts": null, "vocoder": null})
    );
    assert_eq!(own["performance_settings"]["batch_optimization"], true);
}

#[test]
fn hardware_is_told_as_it_is() {
    let server = Server::start(&[]);
    let detected = server.get("/gpu/detect?include_benchmarks=false").json();
    let gpus = detected["gpus"].as_array().expect("a list");
    assert_eq!(
        (&detected["total_gpus"], &detected["include_benchmarks"]),
        (&json!(gpus.len()), &json!(false))
    );
    assert!(detected["cpu"]["benchmarks"].is_null() && detected["cpu"]["kernels"].is_string());
    let measured = server.get("/gpu/detect?include_benchmarks=true").json();
    assert_eq!(measured["include_benchmarks"], true);
    for name in ["f32_gflops", "int8_gops"] {
        let figure = &measured["cpu"]["benchmarks"][name];
        assert!(figure.as_f64().is_some_and(|rate| rate > 0.0), "{measured}");
    }

    let best = server.get("/gpu/best").json();
    assert!(
        best["message"]
            .as_str()
            .is_some_and(|text| !text.is_empty())
    );
    if detected["suitable_gpus"] == 0 {
        assert!(best["best_gpu"].is_null(), "{best}");
    }
    let config = server.get("/gpu/config").json();
    let device = json!({
        "device_type": "cpu", "device_id": 0, "use_fp16": false, "use_int8": true, "use_tensorrt": false,
        "use_torch_compile": false, "compile_mode": "none",
    });
    assert_eq!(
        (&config["device_config"], &config["pytorch_device"]),
        (&device, &json!("cpu"))
    );
    let memory = &config["memory_recommendations"];
    assert!(
        memory["batch_size"].as_u64() >= Some(1) && memory["max_batch_size"].as_u64() >= Some(1)
    );
    assert!(
        memory["memory_fraction"]
            .as_f64()
            .is_some_and(|share| share > 0.0 && share <= 1.0),
        "{config}"
    );
    assert!(config["optimization_recommendations"]["recommended_optimizers"].is_array());

    let report = server.get("/gpu/report?format=json").json();
    assert_eq!(
        report["summary"]["total_gpus"],
        report["gpus"].as_array().expect("a list").len()
    );
    assert_eq!(report["device_config"]["use_tensorrt"], false);
    assert!(report["recommendations"]["memory"]["max_batch_size"].is_u64());
    let text = server.get("/gpu/report?format=text");
    assert_eq!(
        text.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    assert!(text.body.contains("device: cpu"), "{}", text.body);
    for (path, status) in [
        ("/gpu/detect?include_benchmarks=perhaps", 422),
        ("/gpu/report?format=papyrus", 400),
    ] {
        assert_eq!(server.get(path).status, status, "{path}");
    }
}

#[test]
fn models_to_be_had_are_those_of_the_file_and_those_that_are_installed() {
    let home = tempfile::tempdir().expect("a folder for the server's home");
    let file = home.path().join("models.json");
    // The document's own entries.
    let speaking = |id: &str, size: u64, features: Value| {
        json!({
            "source": "huggingface", "model_id": id, "task": "text-to-speech", "description": "speaks",
            "size_mb": size, "tags": ["tts"], "tts_features": features,
        })
    };
    let offers = json!({
        "speecht5_tts": speaking("microsoft/speecht5_tts", 2500, json!({
            "supports_tts": true, "quality": "very-high", "speed": "medium", "vocoder_required": true,
        })),
        "bark_tts": speaking("suno/bark", 4000, json!({
            "quality": "very-high", "speed": "slow", "supports_voice_cloning": true, "supports_emotions": true,
        })),
        "resnet50": {"source": "url", "model_id": "https://example.org/resnet50", "task": "image-classification"},
    });
    std::fs::write(&file, offers.to_string()).expect("a file");
    let server = Server::start_with(home, &[], &[]);
    let told = server.get("/models/available").json();
    let models = told["available_models"].as_object().expect("models");
    assert_eq!(told["total_available"], models.len());
    assert_eq!(models["bark_tts"], {
        let mut entry = offers["bark_tts"].clone();
        entry["name"] = json!("bark_tts");
        entry["size_mb"] = json!(4000.0);
        entry["tts_features"]["supports_tts"] = json!(true);
        entry
    });
    assert!(models["resnet50"]["size_mb"].is_null());
    let ember = &models["ember"];
    assert_eq!(
        (&ember["source"], &ember["task"]),
        (&json!("hearth"), &json!("text-generation"))
    );
    assert!(
        ember["size_mb"].as_f64().is_some_and(|size| size > 0.0),
        "{ember}"
    );
    let categories = &told["categories"];
    assert_eq!(
        categories["tts_models"],
        json!(["speecht5_tts", "bark_tts"])
    );
    let general = categories["general_models"].as_array().expect("names");
    assert!(general.contains(&json!("resnet50")) && general.contains(&json!("ember")));
    let recommended = &told["download_recommendations"];
    assert_eq!(
        recommended["fast_setup"],
        json!(["speecht5_tts", "bark_tts"])
    );
    assert_eq!(recommended["beginners"], json!(["bark_tts"]));
    assert_eq!(recommended["advanced"], json!(["bark_tts"]));
    assert_eq!(
        recommended["highest_quality"],
        json!(["speecht5_tts", "bark_tts"])
    );

    let file = server.home().join("models.json");
    std::fs::write(&file, r#"{"b": {"sorce": "url"}}"#).expect("a file");
    let (is_good, text) = hearth(server.home(), &["config"], "");
    assert!(
        !is_good && text.contains("'b.sorce'") && text.contains("'source'"),
        "{text}"
    );
}

#[test]
fn voices_and_status_need_no_speech() {
    let server = Server::start(&[]);
    assert_eq!(server.get("/voices").json(), json!({"voices": []}));
    for path in [
        "/voices/no-such-voice",
        "/audio/files/no-such-file.mp3",
        "/audio/files/..%2F..%2Fetc%2Fpasswd",
    ] {
        let reply = server.get(path);
        assert_eq!(
            (reply.status, &reply.json()["error"]["code"]),
            (404, &json!("NOT_FOUND")),
            "{path}"
        );
        assert!(!reply.body.contains("root:"));
    }
    let status = server.get("/status").json();
    assert_eq!(
        (&status["active_requests"], &status["cache_size"]),
        (&json!(0), &json!(0))
    );
    assert!(
        is_size(&status["memory_usage"]) && is_percent(&status["cpu_usage"]),
        "{status}"
    );
    let none = json!({"requests": 0, "tokens": 0});
    assert_eq!(
        status["api_usage"],
        json!({"openai": none, "baseten": none})
    );
    let health = server.get("/audio/health").json();
    for name in ["audio_available", "tts_available", "stt_available"] {
        assert_eq!(health[name], false, "{health}");
    }
    assert!(
        health["errors"]
            .as_array()
            .is_some_and(|errors| !errors.is_empty())
    );
}

#[test]
fn what_is_not_there_yet_says_so_in_its_familys_envelope() {
    let server = Server::start(&[]);
    for (method, path) in [
        ("POST", "/synthesize"),
        ("POST", "/tts/synthesize"),
        ("POST", "/stt/transcribe"),
        ("POST", "/transcribe"),
        ("GET", "/audio/models"),
        ("GET", "/tts/health"),
        ("POST", "/audio/validate?file_path=x.wav"),
        ("POST", "/models/download"),
        ("GET", "/models/download/status/abc"),
    ] {
        let reply = server.send(method, path, &[], b"{}");
        assert_eq!(reply.status, 501, "{path}: {}", reply.body);
        let body = reply.json();
        assert_eq!(
            (&body["success"], &body["status_code"]),
            (&json!(false), &json!(501))
        );
        assert!(
            body["detail"]
                .as_str()
                .is_some_and(|text| text.contains("not implemented")),
            "{body}"
        );
    }
    for path in ["/generate", "/chat"] {
        let reply = server.post(path, &json!({"text": "Hello", "message": "Hello"}));
        assert_eq!(
            (reply.status, &reply.json()["error"]["code"]),
            (501, &json!("NOT_IMPLEMENTED"))
        );
    }
    let body = json!({"source_model": CHAT, "target_format": "gguf"});
    let reply = server.post("/v1/convert", &body);
    assert_eq!(
        (reply.status, &reply.json()["error"]["code"]),
        (501, &json!("not_implemented"))
    );
    let wrong = server.send("DELETE", "/predict", &[], b"");
    assert_eq!((wrong.status, wrong.header("allow")), (405, Some("POST")));
    let unknown: Value = server.get("/no/such/path").json();
    assert_eq!(
        (&unknown["success"], &unknown["status_code"]),
        (&json!(false), &json!(404))
    );
}
