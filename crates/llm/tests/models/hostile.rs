//! Checkpoints that are not what they say are refused with an error that names the key or tensor: no panic, no hang, no
//! memory for sizes that nothing backs.

use std::path::Path;
use std::sync::Arc;

use hearth_formats::Checkpoint;
use hearth_formats::gguf::{Metadata, TensorSpec, Value};
use hearth_kernels::{DType, Pool};
use hearth_llm::{load_encoder, load_text};

use super::support::*;

/// A checkpoint taken apart, to be changed and written again.
struct Parts {
    metadata: Metadata,
    tensors: Vec<(TensorSpec, Vec<u8>)>,
}

impl Parts {
    fn of(name: &str) -> Parts {
        let checkpoint = Checkpoint::open(&fixture(name)).expect("a checkpoint");
        let tensors = checkpoint.tensors().iter().map(|layout| {
            let tensor = checkpoint.require(&layout.name).expect("a tensor");
            let spec = TensorSpec {
                name: layout.name.clone(),
                dtype: layout.dtype,
                shape: layout.shape.clone(),
            };
            (spec, tensor.bytes.to_vec())
        });
        Parts {
            tensors: tensors.collect(),
            metadata: checkpoint.metadata().clone(),
        }
    }

    fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.metadata.insert(key, value);
    }

    fn remove(&mut self, key: &str) {
        assert!(self.metadata.get(key).is_some(), "no {key}");
        let mut rest = Metadata::new(self.metadata.label());
        for (name, value) in self.metadata.iter().filter(|(name, _)| *name != key) {
            rest.insert(name, value.clone());
        }
        self.metadata = rest;
    }

    fn remove_tensor(&mut self, name: &str) {
        let before = self.tensors.len();
        self.tensors.retain(|(spec, _)| spec.name != name);
        assert_eq!(self.tensors.len(), before - 1, "no {name}");
    }

    /// Gives a tensor another shape, filled with zeros.
    fn reshape(&mut self, name: &str, shape: &[usize]) {
        let (spec, bytes) = self
            .tensors
            .iter_mut()
            .find(|(spec, _)| spec.name == name)
            .expect("a tensor");
        spec.shape = shape.to_vec();
        *bytes = vec![0; spec.bytes().expect("a size")];
    }

    fn add(&mut self, name: &str, shape: &[usize]) {
        let spec = TensorSpec {
            name: name.to_owned(),
            dtype: DType::F32,
            shape: shape.to_vec(),
        };
        let bytes = vec![0; spec.bytes().expect("a size")];
        self.tensors.push((spec, bytes));
    }

    /// Writes and loads it; the error's text, or `None` where it loads.
    fn load(&self, dir: &Path) -> Option<String> {
        let path = dir.join("model.gguf");
        let (specs, contents) = self.tensors.iter().cloned().unzip::<_, _, Vec<_>, Vec<_>>();
        write_tensors(&self.metadata, specs, &contents, &path);
        let checkpoint = match Checkpoint::open(&path) {
            Ok(checkpoint) => checkpoint,
            Err(e) => return Some(e.to_string()),
        };
        let pool = Arc::new(Pool::new(1));
        if checkpoint.architecture() == "bert" {
            return load_encoder(&checkpoint, pool, EXACT)
                .err()
                .map(|e| e.to_string());
        }
        load_text(&checkpoint, pool, EXACT)
            .err()
            .map(|e| e.to_string())
    }
}

/// Applies a change to a fixture and expects an error that contains all of `parts`.
fn refused(name: &str, change: impl FnOnce(&mut Parts), parts: &[&str]) {
    let dir = tempfile::tempdir().expect("a folder");
    let mut model = Parts::of(name);
    change(&mut model);
    let message = model
        .load(dir.path())
        .unwrap_or_else(|| panic!("loaded, expected {parts:?}"));
    for part in parts {
        assert!(message.contains(part), "{message:?} does not say {part:?}");
    }
}

