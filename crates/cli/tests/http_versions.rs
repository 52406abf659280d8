//! The repository of networks, from outside: versions, and files that change while the server runs.

mod http_support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hearth_graph::onnx::{DataType, Dim, Graph, Model, Node, Tensor, ValueInfo};
use http_support::Server;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Longest wait for the server to see a change.
const PATIENCE: Duration = Duration::from_secs(60);

/// A network that multiplies rows of two numbers.
fn times(factor: f32) -> Vec<u8> {
    let value = |name: &str| ValueInfo {
        name: name.into(),
        dtype: DataType::Float,
        dims: vec![Dim::Symbol("n".into()), Dim::Fixed(2)],
    };
    let model = Model {
        opset: 18,
        graph: Graph {
            name: "times".into(),
            nodes: vec![Node {
                name: "product".into(),
                op_type: "Mul",
                inputs: vec!["x".into(), "factor".into()],
                outputs: vec!["y".into()],
                attributes: Vec::new(),
            }],
            initializers: vec![Tensor {
                name: "factor".into(),
                dtype: DataType::Float,
                dims: vec![1],
                bytes: factor.to_le_bytes().to_vec().into(),
            }],
            inputs: vec![value("x")],
            outputs: vec![value("y")],
        },
        metadata: Vec::new(),
    };
    model.to_bytes().expect("small")
}

fn write(home: &Path, path: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = home.join("models").join(path);
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(&path, bytes).expect("written");
    path
}

/// A server with these files in its folder of models, on the runtime which is always there.
fn start(files: &[(&str, Vec<u8>)], arguments: &[&str]) -> Server {
    let home: TempDir = tempfile::tempdir().expect("a folder");
    for (path, bytes) in files {
        write(home.path(), path, bytes);
    }
    Server::start_with(
        home,
        arguments,
        &[("HEARTH_ONNXRUNTIME", "/no/such/library.so")],
    )
}

