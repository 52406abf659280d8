//! Images, texts and classes, from outside: what `oracle/predict_golden.py` has recorded, over every dialect that runs networks.

mod http_support;

use std::fs;
use std::path::{Path, PathBuf};

use http_support::{Reply, Server};
use serde_json::{Value, json};
use tempfile::TempDir;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/networks")
}

fn image(name: &str) -> Vec<u8> {
    let folder = match name {
        "two.png" | "six.png" => fixtures().join("digits"),
        _ => Path::new(env!("CARGO_MANIFEST_DIR")).join("../vision/tests/fixtures"),
    };
    fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn golden(network: &str) -> Value {
    let text = fs::read(fixtures().join(network).join("golden.json")).expect("a file");
    serde_json::from_slice(&text).expect("JSON")
}

/// A home with the two networks, run by `engine`.
fn home(engine: &str, more: &str) -> TempDir {
    let home = tempfile::tempdir().expect("a folder");
    for network in ["classifier", "sentences"] {
        let folder = home.path().join("models").join(network);
        fs::create_dir_all(&folder).expect("made");
        for file in fs::read_dir(fixtures().join(network))
            .expect("a folder")
            .flatten()
        {
            fs::copy(file.path(), folder.join(file.file_name())).expect("copied");
        }
        let config = format!("engine = \"{engine}\"\n{more}");
        fs::write(folder.join("config.toml"), config).expect("written");
    }
    home
}

/// A server for each engine that is there; ONNX Runtime is where a variable says so.
fn servers(more: &str) -> Vec<Server> {
    let tract = [("HEARTH_ONNXRUNTIME", "/no/such/library.so")];
    let mut servers = vec![Server::start_with(home("tract", more), &[], &tract)];
    match std::env::var("HEARTH_ONNXRUNTIME") {
        Ok(path) => servers.push(Server::start_with(
            home("onnxruntime", more),
            &[],
            &[("HEARTH_ONNXRUNTIME", &path)],
        )),
        Err(_) => eprintln!("no HEARTH_ONNXRUNTIME: tract alone"),
    }
    servers
}

fn tract() -> Server {
    Server::start_with(
        home("tract", ""),
        &[],
        &[("HEARTH_ONNXRUNTIME", "/no/such/library.so")],
    )
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk
            .iter()
            .fold(0u32, |bits, byte| bits << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for at in 0..4 {
            text.push(match at <= chunk.len() {
                true => char::from(ALPHABET[(bits >> (18 - 6 * at) & 63) as usize]),
                false => '=',
            });
        }
    }
    text
}

/// Classes with scores, or an object of them, beside those that were recorded.
fn assert_classes(got: &Value, want: &Value, tolerance: f64) {
    let got: Vec<(String, f64)> = match got {
        Value::Array(classes) => classes
            .iter()
            .map(|class| {
                (
                    class["label"].as_str().expect("a label").to_owned(),
                    class["score"].as_f64().expect("a score"),
                )
            })
            .collect(),
        Value::Object(classes) => classes
            .iter()
            .map(|(label, score)| (label.clone(), score.as_f64().expect("a score")))
            .collect(),
        other => panic!("no classes: {other}"),
    };
    let count = want.as_object().expect("scores").len();
    assert_eq!(got.len(), count.min(5), "{got:?}");
    assert!(got.windows(2).all(|pair| pair[0].1 >= pair[1].1), "{got:?}");
    for (label, score) in got {
        let want = want[&label].as_f64().expect("a known label");
        assert!((score - want).abs() <= tolerance, "{label}: {score} {want}");
    }
}

fn multipart(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, bytes) in parts {
        let head = format!(
            "--b\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"f\"\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--b--\r\n");
    body
}

const FORM: (&str, &str) = ("Content-Type", "multipart/form-data; boundary=b");

fn ok(reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.json()
}

#[test]
fn images_are_classified_however_they_are_sent() {
    let golden = golden("classifier");
    for server in servers("") {
        for (name, tolerance) in [
            ("rgb.png", 2e-4),
            ("gray.png", 2e-4),
            // Other decoders than Pillow's round otherwise.
            ("photo.jpg", 5e-3),
            ("progressive.jpg", 1e-2),
            ("lossy.webp", 5e-3),
        ] {
            let (file, want) = (image(name), &golden[name]);
            let text = base64(&file);
            for inputs in [
                json!(text),
                json!(format!("data:image/png;base64,{text}")),
                json!({"pixel_values": text}),
                json!({"image": text}),
            ] {
                let one = server.ok("/classifier/predict", &json!({"inputs": inputs}));
                assert_eq!(one["model_info"]["input_type"], "single");
                assert_classes(&one["result"], want, tolerance);
            }
            let raw = server.send(
                "POST",
                "/classifier/predict",
                &[("Content-Type", "image/png")],
                &file,
            );
            assert_classes(&ok(&raw)["result"], want, tolerance);
            let form = multipart(&[("model_name", b"classifier"), ("file", &file)]);
            let form = server.send("POST", "/predict", &[FORM], &form);
            assert_classes(&ok(&form)["result"], want, tolerance);
            for (method, headers, body) in [
                (
                    "POST",
                    [("Content-Type", "application/octet-stream")],
                    file.clone(),
                ),
                ("PUT", [("Content-Type", "image/jpeg")], file.clone()),
                ("POST", [FORM], multipart(&[("data", &file)])),
                (
                    "POST",
                    [("Content-Type", "application/json")],
                    json!({"data": text}).to_string().into_bytes(),
                ),
            ] {
                let reply = server.send(method, "/predictions/classifier", &headers, &body);
                let classes = ok(&reply);
                assert!(classes.is_object(), "{classes}");
                assert_classes(&classes, want, tolerance);
            }
        }
        let both = json!({"inputs": [base64(&image("rgb.png")), base64(&image("gray.png"))]});
        let both = server.ok("/classifier/predict", &both);
        assert_eq!(both["model_info"]["input_type"], "batch");
        assert_eq!(both["batch_info"]["processed_as_batch"], true);
        for (at, name) in ["rgb.png", "gray.png"].into_iter().enumerate() {
            assert_classes(&both["result"][at], &golden[name], 2e-4);
        }
        let form = multipart(&[("file", &image("rgb.png")), ("file", &image("gray.png"))]);
        let form = ok(&server.send("POST", "/classifier/predict", &[FORM], &form));
        assert_eq!(form["result"].as_array().map(Vec::len), Some(2));
    }
}

#[test]
fn answers_have_as_many_classes_as_wanted_or_the_numbers() {
    let server = tract();
    let file = base64(&image("rgb.png"));
    let with = |parameters: Value| {
        server.ok(
            "/classifier/predict",
            &json!({"inputs": file, "parameters": parameters}),
        )["result"]
            .clone()
    };
    assert_eq!(with(json!({})).as_array().map(Vec::len), Some(5));
    let best = with(json!({"top_k": 1}));
    assert_eq!(
        (best.as_array().map(Vec::len), &best[0]["label"]),
        (Some(1), &json!("horse"))
    );
    let numbers = with(json!({"labels": false}));
    assert!(
        numbers
            .as_array()
            .is_some_and(|n| n.len() == 7 && n.iter().all(Value::is_number)),
        "{numbers}"
    );
    let raw = with(json!({"function_to_apply": "none", "top_k": 7}));
    let largest = numbers
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_f64)
        .fold(f64::MIN, f64::max);
    assert_eq!(raw[0]["score"].as_f64(), Some(largest));
    let unknown = server.post(
        "/classifier/predict",
        &json!({"inputs": file, "parameters": {"candidate_labels": "x"}}),
    );
    assert!(
        unknown.status == 400 && unknown.body.contains("parameters.candidate_labels"),
        "{}",
        unknown.body
    );
}

