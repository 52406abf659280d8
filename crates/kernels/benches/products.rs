//! Matrix products at the shapes of a model of 1.1 billion parameters.
//!
//! One token is reported in bytes of weights per second, with matrices taken in turn that together exceed the caches;
//! many tokens in operations per second. What the machine can do at most is printed first.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hearth_kernels::{Activations, DType, Matrix, Pool, Precision, cpu_tier, matmul, probe};

const SHAPES: [(usize, usize); 4] = [(2048, 2048), (5632, 2048), (2048, 5632), (32000, 2048)];
/// Weights that no cache holds.
const CYCLE_BYTES: usize = 200 << 20;

fn stored(dtype: DType, rows: usize, cols: usize) -> Vec<u8> {
    let mut state = 1u32;
    let size = dtype.bytes_for(cols).expect("whole blocks") * rows;
    // Bytes from 0 to 59, so that halves and singles are small numbers.
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8 % 60
    };
    (0..size).map(|_| next()).collect()
}

fn products(c: &mut Criterion) {
    let pool = Pool::new(0);
    println!("{} threads, {}", pool.threads(), cpu_tier());
    println!("int8 peak {:.0} GOP/s", probe::int8_peak(&pool) / 1e9);
    println!("f32 peak {:.0} GOP/s", probe::f32_peak(&pool) / 1e9);
    println!(
        "read bandwidth {:.1} GB/s",
        probe::read_bandwidth(&pool).unwrap_or(0.0) / 1e9
    );
    for dtype in DType::ALL {
        let mut group = c.benchmark_group(dtype.name());
        group
            .sample_size(10)
            .warm_up_time(std::time::Duration::from_millis(100));
        group.measurement_time(std::time::Duration::from_millis(500));
        for (rows, cols) in SHAPES {
            let bytes = hearth_kernels::Bytes::from(stored(dtype, rows, cols));
            let copies = CYCLE_BYTES.div_ceil(bytes.len());
            let new = || {
                Matrix::new(&pool, dtype, rows, cols, bytes.clone(), Precision::Int8)
                    .expect("a matrix")
            };
            let matrices: Vec<Matrix> = (0..copies).map(|_| new()).collect();
            for tokens in [1, 8, 32, 512] {
                if tokens > 32 && rows > 8192 {
                    continue;
                }
                let x: Vec<f32> = (0..tokens * cols).map(|i| (i % 13) as f32 - 6.0).collect();
                let mut activations = Activations::default();
                activations.load(&pool, &x, cols);
                let mut out = vec![0.0; tokens * rows];
                group.throughput(match tokens {
                    1 => Throughput::Bytes(bytes.len() as u64),
                    _ => Throughput::Elements((2 * tokens * rows * cols) as u64),
                });
                let mut turn = 0;
                group.bench_function(BenchmarkId::new(format!("{rows}x{cols}"), tokens), |b| {
                    b.iter(|| {
                        turn = (turn + 1) % copies;
                        matmul(&pool, &matrices[turn], &activations, black_box(&mut out));
                    })
                });
            }
        }
    }
}

criterion_group!(benches, products);
criterion_main!(benches);
