//! `quantize`: whole files or none.

use std::path::Path;

use super::Home;
use super::files;

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|item| item.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_quantized_model_is_listed_shown_and_run() {
    let home = Home::new();
    let models = home.models();
    let (half, small) = (models.join("half.gguf"), models.join("small.gguf"));
    let path = |file: &Path| file.to_str().unwrap().to_owned();
    let said = home
        .hearth(["quantize", "ember", &path(&half), "--type", "f16"])
        .good();
    assert!(said.contains("half.gguf"), "{said}");
    home.hearth(["quantize", &path(&half), &path(&small), "--type", "q8_0"])
        .good();
    assert_eq!(names(&models), ["half.gguf", "small.gguf"]);

    let sizes = [&half, &small].map(|file| std::fs::metadata(file).unwrap().len());
    assert!(sizes[1] < sizes[0] * 3 / 4, "{sizes:?}");
    let card = home.hearth(["show", "small", "--json"]).json();
    assert_eq!(card["quantization"], "Q8_0");
    let original = home.hearth(["show", "ember", "--json"]).json();
    for same in [
        "architecture",
        "parameters",
        "dimensions",
        "tokenizer",
        "chat_template",
    ] {
        assert_eq!(card[same], original[same], "{same}");
    }
    let answer = home
        .hearth(["run", "small", "Hello!", "--max-tokens", "8"])
        .good();
    assert!(!answer.trim().is_empty());
}

#[test]
fn nothing_is_overwritten_or_quantized_twice_unasked() {
    let home = Home::new();
    let source = home.path().join("source.gguf");
    files::tiny(&source, 1);
    let (source, out) = (source.to_str().unwrap(), home.path().join("out.gguf"));
    let out = out.to_str().unwrap();
    std::fs::write(out, "mine").unwrap();
    home.hearth(["quantize", source, out, "--type", "q8_0"])
        .failed(1, &["out.gguf", "--force"]);
    assert_eq!(std::fs::read_to_string(out).unwrap(), "mine");
    home.hearth(["quantize", source, out, "--type", "q8_0", "--force"])
        .good();

    let again = home.path().join("again.gguf");
    let again = again.to_str().unwrap();
    home.hearth(["quantize", out, again, "--type", "q4_0"])
        .failed(1, &["Q8_0", "--allow-requantize"]);
    assert_eq!(names(home.path()), ["out.gguf", "source.gguf"]);
    home.hearth([
        "quantize",
        out,
        again,
        "--type",
        "q4_0",
        "--allow-requantize",
    ])
    .good();
}

#[test]
fn wrong_input_leaves_no_file() {
    let home = Home::new();
    let out = home.path().join("out.gguf");
    let out = out.to_str().unwrap();
    home.hearth(["quantize", "ember", out, "--type", "q9"])
        .failed(2, &["q9", "Q4_K_M"]);
    home.hearth([
        "quantize",
        "ember",
        "/no/such/folder/out.gguf",
        "--type",
        "f16",
    ])
    .failed(1, &["/no/such/folder"]);
    home.hearth(["quantize", "nonsense", out, "--type", "f16"])
        .failed(1, &["nonsense"]);
    let broken = home.path().join("broken.gguf");
    std::fs::write(&broken, "GGUF").unwrap();
    home.hearth(["quantize", broken.to_str().unwrap(), out, "--type", "f16"])
        .failed(1, &["broken.gguf"]);
    assert_eq!(names(home.path()), ["broken.gguf"]);
}

#[test]
#[cfg(unix)]
fn an_interrupted_run_leaves_no_file() {
    let home = Home::new();
    let source = home.path().join("source.gguf");
    // Enough work for a signal to arrive within.
    files::tiny(&source, 400);
    let child = home
        .command([
            "quantize",
            source.to_str().unwrap(),
            home.path().join("out.gguf").to_str().unwrap(),
            "--type",
            "q4_k_m",
        ])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let begun = || {
        names(home.path())
            .iter()
            .any(|name| name.ends_with(".part"))
    };
    while !begun() {
        std::thread::yield_now();
    }
    super::signal("INT", &child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(String::from_utf8_lossy(&output.stderr).contains("interrupted"));
    assert_eq!(names(home.path()), ["source.gguf"]);
}