#[test]
fn unchanged_parts_load() {
    let dir = tempfile::tempdir().expect("a folder");
    for name in TEXT_MODELS
        .into_iter()
        .chain(["bert-mean", "bert-cls", "qwen3-embedding"])
    {
        assert_eq!(Parts::of(name).load(dir.path()), None, "{name}");
    }
}

#[test]
fn keys_that_are_missing_are_named() {
    for key in [
        "embedding_length",
        "block_count",
        "feed_forward_length",
        "context_length",
    ] {
        for (name, arch) in [("llama2", "llama"), ("gpt2", "gpt2"), ("bert-mean", "bert")] {
            let key = format!("{arch}.{key}");
            refused(name, |m| m.remove(&key), &[&key]);
        }
    }
    refused(
        "qwen3",
        |m| m.remove("qwen3.attention.head_count"),
        &["qwen3.attention.head_count"],
    );
    refused(
        "qwen2",
        |m| m.remove("qwen2.attention.layer_norm_rms_epsilon"),
        &["qwen2.attention.layer_norm_rms_epsilon"],
    );
}

#[test]
fn sizes_that_make_no_sense_are_named_with_their_value() {
    for key in [
        "embedding_length",
        "block_count",
        "feed_forward_length",
        "context_length",
        "attention.head_count",
        "attention.head_count_kv",
        "attention.key_length",
        "rope.dimension_count",
    ] {
        let key = format!("llama.{key}");
        refused("llama2", |m| m.set(&key, 0u32), &[&key, "0"]);
        refused("llama2", |m| m.set(&key, u32::MAX), &[&key, "4294967295"]);
        refused("llama2", |m| m.set(&key, "many"), &[&key]);
    }
    refused(
        "llama2",
        |m| m.set("llama.attention.head_count_kv", 3u32),
        &["head_count_kv", "3", "4"],
    );
    refused(
        "llama2",
        |m| m.set("llama.attention.value_length", 8u32),
        &["value_length", "8"],
    );
    refused(
        "llama2",
        |m| m.set("llama.rope.dimension_count", 18u32),
        &["rope.dimension_count", "18"],
    );
    refused(
        "llama2",
        |m| m.set("llama.rope.dimension_count", 7u32),
        &["rope.dimension_count", "7"],
    );
    refused(
        "gpt2",
        |m| m.set("gpt2.attention.head_count", 7u32),
        &["gpt2.attention.head_count", "7"],
    );
    refused(
        "gpt2",
        |m| m.set("gpt2.attention.head_count_kv", 2u32),
        &["head_count_kv", "2"],
    );
    refused(
        "bert-mean",
        |m| m.set("bert.attention.key_length", 8u32),
        &["bert.attention.key_length", "8"],
    );
}

#[test]
fn numbers_that_make_no_sense_are_named_with_their_value() {
    let eps = "llama.attention.layer_norm_rms_epsilon";
    for bad in [0.0, -1e-5, f32::NAN, f32::INFINITY] {
        refused("llama2", |m| m.set(eps, bad), &[eps, &bad.to_string()]);
        refused(
            "llama2",
            |m| m.set("llama.rope.freq_base", bad),
            &["llama.rope.freq_base"],
        );
        refused(
            "llama-tied-bias",
            |m| m.set("llama.rope.scaling.factor", bad),
            &["llama.rope.scaling.factor"],
        );
        refused(
            "qwen2-yarn",
            |m| m.set("qwen2.rope.scaling.factor", bad),
            &["qwen2.rope.scaling.factor"],
        );
        refused(
            "gpt2",
            |m| m.set("gpt2.attention.layer_norm_epsilon", bad),
            &["layer_norm_epsilon"],
        );
    }
    refused(
        "llama3",
        |m| m.reshape("rope_freqs.weight", &[8]),
        &["rope_freqs.weight", "0"],
    );
}