#[test]
fn digits_are_read_from_images_of_any_size() {
    let server = tract();
    for (name, digit) in [("two.png", "2"), ("six.png", "6")] {
        let reply = server.send("POST", "/digits/predict", &[], &image(name));
        let best = ok(&reply)["result"][0].clone();
        assert_eq!(best["label"], digit, "{name}: {best}");
        assert!(
            best["score"].as_f64().is_some_and(|score| score > 0.9),
            "{name}: {best}"
        );
    }
}

#[test]
fn images_that_are_none_or_too_large_are_refused() {
    let server = tract();
    let mut bomb = image("gray.png");
    bomb[16..24].copy_from_slice(&[0, 0, 0x30, 0, 0, 0, 0x30, 0]);
    let photo = image("photo.jpg");
    for (inputs, words) in [
        (json!("not base64!"), "inputs: expected an image in base64"),
        (json!("https://example.com/cat.jpg"), "not fetched"),
        (json!(base64(b"GIF89a")), "no JPEG, PNG or WebP"),
        (
            json!(base64(&photo[..photo.len() / 2])),
            "no sound JPEG image",
        ),
        (json!([base64(&photo), base64(&bomb)]), "inputs[1]: "),
        (json!(base64(&bomb)), "no sound PNG image"),
        (
            json!({"image": 5}),
            "inputs.image: expected an array of shape [3, 14, 14]",
        ),
        (json!({"text": "a cat"}), "no input \\\"input_ids\\\""),
    ] {
        let reply = server.post("/classifier/predict", &json!({"inputs": inputs}));
        assert_eq!(reply.status, 422, "{inputs}: {}", reply.body);
        assert!(reply.body.contains(words), "{words}: {}", reply.body);
    }
    let raw = server.send("POST", "/predictions/classifier", &[], &bomb);
    assert_eq!(raw.status, 400, "{}", raw.body);
    // A network that nothing is said about takes numbers, and says why not more.
    let reply = server.post("/example/predict", &json!({"inputs": base64(&photo)}));
    assert_eq!(reply.status, 422, "{}", reply.body);
    assert!(
        reply.body.contains("takes no texts") && reply.body.contains("takes no images"),
        "{}",
        reply.body
    );
    server.ok("/classifier/predict", &json!({"inputs": base64(&photo)}));
}

