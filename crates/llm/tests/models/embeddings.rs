//! Pooled vectors equal to the reference's, alone and in company.

use std::sync::Arc;

use hearth_formats::Checkpoint;
use hearth_kernels::Pool;
use hearth_llm::{
    EmbeddingInfo, EncoderModel, Error, Kind, Pooling, Scratch, TextEncoder, kind_of, load_encoder,
};

use super::support::*;

const MODELS: [(&str, Pooling); 3] = [
    ("bert-mean", Pooling::Mean),
    ("bert-cls", Pooling::Cls),
    ("qwen3-embedding", Pooling::Last),
];

fn encoder(path: &std::path::Path, threads: usize) -> Arc<dyn EncoderModel> {
    let checkpoint = Checkpoint::open(path).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(kind_of(&checkpoint).expect("a kind"), Kind::Embedding);
    load_encoder(&checkpoint, Arc::new(Pool::new(threads)), EXACT).unwrap_or_else(|e| panic!("{e}"))
}

fn sequences(name: &str) -> Vec<Vec<u32>> {
    let golden = golden(name);
    let sequences = golden["sequences"].as_array().expect("sequences");
    sequences.iter().map(tokens).collect()
}

fn encode(model: &Arc<dyn EncoderModel>, sequences: &[Vec<u32>]) -> Vec<Vec<f32>> {
    let sequences: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
    let vectors = model
        .encode(&sequences, &mut Scratch::default())
        .expect("vectors");
    vectors
        .chunks_exact(model.info().hidden_size)
        .map(<[f32]>::to_vec)
        .collect()
}

#[test]
fn vectors_are_the_references() {
    let gguf = (
        "bert-mean",
        fixture("bert-mean").join("model.gguf"),
        Pooling::Mean,
    );
    let folders = MODELS.map(|(name, pooling)| (name, fixture(name), pooling));
    for (name, path, pooling) in folders.into_iter().chain([gguf]) {
        let model = encoder(&path, 2);
        assert_eq!(
            model.info().embedding,
            Some(EmbeddingInfo {
                pooling,
                normalize: true
            })
        );
        let expected = read_f32(&fixture(name).join("vectors.f32"));
        let error = max_error(&encode(&model, &sequences(name)).concat(), &expected);
        println!("{}: {error:.1e}", path.display());
        assert!(
            error < 1e-5,
            "{}: vectors differ by {error}",
            path.display()
        );
    }
}

#[test]
fn whoever_else_is_in_the_batch_and_however_many_threads_vectors_are_the_same_bits() {
    for (name, _) in MODELS {
        let sequences = sequences(name);
        let (one, two) = (encoder(&fixture(name), 1), encoder(&fixture(name), 2));
        let together = encode(&one, &sequences);
        let alone: Vec<_> = sequences
            .iter()
            .flat_map(|s| encode(&one, std::slice::from_ref(s)))
            .collect();
        assert_same_bits(&together, &alone, &format!("{name}, together"));
        assert_same_bits(
            &encode(&two, &sequences),
            &alone,
            &format!("{name}, two threads"),
        );
        // Longer and shorter batches before it leave nothing behind.
        let backwards: Vec<_> = sequences.iter().rev().cloned().collect();
        let mut again = encode(&one, &backwards);
        again.reverse();
        assert_same_bits(&again, &alone, &format!("{name}, backwards"));
    }
}

#[test]
fn a_decoder_without_pooling_is_no_encoder() {
    let checkpoint = Checkpoint::open(&fixture("qwen3")).expect("a checkpoint");
    assert_eq!(kind_of(&checkpoint).expect("a kind"), Kind::Text);
    match TextEncoder::new(load("qwen3", 1)) {
        Err(Error::MissingKey { key }) => assert_eq!(key, "qwen3.pooling_type"),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("an encoder without pooling"),
    }
}
