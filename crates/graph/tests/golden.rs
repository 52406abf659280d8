//! Exported networks of each kind: what both engines answer is what PyTorch answered.
//!
//! The fixtures are made by `oracle/graph_golden.py`, those of TorchScript by `oracle/script_golden.py`. The archive is lowered and run by tract, and by ONNX Runtime where
//! its library is found; elsewhere the test says so and tests tract alone.

mod golden_format;

use std::path::PathBuf;

use golden_format::Golden;
use hearth_formats::pt2::Pt2Archive;
use hearth_formats::torchscript::ScriptArchive;
use hearth_graph::lower::lower;
use hearth_graph::onnx::Model;
use hearth_graph::runtime::{Engine, Engines, find};
use hearth_graph::script;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn golden(name: &str) {
    let archive = Pt2Archive::open(&fixture(&format!("{name}.pt2"))).unwrap();
    check(name, lower(&archive));
}

fn script_golden(name: &str) {
    script_golden_of(name, &[]);
}

/// Images of any size, where the module was traced with one.
fn script_golden_of_images(name: &str) {
    script_golden_of(name, &["x=float32[batch,3,height,width]"]);
}

fn script_golden_of_size(name: &str) {
    script_golden_of(name, &["x=float32[batch,3,18,18]"]);
}

fn script_golden_of(name: &str, declared: &[&str]) {
    let name = format!("script/{name}");
    let archive = ScriptArchive::open(&fixture(&format!("{name}.pt"))).unwrap();
    let declared: Vec<_> = declared.iter().map(|text| text.parse().unwrap()).collect();
    check(&name, script::lower(&archive, &declared));
}

fn check(name: &str, model: hearth_graph::Result<Model>) {
    let model = model.unwrap_or_else(|e| panic!("{name}: {e}"));
    let bytes = model.to_bytes().unwrap();
    let golden = Golden::read(&fixture(&format!("{name}.json")));
    let (engines, _) = Engines::with_libraries(find::candidates(), 2);
    let mut all = vec![Engine::Tract];
    if engines.onnx_runtime().is_some() {
        all.push(Engine::OnnxRuntime);
    } else {
        eprintln!("{name}: tract alone; ONNX Runtime's library was not found");
    }
    for engine in all {
        let network = engines
            .load(&bytes, engine)
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        for (i, case) in golden.cases.iter().enumerate() {
            let outputs = network
                .run(&case.inputs())
                .unwrap_or_else(|e| panic!("{name}, case {i}: {e}"));
            let off = case
                .compare(&outputs)
                .unwrap_or_else(|e| panic!("{name}, {engine}, case {i}: {e}"));
            assert!(
                off <= 1.0,
                "{name}, {engine}, case {i}: {off} times what may be"
            );
        }
    }
}

macro_rules! goldens {
    ($of:ident, $($test:ident: $name:literal,)*) => {$(
        #[test]
        fn $test() {
            $of($name);
        }
    )*};
}

goldens! {
    script_golden,
    traced_mlp: "mlp",
    traced_cnn: "cnn",
    traced_lstm: "lstm",
    traced_gru: "gru",
    traced_views_changed_in_place: "views",
    traced_attention: "attention",
    traced_bert: "bert",
    traced_distilbert: "distilbert",
    traced_vit: "vit",
    traced_head_of_one_size: "flat",
    scripted_lstm: "lstm-scripted",
    scripted_head_of_one_size: "flat-scripted",
    scripted_branches: "branches-scripted",
    traced_lists: "lists",
}

goldens! {
    script_golden_of_size,
    scripted_cnn: "cnn-scripted",
}

goldens! {
    script_golden_of_images,
    traced_segmenter: "segmenter",
    traced_residual: "residual",
}

goldens! {
    golden,
    mlp: "mlp",
    cnn: "cnn",
    cnn_in_core_operators: "cnn-core",
    segmenter: "segmenter",
    lstm: "lstm",
    gru: "gru",
    views_changed_in_place: "views",
    attention: "attention",
    bert: "bert",
    bert_in_core_operators: "bert-core",
    distilbert: "distilbert",
    t5_encoder: "t5-encoder",
    vit: "vit",
    convnext: "convnext",
    resnet: "resnet",
    clip: "clip",
    swin: "swin",
    mlp_of_2_5: "mlp-2.5",
    cnn_of_2_5: "cnn-2.5",
    segmenter_of_2_5: "segmenter-2.5",
    lstm_of_2_5: "lstm-2.5",
    attention_of_2_5: "attention-2.5",
    mlp_of_2_8: "mlp-2.8",
    cnn_of_2_8: "cnn-2.8",
    segmenter_of_2_8: "segmenter-2.8",
    lstm_of_2_8: "lstm-2.8",
    attention_of_2_8: "attention-2.8",
}