#[test]
fn tensors_of_another_shape_are_named_with_both_shapes() {
    for (name, tensor, shape, expected) in [
        ("llama2", "blk.1.attn_q.weight", vec![48, 48], "[64, 48]"),
        ("llama2", "blk.0.attn_k.weight", vec![32, 64], "[32, 48]"),
        ("llama2", "blk.0.ffn_down.weight", vec![80, 48], "[48, 80]"),
        ("llama2", "output.weight", vec![199, 48], "[200, 48]"),
        ("llama2", "token_embd.weight", vec![200, 50], "[200, 48]"),
        ("llama2", "token_embd.weight", vec![9600], "48]"),
        ("llama2", "output_norm.weight", vec![47], "[48]"),
        ("qwen3", "blk.0.attn_q_norm.weight", vec![16], "[24]"),
        ("qwen2", "blk.1.attn_v.bias", vec![25], "[24]"),
        ("llama3", "rope_freqs.weight", vec![16], "[8]"),
        ("gpt2", "blk.2.attn_qkv.weight", vec![40, 120], "[120, 40]"),
        ("gpt2", "position_embd.weight", vec![127, 40], "[128, 40]"),
        ("bert-mean", "token_embd_norm.bias", vec![1], "[64]"),
        ("bert-mean", "token_types.weight", vec![2, 63], "[2, 64]"),
    ] {
        let found = format!("{shape:?}");
        refused(
            name,
            |m| m.reshape(tensor, &shape),
            &[tensor, &found, expected],
        );
    }
}

#[test]
fn tensors_that_are_missing_are_named() {
    for (name, tensor) in [
        ("llama2", "token_embd.weight"),
        ("llama2", "blk.1.ffn_gate.weight"),
        ("llama2", "output_norm.weight"),
        ("qwen2", "blk.0.attn_q.bias"),
        ("qwen3", "blk.1.attn_k_norm.weight"),
        ("gpt2", "blk.0.attn_qkv.bias"),
        ("gpt2", "position_embd.weight"),
        ("bert-mean", "token_types.weight"),
        ("bert-mean", "blk.1.layer_output_norm.bias"),
    ] {
        refused(name, |m| m.remove_tensor(tensor), &[tensor]);
    }
    // A count of layers that nothing backs ends at the first that is not there.
    refused(
        "llama2",
        |m| m.set("llama.block_count", 1u32 << 28),
        &["blk.2."],
    );
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    refused(
        "llama2",
        |m| m.set("general.architecture", "mamba"),
        &["mamba", "qwen3"],
    );
    refused(
        "llama2",
        |m| m.set("llama.expert_count", 8u32),
        &["llama.expert_count", "8", "experts"],
    );
    refused(
        "llama2",
        |m| m.set("llama.attention.sliding_window", 64u32),
        &["llama.attention.sliding_window", "64"],
    );
    refused(
        "llama2",
        |m| m.set("llama.rope.scaling.type", "longrope"),
        &["rope.scaling.type", "longrope"],
    );
    refused(
        "bert-mean",
        |m| m.set("bert.attention.causal", true),
        &["bert.attention.causal"],
    );
    refused(
        "bert-mean",
        |m| m.set("bert.pooling_type", 4u32),
        &["bert.pooling_type", "4"],
    );
    // A tensor that the forward pass would ignore means another model than it takes it for.
    refused(
        "llama2",
        |m| m.add("blk.0.attn_q_norm.weight", &[16]),
        &["blk.0.attn_q_norm.weight", "llama"],
    );
    refused(
        "qwen3",
        |m| m.add("blk.0.ffn_gate_inp.weight", &[8, 48]),
        &["blk.0.ffn_gate_inp.weight"],
    );
    refused(
        "llama2",
        |m| m.add("blk.2.attn_norm.weight", &[48]),
        &["blk.2.attn_norm.weight"],
    );
}

/// A window that is as long as the context is none.
#[test]
fn a_window_over_the_whole_context_is_no_window() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut model = Parts::of("llama2");
    model.set("llama.attention.sliding_window", 160u32);
    assert_eq!(model.load(dir.path()), None);
}
