//! What lies between the products of a layer: attention, norms, activation functions, quantizing of activations.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hearth_kernels::{
    Activations, AttentionSpan, KvDType, KvLayer, Pool, Rope, RopeStyle, attention, gelu, rms_norm,
    silu_mul,
};

const BLOCK: usize = 16;

fn attend(c: &mut Criterion) {
    let pool = Pool::new(0);
    let (heads, kv_heads, head_dim) = (32, 4, 64);
    let mut group = c.benchmark_group("attention");
    group.sample_size(10);
    for dtype in [KvDType::F32, KvDType::F16] {
        for (tokens, context) in [(1, 512), (1, 2048), (512, 512), (256, 2048)] {
            let mut kv =
                KvLayer::new(context / BLOCK, BLOCK, kv_heads, head_dim, dtype).expect("memory");
            let slots: Vec<u32> = (0..context as u32).collect();
            let k: Vec<f32> = (0..context * kv_heads * head_dim)
                .map(|i| (i % 17) as f32 * 0.01)
                .collect();
            kv.write(&slots, &k, &k);
            let table: Vec<u32> = (0..(context / BLOCK) as u32).collect();
            let q: Vec<f32> = (0..tokens * heads * head_dim)
                .map(|i| (i % 11) as f32 * 0.1)
                .collect();
            let mut out = vec![0.0; q.len()];
            let spans = [AttentionSpan {
                rows: 0..tokens,
                first_position: context - tokens,
                block_table: &table,
            }];
            // Two products of head_dim for each visible position of each head.
            let visible = tokens * (2 * context - tokens + 1) / 2;
            group.throughput(Throughput::Elements(
                (4 * visible * heads * head_dim) as u64,
            ));
            let id = BenchmarkId::new(format!("{dtype:?}"), format!("{tokens} of {context}"));
            group.bench_function(id, |b| {
                b.iter(|| attention(&pool, &q, heads, &kv, &spans, 0.125, black_box(&mut out)));
            });
        }
    }
}

/// Sequences that share their first 1,000 tokens and have some hundreds of their own: each has one query or a slice.
fn serve(c: &mut Criterion) {
    let pool = Pool::new(0);
    let (heads, kv_heads, head_dim) = (32, 4, 64);
    let (shared, own) = (1000usize.div_ceil(BLOCK), 20);
    let mut group = c.benchmark_group("serving");
    group.sample_size(10);
    for dtype in KvDType::ALL {
        for (sequences, tokens) in [(32, 1), (1, 256), (16, 1), (1, 1)] {
            let blocks = shared + sequences * own;
            let mut kv = KvLayer::new(blocks, BLOCK, kv_heads, head_dim, dtype).expect("memory");
            let slots: Vec<u32> = (0..(blocks * BLOCK) as u32).collect();
            let k: Vec<f32> = (0..slots.len() * kv_heads * head_dim)
                .map(|i| (i % 17) as f32 * 0.1 - 0.8)
                .collect();
            kv.write(&slots, &k, &k);
            let q: Vec<f32> = (0..sequences * tokens * heads * head_dim)
                .map(|i| (i % 11) as f32 * 0.1)
                .collect();
            let mut out = vec![0.0; q.len()];
            let tables: Vec<Vec<u32>> = (0..sequences)
                .map(|i| (0..shared).chain(shared + i * own..shared + (i + 1) * own))
                .map(|blocks| blocks.map(|block| block as u32).collect())
                .collect();
            let positions = (shared + own) * BLOCK - 20;
            let spans: Vec<AttentionSpan> = tables
                .iter()
                .enumerate()
                .map(|(i, table)| AttentionSpan {
                    rows: i * tokens..(i + 1) * tokens,
                    first_position: positions - tokens,
                    block_table: table,
                })
                .collect();
            let visible = sequences * tokens * (2 * positions - tokens + 1) / 2;
            group.throughput(Throughput::Elements(
                (4 * visible * heads * head_dim) as u64,
            ));
            let id = BenchmarkId::new(dtype.name(), format!("{sequences} x {tokens}"));
            group.bench_function(id, |b| {
                b.iter(|| attention(&pool, &q, heads, &kv, &spans, 0.125, black_box(&mut out)));
            });
        }
    }
}

fn rows(c: &mut Criterion) {
    let pool = Pool::new(0);
    let mut group = c.benchmark_group("rows");
    group.sample_size(10);
    for tokens in [1, 512] {
        let x: Vec<f32> = (0..tokens * 2048)
            .map(|i| (i % 19) as f32 * 0.1 - 1.0)
            .collect();
        let mut out = x.clone();
        let weight = vec![1.0; 2048];
        let mut activations = Activations::default();
        let rope = Rope::new(
            (0..32).map(|i| 1e4f32.powf(-i as f32 / 32.0)).collect(),
            1.0,
            RopeStyle::Interleaved,
        );
        let positions: Vec<u32> = (0..tokens as u32).collect();
        group.throughput(Throughput::Elements(x.len() as u64));
        group.bench_function(BenchmarkId::new("rms_norm", tokens), |b| {
            b.iter(|| rms_norm(&pool, &x, &weight, 1e-5, black_box(&mut out)));
        });
        group.bench_function(BenchmarkId::new("load", tokens), |b| {
            b.iter(|| activations.load(&pool, black_box(&x), 2048));
        });
        group.bench_function(BenchmarkId::new("rope", tokens), |b| {
            b.iter(|| rope.apply(&pool, black_box(&mut out), 32, 64, &positions));
        });
        group.bench_function(BenchmarkId::new("silu_mul", tokens), |b| {
            out.copy_from_slice(&x);
            b.iter(|| silu_mul(&pool, black_box(&mut out), &x));
        });
        group.bench_function(BenchmarkId::new("gelu", tokens), |b| {
            out.copy_from_slice(&x);
            b.iter(|| gelu(&pool, black_box(&mut out)));
        });
    }
}

criterion_group!(benches, attend, serve, rows);
criterion_main!(benches);