/// The classes and the hidden states of a sentence.
fn sentence(result: &Value) -> (&Value, &Value) {
    let members: Vec<&Value> = result
        .as_object()
        .unwrap_or_else(|| panic!("{result}"))
        .values()
        .collect();
    match members.as_slice() {
        [a, b] if a.is_object() || a[0]["label"].is_string() => (a, b),
        [a, b] => (b, a),
        _ => panic!("{result}"),
    }
}

fn assert_sentence(result: &Value, want: &Value) {
    let (classes, states) = sentence(result);
    assert_classes(classes, &want["scores"], 1e-4);
    let states = states.as_array().expect("states");
    let want = want["first_states"].as_array().expect("states");
    assert_eq!(states.len(), want.len());
    for (state, want) in states.iter().zip(want) {
        let difference = state[0].as_f64().expect("a number") - want.as_f64().expect("a number");
        assert!(difference.abs() < 1e-4, "{state} {want}");
    }
}

#[test]
fn texts_and_pairs_are_tokenized_and_run_as_one_batch() {
    let golden = golden("sentences");
    let texts = golden["texts"].as_array().expect("texts");
    let input = |want: &Value| match &want["text_pair"] {
        Value::Null => want["text"].clone(),
        second => json!({"text": want["text"], "text_pair": second}),
    };
    for server in servers("max_delay_ms = 300") {
        for want in texts {
            let answer = server.ok("/sentences/predict", &json!({"inputs": input(want)}));
            assert_sentence(&answer["result"], want);
            assert_eq!(answer["batch_info"]["padded"], false);
            // The same from its tokens.
            let ids = want["input_ids"].as_array().expect("tokens");
            let tokens = json!({
                "input_ids": ids, "attention_mask": vec![1; ids.len()], "token_type_ids": want["token_type_ids"]
            });
            let answer = server.ok("/sentences/predict", &json!({"inputs": tokens}));
            assert_sentence(&answer["result"], want);
        }
        // Two of lengths that are not too different, and a pair.
        let some = [&texts[0], &texts[3], &texts[4]];
        let inputs: Vec<Value> = some.iter().map(|want| input(want)).collect();
        let pair = json!([texts[4]["text"], texts[4]["text_pair"]]);
        for inputs in [json!(inputs), json!([inputs[0], inputs[1], pair])] {
            let answer = server.ok(
                "/predict/batch",
                &json!({"model_name": "sentences", "inputs": inputs}),
            );
            assert_eq!(answer["batch_info"]["processed_as_batch"], true, "{answer}");
            assert_eq!(answer["batch_info"]["padded"], true, "{answer}");
            for (result, want) in answer["result"].as_array().expect("three").iter().zip(some) {
                assert_sentence(result, want);
            }
        }
        // Of several callers.
        let answers: Vec<Value> = std::thread::scope(|scope| {
            let asked = some.map(|want| {
                let (server, body) = (&server, json!({"inputs": input(want)}));
                scope.spawn(move || server.ok("/sentences/predict", &body))
            });
            asked
                .map(|thread| thread.join().expect("answered"))
                .into_iter()
                .collect()
        });
        for (answer, want) in answers.iter().zip(some) {
            assert_sentence(&answer["result"], want);
        }
        assert!(
            answers
                .iter()
                .any(|answer| answer["batch_info"]["concurrent_optimization"] == true),
            "{answers:?}"
        );
        let alone = json!({"model_name": "sentences", "inputs": inputs, "enable_batching": false});
        let alone = server.ok("/predict/batch", &alone);
        assert_eq!(alone["batch_info"]["padded"], false);
        assert_sentence(&alone["result"][1], some[1]);
    }
}

