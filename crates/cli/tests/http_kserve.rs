//! The Open Inference Protocol, from outside.

mod http_support;

use std::fs;
use std::io::Write;

use http_support::{Reply, Server};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A small program that `oracle/graph_golden.py` has exported, `(B, 6)` to `(B, 3)`, and its answers.
const PROGRAM: &[u8] = include_bytes!("../../graph/tests/fixtures/mlp.pt2");
const ANSWERS: &str = include_str!("../../graph/tests/fixtures/mlp.json");
const LENGTH: &str = "Inference-Header-Content-Length";

/// A server with the program as `mlp`, and one that cannot be loaded as `cut`.
fn start(arguments: &[&str]) -> Server {
    let home: TempDir = tempfile::tempdir().expect("a folder");
    for (name, program) in [("mlp", PROGRAM), ("cut", &PROGRAM[..PROGRAM.len() / 2])] {
        let folder = home.path().join("models").join(name);
        fs::create_dir_all(&folder).expect("made");
        fs::write(folder.join("model.pt2"), program).expect("written");
        fs::write(folder.join("config.toml"), "max_batch_size = 4").expect("written");
    }
    let variables = [("HEARTH_ONNXRUNTIME", "/no/such/library.so")];
    Server::start_with(home, arguments, &variables)
}

/// The first golden case: inputs and outputs, rows of 6 and of 3.
fn golden() -> (Vec<f32>, Vec<f32>, usize) {
    let golden: Value = serde_json::from_str(ANSWERS).expect("JSON");
    let case = &golden["cases"][0];
    let numbers = |tensor: &Value| -> Vec<f32> {
        let data = tensor["data"].as_array().expect("numbers");
        data.iter()
            .map(|x| x.as_f64().expect("a number") as f32)
            .collect()
    };
    let rows = case["inputs"][0]["shape"][0].as_u64().expect("rows") as usize;
    (
        numbers(&case["inputs"][0]),
        numbers(&case["outputs"][0]),
        rows,
    )
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn assert_close(got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len());
    for (got, want) in got.iter().zip(want) {
        assert!((got - want).abs() < 1e-4, "{got} {want}");
    }
}

