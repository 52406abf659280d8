//! Exported networks, from outside: the framework dialect's predictions.

mod http_support;

use std::fs;
use std::path::Path;

use hearth_graph::onnx::{DataType, Dim, Graph, Model, Node, ValueInfo};
use http_support::{Server, merge};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A small program that `oracle/graph_golden.py` has exported, `(B, 6)` to `(B, 3)`, and its answers.
const PROGRAM: &[u8] = include_bytes!("../../graph/tests/fixtures/mlp.pt2");
const ANSWERS: &str = include_str!("../../graph/tests/fixtures/mlp.json");
/// One with two named inputs, `(B, L)` integers and their mask.
const BERT: &[u8] = include_bytes!("../../graph/tests/fixtures/bert.pt2");

/// A home with networks in folders of their own.
fn home(networks: &[(&str, &[u8], &str)]) -> TempDir {
    let home = tempfile::tempdir().expect("a folder");
    for (name, program, config) in networks {
        let folder = home.path().join("models").join(name);
        fs::create_dir_all(&folder).expect("made");
        fs::write(folder.join("model.pt2"), program).expect("written");
        if !config.is_empty() {
            fs::write(folder.join("config.toml"), config).expect("written");
        }
    }
    home
}

/// A server that has only the runtime which is always there.
fn start(home: TempDir) -> Server {
    Server::start_with(home, &[], &[("HEARTH_ONNXRUNTIME", "/no/such/library.so")])
}

fn numbers(value: &Value) -> Vec<f64> {
    let values = value.as_array().unwrap_or_else(|| panic!("{value}"));
    values
        .iter()
        .map(|x| x.as_f64().expect("a number"))
        .collect()
}

fn rows(tensor: &Value) -> Vec<Value> {
    let width = tensor["shape"][1].as_u64().expect("two dimensions") as usize;
    numbers(&tensor["data"])
        .chunks(width)
        .map(|row| json!(row))
        .collect()
}

fn assert_close(got: &Value, want: &Value) {
    for (got, want) in numbers(got).iter().zip(numbers(want)) {
        assert!((got - want).abs() < 1e-4, "{got} {want}");
    }
}

#[test]
fn the_documents_requests_are_answered() {
    let server = start(tempfile::tempdir().expect("a folder"));
    let body = json!({
        "model_name": "example", "inputs": [1, 2, 3, 4, 5], "token": "optional_auth_token", "priority": 0,
        "timeout": 30.0, "enable_batching": true
    });
    let one = server.ok("/predict", &body);
    assert_eq!(one["success"], true);
    let rising = one["result"].as_f64().expect("a score");
    assert!(rising > 0.9 && rising <= 1.0, "{one}");
    assert!(
        one["processing_time"]
            .as_f64()
            .is_some_and(|seconds| seconds > 0.0)
    );
    assert_eq!(
        one["model_info"],
        json!({
            "model": "example", "device": "cpu", "input_type": "single", "input_count": 1,
            "processing_path": "tract"
        })
    );
    assert_eq!(
        one["batch_info"],
        json!({
            "inflight_batching_enabled": true, "processed_as_batch": false, "concurrent_optimization": false,
            "padded": false
        })
    );

    let inputs = json!([[1, 2, 3, 4, 5], [6, 7, 8, 9, 10], [15, 14, 13, 12, 11]]);
    let three = server.ok(
        "/predict",
        &merge(body, json!({"inputs": inputs, "priority": 1})),
    );
    let scores = numbers(&three["result"]);
    assert_eq!(scores.len(), 3);
    assert!(
        (scores[0] - rising).abs() < 1e-5 && scores[2] < 0.1,
        "{three}"
    );
    assert_eq!(three["model_info"]["input_type"], "batch");
    assert_eq!(three["model_info"]["input_count"], 3);
    assert_eq!(three["batch_info"]["processed_as_batch"], true);

    let batch = json!({
        "inputs": [[1, 2, 3], [4, 5, 6], [7, 8, 9]], "priority": 0, "timeout": 60.0, "enable_batching": true
    });
    let batch = server.ok("/predict/batch", &batch);
    assert_eq!(batch["model_info"]["model"], "example");
    assert_eq!(batch["result"].as_array().map(Vec::len), Some(3));
    assert_eq!(batch["batch_info"]["processed_as_batch"], true);

    let path = server.ok("/example/predict", &json!({"inputs": [1, 2, 3, 4, 5]}));
    assert_eq!(path["result"], one["result"]);
    let metrics = server.get("/metrics").body;
    assert!(metrics.contains("predict"), "{metrics}");
}

