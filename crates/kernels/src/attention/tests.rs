//! Attention against a plain computation, and the laws of its rows.

use super::*;
use crate::testing::{Random, assert_close, bits};

/// Softmax attention of one query on rows of keys and values, in f64.
fn plain(q: &[f32], keys: &[&[f32]], values: &[&[f32]], scale: f32) -> Vec<f32> {
    let dot = |k: &[f32]| {
        q.iter()
            .zip(k)
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum::<f64>()
            * f64::from(scale)
    };
    let scores: Vec<f64> = keys.iter().map(|k| dot(k)).collect();
    let max = scores.iter().copied().fold(f64::MIN, f64::max);
    let weights: Vec<f64> = scores.iter().map(|s| (s - max).exp()).collect();
    let sum: f64 = weights.iter().sum();
    (0..q.len())
        .map(|d| {
            (values
                .iter()
                .zip(&weights)
                .map(|(v, w)| f64::from(v[d]) * w)
                .sum::<f64>()
                / sum) as f32
        })
        .collect()
}

/// What the values of a head are once they were stored.
fn round(dtype: KvDType, head: &mut [f32]) {
    match dtype {
        KvDType::F32 => {}
        KvDType::F16 => {
            for x in head {
                *x = half::f16::from_f32(*x).to_f32();
            }
        }
        KvDType::Q16 => {
            let largest = head.iter().fold(0.0, |m: f32, x| m.max(x.abs()));
            // The upper half of single precision, rounded up.
            let scale = largest / 8191.0;
            let scale = f32::from_bits((scale.to_bits() + 0xFFFF) & 0xFFFF_0000);
            let inverse = 1.0 / scale;
            for x in head {
                *x = (*x * inverse).round_ties_even() * scale;
            }
        }
        KvDType::Q8_0 => {
            for group in head.chunks_mut(32) {
                let largest = group.iter().fold(0.0, |m: f32, x| m.max(x.abs()));
                let scale = half::f16::from_f32(largest / 127.0).to_f32();
                let inverse = 1.0 / scale;
                for x in group {
                    *x = (*x * inverse).round_ties_even().clamp(-127.0, 127.0) * scale;
                }
            }
        }
    }
}

/// Some sequences in a cache whose blocks are dealt out in a random order, the free ones full of NaN.
struct Scene {
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    kv: KvLayer,
    /// For each sequence: keys and values `[L, K, D]`, block table.
    sequences: Vec<(Vec<f32>, Vec<f32>, Vec<u32>)>,
}

fn scene(
    random: &mut Random,
    dtype: KvDType,
    block_size: usize,
    shape: [usize; 3],
    lens: &[usize],
) -> Scene {
    let [heads, kv_heads, head_dim] = shape;
    let row = kv_heads * head_dim;
    let mut free: Vec<u32> =
        (0..lens.iter().map(|l| l.div_ceil(block_size) as u32 + 1).sum()).collect();
    let mut kv = KvLayer::new(free.len(), block_size, kv_heads, head_dim, dtype).unwrap();
    let slots: Vec<u32> = (0..(free.len() * block_size) as u32).collect();
    let nan = vec![f32::NAN; slots.len() * row];
    kv.write(&slots, &nan, &nan);
    let mut sequences = Vec::new();
    for &len in lens {
        let table: Vec<u32> = (0..len.div_ceil(block_size))
            .map(|_| free.swap_remove(random.below(free.len())))
            .collect();
        let slots: Vec<u32> = (0..len)
            .map(|p| table[p / block_size] * block_size as u32 + (p % block_size) as u32)
            .collect();
        let (mut k, mut v) = (random.normals(len * row), random.normals(len * row));
        kv.write(&slots, &k, &v);
        for head in k.chunks_mut(head_dim).chain(v.chunks_mut(head_dim)) {
            round(dtype, head);
        }
        sequences.push((k, v, table));
    }
    Scene {
        heads,
        kv_heads,
        head_dim,
        kv,
        sequences,
    }
}

const SHAPES: [[usize; 3]; 6] = [
    [1, 1, 16],
    [4, 4, 64],
    [8, 2, 64],
    [6, 1, 128],
    [3, 3, 20],
    [32, 4, 8],
];