/// Asks with bytes after the JSON object; gives the answer's head, the object and the bytes after it.
fn infer_bytes(
    server: &Server,
    head: &Value,
    tensors: &[u8],
    headers: &[(&str, &str)],
) -> (Reply, Value, Vec<u8>) {
    let head = head.to_string();
    let length = head.len().to_string();
    let headers: Vec<(&str, &str)> = headers
        .iter()
        .copied()
        .chain([(LENGTH, length.as_str())])
        .collect();
    let body = [head.as_bytes(), tensors].concat();
    let answer = server.open("POST", "/v2/models/mlp/infer", &headers, &body);
    let (reply, body) = answer.finish_bytes();
    let length = reply.header("inference-header-content-length");
    let length = length.map_or(body.len(), |length| length.parse().expect("a length"));
    let (head, rest) = body.split_at(length);
    let head = serde_json::from_slice(head)
        .unwrap_or_else(|_| panic!("{:?}", String::from_utf8_lossy(head)));
    (reply, head, rest.to_vec())
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let (chunks, rest) = bytes.as_chunks();
    assert!(rest.is_empty());
    chunks.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

#[test]
fn the_server_and_its_networks_describe_themselves() {
    let server = start(&[]);
    let about = server.get("/v2").json();
    assert_eq!(about["name"], "hearth");
    assert!(
        about["extensions"]
            .as_array()
            .is_some_and(|all| all.contains(&json!("binary_tensor_data")))
    );
    assert_eq!(server.get("/v2/health/live").json(), json!({"live": true}));
    assert_eq!(
        server.get("/v2/health/ready").json(),
        json!({"ready": true})
    );
    let described = json!({
        "name": "mlp", "versions": ["1"], "platform": "tract_onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 6]}],
        "outputs": [{"name": "softmax", "datatype": "FP32", "shape": [-1, 3]}],
    });
    for path in ["/v2/models/mlp", "/v2/models/mlp/versions/1"] {
        let reply = server.get(path);
        assert_eq!((reply.status, reply.json()), (200, described.clone()));
        let ready = server.get(&format!("{path}/ready"));
        assert_eq!(
            (ready.status, ready.json()),
            (200, json!({"name": "mlp", "ready": true}))
        );
        let config = server.get(&format!("{path}/config")).json();
        assert_eq!(
            config,
            json!({
                "name": "mlp", "platform": "tract_onnx", "backend": "tract", "max_batch_size": 4,
                "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [6]}],
                "output": [{"name": "softmax", "data_type": "TYPE_FP32", "dims": [3]}],
                "instance_group": [{"kind": "KIND_CPU", "count": 1}],
                "dynamic_batching": {"max_queue_delay_microseconds": 0},
            })
        );
    }
    for (path, status, words) in [
        ("/v2/models/no-such", 404, "'no-such' was not found"),
        ("/v2/models/no-such/ready", 404, "'no-such' was not found"),
        (
            "/v2/models/no-such/versions/2",
            404,
            "'no-such' was not found",
        ),
        (
            "/v2/models/mlp/versions/2",
            404,
            "model 'mlp' has no version \"2\"; it has \"1\"",
        ),
        ("/v2/models/mlp/versions/2/ready", 404, "no version"),
        ("/v2/models/mlp/versions/2/config", 404, "no version"),
        ("/v2/models/mlp/versions/2/stats", 404, "no version"),
        ("/v2/models/ember", 400, "generates text"),
        ("/v2/models/ember/ready", 400, "no exported network"),
        ("/v2/no/such", 404, "nothing at /v2/no/such"),
    ] {
        let reply = server.get(path);
        assert_eq!(reply.status, status, "{path}: {}", reply.body);
        let error = reply.json();
        assert_eq!(
            error.as_object().map(serde_json::Map::len),
            Some(1),
            "{error}"
        );
        assert!(
            error["error"]
                .as_str()
                .is_some_and(|text| text.contains(words)),
            "{path}: {error}"
        );
    }
    // Its load fails, and then it is known that it is not ready.
    assert_eq!(server.get("/v2/models/cut").status, 500);
    let reply = server.get("/v2/models/cut/ready");
    assert_eq!(reply.status, 503, "{}", reply.body);
    assert_eq!(server.get("/v2/health/ready").status, 200);
}

#[test]
fn numbers_and_bytes_give_what_pytorch_gave() {
    let server = start(&[]);
    let (inputs, outputs, rows) = golden();
    let tensor = json!({"name": "x", "shape": [rows, 6], "datatype": "FP32"});
    let nested: Vec<&[f32]> = inputs.chunks(6).collect();
    for (path, data) in [
        ("/v2/models/mlp/infer", json!(inputs)),
        ("/v2/models/mlp/versions/1/infer", json!(nested)),
    ] {
        let mut tensor = tensor.clone();
        tensor["data"] = data;
        let answer = server.ok(path, &json!({"id": "a-1", "inputs": [tensor]}));
        assert_eq!(
            (
                &answer["model_name"],
                &answer["model_version"],
                &answer["id"]
            ),
            (&json!("mlp"), &json!("1"), &json!("a-1"))
        );
        let output = &answer["outputs"][0];
        assert_eq!(
            (&output["name"], &output["datatype"], &output["shape"]),
            (&json!("softmax"), &json!("FP32"), &json!([rows, 3]))
        );
        let got: Vec<f32> = serde_json::from_value(output["data"].clone()).expect("numbers");
        assert_close(&got, &outputs);
    }
    let mut tensor = tensor;
    tensor["parameters"] = json!({"binary_data_size": inputs.len() * 4});
    let head = json!({"inputs": [tensor], "parameters": {"binary_data_output": true}});
    let (reply, answer, rest) = infer_bytes(&server, &head, &bytes(&inputs), &[]);
    assert_eq!(reply.status, 200, "{answer}");
    assert_eq!(
        reply.header("content-type"),
        Some("application/octet-stream")
    );
    assert_eq!(
        answer["outputs"][0]["parameters"]["binary_data_size"],
        outputs.len() * 4
    );
    assert_eq!(answer["outputs"][0].get("data"), None);
    assert_close(&floats(&rest), &outputs);

    // More rows than a batch may have run one batch after the other.
    let many: Vec<f32> = inputs.iter().copied().cycle().take(6 * 11).collect();
    let tensor = json!({
        "name": "x", "shape": [11, 6], "datatype": "FP32", "parameters": {"binary_data_size": 264}
    });
    let head = json!({"inputs": [tensor], "parameters": {"binary_data_output": true}});
    let (_, answer, rest) = infer_bytes(&server, &head, &bytes(&many), &[]);
    assert_eq!(answer["outputs"][0]["shape"], json!([11, 3]));
    let want: Vec<f32> = outputs.iter().copied().cycle().take(3 * 11).collect();
    assert_close(&floats(&rest), &want);

    let how = json!({"classification": 2, "binary_data": false});
    let tensor = json!({"name": "x", "shape": [1, 6], "datatype": "FP32", "data": &inputs[..6]});
    let body = json!({"inputs": [tensor], "outputs": [{"name": "softmax", "parameters": how}]});
    let answer = server.ok("/v2/models/mlp/infer", &body);
    let output = &answer["outputs"][0];
    assert_eq!(
        (&output["datatype"], &output["shape"]),
        (&json!("BYTES"), &json!([1, 2]))
    );
    let first = output["data"][0].as_str().expect("a text");
    let (value, index) = first.split_once(':').expect("a value and a place");
    let (best, most) = { outputs[..3].iter().enumerate() }
        .max_by(|a, b| a.1.total_cmp(b.1))
        .expect("three");
    assert_eq!(index, best.to_string());
    assert!((value.parse::<f32>().expect("a number") - most).abs() < 1e-4);
}

#[test]
fn compressed_bodies_come_and_go() {
    let server = start(&[]);
    let head = json!({"inputs": [{
        "name": "x", "shape": [400, 6], "datatype": "FP32", "parameters": {"binary_data_size": 9600}
    }]});
    let plain = [head.to_string().as_bytes(), &[0u8; 9600]].concat();
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("written");
        encoder.finish().expect("packed")
    };
    let length = head.to_string().len().to_string();
    let headers = [
        (LENGTH, length.as_str()),
        ("Content-Encoding", "gzip"),
        ("Accept-Encoding", "gzip"),
    ];
    let answer = server.open("POST", "/v2/models/mlp/infer", &headers, &gzip(&plain));
    let (reply, body) = answer.finish_bytes();
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-encoding"), Some("gzip"));
    let text = std::io::read_to_string(flate2::read::GzDecoder::new(&body[..])).expect("gzip");
    let answer: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(answer["outputs"][0]["shape"], json!([400, 3]));

    // What is small as it comes and huge as it is, is not taken.
    let bomb = gzip(&vec![b' '; 200 << 20]);
    let reply = server.send(
        "POST",
        "/v2/models/mlp/infer",
        &[("Content-Encoding", "gzip")],
        &bomb,
    );
    assert_eq!(reply.status, 413, "{}", reply.body);
    for (encoding, body) in [
        ("gzip", &b"no gzip"[..]),
        ("br", b"{}"),
        ("gzip", &gzip(b"{}")[..12]),
    ] {
        let headers = [("Content-Encoding", encoding)];
        let reply = server.send("POST", "/v2/models/mlp/infer", &headers, body);
        assert_eq!(reply.status, 400, "{encoding}: {}", reply.body);
        assert!(reply.json()["error"].is_string());
    }
}

