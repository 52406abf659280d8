//! Loads that are followed, ended early, and made smaller on the way.

use std::sync::Arc;
use std::sync::Mutex;

use hearth_formats::Checkpoint;
use hearth_kernels::{DType, Pool, Precision};
use hearth_llm::{Error, LoadObserver, LoadOptions, Quantize, load_text, load_text_observed};

use super::support::*;

/// Remembers what it is told, and wants no more than `limit` bytes.
struct Follower {
    told: Mutex<Vec<u64>>,
    limit: u64,
}

impl LoadObserver for Follower {
    fn loaded(&self, bytes: u64) -> bool {
        self.told.lock().unwrap().push(bytes);
        bytes < self.limit
    }
}

fn follow(limit: u64) -> (Result<(), Error>, Vec<u64>, u64) {
    let checkpoint = Checkpoint::open(&fixture("llama2")).expect("a checkpoint");
    let follower = Follower {
        told: Mutex::default(),
        limit,
    };
    let pool = Arc::new(Pool::new(1));
    let loaded = load_text_observed(&checkpoint, pool, EXACT, &follower).map(|_| ());
    let told = follower.told.into_inner().unwrap();
    (loaded, told, checkpoint.weight_bytes())
}

#[test]
fn an_observer_is_told_of_every_tensor_and_last_of_all_bytes() {
    let (loaded, told, bytes) = follow(u64::MAX);
    loaded.expect("nobody ends it");
    assert!(told.is_sorted_by(|a, b| a < b), "{told:?}");
    assert_eq!(told.last(), Some(&bytes));
    assert!(told.len() > 10, "{told:?}");
}

#[test]
fn an_observer_ends_a_load() {
    let (loaded, told, bytes) = follow(1);
    assert!(matches!(loaded, Err(Error::Cancelled)));
    assert!(told.len() == 1 && told[0] < bytes, "{told:?} of {bytes}");
}

#[test]
fn weights_are_made_smaller_while_they_are_read() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("wide.gguf");
    write_wide_llama(&path, DType::F32);
    let checkpoint = Checkpoint::open(&path).expect("a checkpoint");
    let tokens: Vec<u32> = (0..30).map(|i| 3 + i * 5).collect();
    let [whole, eight, four] =
        [None, Some(Quantize::Eight), Some(Quantize::Four)].map(|quantize| {
            let options = LoadOptions {
                precision: Precision::F32,
                quantize,
            };
            let model = load_text(&checkpoint, Arc::new(Pool::new(2)), options).expect("a model");
            let bytes = model.info().memory_bytes;
            (logits_of(&model, &tokens).concat(), bytes)
        });
    assert!(whole.1 > 2 * eight.1 && eight.1 > four.1);
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
    for (smaller, near) in [(&eight, 0.9995), (&four, 0.98)] {
        let (a, b) = (&whole.0, &smaller.0);
        let cosine = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
        assert!(cosine > near && cosine < 1.0, "cosine {cosine}");
    }
}

#[test]
fn what_is_small_enough_stays_as_it_is() {
    assert_eq!(
        Quantize::Eight.target(DType::F32, 64, false),
        Some(DType::Q8_0)
    );
    assert_eq!(Quantize::Eight.target(DType::Q8_0, 64, false), None);
    assert_eq!(Quantize::Eight.target(DType::Q4_K, 256, false), None);
    assert_eq!(Quantize::Eight.target(DType::F16, 33, false), None);
    assert_eq!(
        Quantize::Four.target(DType::Q8_0, 256, false),
        Some(DType::Q4_K)
    );
    assert_eq!(
        Quantize::Four.target(DType::F16, 64, false),
        Some(DType::Q4_0)
    );
    assert_eq!(
        Quantize::Four.target(DType::F16, 64, true),
        Some(DType::Q8_0)
    );
    assert_eq!(Quantize::Four.target(DType::Q4_0, 256, false), None);
}
