//! Attention over the paged cache, and within whole sequences (Vaswani et al. 2017; grouped heads: Ainslie et al. 2023;
//! paging: Kwon et al. 2023).

mod ahead;
mod cache;
mod heads;
mod int16;
mod int8;
mod online;
mod plain;
mod store;
#[cfg(test)]
mod tests;
mod whole;
mod widened;

pub use cache::{KvDType, KvLayer, UnknownKvDType};

use std::ops::Range;

use crate::pool::SharedMut;
use crate::{Pool, Tier, cpu_tier, simd};
use cache::{Data, Shape, with_blocks};
use heads::{Heads, MOST_QUERIES, Query, Run};
use plain::PlainBlocks;
use store::Store;
use widened::Gather;

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
/// If the shapes do not fit, spans overlap, or a block table is too short or names a block that there is not.
pub fn attention(
    pool: &Pool,
    q: &[f32],
    num_heads: usize,
    kv: &KvLayer,
    spans: &[AttentionSpan],
    scale: f32,
    out: &mut [f32],
) {
    attention_on(cpu_tier(), pool, q, num_heads, kv, spans, scale, out);
}

#[allow(clippy::too_many_arguments)]
fn attention_on(
    tier: Tier,
    pool: &Pool,
    q: &[f32],
    num_heads: usize,
    kv: &KvLayer,
    spans: &[AttentionSpan],
    scale: f32,
    out: &mut [f32],
) {
    let width = num_heads * kv.head_dim();
    check_rows(q, out, width, spans.iter().map(|span| span.rows.clone()));
    assert!(
        num_heads.is_multiple_of(kv.kv_heads()),
        "attention: {num_heads} heads do not share {} heads of keys evenly",
        kv.kv_heads()
    );
    for span in spans {
        let positions = span.first_position + span.rows.len();
        let needed = positions.div_ceil(kv.block_size());
        assert!(
            span.block_table.len() >= needed,
            "attention: {positions} positions in {} blocks of {}",
            span.block_table.len(),
            kv.block_size()
        );
        for &block in &span.block_table[..needed] {
            assert!(
                (block as usize) < kv.blocks(),
                "attention: no block {block}"
            );
        }
    }
    let shape = kv.shape();
    with_blocks!(kv.data(), blocks => {
        paged(tier, pool, q, num_heads, blocks, shape, spans, scale, out);
    });
}

#[allow(clippy::too_many_arguments)]
fn paged<B: Store>(
    tier: Tier,
    pool: &Pool,
    q: &[f32],
    num_heads: usize,
    blocks: &B,
    shape: Shape,
    spans: &[AttentionSpan],
    scale: f32,
    out: &mut [f32],
) {
    let Shape {
        kv_heads, head_dim, ..
    } = shape;
    let (width, group) = (num_heads * head_dim, num_heads / kv_heads);
    let rows = spans.iter().map(|span| span.rows.len()).sum();
    let Share {
        rows_per_task,
        parts,
    } = Share::of(rows, group, kv_heads, pool.threads());
    let chunks = usize::div_ceil(rows, rows_per_task);
    let part = group / parts;
    let out = SharedMut::new(out);
    // Head by head, so that one head's keys and values stay in the cache for all sequences that share them.
    pool.run(chunks * kv_heads * parts, |task| {
        let (head, first) = (task / chunks, task % chunks * rows_per_task);
        let mut runs = [Run::default(); MOST_QUERIES];
        let mut queries = [Query::default(); MOST_QUERIES];
        // More heads than that on the same keys are computed in several rounds.
        for heads in (0..part).step_by(MOST_QUERIES) {
            let heads = head * part + heads..head * part + part.min(heads + MOST_QUERIES);
            let (mut run, mut count) = (0, 0);
            let mut begin = 0;
            for span in spans {
                // Of all rows, one span behind the other, those of this task that belong to the span.
                let end = begin + span.rows.len();
                let rows = first.max(begin)..(first + rows_per_task).min(end);
                if !rows.is_empty() {
                    let first = count;
                    for row in rows.start - begin..rows.end - begin {
                        for h in heads.clone() {
                            queries[count] = Query {
                                at: (span.rows.start + row) * width + h * head_dim,
                                visible: span.first_position + row + 1,
                            };
                            count += 1;
                        }
                    }
                    runs[run] = Run {
                        table: span.block_table,
                        first,
                        count: count - first,
                        seen: span.first_position + rows.end - begin,
                    };
                    run += 1;
                }
                begin = end;
            }
            Heads {
                blocks,
                shape,
                head: head / parts,
                q,
                scale,
                runs: &runs[..run],
                queries: &queries[..count],
                out: &out,
            }
            .attend(tier);
        }
    });
}