#[test]
fn texts_that_are_too_long_are_cut_only_where_asked_for() {
    let golden = golden("sentences");
    let server = tract();
    let long = &golden["long"];
    let reply = server.post("/sentences/predict", &json!({"inputs": long}));
    let words = format!(
        "the text has {} tokens, the network takes 32 at most",
        golden["long_tokens"]
    );
    assert!(
        reply.status == 422 && reply.body.contains(&words),
        "{}",
        reply.body
    );
    let cut = server.ok(
        "/sentences/predict",
        &json!({"inputs": long, "parameters": {"truncation": true}}),
    );
    let ids = &golden["cut"];
    let tokens =
        json!({"input_ids": ids, "attention_mask": vec![1; 32], "token_type_ids": vec![0; 32]});
    let same = server.ok("/sentences/predict", &json!({"inputs": tokens}));
    assert_eq!(sentence(&cut["result"]).0, sentence(&same["result"]).0);
    for (inputs, words) in [
        (json!({"text_pair": "b"}), "a second text without a first"),
        (json!({"text": "a", "input_ids": [1]}), "is there already"),
        (json!({"image": "UA=="}), "takes no images"),
        (
            json!({"text": ["a", "b"], "text_pair": ["c"]}),
            "expected an array of 2",
        ),
    ] {
        let reply = server.post("/sentences/predict", &json!({"inputs": inputs}));
        assert!(
            reply.status == 422 && reply.body.contains(words),
            "{words}: {}",
            reply.body
        );
    }
    let plain = server.send(
        "POST",
        "/predictions/sentences",
        &[("Content-Type", "text/plain")],
        b"The harbour was quiet.",
    );
    assert_sentence(&ok(&plain), &golden["texts"][0]);
}