#[test]
fn torchscript_is_served_as_programs_are() {
    const MODULE: &[u8] = include_bytes!("../../graph/tests/fixtures/script/mlp.pt");
    const ANSWERS: &str = include_str!("../../graph/tests/fixtures/script/mlp.json");
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path().join("models/traced");
    fs::create_dir_all(&folder).expect("made");
    fs::write(folder.join("model.pt"), MODULE).expect("written");
    let server = start(home);
    let golden: Value = serde_json::from_str(ANSWERS).expect("JSON");
    let case = &golden["cases"][0];
    let inputs = rows(&case["inputs"][0]);
    let got = server.ok("/traced/predict", &json!({"inputs": inputs}));
    for (got, want) in got["result"]
        .as_array()
        .expect("rows")
        .iter()
        .zip(rows(&case["outputs"][0]))
    {
        assert_close(got, &want);
    }
    assert_eq!(got["batch_info"]["processed_as_batch"], true);
}

#[test]
fn handwritten_digits_are_read() {
    // Two of those that training/digits_train.py holds out.
    const TWO: [[u8; 8]; 8] = [
        [0, 0, 9, 16, 13, 1, 0, 0],
        [0, 8, 16, 8, 11, 8, 0, 0],
        [0, 11, 10, 0, 8, 10, 0, 0],
        [0, 1, 5, 0, 11, 11, 0, 0],
        [0, 0, 0, 0, 13, 9, 0, 0],
        [0, 0, 0, 4, 16, 2, 0, 0],
        [0, 0, 4, 14, 15, 7, 4, 1],
        [0, 0, 8, 16, 16, 16, 16, 12],
    ];
    const SIX: [[u8; 8]; 8] = [
        [0, 0, 0, 12, 14, 1, 0, 0],
        [0, 0, 5, 16, 12, 0, 0, 0],
        [0, 0, 10, 15, 1, 0, 0, 0],
        [0, 0, 14, 15, 9, 2, 0, 0],
        [0, 1, 16, 15, 16, 15, 2, 0],
        [0, 0, 15, 7, 1, 12, 10, 0],
        [0, 0, 10, 14, 4, 15, 12, 0],
        [0, 0, 0, 11, 16, 15, 5, 0],
    ];
    let server = start(tempfile::tempdir().expect("a folder"));
    let labelled = server.ok("/digits/predict", &json!({"inputs": [TWO, SIX]}));
    for (classes, digit) in labelled["result"]
        .as_array()
        .expect("two")
        .iter()
        .zip(["2", "6"])
    {
        assert_eq!(classes[0]["label"], digit, "{classes}");
        assert!(
            classes[0]["score"]
                .as_f64()
                .is_some_and(|score| score > 0.99),
            "{classes}"
        );
    }
    let plain = json!({"labels": false});
    let both = server.ok(
        "/digits/predict",
        &json!({"inputs": [TWO, SIX], "parameters": plain}),
    );
    assert_eq!(both["batch_info"]["processed_as_batch"], true);
    for (scores, digit) in both["result"]
        .as_array()
        .expect("two")
        .iter()
        .zip([2usize, 6])
    {
        let scores = numbers(scores);
        assert_eq!(scores.len(), 10);
        assert!((scores.iter().sum::<f64>() - 1.0).abs() < 1e-5);
        assert!(scores[digit] > 0.99, "{scores:?}");
    }
    let one = server.ok(
        "/digits/predict",
        &json!({"inputs": TWO, "parameters": plain}),
    );
    assert_eq!(one["model_info"]["input_type"], "single");
    assert_close(&one["result"], &both["result"][0]);
    let short = server.post("/digits/predict", &json!({"inputs": TWO[1..]}));
    assert_eq!(short.status, 422, "{}", short.body);
    assert!(short.body.contains("shape [8, 8]"), "{}", short.body);
}

#[test]
fn rows_of_any_lengths_and_one_by_one() {
    let server = start(tempfile::tempdir().expect("a folder"));
    let ragged = json!({"inputs": [[1, 2], [3, 2, 1], [4, 5]]});
    let answer = server.ok("/predict/batch", &ragged);
    assert_eq!(answer["result"].as_array().map(Vec::len), Some(3));
    let alone = merge(ragged, json!({"enable_batching": false}));
    let alone = server.ok("/predict/batch", &alone);
    assert_close(&alone["result"], &answer["result"]);
    assert_eq!(
        alone["batch_info"],
        json!({
            "inflight_batching_enabled": false, "processed_as_batch": false, "concurrent_optimization": false,
            "padded": false
        })
    );
}

