//! Logits within 1e-3 of transformers' at every position, from every source, and the same greedy text.

use std::path::Path;

use hearth_kernels::{DType, KvDType};

use super::support::*;

/// The promise; what is measured is a hundred times closer.
const TOLERANCE: f32 = 1e-3;

fn check(name: &str, path: &Path) -> f32 {
    let model = load_path(path, 2);
    let golden = golden(name);
    let prompt = tokens(&golden["prompt"]);
    let greedy = tokens(&golden["greedy"]);
    let expected = read_f32(&fixture(name).join("logits.f32"));

    let mut session = Session::new(&model, 2, KvDType::F32);
    let prefilled = session.step(&[(0, &prompt)]);
    let whole = max_error(&prefilled.concat(), &expected);
    let stepwise: Vec<f32> = prompt
        .iter()
        .flat_map(|t| session.step(&[(1, &[*t])]))
        .flatten()
        .collect();
    let error = whole.max(max_error(&stepwise, &expected));
    assert!(
        error < TOLERANCE,
        "{}: logits differ by {error}",
        path.display()
    );

    let mut token = argmax(&prefilled[prompt.len() - 1]);
    let mut text = vec![token];
    while text.len() < greedy.len() {
        token = argmax(&session.step(&[(0, &[token])])[0]);
        text.push(token);
    }
    assert_eq!(text, greedy, "{}: greedy text", path.display());
    error
}

#[test]
fn hugging_face_folders_give_the_references_logits_and_text() {
    for name in TEXT_MODELS {
        let error = check(name, &fixture(name));
        println!("{name} (folder): {error:.1e}");
    }
}

/// Files of the `gguf` package, which llama.cpp computes the same logits from.
#[test]
fn gguf_files_of_other_makers_give_the_references_logits_and_text() {
    for name in ["gpt2", "llama2", "llama3", "qwen2", "qwen3"] {
        let error = check(name, &fixture(name).join("model.gguf"));
        println!("{name} (GGUF): {error:.1e}");
    }
}

#[test]
fn gguf_files_written_from_folders_give_the_references_logits_and_text() {
    let dir = tempfile::tempdir().expect("a folder");
    for name in TEXT_MODELS {
        let checkpoint = hearth_formats::Checkpoint::open(&fixture(name)).expect("a checkpoint");
        let path = dir.path().join(format!("{name}.gguf"));
        write_gguf(&checkpoint, &path, DType::F32);
        let error = check(name, &path);
        println!("{name} (GGUF of ours): {error:.1e}");
    }
}

/// The engine keeps keys and values in half precision; a sequence must not drift from that.
#[test]
fn a_cache_in_half_precision_stays_close() {
    for name in TEXT_MODELS {
        let golden = golden(name);
        let prompt = tokens(&golden["prompt"]);
        let expected = read_f32(&fixture(name).join("logits.f32"));
        let logits = Session::new(&load(name, 1), 1, KvDType::F16)
            .step(&[(0, &prompt)])
            .concat();
        let error = max_error(&logits, &expected);
        println!("{name} (F16 cache): {error:.1e}");
        assert!(error < 0.1, "{name}: logits differ by {error}");
    }
}

#[test]
fn models_describe_themselves() {
    let model = load("qwen3", 1);
    let info = model.info();
    assert_eq!(
        (info.architecture.as_str(), info.quantization.as_str()),
        ("qwen3", "F16")
    );
    assert_eq!(
        (info.num_layers, info.hidden_size, info.vocab_size),
        (2, 48, 200)
    );
    assert_eq!(
        (info.num_heads, info.num_kv_heads, info.head_dim),
        (4, 2, 24)
    );
    assert_eq!((info.context_length, info.embedding), (160, None));
    assert_eq!(info.weight_bytes, 2 * info.parameters);
}

#[test]
fn a_cache_is_as_large_as_its_tokens_say() {
    let model = load("llama2", 1);
    assert_eq!(model.kv_bytes_per_token(KvDType::F16), 2 * 2 * 2 * 16 * 2);
    for dtype in [KvDType::F16, KvDType::Q16, KvDType::F32] {
        let cache = model.new_cache(10, 16, dtype).expect("a cache");
        let expected = 10 * 16 * model.kv_bytes_per_token(dtype);
        assert_eq!(cache.memory_bytes(), expected);
    }
}