#[test]
fn kserve_takes_texts_and_images_as_bytes() {
    let server = tract();
    let described = ok(&server.get("/v2/models/sentences"));
    assert_eq!(
        described["parameters"]["bytes_inputs"],
        json!(["text", "text_pair"])
    );
    assert_eq!(
        described["parameters"]["classes"],
        json!(["calm", "glad", "cross"])
    );
    assert_eq!(described["parameters"]["max_tokens"], 32);
    let texts = ["The harbour was quiet.", "a"];
    let bytes = |name: &str, data: &[&str]| json!({"name": name, "shape": [data.len()], "datatype": "BYTES", "data": data});
    let logits = described["outputs"]
        .as_array()
        .expect("outputs")
        .iter()
        .find(|output| output["shape"] == json!([-1, 3]));
    let logits = logits.expect("logits")["name"].clone();
    let wanted = json!([{"name": logits, "parameters": {"classification": 1}}]);
    let answer = server.ok(
        "/v2/models/sentences/infer",
        &json!({"inputs": [bytes("text", &texts)], "outputs": wanted}),
    );
    let classes: Vec<&str> = answer["outputs"][0]["data"]
        .as_array()
        .expect("texts")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert!(
        classes.len() == 2 && classes[0].ends_with(":2:cross") && classes[1].ends_with(":1:glad"),
        "{classes:?}"
    );

    let file = image("rgb.png");
    let answer = |name: &str, binary: bool| {
        let mut tensor = json!({"name": name, "shape": [1], "datatype": "BYTES"});
        let (mut body, mut headers) = (Vec::new(), Vec::new());
        match binary {
            false => tensor["data"] = json!([base64(&file)]),
            true => tensor["parameters"] = json!({"binary_data_size": file.len() + 4}),
        }
        let head = json!({"inputs": [tensor]}).to_string();
        let length = head.len().to_string();
        body.extend_from_slice(head.as_bytes());
        if binary {
            headers.push(("Inference-Header-Content-Length", length.as_str()));
            body.extend_from_slice(&(file.len() as u32).to_le_bytes());
            body.extend_from_slice(&file);
        }
        let reply = server.send("POST", "/v2/models/classifier/infer", &headers, &body);
        ok(&reply)["outputs"][0]["data"].clone()
    };
    let numbers = answer("image", false);
    assert_eq!(numbers.as_array().map(Vec::len), Some(7));
    assert_eq!(answer("pixel_values", true), numbers);
    for (tensor, words) in [
        (bytes("text", &["a"]), "takes no texts"),
        (bytes("image", &["!"]), "base64"),
        (
            json!({"name": "image", "shape": [2], "datatype": "BYTES", "data": [base64(&file)]}),
            "not those of the shape [2]",
        ),
    ] {
        let reply = server.post("/v2/models/classifier/infer", &json!({"inputs": [tensor]}));
        assert!(
            reply.status == 400 && reply.body.contains(words),
            "{}",
            reply.body
        );
    }
}

/// A checkpoint that classifies tokens, with a tokenizer of the few that it knows.
#[test]
fn each_token_of_a_text_has_a_class() {
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path().join("models/names");
    fs::create_dir_all(&folder).expect("made");
    let checkpoint = Path::new(env!("CARGO_MANIFEST_DIR")).join("../graph/tests/checkpoints");
    for file in ["config.json", "model.safetensors"] {
        let from = checkpoint.join("bert-tokens").join(file);
        fs::copy(from, folder.join(file)).expect("copied");
    }
    let tokenizer = fs::read(fixtures().join("sentences/tokenizer.json")).expect("a file");
    let mut tokenizer: Value = serde_json::from_slice(&tokenizer).expect("JSON");
    let vocabulary = tokenizer["model"]["vocab"].as_object_mut().expect("words");
    vocabulary.retain(|_, id| id.as_u64().is_some_and(|id| id < 40));
    fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).expect("written");
    let server = Server::start_with(home, &[], &[("HEARTH_ONNXRUNTIME", "/no/such/library.so")]);
    let answer = server.ok("/names/predict", &json!({"inputs": "a 1 zebra b"}));
    // Numbers of the same tokens, with what stands around them.
    let ids = json!([2, 31, 15, 1, 32, 3]);
    let numbers = json!({
        "inputs": {"input_ids": ids, "attention_mask": [1, 1, 1, 1, 1, 1], "token_type_ids": [0, 0, 0, 0, 0, 0]},
        "parameters": {"labels": false}
    });
    let numbers = server.ok("/names/predict", &numbers);
    let most = json!({"inputs": "a 1", "parameters": {"top_k": 2}});
    let refused = server.post("/names/predict", &most);
    assert_eq!(refused.status, 400);
    assert!(
        refused.body.to_string().contains("top_k"),
        "{}",
        refused.body
    );
    let tokens = answer["result"].as_array().expect("tokens");
    assert_eq!(tokens.len(), 4, "{answer}");
    for (at, (token, text)) in tokens.iter().zip(["a", "1", "[UNK]", "b"]).enumerate() {
        assert_eq!(
            token["token"].as_str().map(str::trim),
            Some(text),
            "{token}"
        );
        let row = numbers["result"][at + 1].as_array().expect("numbers");
        let row: Vec<f64> = row.iter().filter_map(Value::as_f64).collect();
        let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let best = row.iter().position(|number| *number == most).expect("one");
        assert_eq!(token["label"], format!("label {best}"), "{token} {row:?}");
        let score = 1.0 / row.iter().map(|number| (number - most).exp()).sum::<f64>();
        let told = token["score"].as_f64().expect("a score");
        assert!((told - score).abs() < 1e-5, "{token} {row:?}");
    }
    let both = server.ok("/names/predict", &json!({"inputs": ["a 1", "b"]}));
    let lengths = both["result"].as_array().expect("a batch");
    let lengths: Vec<Option<usize>> = lengths
        .iter()
        .map(|own| own.as_array().map(Vec::len))
        .collect();
    assert_eq!(lengths, [Some(2), Some(1)], "{both}");
}

