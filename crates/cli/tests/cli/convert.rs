//! `convert`: exported networks and checkpoints.

use std::fs;
use std::path::Path;

use super::Home;

/// A small program that `oracle/graph_golden.py` has exported.
const PROGRAM: &[u8] = include_bytes!("../../../graph/tests/fixtures/mlp.pt2");

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_program_becomes_an_onnx_file() {
    let home = Home::new();
    let (program, model) = (home.path().join("mlp.pt2"), home.path().join("mlp.onnx"));
    fs::write(&program, PROGRAM).unwrap();
    let said = home
        .hearth(["convert", text(&program), text(&model)])
        .good();
    assert!(said.contains("operator set 18"), "{said}");
    assert!(
        said.contains("input x: float32 [") && said.contains(", 6]"),
        "{said}"
    );
    // The first field of a model is the version of its format, 8.
    assert_eq!(fs::read(&model).unwrap()[..2], [0x08, 8]);

    home.hearth(["convert", text(&program), text(&model)])
        .failed(1, &["mlp.onnx: the file exists", "--force"]);
    home.hearth(["convert", text(&program), text(&model), "--force"])
        .good();
}

#[test]
fn an_operator_without_a_lowering_is_named_and_nothing_written() {
    let home = Home::new();
    let (program, model) = (home.path().join("odd.pt2"), home.path().join("odd.onnx"));
    let mut bytes = PROGRAM.to_vec();
    let name = b"torch.ops.aten.gelu.default";
    let at = bytes.windows(name.len()).position(|w| w == name).unwrap();
    bytes[at..at + name.len()].copy_from_slice(b"torch.ops.aten.gulp.default");
    fs::write(&program, bytes).unwrap();
    home.hearth(["convert", text(&program), text(&model)])
        .failed(
            1,
            &["odd.pt2", "no lowering for aten.gulp.default (node gelu)"],
        );
    home.hearth(["convert", "/no/such.pt2", text(&model)])
        .failed(1, &["/no/such.pt2"]);
    let left: Vec<_> = fs::read_dir(home.path())
        .unwrap()
        .map(|item| item.unwrap().file_name())
        .filter(|name| name.to_string_lossy().contains("onnx"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn torchscript_becomes_an_onnx_file_with_inputs_as_they_are_said() {
    const MODULE: &[u8] = include_bytes!("../../../graph/tests/fixtures/script/residual.pt");
    let home = Home::new();
    let (module, model) = (home.path().join("net.pt"), home.path().join("net.onnx"));
    fs::write(&module, MODULE).unwrap();
    let said = home.hearth(["convert", text(&module), text(&model)]).good();
    assert!(
        said.contains("input x: float32 [batch, 3, 16, 16]"),
        "{said}"
    );
    let input = "x=float32[n,3,32,32]";
    let again = ["convert", text(&module), text(&model), "--force", "--input"];
    let said = home.hearth(again.iter().copied().chain([input])).good();
    assert!(said.contains("input x: float32 [n, 3, 32, 32]"), "{said}");
    home.hearth(again.iter().copied().chain(["x=float32[n,4,32,32]"]))
        .failed(1, &["net.pt", "line ", "the sizes 4 and 3 differ"]);
    home.hearth(again.iter().copied().chain(["x=float33"]))
        .failed(2, &["float33"]);

    let program = home.path().join("mlp.pt2");
    fs::write(&program, PROGRAM).unwrap();
    home.hearth([
        "convert",
        text(&program),
        text(&model),
        "--force",
        "--input",
        input,
    ])
    .failed(1, &["--input x: only the inputs of a .pt file"]);
    fs::write(&module, PROGRAM).unwrap();
    home.hearth(["convert", text(&module), text(&model), "--force"])
        .failed(1, &["net.pt", "call the file .pt2"]);
}

/// Any checkpoint of a known class is written, also one that is served for embeddings.
#[test]
fn a_checkpoint_becomes_an_onnx_file() {
    let home = Home::new();
    let checkpoints = Path::new(env!("CARGO_MANIFEST_DIR")).join("../graph/tests/checkpoints");
    for (name, output) in [
        ("timm-resnet18", "output logits: float32 [batch, 5]"),
        ("bert-model", "output pooler_output: float32 [batch, 16]"),
    ] {
        let model = home.path().join(format!("{name}.onnx"));
        let said = home
            .hearth(["convert", text(&checkpoints.join(name)), text(&model)])
            .good();
        assert!(said.contains(output), "{said}");
        assert_eq!(fs::read(&model).unwrap()[..2], [0x08, 8]);
        home.hearth([
            "convert",
            text(&model),
            text(&home.path().join("again.onnx")),
        ])
        .failed(1, &["is an ONNX model already"]);
    }
}