#[test]
fn hostile_requests_are_refused() {
    let server = start(&[]);
    let tensor = |shape: Value, more: Value| {
        let tensor = json!({"name": "x", "shape": shape, "datatype": "FP32"});
        json!({"inputs": [http_support::merge(tensor, more)]})
    };
    let numbers = json!({"data": [1, 2, 3, 4, 5, 6]});
    let size = |size: u64| json!({"parameters": {"binary_data_size": size}});
    for (head, binary) in [
        (tensor(json!([-1, 6]), numbers.clone()), &b""[..]),
        (tensor(json!([1, 7]), numbers.clone()), b""),
        (tensor(json!([6]), numbers.clone()), b""),
        (tensor(json!([2, 3]), numbers.clone()), b""),
        (tensor(json!([u64::MAX, u64::MAX]), numbers.clone()), b""),
        (tensor(json!([1u64 << 62, 6]), size(24)), &[0; 24]),
        (tensor(json!([0, 6]), json!({"data": []})), b""),
        (tensor(json!([1, 6]), size(24)), &[0; 23]),
        (tensor(json!([1, 6]), size(24)), &[0; 25]),
        (tensor(json!([1, 6]), size(u64::MAX)), b""),
        (
            tensor(json!([1, 6]), json!({"data": [1, 2, 3, 4, 5, 1e39]})),
            b"",
        ),
        (json!({"inputs": []}), b""),
        (json!({}), b""),
    ] {
        let (reply, error, _) = infer_bytes(&server, &head, binary, &[]);
        assert_eq!(reply.status, 400, "{head}: {error}");
        assert!(error["error"].is_string(), "{error}");
    }
    // Each batch that it would take has a price of its own.
    let rows = 4 * 4096 + 1;
    let head = tensor(json!([rows, 6]), size(rows * 24));
    let (reply, error, _) = infer_bytes(&server, &head, &vec![0; rows as usize * 24], &[]);
    assert_eq!(reply.status, 400, "{error}");
    let body = tensor(json!([1, 6]), numbers).to_string();
    for length in ["-1", "1000000", "99999999999999999999", "one", "3"] {
        let headers = [(LENGTH, length)];
        let reply = server.send("POST", "/v2/models/mlp/infer", &headers, body.as_bytes());
        assert_eq!(reply.status, 400, "{length}: {}", reply.body);
    }
    let deep = format!(
        "{{\"inputs\": [{{\"name\": \"x\", \"data\": {}",
        "[".repeat(100_000)
    );
    let many = format!("{{\"inputs\": [{}1]}}", "1,".repeat(5 << 20));
    for (body, status) in [
        (deep.as_str(), 400),
        (many.as_str(), 413),
        ("", 400),
        ("[", 400),
    ] {
        let reply = server.send("POST", "/v2/models/mlp/infer", &[], body.as_bytes());
        assert_eq!(reply.status, status, "{}", reply.body);
    }
    let reply = server.send("POST", "/v2/models/mlp/infer", &[], body.as_bytes());
    assert_eq!(reply.status, 200, "{}", reply.body);
}

