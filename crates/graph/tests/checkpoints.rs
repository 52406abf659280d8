//! Checkpoints of architectures that are known by name: what both engines answer is what transformers and timm answered
//! (`oracle/checkpoint_golden.py`), and what does not fit is refused by name.

mod golden_format;

use std::path::{Path, PathBuf};

use golden_format::Golden;
use hearth_formats::NetworkCheckpoint;
use hearth_graph::architectures::build;
use hearth_graph::onnx::{Dim, Model, ValueInfo};
use hearth_graph::runtime::{Engine, Engines, fill_defaults, find, is_batched};
use serde_json::{Value, json};

fn checkpoint(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/checkpoints")
        .join(name)
}

fn open(path: &Path, class: Option<&str>) -> Result<Model, String> {
    let checkpoint = NetworkCheckpoint::open(path, class).map_err(|e| e.to_string())?;
    build(&checkpoint).map_err(|e| e.to_string())
}

fn golden(name: &str) {
    let folder = checkpoint(name);
    let model = open(&folder, None).unwrap_or_else(|e| panic!("{name}: {e}"));
    let bytes = model.to_bytes().unwrap();
    let golden = Golden::read(&folder.join("golden.json"));
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
        assert!(is_batched(network.inputs(), network.outputs()), "{name}");
        for (i, case) in golden.cases.iter().enumerate() {
            let mut given: Vec<_> = case.inputs().into_iter().map(Some).collect();
            given.resize(network.inputs().len(), None);
            let inputs = fill_defaults(network.inputs(), network.defaults(), given)
                .unwrap_or_else(|at| panic!("{name}: input {at} has no default"));
            let outputs = network
                .run(&inputs)
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
    ($($test:ident: $name:literal,)*) => {$(
        #[test]
        fn $test() {
            golden($name);
        }
    )*};
}

goldens! {
    resnet_of_basic_blocks: "resnet-basic",
    resnet_of_bottlenecks_in_two_pickles: "resnet-bottleneck",
    resnet18_of_timm: "timm-resnet18",
    resnet50_of_timm: "timm-resnet50",
    vit: "vit",
    deit_with_a_teacher: "deit",
    convnext: "convnext",
    bert_that_classifies_texts: "bert-classifier",
    bert_that_classifies_tokens: "bert-tokens",
    bert_that_finds_answers: "bert-answers",
    bert_as_google_published_it: "bert-masked",
    bert_of_pre_training: "bert-pretraining",
    bert_alone: "bert-model",
    distilbert_in_half_precision: "distilbert-classifier",
    distilbert_that_fills_gaps: "distilbert-masked",
    roberta_that_classifies_texts: "roberta-classifier",
    roberta_that_fills_gaps: "roberta-masked",
}

fn names(values: &[ValueInfo]) -> Vec<&str> {
    values.iter().map(|value| value.name.as_str()).collect()
}

#[test]
fn inputs_and_outputs_have_the_names_of_transformers() {
    let signature = |name: &str, class: Option<&str>| {
        let graph = open(&checkpoint(name), class).unwrap().graph;
        format!("{:?} -> {:?}", names(&graph.inputs), names(&graph.outputs))
    };
    for (name, class, expected) in [
        (
            "bert-pretraining",
            None,
            r#"["input_ids", "attention_mask", "token_type_ids"] -> ["prediction_logits", "seq_relationship_logits"]"#,
        ),
        (
            "bert-pretraining",
            Some("BertModel"),
            r#"["input_ids", "attention_mask", "token_type_ids"] -> ["last_hidden_state", "pooler_output"]"#,
        ),
        (
            "roberta-classifier",
            None,
            r#"["input_ids", "attention_mask"] -> ["logits"]"#,
        ),
        ("vit", None, r#"["pixel_values"] -> ["logits"]"#),
    ] {
        assert_eq!(signature(name, class), expected);
    }
}

/// A state dict alone: its tensors tell the depth, and the images are those of torchvision's own transforms.
#[test]
fn a_state_dict_of_torchvision_needs_no_settings() {
    let dir = tempfile::tempdir().unwrap();
    let weights = checkpoint("timm-resnet50").join("pytorch_model.bin");
    let file = dir.path().join("model.pth");
    std::fs::copy(weights, &file).unwrap();
    for path in [dir.path(), &file] {
        let graph = open(path, None).unwrap().graph;
        let side = Dim::Fixed(224);
        assert_eq!(graph.inputs[0].dims[2..], [side.clone(), side]);
        assert_eq!(graph.outputs[0].dims[1], Dim::Fixed(5));
    }
    let error = open(dir.path(), Some("BertModel")).unwrap_err();
    assert!(error.contains("none of a ResNet of torchvision"), "{error}");
}

/// A copy of a checkpoint with other settings.
fn with(name: &str, changes: Value) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for item in std::fs::read_dir(checkpoint(name)).unwrap() {
        let path = item.unwrap().path();
        std::fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    let path = dir.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for (key, value) in changes.as_object().unwrap() {
        config[key] = value.clone();
    }
    std::fs::write(&path, config.to_string()).unwrap();
    dir
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    for (name, changes, problem) in [
        (
            "bert-classifier",
            json!({"hidden_act": "laplace"}),
            "unsupported: hidden_act \"laplace\"; supported: gelu",
        ),
        (
            "bert-classifier",
            json!({"position_embedding_type": "relative_key"}),
            "position_embedding_type \"relative_key\"; supported: \"absolute\"",
        ),
        (
            "bert-classifier",
            json!({"is_decoder": true}),
            "is_decoder true; supported: false",
        ),
        (
            "bert-classifier",
            json!({"num_attention_heads": 3}),
            "num_attention_heads: a hidden size of 16 does not divide into 3 heads",
        ),
        (
            "bert-classifier",
            json!({"id2label": {"0": "a", "1": "b"}}),
            "tensor classifier.weight: its shape is [3, 16], and the settings ask for [2, 16]",
        ),
        (
            "bert-classifier",
            json!({"num_hidden_layers": 2}),
            "tensor bert.encoder.layer.1.attention.self.query.weight is missing",
        ),
        (
            "distilbert-classifier",
            json!({"n_layers": 1}),
            "tensor distilbert.transformer.layer.1.attention.k_lin.bias: DistilBertForSequenceClassification with these settings has no such tensor; its shape is [16]",
        ),
        (
            "bert-masked",
            json!({"tie_word_embeddings": false}),
            "tie_word_embeddings false; supported: true",
        ),
        (
            "resnet-basic",
            json!({"layer_type": "odd"}),
            "layer_type \"odd\"; supported: \"basic\", \"bottleneck\"",
        ),
        (
            "resnet-basic",
            json!({"depths": [2]}),
            "depths: 1 stages, but hidden_sizes has 2",
        ),
        (
            "timm-resnet18",
            json!({"model_args": {"stem_type": "deep"}}),
            "model_args {\"stem_type\":\"deep\"}; supported: {}",
        ),
        (
            "vit",
            json!({"image_size": [16]}),
            "image_size: not height and width",
        ),
        (
            "vit",
            json!({"num_labels": 0, "id2label": {}}),
            "a classifier without labels",
        ),
        (
            "vit",
            json!({"architectures": ["SwinForImageClassification"]}),
            "the architecture SwinForImageClassification as a network; supported: ResNet,",
        ),
    ] {
        let error = open(with(name, changes).path(), None).unwrap_err();
        assert!(error.contains(problem), "{name}: {error}");
    }
}

/// A network takes images of the size that its processor makes.
#[test]
fn the_processor_says_how_large_images_are() {
    let dir = with("resnet-basic", json!({}));
    let processor = json!({"crop_pct": 0.875, "size": {"shortest_edge": 32}}).to_string();
    std::fs::write(dir.path().join("preprocessor_config.json"), processor).unwrap();
    let graph = open(dir.path(), None).unwrap().graph;
    let side = Dim::Fixed(32);
    assert_eq!(graph.inputs[0].dims[2..], [side.clone(), side]);
}

/// Whatever the settings say, there is a model or an error, no panic.
#[test]
fn odd_settings_are_survived() {
    let odd = [
        json!(0),
        json!(1),
        json!(3),
        json!(u32::MAX),
        json!(u64::MAX),
        json!(-1),
        json!(1.5),
        json!("x"),
        json!(true),
        json!([]),
        json!([u32::MAX, u32::MAX]),
        json!([1, 1, 1]),
        json!({}),
    ];
    for name in [
        "bert-classifier",
        "convnext",
        "deit",
        "distilbert-masked",
        "resnet-basic",
        "roberta-masked",
        "timm-resnet18",
    ] {
        let path = checkpoint(name).join("config.json");
        let config: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let dir = with(name, json!({}));
        for key in config.as_object().unwrap().keys() {
            for value in &odd {
                let mut changed = config.clone();
                changed[key] = value.clone();
                let text = changed.to_string();
                std::fs::write(dir.path().join("config.json"), text).unwrap();
                if let Ok(model) = open(dir.path(), None) {
                    model.to_bytes().expect("it is small");
                }
            }
        }
    }
}