#[test]
fn every_tier_agrees_with_a_plain_computation() {
    let pool = Pool::new(2);
    let mut random = Random::new(20);
    for shape in SHAPES {
        for (block_size, dtype) in [
            (16, KvDType::F32),
            (16, KvDType::F16),
            (16, KvDType::Q16),
            (16, KvDType::Q8_0),
            (5, KvDType::F32),
            (5, KvDType::Q16),
            (40, KvDType::F16),
            (40, KvDType::Q16),
            (150, KvDType::Q16),
            (150, KvDType::Q8_0),
        ] {
            let scene = scene(&mut random, dtype, block_size, shape, &[1, 170, 17]);
            let [heads, kv_heads, head_dim] = shape;
            let (width, row) = (heads * head_dim, kv_heads * head_dim);
            // The last rows of each sequence: all, 7 and 1.
            let counts = [1, 7, 1];
            let q = random.normals(9 * width);
            let mut spans = Vec::new();
            let mut expected = Vec::new();
            for ((k, v, table), count) in scene.sequences.iter().zip(counts) {
                let first = k.len() / row - count;
                let start = expected.len() / width;
                spans.push(AttentionSpan {
                    rows: start..start + count,
                    first_position: first,
                    block_table: table,
                });
                for i in 0..count {
                    for h in 0..heads {
                        let at = h / (heads / kv_heads) * head_dim;
                        let of = |x: &'static str| {
                            let data = if x == "k" { k } else { v };
                            (0..=first + i)
                                .map(|p| &data[p * row + at..][..head_dim])
                                .collect::<Vec<_>>()
                        };
                        let q = &q[(start + i) * width + h * head_dim..][..head_dim];
                        expected.extend(plain(q, &of("k"), &of("v"), 0.3));
                    }
                }
            }
            for tier in Tier::available() {
                let mut out = vec![f32::NAN; q.len()];
                attention_on(tier, &pool, &q, heads, &scene.kv, &spans, 0.3, &mut out);
                // Queries and weights are rounded too where products are of whole numbers.
                let tolerance = if dtype == KvDType::Q16 { 2e-3 } else { 1e-5 };
                assert_close(&out, &expected, tolerance, "attention");
            }
        }
    }
}

#[test]
fn a_row_does_not_depend_on_how_spans_are_cut() {
    let (one, many) = (Pool::new(1), Pool::new(3));
    let mut random = Random::new(21);
    for shape in SHAPES {
        for dtype in KvDType::ALL {
            let block_size = [16, 7, 70][random.below(3)];
            let scene = scene(&mut random, dtype, block_size, shape, &[75, 33]);
            let width = scene.heads * scene.head_dim;
            let q = random.normals((75 + 33) * width);
            let [(_, _, a), (_, _, b)] = &scene.sequences[..] else {
                unreachable!()
            };
            let span = |rows, first_position, block_table| AttentionSpan {
                rows,
                first_position,
                block_table,
            };
            for tier in Tier::available() {
                let mut whole = vec![0.0; q.len()];
                let spans = [span(0..75, 0, a), span(75..108, 0, b)];
                attention_on(
                    tier,
                    &many,
                    &q,
                    scene.heads,
                    &scene.kv,
                    &spans,
                    0.2,
                    &mut whole,
                );
                assert!(whole.iter().all(|v| v.is_finite()));
                for step in [1, 2, 3, 7, 16, 40] {
                    let mut cut = vec![0.0; q.len()];
                    for first in (0..75).step_by(step) {
                        let end = (first + step).min(75);
                        let mut spans = vec![span(first..end, first, a)];
                        if first == 0 {
                            spans.insert(0, span(75..108, 0, b));
                        }
                        attention_on(
                            tier,
                            &one,
                            &q,
                            scene.heads,
                            &scene.kv,
                            &spans,
                            0.2,
                            &mut cut,
                        );
                    }
                    assert_eq!(
                        bits(&cut),
                        bits(&whole),
                        "{tier} {shape:?} {dtype:?} step {step}"
                    );
                    assert_eq!(cut.len(), 108 * width);
                }
            }
            assert_eq!(scene.kv.kv_heads(), scene.kv_heads);
        }
    }
}