#[test]
fn the_repository_loads_and_unloads_and_statistics_count() {
    let mut server = start(&[]);
    let state = |name: &str| {
        let index = server.send("POST", "/v2/repository/index", &[], b"").json();
        let entries = index.as_array().expect("networks").clone();
        let entry = entries.iter().find(|entry| entry["name"] == name).cloned();
        entry.unwrap_or_else(|| panic!("{name}: {index}"))["state"].clone()
    };
    assert_eq!(
        (state("mlp"), state("example")),
        (json!("UNAVAILABLE"), json!("UNAVAILABLE"))
    );
    let load = server.post("/v2/repository/models/mlp/load", &json!({"parameters": {}}));
    assert_eq!(load.status, 200, "{}", load.body);
    assert_eq!(state("mlp"), "READY");
    let ready = server.ok("/v2/repository/index", &json!({"ready": true}));
    assert_eq!(
        ready,
        json!([{"name": "mlp", "version": "1", "state": "READY", "reason": ""}])
    );

    let tensor = json!({"name": "x", "shape": [6, 6], "datatype": "FP32", "data": vec![0.5; 36]});
    server.ok("/v2/models/mlp/infer", &json!({"inputs": [tensor]}));
    server.ok("/mlp/predict", &json!({"inputs": [1, 2, 3, 4, 5, 6]}));
    // A request is counted when its answer has been sent, which its reader may be a moment ahead of.
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let stats = loop {
        let stats = server.get("/v2/models/mlp/stats").json()["model_stats"][0].clone();
        if stats["inference_stats"]["success"]["count"] == 2 {
            break stats;
        }
        assert!(std::time::Instant::now() < until, "{stats}");
    };
    assert_eq!(
        (&stats["name"], &stats["version"]),
        (&json!("mlp"), &json!("1"))
    );
    // Six rows as batches of four and two, and one more.
    assert_eq!(
        (&stats["inference_count"], &stats["execution_count"]),
        (&json!(7), &json!(3))
    );
    let sizes: Vec<&Value> = stats["batch_stats"]
        .as_array()
        .expect("sizes")
        .iter()
        .map(|batch| &batch["batch_size"])
        .collect();
    assert_eq!(sizes, [1, 2, 4]);
    assert!(stats["inference_stats"]["compute_infer"]["ns"].as_u64() > Some(0));
    let all = server.get("/v2/models/stats").json();
    assert_eq!(all["model_stats"].as_array().map(Vec::len), Some(1));

    let unload = json!({"parameters": {"unload_dependents": false}});
    let unload = server.post("/v2/repository/models/mlp/unload", &unload);
    assert_eq!(unload.status, 200, "{}", unload.body);
    assert_eq!(state("mlp"), "UNAVAILABLE");
    for (path, body, status) in [
        ("/v2/repository/models/no-such/load", json!({}), 404),
        ("/v2/repository/models/ember/load", json!({}), 400),
        (
            "/v2/repository/models/mlp/load",
            json!({"parameters": {"config": "{}"}}),
            400,
        ),
        (
            "/v2/repository/models/mlp/load",
            json!({"parameters": {"file:1/model.onnx": ""}}),
            400,
        ),
        ("/v2/repository/models/cut/load", json!({}), 500),
    ] {
        let reply = server.post(path, &body);
        assert_eq!(reply.status, status, "{path}: {}", reply.body);
        assert!(reply.json()["error"].is_string());
    }
    server.terminate();
    assert!(server.wait());
    let record = fs::read_to_string(server.home().join("audit/audit-000000000001.jsonl"));
    let record = record.expect("the record");
    assert!(
        record.contains("\"action\":\"unload\"") && record.contains("\"model\":\"mlp\""),
        "{record}"
    );
}

#[test]
fn a_timeout_is_obeyed() {
    let home: TempDir = tempfile::tempdir().expect("a folder");
    let folder = home.path().join("models/slow");
    fs::create_dir_all(&folder).expect("made");
    fs::write(folder.join("model.pt2"), PROGRAM).expect("written");
    // Its requests wait for others, so that one alone is late.
    fs::write(folder.join("config.toml"), "max_delay_ms = 10000").expect("written");
    let server = Server::start_with(home, &[], &[("HEARTH_ONNXRUNTIME", "/no/such/library.so")]);
    server.post("/v2/repository/models/slow/load", &json!({}));
    let tensor =
        json!({"name": "x", "shape": [1, 6], "datatype": "FP32", "data": [1, 2, 3, 4, 5, 6]});
    let body = json!({"inputs": [tensor], "parameters": {"timeout": 20000, "priority": 1}});
    let reply = server.post("/v2/models/slow/infer", &body);
    assert_eq!(reply.status, 503, "{}", reply.body);
}