fn tensor() -> Value {
    json!({"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 10]}]})
}

/// What the network gave for `[1, 10]`: the factor, and the version that said so.
fn infer(server: &Server, path: &str) -> (f64, String) {
    let answer = server.ok(&format!("/v2/models/{path}/infer"), &tensor());
    let data = &answer["outputs"][0]["data"];
    let factor = data[0].as_f64().expect("a number");
    assert_eq!(data[1].as_f64(), Some(10.0 * factor), "{answer}");
    let version = answer["model_version"].as_str().expect("a version");
    (factor, version.to_owned())
}

fn index(server: &Server, name: &str) -> Vec<(String, String, String)> {
    let index = server.ok("/v2/repository/index", &json!({}));
    let entries = index.as_array().expect("networks").iter();
    let text = |entry: &Value, key: &str| entry[key].as_str().expect("a text").to_owned();
    let own = entries.filter(|entry| entry["name"] == name);
    own.map(|entry| {
        (
            text(entry, "version"),
            text(entry, "state"),
            text(entry, "reason"),
        )
    })
    .collect()
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < until, "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn states(server: &Server, name: &str) -> Vec<(String, String)> {
    let entries = index(server, name).into_iter();
    entries
        .map(|(version, state, _)| (version, state))
        .collect()
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    let pair = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
    list.iter().map(pair).collect()
}

#[test]
fn every_dialect_reaches_every_version() {
    let server = start(
        &[
            ("net/1/model.onnx", times(1.0)),
            ("net/2/model.onnx", times(2.0)),
            ("net/10/model.onnx", times(10.0)),
            ("plain/model.onnx", times(7.0)),
        ],
        &["--alias", "prod=net"],
    );
    assert_eq!(infer(&server, "net"), (10.0, "10".into()));
    assert_eq!(infer(&server, "prod"), (10.0, "10".into()));
    assert_eq!(infer(&server, "net/versions/2"), (2.0, "2".into()));
    assert_eq!(infer(&server, "prod/versions/1"), (1.0, "1".into()));
    assert_eq!(infer(&server, "net:1"), (1.0, "1".into()));
    assert_eq!(infer(&server, "plain/versions/1"), (7.0, "1".into()));
    let model = server.get("/v2/models/net").json();
    assert_eq!(model["versions"], json!(["1", "2", "10"]));
    let model = server.get("/v2/models/net/versions/2").json();
    assert_eq!(model["versions"], json!(["2"]));
    for path in ["ready", "config", "stats"] {
        for version in ["", "/versions/1", "/versions/10"] {
            let reply = server.get(&format!("/v2/models/net{version}/{path}"));
            assert_eq!(reply.status, 200, "{path}{version}: {}", reply.body);
        }
    }
    let stats = server.get("/v2/models/net/stats").json();
    let stats: Vec<(&Value, &Value)> = stats["model_stats"]
        .as_array()
        .expect("versions")
        .iter()
        .map(|stats| (&stats["version"], &stats["inference_count"]))
        .collect();
    assert_eq!(
        stats,
        [
            (&json!("10"), &json!(2)),
            (&json!("2"), &json!(1)),
            (&json!("1"), &json!(2))
        ]
    );
    let words = "model 'net' has no version \"3\"; it has \"10\", \"2\", \"1\"";
    for path in ["", "/infer", "/ready", "/config", "/stats"] {
        let path = format!("/v2/models/net/versions/3{path}");
        let reply = match path.ends_with("infer") {
            true => server.post(&path, &tensor()),
            false => server.get(&path),
        };
        assert_eq!(reply.status, 404, "{path}: {}", reply.body);
        assert_eq!(reply.json()["error"], words);
    }
    for odd in [
        "01",
        "1.0",
        "-1",
        "1%2F..",
        "..",
        "18446744073709551617",
        "%00",
    ] {
        let reply = server.get(&format!("/v2/models/net/versions/{odd}"));
        assert_eq!(reply.status, 404, "{odd}: {}", reply.body);
    }

    for (path, factor) in [
        ("/predictions/net", 10.0),
        ("/predictions/net/2.0", 2.0),
        ("/predictions/net/2", 2.0),
        ("/predictions/net:1", 1.0),
        ("/predictions/plain/1.0", 7.0),
    ] {
        assert_eq!(
            server.ok(path, &json!([1, 10])),
            json!([factor, 10.0 * factor]),
            "{path}"
        );
    }
    let reply = server.post("/predictions/net/3.0", &json!([1, 10]));
    assert_eq!(
        (reply.status, &reply.json()["type"]),
        (404, &json!("ModelVersionNotFoundException"))
    );

    for (body, factor) in [
        ("net", 10.0),
        ("net:2", 2.0),
        ("net:1", 1.0),
        ("plain:1", 7.0),
    ] {
        let body = json!({"model_name": body, "inputs": [1, 10]});
        assert_eq!(server.ok("/predict", &body)["result"][0], factor, "{body}");
    }
    let reply = server.post(
        "/predict",
        &json!({"model_name": "net:3", "inputs": [1, 10]}),
    );
    assert_eq!(reply.status, 404, "{}", reply.body);
    let models = server.get("/models").json();
    let names = models["models"].as_array().expect("names");
    assert!(
        names.contains(&json!("net")) && !names.contains(&json!("net:1")),
        "{models}"
    );
}

#[test]
fn versions_come_and_go_with_their_model() {
    let server = start(
        &[
            ("net/1/model.onnx", times(1.0)),
            ("net/2/model.onnx", b"no network".to_vec()),
            ("net/3/model.onnx", times(3.0)),
            ("net/5/readme.txt", b"no network yet".to_vec()),
        ],
        &[],
    );
    let down = "UNAVAILABLE";
    assert_eq!(
        states(&server, "net"),
        pairs(&[("3", down), ("2", down), ("1", down)])
    );
    let autoscaler = |method: &str, query: &str| {
        let reply = server.send(method, &format!("/autoscaler/{query}"), &[], b"");
        (reply.status, reply.json())
    };
    let (status, body) = autoscaler("POST", "load?model_name=net&version=v1");
    assert_eq!((status, &body["version"]), (200, &json!("v1")), "{body}");
    assert_eq!(
        states(&server, "net"),
        pairs(&[("3", down), ("2", down), ("1", "READY")])
    );
    let (status, body) = autoscaler("POST", "load?model_name=net");
    assert_eq!((status, &body["version"]), (200, &json!("v3")), "{body}");
    assert_eq!(autoscaler("POST", "load?model_name=net&version=v9").0, 404);
    let (status, body) = autoscaler("DELETE", "unload?model_name=net&version=v1");
    assert_eq!((status, &body["version"]), (200, &json!("v1")), "{body}");
    assert_eq!(
        states(&server, "net"),
        pairs(&[("3", "READY"), ("2", down), ("1", down)])
    );
    // All are loaded that can be, and it is told which cannot.
    let load = server.post("/v2/repository/models/net/load", &json!({}));
    assert_eq!(load.status, 500);
    assert!(load.body.contains("net:2"), "{}", load.body);
    assert_eq!(
        states(&server, "net"),
        pairs(&[("3", "READY"), ("2", down), ("1", "READY")])
    );
    let (_, _, reason) = &index(&server, "net")[1];
    assert!(reason.contains("net:2"), "{reason}");
    assert_eq!(server.get("/v2/models/net/ready").status, 200);
    assert_eq!(server.get("/v2/models/net/versions/2/ready").status, 503);
    let managed = server.get("/models/managed").json();
    let managed = managed["downloaded_models"].as_array().expect("models");
    let net = managed.iter().find(|model| model["name"] == "net");
    assert_eq!(net.expect("it is there")["loaded"], true);

    let unload = server.post("/v2/repository/models/net/unload", &json!({}));
    assert_eq!(unload.status, 200, "{}", unload.body);
    assert!(
        states(&server, "net")
            .iter()
            .all(|(_, state)| state == down)
    );
    let delete = |name: &str| {
        let path = format!("/models/manage?action=delete&model_name={name}");
        server.send("POST", &path, &[], b"").status
    };
    assert_eq!(delete("net:1"), 409);
    assert_eq!(delete("net"), 200);
    assert!(!server.home().join("models/net").exists());
    assert_eq!(server.get("/v2/models/net").status, 404);
}

#[test]
fn no_request_fails_while_versions_and_files_change() {
    let server = start(
        &[
            ("net/1/model.onnx", times(1.0)),
            ("one/model.onnx", times(1.0)),
        ],
        &[],
    );
    let home = server.home().to_owned();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = ["net", "net", "one", "one"].map(|name| {
            let (server, over) = (&server, &over);
            scope.spawn(move || {
                let mut seen: Vec<f64> = Vec::new();
                let mut asked = 0;
                while !over.load(Ordering::Relaxed) {
                    let (factor, _) = infer(server, name);
                    asked += 1;
                    if seen.last() != Some(&factor) {
                        seen.push(factor);
                    }
                }
                (name, asked, seen)
            })
        });
        // A panic here must not leave the others asking.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            infer(&server, "net");
            infer(&server, "one");
            // What is half there is not taken.
            let (whole, half) = (times(2.0), times(2.0).len() / 2);
            write(&home, "net/2/model.onnx", &whole[..half]);
            write(&home, "one/model.onnx", &whole[..half]);
            let told = || {
                index(&server, "one")
                    .into_iter()
                    .find(|(_, _, reason)| !reason.is_empty())
            };
            let (_, state, _) = until("a broken file is told", told);
            assert_eq!(state, "READY");
            assert_eq!(infer(&server, "one"), (1.0, "1".into()));
            assert_eq!(infer(&server, "net"), (1.0, "1".into()));
            write(&home, "net/2/model.onnx", &whole);
            write(&home, "one/model.onnx", &whole);
            until("the new version", || {
                (infer(&server, "net") == (2.0, "2".into())).then_some(())
            });
            until("the new file", || {
                (infer(&server, "one").0 == 2.0).then_some(())
            });
            // As programs that write with care do it.
            let beside = write(&home, "net/2/model.new", times(4.0));
            fs::rename(&beside, beside.with_extension("onnx")).expect("renamed");
            until("the renamed file", || {
                (infer(&server, "net").0 == 4.0).then_some(())
            });
            assert_eq!(infer(&server, "net/versions/1").0, 1.0);
            fs::remove_dir_all(home.join("models/net/2")).expect("removed");
            until("the older version", || {
                (infer(&server, "net") == (1.0, "1".into())).then_some(())
            });
        }));
        over.store(true, Ordering::Relaxed);
        for thread in asking {
            let (name, asked, seen) = thread.join().expect("no request failed");
            assert!(asked > 10, "{name}: {asked}");
            let expected: &[f64] = if name == "net" {
                &[1.0, 2.0, 4.0, 1.0]
            } else {
                &[1.0, 2.0]
            };
            assert_eq!(seen, expected, "{name}");
        }
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
    });
    assert_eq!(index(&server, "one")[0].2, "");
    // Whole models come and go too.
    write(&home, "late/1/model.onnx", times(3.0));
    assert_eq!(infer(&server, "late"), (3.0, "1".into()));
    fs::remove_dir_all(home.join("models/late")).expect("removed");
    let loaded = || server.get("/health").body.contains("late");
    until("it is unloaded", || (!loaded()).then_some(()));
    assert_eq!(server.post("/v2/models/late/infer", &tensor()).status, 404);
}