#[test]
fn a_network_of_the_folder_gives_what_pytorch_gave() {
    let server = start(home(&[
        ("mlp", PROGRAM, "engine = \"tract\""),
        ("bert", BERT, ""),
    ]));
    let golden: Value = serde_json::from_str(ANSWERS).expect("JSON");
    for case in golden["cases"].as_array().expect("cases") {
        let inputs = rows(&case["inputs"][0]);
        let want = rows(&case["outputs"][0]);
        let answer = server.ok("/mlp/predict", &json!({"inputs": inputs}));
        assert_eq!(answer["model_info"]["processing_path"], "tract");
        for (got, want) in answer["result"].as_array().expect("rows").iter().zip(&want) {
            assert_close(got, want);
        }
        // The same by the input's name, and as bytes.
        let named = server.ok("/mlp/predict", &json!({"inputs": {"x": inputs[0]}}));
        assert_eq!(named["model_info"]["input_type"], "single");
        assert_close(&named["result"], &want[0]);
    }
    // Its mask was exported with a size of its own, so that it takes whole batches alone.
    let sentence = json!({"input_ids": [[2, 5, 9]], "attention_mask": [[1, 1, 1]]});
    let one = server.ok("/bert/predict", &json!({"inputs": sentence}));
    let two = server.ok("/bert/predict", &json!({"inputs": [sentence, sentence]}));
    assert_close(&two["result"][1][0], &one["result"][0]);
    assert_eq!(
        two["batch_info"],
        json!({
            "inflight_batching_enabled": false, "processed_as_batch": false, "concurrent_optimization": false,
            "padded": false
        })
    );
}

/// Scores of the rows of `x` with those of `table`, of which there may be more or fewer.
fn table() -> Vec<u8> {
    let value = |name: &str, dims: [Dim; 2]| ValueInfo {
        name: name.into(),
        dtype: DataType::Float,
        dims: dims.to_vec(),
    };
    let symbol = |name: &str| Dim::Symbol(name.into());
    let node = |op_type, inputs: &[&str], output: &str| Node {
        name: output.into(),
        op_type,
        inputs: inputs.iter().map(|&name| name.to_owned()).collect(),
        outputs: vec![output.into()],
        attributes: Vec::new(),
    };
    let graph = Graph {
        name: "table".into(),
        nodes: vec![
            node("Transpose", &["table"], "columns"),
            node("MatMul", &["x", "columns"], "scores"),
        ],
        initializers: Vec::new(),
        inputs: vec![
            value("x", [symbol("rows"), Dim::Fixed(2)]),
            value("table", [symbol("entries"), Dim::Fixed(2)]),
        ],
        outputs: vec![value("scores", ["rows", "entries"].map(symbol))],
    };
    let model = Model {
        opset: 18,
        graph,
        metadata: Vec::new(),
    };
    model.to_bytes().expect("small")
}

#[test]
fn what_has_a_size_of_its_own_is_not_put_together() {
    let home = home(&[]);
    let folder = home.path().join("models/table");
    fs::create_dir_all(&folder).expect("made");
    fs::write(folder.join("model.onnx"), table()).expect("written");
    fs::write(folder.join("config.toml"), "max_delay_ms = 100").expect("written");
    let server = start(home);
    // Two callers with tables of the same size and other entries.
    let inputs =
        |scale: i32| json!({"x": [[1, 2]], "table": [[scale, 0], [0, scale], [scale, scale]]});
    let answers: Vec<Value> = std::thread::scope(|scope| {
        let asked = [1, 10].map(|scale| {
            let (server, inputs) = (&server, &inputs);
            scope.spawn(move || server.ok("/table/predict", &json!({"inputs": inputs(scale)})))
        });
        asked
            .map(|thread| thread.join().expect("answered"))
            .into_iter()
            .collect()
    });
    assert_eq!(answers[0]["result"], json!([[1.0, 2.0, 3.0]]));
    assert_eq!(answers[1]["result"], json!([[10.0, 20.0, 30.0]]));
    let both = server.ok(
        "/table/predict",
        &json!({"inputs": [inputs(1), inputs(10)]}),
    );
    assert_eq!(
        both["result"],
        json!([[[1.0, 2.0, 3.0]], [[10.0, 20.0, 30.0]]])
    );
    for answer in answers.iter().chain([&both]) {
        assert_eq!(
            answer["batch_info"],
            json!({
                "inflight_batching_enabled": false, "processed_as_batch": false, "concurrent_optimization": false,
            "padded": false
            })
        );
    }
}