#[test]
fn a_batch_of_images_is_a_form_or_an_array() {
    let server = tract();
    let file = image("rgb.png");
    let reply = server.send("POST", "/predict/batch", &[], &file);
    assert!(
        reply.status == 422 && reply.body.contains("for POST /predict, got an image"),
        "{} {}",
        reply.status,
        reply.body
    );
    for count in [1, 2] {
        let mut parts: Vec<(&str, &[u8])> = vec![("model_name", b"classifier")];
        parts.extend(vec![("file", file.as_slice()); count]);
        let reply = server.send("POST", "/predict/batch", &[FORM], &multipart(&parts));
        let results = ok(&reply)["result"].as_array().map(Vec::len);
        assert_eq!(results, Some(count));
    }
}

#[test]
fn the_models_tell_what_loaded_networks_take() {
    let server = tract();
    server.send("POST", "/digits/predict", &[], &image("two.png"));
    server.ok("/sentences/predict", &json!({"inputs": "a"}));
    let managed = ok(&server.get("/models/managed"));
    let models = managed["downloaded_models"].as_array().expect("models");
    let network = |name: &str| {
        let model = models.iter().find(|model| model["name"] == name);
        model.expect("it is there")["network"].clone()
    };
    assert_eq!(network("digits")["takes"], json!(["images"]));
    assert_eq!(
        network("digits")["classes"].as_array().map(Vec::len),
        Some(10)
    );
    assert_eq!(
        network("sentences"),
        json!({"takes": ["texts"], "max_tokens": 32, "classes": ["calm", "glad", "cross"], "classes_per_token": false})
    );
    // It is not loaded.
    assert_eq!(network("classifier"), Value::Null);
}

#[test]
fn texts_are_recorded_whatever_they_come_in() {
    let variables = [
        ("HEARTH_ONNXRUNTIME", "/no/such/library.so"),
        ("HEARTH_AUDIT_PROMPTS", "true"),
    ];
    let mut server = Server::start_with(home("tract", ""), &[], &variables);
    let kind = [("Content-Type", "text/plain")];
    let plain = server.send("POST", "/predictions/sentences", &kind, b"a plain secret");
    assert_eq!(plain.status, 200, "{}", plain.body);
    let text = "a binary secret";
    let size = text.len() + 4;
    let tensor = json!({
        "name": "text", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": size}
    });
    let head = json!({"inputs": [tensor]}).to_string();
    let length = head.len().to_string();
    let headers = [("Inference-Header-Content-Length", length.as_str())];
    let mut body = head.into_bytes();
    body.extend_from_slice(&(text.len() as u32).to_le_bytes());
    body.extend_from_slice(text.as_bytes());
    let binary = server.send("POST", "/v2/models/sentences/infer", &headers, &body);
    assert_eq!(binary.status, 200, "{}", binary.body);
    server.terminate();
    assert!(server.wait());
    let record = server.home().join("audit/audit-000000000001.jsonl");
    let record = fs::read_to_string(record).expect("a record");
    for secret in ["a plain secret", "a binary secret"] {
        assert!(record.contains(secret), "{secret}: {record}");
    }
}