#[test]
fn the_size_of_blocks_changes_nothing_but_whole_numbers() {
    let pool = Pool::new(1);
    for shape in SHAPES {
        let [heads, kv_heads, head_dim] = shape;
        let (len, row) = (203, kv_heads * head_dim);
        for dtype in [KvDType::F32, KvDType::F16, KvDType::Q8_0] {
            let mut random = Random::new(27);
            let (k, v) = (random.normals(len * row), random.normals(len * row));
            let q = random.normals(9 * heads * head_dim);
            for tier in Tier::available() {
                let attend = |block_size: usize| {
                    let blocks = len.div_ceil(block_size);
                    let mut kv =
                        KvLayer::new(blocks, block_size, kv_heads, head_dim, dtype).unwrap();
                    let slots: Vec<u32> = (0..len as u32).collect();
                    kv.write(&slots, &k, &v);
                    let table: Vec<u32> = (0..blocks as u32).collect();
                    let spans = [AttentionSpan {
                        rows: 0..9,
                        first_position: len - 9,
                        block_table: &table,
                    }];
                    let mut out = vec![0.0; q.len()];
                    attention_on(tier, &pool, &q, heads, &kv, &spans, 0.2, &mut out);
                    bits(&out)
                };
                let expected = attend(16);
                for block_size in [1, 4, 5, 24, 64, 70, 203] {
                    assert_eq!(
                        attend(block_size),
                        expected,
                        "{tier} {shape:?} {dtype:?} blocks of {block_size}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_sequence_does_not_depend_on_others_that_begin_alike() {
    let (one, many) = (Pool::new(1), Pool::new(3));
    let mut random = Random::new(26);
    for shape in SHAPES {
        let [heads, kv_heads, head_dim] = shape;
        let width = heads * head_dim;
        for dtype in KvDType::ALL {
            for block_size in [16, 5, 70] {
                let blocks = 60;
                let mut kv = KvLayer::new(blocks, block_size, kv_heads, head_dim, dtype).unwrap();
                let slots: Vec<u32> = (0..(blocks * block_size) as u32).collect();
                let len = slots.len() * kv_heads * head_dim;
                kv.write(&slots, &random.normals(len), &random.normals(len));
                // Sequences of one row or some that share blocks up to a point, and one that shares none.
                let tables: Vec<Vec<u32>> = (0..7)
                    .map(|i| {
                        (0..20)
                            .map(|b| {
                                if b < 3 * i {
                                    b
                                } else {
                                    20 + (7 * i + 3 * b) % 40
                                }
                            })
                            .collect()
                    })
                    .collect();
                let mut spans: Vec<AttentionSpan> = Vec::new();
                for (i, table) in tables.iter().enumerate() {
                    let start = spans.last().map_or(0, |span| span.rows.end);
                    let rows = [1, 1, 3, 1, 5, 1, 1][i];
                    spans.push(AttentionSpan {
                        rows: start..start + rows,
                        first_position: 20 * block_size - rows - random.below(2 * block_size),
                        block_table: table,
                    });
                }
                let q = random.normals(13 * width);
                for tier in Tier::available() {
                    let attend = |pool, spans: &[AttentionSpan]| {
                        let mut out = vec![0.0; q.len()];
                        attention_on(tier, pool, &q, heads, &kv, spans, 0.2, &mut out);
                        out
                    };
                    let together = attend(&one, &spans);
                    assert!(together.iter().all(|v| v.is_finite()));
                    assert_eq!(bits(&together), bits(&attend(&many, &spans)));
                    for span in &spans {
                        let rows = span.rows.start * width..span.rows.end * width;
                        assert_eq!(
                            bits(&attend(&one, std::slice::from_ref(span))[rows.clone()]),
                            bits(&together[rows]),
                            "{tier} {shape:?} {dtype:?} blocks of {block_size} {:?}",
                            span.rows
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn a_later_value_that_is_not_a_number_does_not_reach_back() {
    let pool = Pool::new(1);
    for dtype in [KvDType::F32, KvDType::Q16] {
        for (key, value) in [(1.0, f32::NAN), (f32::NAN, 1.0), (1.0, f32::INFINITY)] {
            let mut kv = KvLayer::new(2, 16, 1, 16, dtype).unwrap();
            kv.write(&[0, 1, 2, 3], &[1.0; 64], &[2.0; 64]);
            kv.write(&[2], &[key; 16], &[value; 16]);
            let spans = [AttentionSpan {
                rows: 0..4,
                first_position: 0,
                block_table: &[0],
            }];
            for tier in Tier::available() {
                let mut out = [0.0; 64];
                attention_on(tier, &pool, &[0.5; 64], 1, &kv, &spans, 1.0, &mut out);
                // Of whole numbers, to the digits of a scale.
                let close = |v: &f32| (v - 2.0).abs() < 2e-4;
                assert!(out[..32].iter().all(close), "{tier} {out:?}");
                assert!(out[32..].iter().all(|v| !v.is_finite()), "{tier} {out:?}");
            }
        }
    }
}

/// The largest sums there can be: all keys, queries and values as large as they get, all of one sign or of both.
#[test]
fn whole_numbers_do_not_overflow() {
    let pool = Pool::new(1);
    for head_dim in [16, 64, 128, 256, 1000] {
        let len = 130;
        let mut kv = KvLayer::new(9, 16, 1, head_dim, KvDType::Q16).unwrap();
        let slots: Vec<u32> = (0..len as u32).collect();
        for (key, query) in [(1.0f32, 1.0f32), (-1.0, 1.0), (1e30, 1e-31)] {
            let k = vec![key; len * head_dim];
            let v: Vec<f32> = (0..len)
                .flat_map(|i| vec![if i % 2 == 0 { 3e4 } else { 1e4 }; head_dim])
                .collect();
            kv.write(&slots, &k, &v);
            let table: Vec<u32> = (0..9).collect();
            let spans = [AttentionSpan {
                rows: 0..1,
                first_position: len - 1,
                block_table: &table,
            }];
            for tier in Tier::available() {
                let mut out = vec![0.0; head_dim];
                let q = vec![query; head_dim];
                attention_on(tier, &pool, &q, 1, &kv, &spans, 0.1, &mut out);
                assert_close(
                    &out,
                    &vec![2e4; head_dim],
                    2e-4,
                    &format!("{tier} {head_dim}"),
                );
            }
        }
    }
}

/// What most models' first token draws to itself must not cost the others their digits.
#[test]
fn small_weights_beside_a_large_one_are_kept() {
    let pool = Pool::new(1);
    let (head_dim, len) = (64, 1300);
    let mut random = Random::new(27);
    let mut kv = KvLayer::new(82, 16, 1, head_dim, KvDType::Q16).unwrap();
    let (mut k, mut v) = (
        random.normals(len * head_dim),
        random.normals(len * head_dim),
    );
    let mut q = random.normals(head_dim);
    (q[0], k[0]) = (8.0, 14.0);
    v[..head_dim].fill(0.0);
    for v in v[head_dim..].chunks_mut(head_dim) {
        v[0] += 2.0;
    }
    for k in k[head_dim..].chunks_mut(head_dim) {
        k[0] = 0.0;
    }
    kv.write(&(0..len as u32).collect::<Vec<u32>>(), &k, &v);
    let (keys, values): (Vec<_>, Vec<_>) = k.chunks(head_dim).zip(v.chunks(head_dim)).unzip();
    let expected = plain(&q, &keys, &values, 0.125);
    let table: Vec<u32> = (0..82).collect();
    let spans = [AttentionSpan {
        rows: 0..1,
        first_position: len - 1,
        block_table: &table,
    }];
    // The first token takes nearly all.
    assert!(expected[0] > 1e-4 && expected[0] < 0.5, "{}", expected[0]);
    for tier in Tier::available() {
        let mut out = vec![0.0; head_dim];
        attention_on(tier, &pool, &q, 1, &kv, &spans, 0.125, &mut out);
        for (got, expected) in out.iter().zip(&expected) {
            assert!(
                (got - expected).abs() < 1e-3 * expected.abs().max(0.1),
                "{tier}: {got}, {expected}"
            );
        }
    }
}

/// The errors of both types, as a root of a mean of squares, over keys and values of ordinary and of large size.
#[test]
fn whole_numbers_are_as_exact_as_half_precision() {
    let pool = Pool::new(2);
    let mut random = Random::new(28);
    for (head_dim, size) in [(64, 1.0), (64, 8.0), (128, 1.0), (128, 6.0)] {
        let len = 1000;
        let k: Vec<f32> = random
            .normals(len * head_dim)
            .iter()
            .map(|x| x * size)
            .collect();
        let v = random.normals(len * head_dim);
        let q = random.normals(64 * head_dim);
        let table: Vec<u32> = (0..63).collect();
        let outs = [KvDType::F32, KvDType::F16, KvDType::Q16].map(|dtype| {
            let mut kv = KvLayer::new(63, 16, 1, head_dim, dtype).unwrap();
            kv.write(&(0..len as u32).collect::<Vec<u32>>(), &k, &v);
            let mut out = vec![0.0; q.len()];
            let spans = [AttentionSpan {
                rows: 0..1,
                first_position: len - 1,
                block_table: &table,
            }];
            attention(&pool, &q, 64, &kv, &spans, 0.125, &mut out);
            out
        });
        let error = |out: &[f32]| {
            let squares = out
                .iter()
                .zip(&outs[0])
                .map(|(a, b)| f64::from(a - b).powi(2));
            (squares.sum::<f64>() / out.len() as f64).sqrt()
        };
        let (half, whole) = (error(&outs[1]), error(&outs[2]));
        println!("{head_dim} {size}: f16 {half:e}, q16 {whole:e}");
        assert!(
            whole <= half,
            "{head_dim} {size}: {whole:e}, half precision {half:e}"
        );
    }
}

/// A weighted mean of values cannot be off by more than they are, and a score by what a key's error makes of the query.
#[test]
fn a_cache_of_8_bits_stays_within_its_bound() {
    let pool = Pool::new(2);
    let mut random = Random::new(25);
    let (heads, kv_heads, head_dim, len, scale) = (4, 2, 64, 200, 0.125);
    let row = kv_heads * head_dim;
    let (k, v) = (random.normals(len * row), random.normals(len * row));
    let q = random.normals(heads * head_dim);
    let table: Vec<u32> = (0..13).collect();
    let slots: Vec<u32> = (0..len as u32).collect();
    let [exact, rounded] = [KvDType::F32, KvDType::Q8_0].map(|dtype| {
        let mut kv = KvLayer::new(13, 16, kv_heads, head_dim, dtype).unwrap();
        kv.write(&slots, &k, &v);
        let mut out = vec![0.0; q.len()];
        let spans = [AttentionSpan {
            rows: 0..1,
            first_position: len - 1,
            block_table: &table,
        }];
        attention(&pool, &q, heads, &kv, &spans, scale, &mut out);
        out
    });
    // Half a step of the largest magnitude's 127th, and the scale's own rounding to 11 bits.
    let step = |x: &[f32]| x.iter().fold(0.0, |m: f32, x| m.max(x.abs())) * (0.5 / 127.0 + 0.0005);
    for (h, q) in q.chunks_exact(head_dim).enumerate() {
        let size: f32 = q.iter().map(|x| x.abs()).sum();
        // Weights change by at most e to the power of twice a score's error.
        let weights = (2.0 * size * step(&k) * scale).exp() - 1.0;
        let largest = v.iter().fold(0.0, |m: f32, x| m.max(x.abs()));
        let bound = step(&v) + weights * largest;
        let at = h * head_dim..(h + 1) * head_dim;
        let mut worst = 0.0f32;
        for (a, b) in exact[at.clone()].iter().zip(&rounded[at]) {
            worst = worst.max((a - b).abs());
        }
        assert!(worst > 0.0 && worst <= bound, "{worst}, bound {bound}");
        // Errors of both signs cancel: in practice they are a small part of that.
        assert!(worst < 0.02, "{worst}");
    }
}

#[test]
fn blocks_are_copied_whole() {
    let pool = Pool::new(1);
    let mut random = Random::new(22);
    for dtype in KvDType::ALL {
        let mut kv = KvLayer::new(4, 8, 2, 24, dtype).unwrap();
        kv.write(
            &(8..16).collect::<Vec<u32>>(),
            &random.normals(8 * 48),
            &random.normals(8 * 48),
        );
        kv.copy_block(1, 3);
        let q = random.normals(4 * 24);
        let result = |table: &[u32]| {
            let mut out = vec![0.0; 4 * 24];
            let spans = [AttentionSpan {
                rows: 0..1,
                first_position: 7,
                block_table: table,
            }];
            attention(&pool, &q, 4, &kv, &spans, 1.0, &mut out);
            bits(&out)
        };
        assert_eq!(result(&[1]), result(&[3]));
        assert_ne!(result(&[1]), result(&[2]));
    }
}

#[test]
fn an_exported_block_comes_back_elsewhere() {
    let mut random = Random::new(24);
    for dtype in KvDType::ALL {
        let layer = || KvLayer::new(3, 5, 2, 24, dtype).unwrap();
        let (mut kv, mut other) = (layer(), layer());
        let slots: Vec<u32> = (0..15).collect();
        kv.write(&slots, &random.normals(15 * 48), &random.normals(15 * 48));
        let mut bytes = Vec::new();
        kv.export_block(1, &mut bytes);
        assert_eq!(bytes.len(), kv.block_bytes());
        assert!(bytes.iter().any(|b| *b != 0));
        other.import_block(2, &bytes);
        let (mut again, mut untouched) = (Vec::new(), Vec::new());
        other.export_block(2, &mut again);
        other.export_block(1, &mut untouched);
        assert_eq!(again, bytes);
        assert!(untouched.iter().all(|b| *b == 0));
    }
}

#[test]
fn full_attention_in_every_tier() {
    let (one, many) = (Pool::new(1), Pool::new(3));
    let mut random = Random::new(23);
    for (heads, head_dim) in [(1, 4), (12, 32), (2, 100)] {
        let width = heads * head_dim;
        let spans = [0..1, 1..38, 38..38, 38..57];
        let [q, k, v] = [(); 3].map(|()| random.normals(57 * width));
        let mut expected = Vec::new();
        for span in &spans {
            for row in span.clone() {
                for h in 0..heads {
                    let at =
                        |row: usize| row * width + h * head_dim..row * width + (h + 1) * head_dim;
                    let keys: Vec<&[f32]> = span.clone().map(|j| &k[at(j)]).collect();
                    let values: Vec<&[f32]> = span.clone().map(|j| &v[at(j)]).collect();
                    expected.extend(plain(&q[at(row)], &keys, &values, 0.25));
                }
            }
        }
        for tier in Tier::available() {
            let mut out = vec![f32::NAN; 57 * width];
            full_on(
                tier,
                &many,
                [&q, &k, &v],
                heads,
                head_dim,
                &spans,
                0.25,
                &mut out,
            );
            assert_close(&out, &expected, 1e-5, "full attention");
            let alone = 38 * width..;
            let mut last = vec![f32::NAN; 19 * width];
            let inputs = [&q[alone.clone()], &k[alone.clone()], &v[alone.clone()]];
            full_on(
                tier,
                &one,
                inputs,
                heads,
                head_dim,
                std::slice::from_ref(&(0..19)),
                0.25,
                &mut last,
            );
            assert_eq!(bits(&last), bits(&out[alone]));
        }
    }
}

#[test]
fn impossible_caches_are_errors() {
    let new = |blocks, size| KvLayer::new(blocks, size, 2, 64, KvDType::F32).err();
    assert!(matches!(new(0, 16), Some(crate::KernelError::Empty { .. })));
    assert!(matches!(
        new(usize::MAX / 4, 16),
        Some(crate::KernelError::TooLarge { .. })
    ));
    assert!(matches!(
        new(1 << 45, 16),
        Some(crate::KernelError::OutOfMemory { .. })
    ));
}

#[test]
#[should_panic(expected = "row 1 is in two spans")]
fn overlapping_spans_are_refused() {
    let kv = KvLayer::new(1, 16, 1, 16, KvDType::F32).unwrap();
    let span = |rows| AttentionSpan {
        rows,
        first_position: 0,
        block_table: &[0],
    };
    let mut out = [0.0; 48];
    attention(
        &Pool::new(1),
        &[0.0; 48],
        1,
        &kv,
        &[span(0..2), span(1..3)],
        1.0,
        &mut out,
    );
}
