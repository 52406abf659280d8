//! `list` and `show`.

use std::process::Stdio;

use super::Home;
use super::files;

#[test]
fn the_built_in_models_are_listed() {
    let home = Home::new();
    let table = home.hearth(["list"]).good();
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("NAME"), "{table}");
    assert!(
        lines[1].starts_with("ember ") && lines[1].contains("text"),
        "{table}"
    );
    assert!(
        lines[2].starts_with("ember-embed") && lines[2].contains("embedding"),
        "{table}"
    );

    assert!(
        lines[3].starts_with("digits ") && lines[3].contains("network"),
        "{table}"
    );
    assert!(
        lines[4].starts_with("example ") && lines[4].contains("network"),
        "{table}"
    );

    let rows = home.hearth(["list", "--json"]).json();
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 4);
    assert_eq!(rows[0]["name"], "ember");
    assert_eq!(rows[0]["kind"], "text");
    assert_eq!(rows[0]["built_in"], true);
    assert!(rows[0]["size_bytes"].as_u64().unwrap() > 100_000);
    assert!(rows[0]["parameters"].as_u64().unwrap() > 100_000);
    assert!(rows[0].get("path").is_none() && rows[0].get("error").is_none());
    assert_eq!(rows[1]["name"], "ember-embed");
    assert_eq!(rows[1]["kind"], "embedding");
}