#[test]
fn images_of_any_number_run_and_what_they_take_is_counted() {
    const IMAGES: &[u8] = include_bytes!("../../graph/tests/fixtures/cnn.pt2");
    const ANSWERS: &str = include_str!("../../graph/tests/fixtures/cnn.json");
    let server = start(home(&[("cnn", IMAGES, "max_batch_size = 8")]));
    let golden: Value = serde_json::from_str(ANSWERS).expect("JSON");
    let case = &golden["cases"][0];
    let (inputs, outputs) = (
        numbers(&case["inputs"][0]["data"]),
        numbers(&case["outputs"][0]["data"]),
    );
    let cycle = |values: &[f64], count: usize| -> Vec<f64> {
        values.iter().copied().cycle().take(count).collect()
    };
    for images in [7, 1, 5, 8, 3, 20] {
        let tensor = json!({
            "name": "x", "shape": [images, 3, 18, 18], "datatype": "FP32",
            "data": cycle(&inputs, images * 3 * 18 * 18)
        });
        let answer = server.ok("/v2/models/cnn/infer", &json!({"inputs": [tensor]}));
        assert_eq!(answer["outputs"][0]["shape"], json!([images, 5]));
        assert_close(
            &answer["outputs"][0]["data"],
            &json!(cycle(&outputs, images * 5)),
        );
    }
    let stats = server.get("/v2/models/cnn/stats").json()["model_stats"][0].clone();
    assert_eq!(stats["inference_count"], 44, "{stats}");
    // The weights as they were read, and in the layout of a plan.
    let managed = server.get("/models/managed").json();
    let models = managed["downloaded_models"].as_array().expect("models");
    let cnn = models
        .iter()
        .find(|model| model["name"] == "cnn")
        .expect("it is there");
    let parameters = cnn["parameters"].as_u64().expect("a number");
    assert!(parameters > 100 && parameters < 100_000, "{cnn}");
    let megabytes = cnn["memory_usage"]["allocated_mb"]
        .as_f64()
        .expect("a number");
    assert!(
        megabytes * f64::from(1 << 20) > 2.0 * 4.0 * parameters as f64,
        "{cnn}"
    );
    let example = models.iter().find(|model| model["name"] == "example");
    assert!(example.expect("it is there")["parameters"].as_u64() > Some(0));
}

#[test]
fn networks_are_verified_and_deleted() {
    let server = start(home(&[
        ("mlp", PROGRAM, ""),
        ("cut", &PROGRAM[..PROGRAM.len() / 2], ""),
        ("wrong", PROGRAM, "max_batch = 8"),
    ]));
    let folder = Path::new(server.home()).join("models/mlp");
    let manage = |action: &str, name: &str| {
        let path = format!("/models/manage?action={action}&model_name={name}");
        let reply = server.send("POST", &path, &[], b"");
        (reply.status, reply.json())
    };
    let verify = |name: &str, success: bool, words: &str| {
        let (status, body) = manage("verify", name);
        assert_eq!((status, &body["success"]), (200, &json!(success)), "{body}");
        let message = body["message"].as_str().expect("a sentence");
        assert!(message.contains(words), "{message}");
    };
    verify("example", true, "no SHA-256");
    verify("mlp", true, "no SHA-256");
    verify("cut", false, "model.pt2");
    verify("wrong", false, "config.toml");
    let wrong = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  model.pt2\n";
    fs::write(folder.join("model.pt2.sha256"), wrong).expect("written");
    verify("mlp", false, "e3b0c44298fc1c14");

    let (status, body) = manage("delete", "example");
    assert_eq!(status, 409, "{body}");
    server.ok("/mlp/predict", &json!({"inputs": [1, 2, 3, 4, 5, 6]}));
    let (status, body) = manage("delete", "mlp");
    assert_eq!(status, 200, "{body}");
    assert!(!folder.exists() && folder.with_file_name("cut").exists());
    let gone = server.post("/mlp/predict", &json!({"inputs": [1, 2, 3, 4, 5, 6]}));
    assert_eq!(gone.status, 404, "{}", gone.body);
}

