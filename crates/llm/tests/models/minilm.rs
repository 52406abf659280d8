//! Real weights: all-MiniLM-L6-v2 against sentence-transformers, from token numbers to vectors.
//!
//! `MINILM_FOLDER` names the model's folder; `oracle/minilm_path.py` finds it in the Python package that carries
//! it. The expected vectors are made by `oracle/models_minilm.py`.

use std::path::Path;
use std::sync::Arc;

use hearth_formats::Checkpoint;
use hearth_kernels::Pool;
use hearth_llm::{EmbeddingInfo, Pooling, Scratch, load_encoder};

use super::support::*;

#[test]
fn minilm_embeds_as_sentence_transformers_does() {
    let Some(folder) = std::env::var_os("MINILM_FOLDER") else {
        eprintln!("skipped: MINILM_FOLDER does not name the folder of all-MiniLM-L6-v2");
        return;
    };
    let checkpoint = Checkpoint::open(Path::new(&folder)).unwrap_or_else(|e| panic!("{e}"));
    let model =
        load_encoder(&checkpoint, Arc::new(Pool::new(2)), EXACT).unwrap_or_else(|e| panic!("{e}"));
    let info = model.info();
    assert_eq!(
        info.embedding,
        Some(EmbeddingInfo {
            pooling: Pooling::Mean,
            normalize: true
        })
    );
    assert_eq!(
        (info.hidden_size, info.num_layers, info.context_length),
        (384, 6, 256)
    );

    let golden = golden("minilm");
    let sequences: Vec<Vec<u32>> = golden["tokens"]
        .as_array()
        .expect("tokens")
        .iter()
        .map(tokens)
        .collect();
    let expected = read_f32(&fixture("minilm").join("vectors.f32"));
    let batch: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
    let found = model
        .encode(&batch, &mut Scratch::default())
        .expect("vectors");
    let error = max_error(&found, &expected);
    println!("all-MiniLM-L6-v2: {error:.1e}");
    assert!(error < 1e-4, "vectors differ by {error}");
}
