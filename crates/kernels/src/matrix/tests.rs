//! Products of every type in every tier, and the law that rows do not depend on each other.

use super::*;
use crate::testing::{Random, bits};

/// A stored matrix of random blocks whose scales are moderate numbers.
pub(super) fn stored(random: &mut Random, dtype: DType, rows: usize, cols: usize) -> Vec<u8> {
    let size = dtype.bytes_for(cols).unwrap() * rows;
    let mut bytes: Vec<u8> = (0..size).map(|_| random.below(256) as u8).collect();
    let halves: &[usize] = match dtype {
        DType::F32 => {
            for value in bytes.as_chunks_mut::<4>().0 {
                *value = random.normal().to_le_bytes();
            }
            &[]
        }
        DType::F16 => {
            for value in bytes.as_chunks_mut::<2>().0 {
                *value = half::f16::from_f32(random.normal()).to_le_bytes();
            }
            &[]
        }
        DType::BF16 => {
            for value in bytes.as_chunks_mut::<2>().0 {
                *value = half::bf16::from_f32(random.normal()).to_le_bytes();
            }
            &[]
        }
        DType::Q4_0 | DType::Q5_0 | DType::Q8_0 => &[0],
        DType::Q4_1 | DType::Q5_1 | DType::Q4_K | DType::Q5_K => &[0, 2],
        DType::Q2_K => &[80, 82],
        DType::Q3_K => &[108],
        DType::Q6_K => &[208],
    };
    for block in bytes.chunks_exact_mut(dtype.block_bytes()) {
        for &at in halves {
            let scale = half::f16::from_f32(random.normal() * 0.02);
            block[at..at + 2].copy_from_slice(&scale.to_le_bytes());
        }
    }
    bytes
}

fn product(tier: Tier, pool: &Pool, w: &Matrix, x: &[f32]) -> Vec<f32> {
    let mut activations = Activations::default();
    activations.load(pool, x, w.cols());
    let mut out = vec![f32::NAN; x.len() / w.cols() * w.rows()];
    let product = Product {
        weight: w,
        bias: None,
        out: &mut out,
    };
    matmul_each_on(tier, pool, &activations, [product]);
    out
}

/// The product in f64, and the sum of the absolute values of its terms.
fn exact(w: &Matrix, x: &[f32]) -> Vec<(f64, f64)> {
    let mut weights = vec![0.0; w.rows() * w.cols()];
    for (row, out) in weights.chunks_exact_mut(w.cols()).enumerate() {
        w.read_row(row, out);
    }
    let terms = |x: &[f32], w: &[f32]| {
        x.iter().zip(w).fold((0.0, 0.0), |(sum, size), (x, w)| {
            let term = f64::from(*x) * f64::from(*w);
            (sum + term, size + term.abs())
        })
    };
    x.chunks_exact(w.cols())
        .flat_map(|x| weights.chunks_exact(w.cols()).map(move |w| terms(x, w)))
        .collect()
}

