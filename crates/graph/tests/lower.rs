//! Exported programs of each kind become models with the inputs and outputs that they were exported with.

use std::collections::HashMap;
use std::path::PathBuf;

use hearth_formats::pt2::Pt2Archive;
use hearth_graph::lower::lower;
use hearth_graph::onnx::{DataType, Dim, Model, ValueInfo};
use serde_json::Value;

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn model(name: &str) -> Model {
    let archive = Pt2Archive::open(&fixtures().join(name)).unwrap();
    lower(&archive).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn names(values: &[ValueInfo]) -> Vec<&str> {
    values.iter().map(|v| v.name.as_str()).collect()
}

/// The sizes of symbols, learnt from shapes that are there.
type Sizes = HashMap<String, i64>;

/// Holds what a model says of its values to the types and shapes that PyTorch's had.
fn check(name: &str, values: &[ValueInfo], golden: &Value, sizes: &mut Sizes) {
    let golden = golden.as_array().unwrap();
    assert_eq!(values.len(), golden.len(), "{name}");
    for (value, golden) in values.iter().zip(golden) {
        let dtype = match golden["dtype"].as_str().unwrap() {
            "float32" => DataType::Float,
            "int64" => DataType::Int64,
            "bool" => DataType::Bool,
            other => panic!("{name} has {other}"),
        };
        assert_eq!(value.dtype, dtype, "{name}: {value}");
        let shape = golden["shape"].as_array().unwrap();
        assert_eq!(value.dims.len(), shape.len(), "{name}: {value}");
        for (dim, size) in value.dims.iter().zip(shape) {
            let size = size.as_i64().unwrap();
            match dim {
                Dim::Fixed(n) => assert_eq!(*n, size, "{name}: {value}"),
                Dim::Symbol(symbol) => {
                    let known = *sizes.entry(symbol.clone()).or_insert(size);
                    assert_eq!(known, size, "{name}: {symbol} of {value}");
                }
                Dim::Unknown => {}
            }
        }
    }
}

#[test]
fn all_programs_have_a_lowering_with_the_types_and_shapes_of_pytorch() {
    let mut count = 0;
    for entry in std::fs::read_dir(fixtures()).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        let Some(name) = file.strip_suffix(".pt2") else {
            continue;
        };
        let graph = model(&file).graph;
        let golden = std::fs::read(fixtures().join(format!("{name}.json"))).unwrap();
        let golden: Value = serde_json::from_slice(&golden).unwrap();
        for case in golden["cases"].as_array().unwrap() {
            let mut sizes = Sizes::new();
            check(name, &graph.inputs, &case["inputs"], &mut sizes);
            check(name, &graph.outputs, &case["outputs"], &mut sizes);
        }
        count += 1;
    }
    assert!(count > 20, "{count} programs");
}

#[test]
fn outputs_are_named_after_what_the_program_returns() {
    let bert = model("bert.pt2");
    assert_eq!(names(&bert.graph.inputs), ["input_ids", "attention_mask"]);
    assert_eq!(names(&bert.graph.outputs), ["logits"]);
    let segmenter = model("segmenter.pt2");
    assert_eq!(names(&segmenter.graph.outputs), ["out", "classes"]);
    // Without names of their own they have the graph's.
    assert_eq!(names(&model("mlp.pt2").graph.outputs), ["softmax"]);
}

#[test]
fn dynamic_dimensions_stay_dynamic() {
    let segmenter = model("segmenter.pt2");
    let image = &segmenter.graph.inputs[0].dims;
    assert!(matches!(image[0], Dim::Symbol(_)) && matches!(image[2], Dim::Symbol(_)));
    assert_eq!(image[1], Dim::Fixed(3));
    assert_eq!(segmenter.graph.outputs[0].dims[2], image[2]);
    assert_eq!(segmenter.graph.outputs[0].dims[1], Dim::Fixed(4));
}

#[test]
fn values_are_given_before_they_are_used_and_weights_are_used() {
    for name in ["bert.pt2", "views.pt2", "lstm-2.5.pt2"] {
        let graph = model(name).graph;
        let mut given: Vec<&str> = names(&graph.inputs);
        given.extend(graph.initializers.iter().map(|t| t.name.as_str()));
        for node in &graph.nodes {
            for input in node.inputs.iter().filter(|input| !input.is_empty()) {
                assert!(
                    given.contains(&input.as_str()),
                    "{name}: {input} of {}",
                    node.name
                );
            }
            for output in &node.outputs {
                assert!(!given.contains(&output.as_str()), "{name}: {output} twice");
                given.push(output);
            }
        }
        for weight in &graph.initializers {
            let used = graph.nodes.iter().any(|n| n.inputs.contains(&weight.name));
            assert!(used, "{name}: nothing uses {}", weight.name);
        }
    }
}

#[test]
fn what_would_compute_in_another_precision_is_refused() {
    let path = fixtures().join("refused/autocast.pt2");
    let archive = Pt2Archive::open(&path).unwrap();
    let error = lower(&archive).expect_err("it is in bfloat16").to_string();
    assert!(error.contains("torch.autocast is enabled"), "{error}");
}