#[test]
fn odd_folders_harm_nobody() {
    let files = [
        ("net/1/model.onnx", times(1.0)),
        ("net/01/model.onnx", times(2.0)),
        ("net/-1/model.onnx", times(2.0)),
        ("net/99999999999999999999999/model.onnx", times(2.0)),
        ("net/1.5/model.onnx", times(2.0)),
        ("net/4/model.onnx/model.onnx", times(2.0)),
        ("both/model.onnx", times(1.0)),
        ("both/1/model.onnx", times(1.0)),
        ("bad/config.toml", b"max_batch_size = 0".to_vec()),
        ("bad/1/model.onnx", times(1.0)),
        ("bad/2/model.onnx", times(1.0)),
    ];
    let server = start(&files, &[]);
    #[cfg(unix)]
    {
        let at = |path: &str| server.home().join("models").join(path);
        for (to, from) in [
            ("3", "net/2"),
            ("2", "net/3"),
            ("..", "net/5"),
            ("self", "self"),
            (".", "here"),
        ] {
            std::os::unix::fs::symlink(to, at(from)).expect("linked");
        }
    }
    assert_eq!(infer(&server, "net"), (1.0, "1".into()));
    assert_eq!(
        server.get("/v2/models/net").json()["versions"],
        json!(["1"])
    );
    for (name, words) in [
        ("both", "keep one or the other"),
        ("bad", "config.toml: max_batch_size is 0"),
    ] {
        let reply = server.post(&format!("/v2/models/{name}/infer"), &tensor());
        assert_eq!(reply.status, 500, "{name}: {}", reply.body);
        let error = reply.json()["error"]
            .as_str()
            .expect("a sentence")
            .to_owned();
        assert!(error.contains(words), "{name}: {error}");
        for (_, state, reason) in index(&server, name) {
            assert_eq!(state, "UNAVAILABLE");
            assert!(reason.contains(words), "{name}: {reason}");
        }
    }
    assert_eq!(server.get("/v2/health/ready").status, 200);
}