#[test]
fn what_a_network_does_not_take_is_told_with_what_it_takes() {
    let server = start(home(&[("mlp", PROGRAM, ""), ("bert", BERT, "")]));
    for (path, body, status, words) in [
        (
            "/predict",
            json!({"model_name": "example"}),
            422,
            "inputs is missing",
        ),
        (
            "/predict",
            json!({"inputs": "Hello"}),
            422,
            "an array of shape [any] of float32, got a string",
        ),
        (
            "/predict",
            json!({"inputs": [1, "a"]}),
            422,
            "inputs[1]: expected a number",
        ),
        (
            "/predict",
            json!({"inputs": [[[1]]]}),
            422,
            "inputs[0]: expected an array of shape [any]",
        ),
        ("/predict", json!({"inputs": []}), 422, "an empty array"),
        (
            "/predict",
            json!({"inputs": [1], "priority": "high"}),
            422,
            "priority",
        ),
        (
            "/predict",
            json!({"inputs": [1], "priority": 11}),
            400,
            "priority",
        ),
        (
            "/predict/batch",
            json!({"inputs": "one"}),
            422,
            "an array of inputs",
        ),
        ("/predict/batch", json!({"inputs": []}), 400, "one at least"),
        (
            "/predict/batch",
            json!({"inputs": [[1], 2]}),
            422,
            "inputs[1]",
        ),
        (
            "/mlp/predict",
            json!({"inputs": [1, 2]}),
            422,
            "shape [6] of float32, got one of shape [2]",
        ),
        (
            "/mlp/predict",
            json!({"inputs": [1], "model_name": "example"}),
            400,
            "model_name",
        ),
        (
            "/bert/predict",
            json!({"inputs": {"input_ids": [[1]]}}),
            422,
            "inputs.attention_mask is missing",
        ),
        (
            "/bert/predict",
            json!({"inputs": {"input_ids": [[1, 2]], "attention_mask": [[1]]}}),
            422,
            "attention_mask",
        ),
        (
            "/ember/predict",
            json!({"inputs": [1]}),
            400,
            "generates text",
        ),
        (
            "/no-such-model/predict",
            json!({"inputs": [1]}),
            404,
            "no-such-model",
        ),
    ] {
        let reply = server.post(path, &body);
        assert_eq!(reply.status, status, "{path} {body}: {}", reply.body);
        let error = reply.json();
        assert_eq!(
            (&error["success"], &error["status_code"]),
            (&json!(false), &json!(status))
        );
        let detail = error["detail"].as_str().expect("a text");
        assert!(detail.contains(words), "{path} {body}: {detail}");
    }
    assert_eq!(server.send("POST", "/predict", &[], b"{").status, 400);
}

#[test]
fn a_network_that_cannot_be_run_says_why() {
    let mut odd = PROGRAM.to_vec();
    let name = b"torch.ops.aten.gelu.default";
    let at = odd
        .windows(name.len())
        .position(|w| w == name)
        .expect("it has one");
    odd[at..at + name.len()].copy_from_slice(b"torch.ops.aten.gulp.default");
    let server = start(home(&[
        ("odd", &odd, ""),
        ("cut", &PROGRAM[..PROGRAM.len() / 2], ""),
        ("other", PROGRAM, "engine = \"onnxruntime\""),
        ("wrong", PROGRAM, "max_batch = 8"),
    ]));
    for (name, status, words) in [
        ("odd", 400, "no lowering for aten.gulp.default (node gelu)"),
        ("cut", 500, "model.pt2"),
        ("other", 500, "onnxruntime: its library was not found"),
        ("wrong", 500, "config.toml"),
    ] {
        let reply = server.post(
            &format!("/{name}/predict"),
            &json!({"inputs": [1, 2, 3, 4, 5, 6]}),
        );
        assert_eq!(reply.status, status, "{name}: {}", reply.body);
        assert!(reply.body.contains(words), "{name}: {}", reply.body);
    }
    // Nobody else is the worse for it.
    server.ok("/predict", &json!({"inputs": [1, 2]}));
}

