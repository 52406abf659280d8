//! Attention over the paged cache, and within whole sequences.

mod cache;

pub use cache::{KvDType, KvLayer};

use std::ops::Range;

use crate::{Pool, softmax};

/// Consecutive positions of one sequence in a batch.
#[derive(Debug, Clone)]
pub struct AttentionSpan<'a> {
    /// The rows of `q` that belong to the sequence.
    pub rows: Range<usize>,
    /// The position of the first row in its sequence.
    pub first_position: usize,
    /// The sequence's cache blocks, in the order of its positions.
    pub block_table: &'a [u32],
}

/// Causal attention of queries on the keys and values in the cache, their own included.
///
/// `q` is `[T, H, D]`, `out` `[T, H * D]`. The query of head `h` reads the cache's head `h / (H / K)`. A row's result
/// depends bit for bit only on its query and its sequence's cache, however the spans are cut. Rows of `out` in no span
/// are left alone.
///
/// # Panics
/// If the shapes do not fit, or a block table is too short or names a block that there is not.
pub fn attention(
    _pool: &Pool,
    q: &[f32],
    num_heads: usize,
    kv: &KvLayer,
    spans: &[AttentionSpan],
    scale: f32,
    out: &mut [f32],
) {
    let d = kv.head_dim();
    let width = num_heads * d;
    assert_eq!(q.len(), out.len(), "attention: lengths differ");
    assert!(
        num_heads.is_multiple_of(kv.kv_heads()),
        "attention: {num_heads} heads on {}",
        kv.kv_heads()
    );
    assert!(
        q.len().is_multiple_of(width.max(1)),
        "attention: ragged rows"
    );
    let group = num_heads / kv.kv_heads();
    let mut scores = Vec::new();
    for span in spans {
        assert!(
            span.rows.start <= span.rows.end && span.rows.end * width <= q.len(),
            "attention: rows {:?}",
            span.rows
        );
        for (i, row) in span.rows.clone().enumerate() {
            let context = span.first_position + i + 1;
            for h in 0..num_heads {
                let q = &q[row * width + h * d..][..d];
                scores.clear();
                let slot = |p: usize| {
                    span.block_table[p / kv.block_size()] as usize * kv.block_size()
                        + p % kv.block_size()
                };
                for p in 0..context {
                    let k = kv.key(slot(p), h / group);
                    scores.push(q.iter().zip(&k).map(|(a, b)| a * b).sum::<f32>() * scale);
                }
                softmax(&mut scores);
                let out = &mut out[row * width + h * d..][..d];
                out.fill(0.0);
                for (p, s) in scores.iter().enumerate() {
                    for (o, v) in out.iter_mut().zip(kv.value(slot(p), h / group)) {
                        *o += s * v;
                    }
                }
            }
        }
    }
}

/// Attention in both directions within each span of rows, as encoders have it.
///
/// `q`, `k`, `v` are `[T, H, D]`, `out` is `[T, H * D]`. Rows of `out` in no span are left alone.
///
/// # Panics
/// If the shapes do not fit.
#[allow(clippy::too_many_arguments)]
pub fn attention_full(
    _pool: &Pool,
    q: &[f32],
    k: &[f32],
    v: &[f32],
    num_heads: usize,
    head_dim: usize,
    spans: &[Range<usize>],
    scale: f32,
    out: &mut [f32],
) {
    let width = num_heads * head_dim;
    assert!(
        q.len() == k.len() && k.len() == v.len() && v.len() == out.len(),
        "attention_full: lengths differ"
    );
    assert!(
        q.len().is_multiple_of(width.max(1)),
        "attention_full: ragged rows"
    );
    for span in spans {
        for row in span.clone() {
            for h in 0..num_heads {
                let at = |row: usize| row * width + h * head_dim..row * width + (h + 1) * head_dim;
                let mut scores: Vec<f32> = span
                    .clone()
                    .map(|j| {
                        q[at(row)]
                            .iter()
                            .zip(&k[at(j)])
                            .map(|(a, b)| a * b)
                            .sum::<f32>()
                            * scale
                    })
                    .collect();
                softmax(&mut scores);
                let out = &mut out[at(row)];
                out.fill(0.0);
                for (j, s) in span.clone().zip(&scores) {
                    for (o, v) in out.iter_mut().zip(&v[at(j)]) {
                        *o += s * v;
                    }
                }
            }
        }
    }
}