/// What a repository of Triton says of such a network, with `more`.
fn triton(more: &str) -> Vec<u8> {
    let text = format!(
        "# As Triton has it.\n\
         platform: \"onnxruntime_onnx\"\n\
         max_batch_size: 4\n\
         input [ {{ name: \"x\" data_type: TYPE_FP32 dims: [ 2 ] }} ]\n\
         output [ {{ name: \"y\" data_type: TYPE_FP32 dims: [ 2 ] label_filename: \"names.txt\" }} ]\n\
         {more}\n"
    );
    text.into_bytes()
}

#[test]
fn a_repository_of_triton_is_served_as_it_is() {
    let more = "name: \"net\" default_model_filename: \"net.onnx\" instance_group [ { count: 2 kind: KIND_CPU } ] \
                dynamic_batching { preferred_batch_size: [ 2, 4 ] max_queue_delay_microseconds: 500 } optimization {}";
    let labels = || b"low\nhigh\n".to_vec();
    let server = start(
        &[
            ("net/config.pbtxt", triton(more)),
            ("net/names.txt", labels()),
            ("net/1/net.onnx", times(1.0)),
            ("net/2/net.onnx", times(2.0)),
            ("sequence/config.pbtxt", triton("sequence_batching {}")),
            ("sequence/names.txt", labels()),
            ("sequence/1/model.onnx", times(1.0)),
            (
                "type/config.pbtxt",
                b"input { name: \"x\" data_type: TYPE_INT8 dims: 2 }".to_vec(),
            ),
            ("type/1/model.onnx", times(1.0)),
            ("empty/config.pbtxt", triton("")),
            ("deep/config.pbtxt", b"input {".repeat(100_000)),
            ("deep/1/model.onnx", times(1.0)),
        ],
        &[],
    );
    // Unless it is said otherwise, Triton serves the newest.
    assert_eq!(infer(&server, "net"), (2.0, "2".into()));
    assert_eq!(server.get("/v2/models/net/versions/1").status, 404);
    let config = server.get("/v2/models/net/config").json();
    assert_eq!(
        (
            &config["max_batch_size"],
            &config["instance_group"][0]["count"]
        ),
        (&json!(4), &json!(2)),
        "{config}"
    );
    assert_eq!(
        config["dynamic_batching"],
        json!({"preferred_batch_size": [2, 4], "max_queue_delay_microseconds": 500})
    );
    let mut body = tensor();
    body["outputs"] = json!([{"name": "y", "parameters": {"classification": 2}}]);
    let classes = server.ok("/v2/models/net/infer", &body);
    assert_eq!(
        classes["outputs"][0]["data"],
        json!(["20.000000:1:high", "2.000000:0:low"])
    );
    let predicted = server.ok("/net/predict", &json!({"inputs": [1.0, 10.0]}));
    assert_eq!(predicted["result"][0]["label"], "high", "{predicted}");
    for (name, words) in [
        (
            "sequence",
            "line 6: sequence_batching: Hearth does not have this",
        ),
        (
            "type",
            "config.pbtxt: input \"x\" is said to have elements of TYPE_INT8",
        ),
        (
            "empty",
            "no folder of a version has a file model.pt2 or model.pt or model.onnx",
        ),
        ("deep", "more than 32 messages within each other"),
    ] {
        let reply = server.post(&format!("/v2/models/{name}/infer"), &tensor());
        assert_eq!(reply.status, 500, "{name}: {}", reply.body);
        let error = reply.json()["error"]
            .as_str()
            .expect("a sentence")
            .to_owned();
        assert!(error.contains(words), "{name}: {error}");
    }
    // What is said of a model is taken while it is loaded, too.
    let all = format!("{more} version_policy {{ all {{}} }}");
    write(server.home(), "net/config.pbtxt", triton(&all));
    let both = || (infer(&server, "net/versions/1").0 == 1.0).then_some(());
    let is_there = || server.get("/v2/models/net/versions/1/ready").status == 200;
    until("both versions", || is_there().then(both).flatten());
    let few = all.replace("count: 2", "count: 1");
    write(server.home(), "net/config.pbtxt", triton(&few));
    let delay = || {
        let config = server.get("/v2/models/net/config").json();
        (config["instance_group"][0]["count"] == 1).then_some(())
    };
    until("one instance", delay);
}