#[test]
fn requests_that_come_together_run_together() {
    let server = start(home(&[(
        "mlp",
        PROGRAM,
        "max_batch_size = 4\nmax_delay_ms = 10000",
    )]));
    let input = |i: usize| json!({"inputs": [i, 1, 2, 3, 4, 5]});
    let answers: Vec<Value> = std::thread::scope(|scope| {
        let asked = (0..4).map(|i| {
            let server = &server;
            scope.spawn(move || server.ok("/mlp/predict", &input(i)))
        });
        let asked: Vec<_> = asked.collect();
        asked
            .into_iter()
            .map(|thread| thread.join().expect("answered"))
            .collect()
    });
    for (i, answer) in answers.iter().enumerate() {
        assert_eq!(
            answer["batch_info"],
            json!({
                "inflight_batching_enabled": true, "processed_as_batch": true, "concurrent_optimization": true,
            "padded": false
            })
        );
        assert_eq!(answer["model_info"]["input_count"], 1);
        let alone = merge(input(i), json!({"enable_batching": false}));
        assert_close(
            &answer["result"],
            &server.ok("/mlp/predict", &alone)["result"],
        );
    }
    // One that waits for others longer than it may is not answered.
    let reply = server.post("/mlp/predict", &merge(input(0), json!({"timeout": 0.05})));
    assert_eq!(reply.status, 503, "{}", reply.body);
}

#[test]
fn networks_are_listed_loaded_and_unloaded_like_other_models() {
    let server = start(home(&[("mlp", PROGRAM, "")]));
    let models = server.get("/models").json();
    for name in ["example", "mlp"] {
        assert_eq!(models["model_info"][name]["loaded"], false, "{models}");
    }
    server.ok("/mlp/predict", &json!({"inputs": [1, 2, 3, 4, 5, 6]}));
    let models = server.get("/models").json();
    assert_eq!(models["model_info"]["mlp"]["loaded"], true);
    let refused = server.post(
        "/v1/chat/completions",
        &json!({"model": "mlp", "messages": [{"role": "user", "content": "Hello"}]}),
    );
    assert_eq!(refused.status, 400, "{}", refused.body);
    assert!(
        refused.body.contains("generates no text"),
        "{}",
        refused.body
    );
    let unloaded = server.send("DELETE", "/autoscaler/unload?model_name=mlp", &[], b"");
    assert_eq!(unloaded.status, 200, "{}", unloaded.body);
    assert_eq!(
        server.get("/models").json()["model_info"]["mlp"]["loaded"],
        false
    );
    assert!(
        Path::new(server.home())
            .join("models/mlp/model.pt2")
            .is_file()
    );
}

/// A folder as transformers saves it; requests leave out what its models may be called without.
#[test]
fn a_published_checkpoint_is_a_network() {
    let home = tempfile::tempdir().expect("a folder");
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../graph/tests/checkpoints");
    let from = from.join("bert-classifier");
    let folder = home.path().join("models/classifier");
    fs::create_dir_all(&folder).expect("made");
    for item in fs::read_dir(&from).expect("a folder") {
        let path = item.expect("a file").path();
        fs::copy(&path, folder.join(path.file_name().expect("a name"))).expect("copied");
    }
    let golden = fs::read(from.join("golden.json")).expect("a file");
    let golden: Value = serde_json::from_slice(&golden).expect("JSON");
    let case = &golden["cases"][2];
    let server = start(home);
    let ids = case["inputs"][0]["data"].as_array().expect("tokens");
    let ids: Vec<Value> = ids.chunks(5).map(|row| json!(row)).collect();
    let want = rows(&case["outputs"][0]);
    for inputs in [json!(ids), json!({"input_ids": ids})] {
        let body = json!({
            "model_name": "classifier", "inputs": inputs, "parameters": {"labels": false}
        });
        let answer = server.ok("/predict", &body);
        let got = answer["result"].as_array().expect("a batch");
        assert_eq!(got.len(), want.len());
        for (got, want) in got.iter().zip(&want) {
            assert_close(got, want);
        }
    }
    // The classes that its config.json names.
    let body = json!({"model_name": "classifier", "inputs": ids});
    let first = &server.ok("/predict", &body)["result"][0][0];
    let label = first["label"].as_str().unwrap_or_default();
    assert!(label.starts_with("label "), "{first}");
    let tensor = json!({"name": "input_ids", "shape": [2, 5], "datatype": "INT64", "data": ids});
    let answer = server.ok("/v2/models/classifier/infer", &json!({"inputs": [tensor]}));
    let output = &answer["outputs"][0];
    assert_eq!(output["name"], "logits");
    assert_close(&output["data"], &case["outputs"][0]["data"]);
    let mask = json!({"attention_mask": [1, 1]});
    let error = server.post(
        "/predict",
        &json!({"model_name": "classifier", "inputs": mask}),
    );
    assert!(
        error.body.contains("inputs.input_ids is missing"),
        "{}",
        error.body
    );
}