#[test]
fn a_broken_file_hides_nothing_and_says_why() {
    let home = Home::new();
    std::fs::write(home.models().join("broken.gguf"), b"GGUF\x03\0\0\0 cut off").unwrap();
    files::tiny(&home.models().join("tiny.gguf"), 1);
    let ran = home.hearth(["list"]);
    assert!(ran.stderr.contains("broken"), "{}", ran.stderr);
    let table = ran.good();
    assert!(table.contains("ember") && table.contains("tiny"), "{table}");

    let rows = home.hearth(["list", "--json"]).json();
    let row = |name: &str| {
        rows.as_array()
            .unwrap()
            .iter()
            .find(|row| row["name"] == name)
            .unwrap()
    };
    assert!(row("broken").get("kind").is_none());
    assert!(
        row("broken")["error"]
            .as_str()
            .unwrap()
            .contains("broken.gguf")
    );
    assert_eq!(row("tiny")["quantization"], "F32");
    assert!(row("tiny")["modified"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn another_folder_of_models_can_be_named() {
    let home = Home::new();
    let other = tempfile::tempdir().unwrap();
    files::tiny(&other.path().join("elsewhere.gguf"), 1);
    let folder = other.path().to_str().unwrap();
    let table = home.hearth(["list", "--models-dir", folder]).good();
    assert!(table.contains("elsewhere"), "{table}");
    let card = home
        .hearth(["show", "elsewhere", "--models-dir", folder, "--json"])
        .json();
    assert_eq!(card["name"], "elsewhere");
    home.hearth(["list", "--models-dir", "/no/such/folder"])
        .failed(1, &["/no/such/folder", "--models-dir"]);
}

#[test]
fn a_built_in_model_says_that_it_is_a_demonstration() {
    let home = Home::new();
    let card = home.hearth(["show"]).good();
    assert!(card.contains("demonstration"), "{card}");
    for field in [
        "architecture",
        "parameters",
        "quantization",
        "context",
        "tokenizer",
        "chat template",
    ] {
        assert!(card.contains(field), "no {field} in {card}");
    }
    let card = home.hearth(["show", "ember", "--json"]).json();
    assert_eq!(card["built_in"], true);
    assert_eq!(card["kind"], "text");
    assert!(card["dimensions"]["context_length"].as_u64().unwrap() > 0);
    assert!(card["dimensions"]["num_layers"].as_u64().unwrap() > 0);
    assert!(card["tokenizer"]["tokens"].as_u64().unwrap() > 0);
    let template = home.hearth(["show", "ember", "--template"]).good();
    assert_eq!(
        card["chat_template"].as_str().unwrap().trim_end(),
        template.trim_end()
    );
    assert!(template.contains("messages"), "{template}");
}

#[test]
fn an_embedding_model_has_pooling_and_no_template() {
    let home = Home::new();
    let card = home.hearth(["show", "ember-embed", "--json"]).json();
    assert_eq!(card["kind"], "embedding");
    assert!(card["pooling"].is_string());
    home.hearth(["show", "ember-embed", "--template"])
        .failed(1, &["no chat template"]);
}

#[test]
fn a_file_is_shown_by_its_path() {
    let home = Home::new();
    let file = home.path().join("a model.gguf");
    files::tiny(&file, 1);
    let card = home
        .hearth(["show".as_ref(), file.as_os_str(), "--json".as_ref()])
        .json();
    assert_eq!(card["built_in"], false);
    assert_eq!(card["format"], "gguf");
    assert_eq!(card["architecture"], "llama");
    assert_eq!(card["files"][0], file.to_str().unwrap());
}

#[test]
fn a_network_is_shown_with_what_it_takes_and_what_runs_it() {
    const PROGRAM: &[u8] = include_bytes!("../../../graph/tests/fixtures/mlp.pt2");
    let home = Home::new();
    let card = home.hearth(["show", "example"]).good();
    for words in ["demonstration", "network", "input            ", "float32 ["] {
        assert!(card.contains(words), "no {words} in {card}");
    }
    let card = home.hearth(["show", "digits"]).good();
    let has = |line: &str| card.lines().any(|own| own == line);
    assert!(has("takes            images"), "{card}");
    assert!(
        has("classes          10: 0, 1, 2, 3, 4, 5, 6, 7, ..."),
        "{card}"
    );
    let card = home.hearth(["show", "digits", "--json"]).json();
    assert_eq!(card["takes"], serde_json::json!(["images"]));
    assert_eq!(card["classes"].as_array().map(Vec::len), Some(10));

    let folder = home.models().join("mlp");
    std::fs::create_dir(&folder).unwrap();
    let file = folder.join("model.pt2");
    std::fs::write(&file, PROGRAM).unwrap();
    std::fs::write(folder.join("config.toml"), "engine = \"tract\"").unwrap();
    let card = home.hearth(["show", "mlp", "--json"]).json();
    assert_eq!(card["kind"], "network");
    assert_eq!(card["format"], "pt2");
    assert_eq!(card["runtime"], "tract");
    assert_eq!(card["inputs"][0]["name"], "x");
    assert_eq!(card["inputs"][0]["dtype"], "float32");
    assert_eq!(card["inputs"][0]["shape"][1], 6);
    assert_eq!(card["outputs"][0]["shape"][1], 3);
    assert!(card["operators"]["Softmax"].as_u64().unwrap() == 1);
    assert!(card["parameters"].as_u64().unwrap() > 6 * 3);
    assert_eq!(card["file"], file.to_str().unwrap());
    // By the paths of folder and file the same, and of what convert makes of it.
    let onnx = home.path().join("made.onnx");
    let onnx = onnx.to_str().unwrap();
    home.hearth(["convert", file.to_str().unwrap(), onnx])
        .good();
    for (path, format) in [
        (folder.to_str().unwrap(), "pt2"),
        (file.to_str().unwrap(), "pt2"),
        (onnx, "onnx"),
    ] {
        let shown = home.hearth(["show", path, "--json"]).json();
        assert_eq!(shown["format"], format);
        for member in ["inputs", "outputs", "operators", "parameters"] {
            assert_eq!(shown[member], card[member], "{path}");
        }
    }

    home.hearth(["show", "mlp", "--template"])
        .failed(1, &["no chat template"]);
    std::fs::write(&file, &PROGRAM[..PROGRAM.len() / 2]).unwrap();
    home.hearth(["show", "mlp"]).failed(1, &["model.pt2"]);
}

#[test]
fn the_inputs_of_torchscript_are_what_its_config_says() {
    const MODULE: &[u8] = include_bytes!("../../../graph/tests/fixtures/script/mlp.pt");
    let home = Home::new();
    let folder = home.models().join("pair");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("model.pt"), MODULE).unwrap();
    let shape = || {
        let card = home.hearth(["show", "pair", "--json"]).json();
        assert_eq!(card["format"], "torchscript");
        card["inputs"][0]["shape"].clone()
    };
    assert_eq!(shape(), serde_json::json!(["batch", 6]));
    let config = folder.join("config.toml");
    std::fs::write(&config, "[inputs.x]\nshape = [2, 6]").unwrap();
    assert_eq!(shape(), serde_json::json!([2, 6]));
    std::fs::write(&config, "[inputs.y]\nshape = [2, 6]").unwrap();
    home.hearth(["show", "pair"])
        .failed(1, &["\"y\" is declared, but forward takes x"]);
}

#[test]
fn wrong_names_and_paths_say_what_there_is() {
    let home = Home::new();
    home.hearth(["show", "nonsense"])
        .failed(1, &["nonsense", "ember", "model's file"]);
    home.hearth(["show", "/no/such/model.gguf"])
        .failed(1, &["/no/such/model.gguf", "ember"]);
    let text = home.path().join("notes.txt");
    std::fs::write(&text, "no model").unwrap();
    home.hearth(["show".as_ref(), text.as_os_str()])
        .failed(1, &["notes.txt"]);
    let empty = home.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    home.hearth(["show".as_ref(), empty.as_os_str()])
        .failed(1, &["config.json"]);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let home = Home::new();
    let mut child = home
        .command(["show", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