/// How attention is shared out.
struct Share {
    /// Rows, of one sequence or several, that a task computes on one head of keys and values.
    rows_per_task: usize,
    /// The tasks that the heads which share keys are dealt out to.
    parts: usize,
}

impl Share {
    /// As much on the same keys and values as a task can have, unless that leaves threads without work.
    fn of(rows: usize, group: usize, kv_heads: usize, threads: usize) -> Share {
        let tasks = |share: &Share| rows.div_ceil(share.rows_per_task) * kv_heads * share.parts;
        let mut share = Share {
            rows_per_task: (MOST_QUERIES / group).max(1),
            parts: 1,
        };
        // With two tasks each, threads that are done early can take from others.
        while share.rows_per_task > 1 && tasks(&share) < 2 * threads {
            share.rows_per_task = share.rows_per_task.div_ceil(2);
        }
        while tasks(&share) < threads && group.is_multiple_of(2 * share.parts) {
            share.parts *= 2;
        }
        share
    }
}

/// Attention in both directions within each span of rows, as encoders have it.
///
/// `q`, `k`, `v` are `[T, H, D]`, `out` is `[T, H * D]`. A span's result depends bit for bit only on its own rows. Rows
/// of `out` in no span are left alone.
///
/// # Panics
/// If the shapes do not fit or spans overlap.
#[allow(clippy::too_many_arguments)]
pub fn attention_full(
    pool: &Pool,
    q: &[f32],
    k: &[f32],
    v: &[f32],
    num_heads: usize,
    head_dim: usize,
    spans: &[Range<usize>],
    scale: f32,
    out: &mut [f32],
) {
    full_on(
        cpu_tier(),
        pool,
        [q, k, v],
        num_heads,
        head_dim,
        spans,
        scale,
        out,
    );
}

#[allow(clippy::too_many_arguments)]
fn full_on(
    tier: Tier,
    pool: &Pool,
    [q, k, v]: [&[f32]; 3],
    num_heads: usize,
    head_dim: usize,
    spans: &[Range<usize>],
    scale: f32,
    out: &mut [f32],
) {
    let width = num_heads * head_dim;
    check_rows(q, out, width, spans.iter().cloned());
    assert!(
        k.len() == q.len() && v.len() == q.len(),
        "attention: queries, keys and values differ in length"
    );
    let out = SharedMut::new(out);
    pool.run(spans.len() * num_heads, |task| {
        let (span, head) = (&spans[task / num_heads], task % num_heads);
        if span.is_empty() {
            return;
        }
        let shape = Shape {
            blocks: 1,
            block_size: span.len(),
            kv_heads: 1,
            head_dim,
        };
        let at = span.start * width + head * head_dim;
        let mut blocks = PlainBlocks::<f32>::new(shape)
            .expect("memory for a copy of keys and values that are in memory");
        simd::run(
            tier,
            Gather {
                k,
                v,
                at,
                width,
                blocks: &mut blocks,
                shape,
            },
        );
        let mut queries = [Query::default(); MOST_QUERIES];
        for first in (0..span.len()).step_by(MOST_QUERIES) {
            let count = MOST_QUERIES.min(span.len() - first);
            for (i, query) in queries[..count].iter_mut().enumerate() {
                *query = Query {
                    at: at + (first + i) * width,
                    visible: span.len(),
                };
            }
            let run = Run {
                table: &[0],
                first: 0,
                count,
                seen: span.len(),
            };
            Heads {
                blocks: &blocks,
                shape,
                head: 0,
                q,
                scale,
                runs: &[run],
                queries: &queries[..count],
                out: &out,
            }
            .attend(tier);
        }
    });
}

/// Checks that queries and output are rows of `width`, and that the spans are ranges of them that do not overlap.
fn check_rows(
    q: &[f32],
    out: &[f32],
    width: usize,
    spans: impl Iterator<Item = Range<usize>> + Clone,
) {
    assert!(width > 0, "attention: heads of no values");
    assert!(
        q.len() == out.len() && q.len().is_multiple_of(width),
        "attention: {} queries and {} outputs are not rows of {width}",
        q.len(),
        out.len()
    );
    let rows = q.len() / width;
    let mut end = 0;
    let mut sorted = true;
    for span in spans.clone() {
        assert!(
            span.start <= span.end && span.end <= rows,
            "attention: rows {span:?} of {rows}"
        );
        sorted &= span.start >= end;
        end = span.end;
    }
    if !sorted {
        let mut taken = vec![false; rows];
        for row in spans.flatten() {
            assert!(
                !std::mem::replace(&mut taken[row], true),
                "attention: row {row} is in two spans"
            );
        }
    }
}