#[test]
fn f32_products_of_every_type_in_every_tier() {
    let pool = Pool::new(2);
    let mut random = Random::new(10);
    for dtype in DType::ALL {
        let shapes = [
            (1, 1, 1),
            (3, 15, 2),
            (5, 100, 7),
            (17, 256, 13),
            (9, 1280, 3),
            (33, 2304, 6),
            (4, 512, 0),
        ];
        for (rows, cols, tokens) in shapes {
            if dtype.bytes_for(cols).is_none() {
                continue;
            }
            let bytes = Bytes::from(stored(&mut random, dtype, rows, cols));
            let w = Matrix::new(&pool, dtype, rows, cols, bytes, Precision::F32).unwrap();
            let x = random.normals(tokens * cols);
            let expected = exact(&w, &x);
            for tier in Tier::available() {
                let got = product(tier, &pool, &w, &x);
                for (got, (expected, size)) in got.iter().zip(&expected) {
                    let error = (f64::from(*got) - expected).abs();
                    assert!(
                        error <= 1e-6 * size,
                        "{tier} {dtype} {rows}x{cols}: {got}, expected {expected}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_row_of_a_product_does_not_depend_on_the_others_or_on_the_threads() {
    let (one, many) = (Pool::new(1), Pool::new(3));
    let mut random = Random::new(11);
    for dtype in DType::ALL {
        for precision in [Precision::F32, Precision::Int8] {
            let (rows, cols) = (37, 2304);
            let bytes = Bytes::from(stored(&mut random, dtype, rows, cols));
            let w = Matrix::new(&many, dtype, rows, cols, bytes, precision).unwrap();
            let x = random.normals(40 * cols);
            for tier in Tier::available() {
                let all = product(tier, &many, &w, &x);
                for tokens in [1, 2, 3, 5, 7, 8, 11, 12, 13, 25, 40] {
                    for first in [0, 40 - tokens] {
                        let slice = product(tier, &one, &w, &x[first * cols..][..tokens * cols]);
                        let same = bits(&slice) == bits(&all[first * rows..][..tokens * rows]);
                        assert!(
                            same,
                            "{tier} {dtype} {precision:?}: {tokens} tokens from {first}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn what_is_not_finite_stays_in_its_row() {
    let pool = Pool::new(2);
    let mut random = Random::new(12);
    for dtype in DType::ALL {
        for precision in [Precision::F32, Precision::Int8] {
            let (rows, cols) = (20, 512);
            let bytes = Bytes::from(stored(&mut random, dtype, rows, cols));
            let w = Matrix::new(&pool, dtype, rows, cols, bytes, precision).unwrap();
            let mut x = random.normals(5 * cols);
            x[cols + 7] = f32::NAN;
            x[3 * cols..4 * cols].fill(1e30);
            for tier in Tier::available() {
                let out = product(tier, &pool, &w, &x);
                for (t, out) in out.chunks_exact(rows).enumerate() {
                    let ok = if t == 1 {
                        out.iter().all(|v| v.is_nan())
                    } else {
                        out.iter().all(|v| v.is_finite())
                    };
                    assert!(ok, "{tier} {dtype} {precision:?} token {t}: {out:?}");
                }
            }
        }
    }
}

#[test]
fn rows_are_read_as_they_were_stored() {
    let pool = Pool::new(2);
    let mut random = Random::new(13);
    for dtype in DType::ALL {
        for precision in [Precision::F32, Precision::Int8] {
            let (rows, cols) = (35, 768);
            let bytes = stored(&mut random, dtype, rows, cols);
            let w = Matrix::new(&pool, dtype, rows, cols, bytes.clone().into(), precision).unwrap();
            let (mut expected, mut got) = (vec![0.0; rows * cols], vec![0.0; cols]);
            dequantize(dtype, &bytes, &mut expected);
            for (row, expected) in expected.chunks_exact(cols).enumerate() {
                w.read_row(row, &mut got);
                assert_eq!(
                    bits(&got),
                    bits(expected),
                    "{dtype} {precision:?} row {row}"
                );
            }
        }
    }
}

#[test]
fn products_together_added_and_gated_are_those_alone() {
    let pool = Pool::new(3);
    let mut random = Random::new(15);
    let kinds = [
        (DType::Q4_0, Precision::Int8),
        (DType::Q6_K, Precision::Int8),
        (DType::F16, Precision::F32),
        (DType::Q4_K, Precision::F32),
    ];
    let cols = 512;
    for tier in Tier::available() {
        for (first, second) in kinds.into_iter().flat_map(|a| kinds.map(|b| (a, b))) {
            for (rows, tokens) in [(33, 1), (48, 30), (5, 7)] {
                let [a, b] = [first, second].map(|(dtype, precision)| {
                    let bytes = stored(&mut random, dtype, rows, cols);
                    Matrix::new(&pool, dtype, rows, cols, bytes.into(), precision).unwrap()
                });
                let x = random.normals(tokens * cols);
                let bias = random.normals(rows);
                let mut activations = Activations::default();
                activations.load(&pool, &x, cols);
                let x = &activations;
                let [alone_a, alone_b] = [&a, &b].map(|w| product(tier, &pool, w, &x_of(x)));

                let [mut out_a, mut out_b] = [(); 2].map(|()| vec![f32::NAN; rows * tokens]);
                let products = [(&a, None, &mut out_a), (&b, Some(&bias[..]), &mut out_b)];
                let products = products.map(|(weight, bias, out)| Product { weight, bias, out });
                matmul_each_on(tier, &pool, x, products);
                let mut with_bias = alone_b.clone();
                crate::add_bias(&mut with_bias, &bias);
                assert_eq!(bits(&out_a), bits(&alone_a), "{tier} {first:?}");
                assert_eq!(bits(&out_b), bits(&with_bias), "{tier} {second:?}");

                let mut sum = random.normals(rows * tokens);
                let mut expected = sum.clone();
                crate::add(&mut expected, &with_bias);
                matmul_add_on(tier, &pool, &b, Some(&bias), x, &mut sum);
                assert_eq!(bits(&sum), bits(&expected), "{tier} {second:?}");

                let mut expected = alone_a.clone();
                crate::activation::silu_mul_on(tier, &pool, &mut expected, &alone_b);
                let mut spare = Vec::new();
                matmul_silu_mul_on(tier, &pool, &a, &b, x, &mut out_a, &mut spare);
                assert_eq!(bits(&out_a), bits(&expected), "{tier} {first:?} {second:?}");
            }
        }
    }
}

/// The rows that are loaded.
fn x_of(x: &Activations) -> Vec<f32> {
    let rows = x.values().chunks_exact(x.stride());
    rows.flat_map(|row| row[..x.cols()].to_vec()).collect()
}

#[test]
fn activations_that_are_normalized_as_they_are_loaded() {
    let pool = Pool::new(3);
    let mut random = Random::new(16);
    let (rows, cols) = (20, 96);
    for (dtype, precision) in [
        (DType::Q8_0, Precision::Int8),
        (DType::Q8_0, Precision::F32),
    ] {
        let bytes = stored(&mut random, dtype, rows, cols);
        let w = Matrix::new(&pool, dtype, rows, cols, bytes.into(), precision).unwrap();
        let inputs = Inputs::of([&w]);
        for tokens in [0, 1, 13, 400] {
            let (x, weight) = (random.normals(tokens * cols), random.normals(cols));
            for tier in Tier::available() {
                let mut normalized = vec![0.0; x.len()];
                crate::norm::rms_norm_on(tier, &pool, &x, &weight, 1e-5, &mut normalized);
                let expected = product(tier, &pool, &w, &normalized);
                let mut activations = Activations::default();
                activations.load_rms_norm_on(tier, &pool, &x, &weight, 1e-5, inputs);
                let mut out = vec![f32::NAN; expected.len()];
                multiply(tier, &pool, &w, &activations, Finish::Store(None), &mut out);
                assert_eq!(bits(&out), bits(&expected), "{tier} {precision:?}");
            }
        }
    }
}

#[test]
fn wrong_sizes_are_errors() {
    let pool = Pool::new(1);
    let new = |rows, cols, len| {
        Matrix::new(
            &pool,
            DType::Q4_0,
            rows,
            cols,
            vec![0; len].into(),
            Precision::Int8,
        )
        .err()
    };
    assert!(matches!(
        new(2, 33, 36),
        Some(KernelError::RaggedRows { .. })
    ));
    assert!(matches!(
        new(2, 32, 35),
        Some(KernelError::WrongSize {
            expected: 36,
            got: 35,
            ..
        })
    ));
    assert!(matches!(
        new(usize::MAX, 64, 36),
        Some(KernelError::TooLarge { .. })
    ));
    assert_eq!(new(0, 32, 0), None);
}

/// What the activations become when they are quantized, by the rule itself.
fn rounded(x: &[f32], group: usize) -> Vec<f32> {
    let block = |x: &[f32]| {
        let scale = x.iter().fold(0.0, |m: f32, v| m.max(v.abs())) / 127.0;
        x.iter()
            .map(move |v| (v / scale).round_ties_even() * scale)
            .collect::<Vec<_>>()
    };
    x.chunks(group).flat_map(block).collect()
}

#[test]
fn integer_products_of_every_type_in_every_tier() {
    let pool = Pool::new(2);
    let mut random = Random::new(14);
    for dtype in DType::ALL.into_iter().filter(|t| t.is_quantized()) {
        for (rows, cols, tokens) in [
            (1, 256, 1),
            (15, 512, 3),
            (16, 32, 2),
            (40, 1280, 13),
            (33, 96, 29),
            (7, 256, 0),
        ] {
            if dtype.bytes_for(cols).is_none() {
                continue;
            }
            let bytes = Bytes::from(stored(&mut random, dtype, rows, cols));
            let w = Matrix::new(&pool, dtype, rows, cols, bytes, Precision::Int8).unwrap();
            let x = random.normals(tokens * cols);
            let expected = exact(&w, &rounded(&x, dtype.block_len()));
            for tier in Tier::available() {
                let got = product(tier, &pool, &w, &x);
                for (got, (expected, size)) in got.iter().zip(&expected) {
                    // Of the sums over the groups only the last digits are lost. Here and there the division that a
                    // value is rounded after falls on the other side.
                    let error = (f64::from(*got) - expected).abs();
                    assert!(
                        error <= 2e-5 * size,
                        "{tier} {dtype} {rows}x{cols}: {got}, expected {expected}"
                    );
                }
            }
        }
    }
}

#[test]
fn packed_weights_take_their_own_size_and_release_the_file() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    struct File(Vec<u8>, AtomicUsize);
    impl crate::Storage for File {
        fn bytes(&self) -> &[u8] {
            &self.0
        }
        fn release(&self, range: std::ops::Range<usize>) {
            self.1.fetch_add(range.len(), Ordering::Relaxed);
        }
    }
    let pool = Pool::new(2);
    for dtype in DType::ALL {
        let len = dtype.bytes_for(2048).unwrap() * 160;
        let file = std::sync::Arc::new(File(vec![0; len], AtomicUsize::new(0)));
        let bytes = Bytes::new(file.clone(), 0..len);
        let w = Matrix::new(&pool, dtype, 160, 2048, bytes, Precision::Int8).unwrap();
        assert_eq!(w.memory_bytes(), len, "{dtype}");
        let released = file.1.load(Ordering::Relaxed);
        assert_eq!(released, if dtype.is_quantized() { len } else { 0 });
    }
}
