//! Blocks byte for byte as ggml makes them (fixtures of `oracle/quant_blocks.py`), and the laws of the codecs.

use hearth_formats::quant::{dequantize, quantize};
use hearth_kernels::DType;
use proptest::prelude::*;

const REFERENCE: &[u8] = include_bytes!("fixtures/quant/reference.bin");
const DESCRIPTION: &str = include_str!("fixtures/quant/reference.json");

/// The types that the reference covers: all but F32, which is itself.
fn types() -> impl Iterator<Item = DType> {
    DType::ALL.into_iter().filter(|&t| t != DType::F32)
}

struct Reference {
    description: serde_json::Value,
}

impl Reference {
    fn open() -> Reference {
        Reference {
            description: serde_json::from_str(DESCRIPTION).unwrap(),
        }
    }

    fn bytes(&self, part: &str) -> &'static [u8] {
        let range = &self.description["parts"][part];
        let of = |i: usize| range[i].as_u64().unwrap() as usize;
        &REFERENCE[of(0)..of(0) + of(1)]
    }

    fn floats(&self, part: &str) -> Vec<f32> {
        self.bytes(part)
            .as_chunks::<4>()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect()
    }
}

fn quantized(dtype: DType, x: &[f32]) -> Vec<u8> {
    let mut out = vec![0xAA; dtype.bytes_for(x.len()).unwrap()];
    quantize(dtype, x, &mut out);
    out
}

fn read(dtype: DType, bytes: &[u8]) -> Vec<f32> {
    let mut out = vec![9.0; bytes.len() / dtype.block_bytes() * dtype.block_len()];
    dequantize(dtype, bytes, &mut out);
    out
}

#[test]
fn quantized_blocks_equal_the_reference() {
    let reference = Reference::open();
    let values = reference.floats("values");
    let per_case = reference.description["values_per_case"].as_u64().unwrap() as usize;
    let cases = reference.description["cases"].as_array().unwrap();
    assert_eq!(values.len(), per_case * cases.len());
    let mut wrong = Vec::new();
    for dtype in types() {
        let expected = reference.bytes(&format!("quantized {dtype}"));
        let got = quantized(dtype, &values);
        let size = dtype.bytes_for(per_case).unwrap();
        for (case, (got, expected)) in cases
            .iter()
            .zip(got.chunks(size).zip(expected.chunks(size)))
        {
            let blocks = |b: &'_ [u8]| {
                b.chunks(dtype.block_bytes())
                    .map(<[u8]>::to_vec)
                    .collect::<Vec<_>>()
            };
            let (got, expected) = (blocks(got), blocks(expected));
            let differ = got.iter().zip(&expected).filter(|(a, b)| a != b).count();
            if differ > 0 {
                wrong.push(format!("{dtype} {case}: {differ} of {} blocks", got.len()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn values_read_from_blocks_equal_the_reference_bit_for_bit() {
    let reference = Reference::open();
    for dtype in types() {
        let got = read(dtype, reference.bytes(&format!("blocks {dtype}")));
        let expected = reference.floats(&format!("read {dtype}"));
        assert_eq!(got.len(), expected.len());
        for (i, (g, e)) in got.iter().zip(&expected).enumerate() {
            assert_eq!(
                g.to_bits(),
                e.to_bits(),
                "{dtype} value {i}: {g} instead of {e}"
            );
        }
    }
}

#[test]
fn more_bits_lose_less() {
    let reference = Reference::open();
    let values = &reference.floats("values")[..2 * 768]; // normal and weights
    let energy: f64 = values.iter().map(|&x| f64::from(x).powi(2)).sum();
    let loss = |dtype: DType| {
        let back = read(dtype, &quantized(dtype, values));
        let error: f64 = values
            .iter()
            .zip(&back)
            .map(|(&a, &b)| f64::from(a - b).powi(2))
            .sum();
        (error / energy).sqrt()
    };
    // Relative error by bits per value: about 2^-bits of the range, which is some four deviations to each side.
    let limits = [
        (DType::F32, 0.0),
        (DType::F16, 3e-4),
        (DType::BF16, 2.5e-3),
        (DType::Q8_0, 8e-3),
        (DType::Q6_K, 0.025),
        (DType::Q5_K, 0.045),
        (DType::Q5_1, 0.05),
        (DType::Q5_0, 0.06),
        (DType::Q4_K, 0.085),
        (DType::Q4_1, 0.1),
        (DType::Q4_0, 0.11),
        (DType::Q3_K, 0.19),
        (DType::Q2_K, 0.37),
    ];
    for (dtype, limit) in limits {
        let loss = loss(dtype);
        assert!(loss <= limit, "{dtype}: {loss}");
        assert!(
            dtype == DType::F32 || loss > limit / 4.0,
            "{dtype}: {loss} is too good, the limit is loose"
        );
    }
}

#[test]
fn what_is_not_finite_stays_in_its_block() {
    let reference = Reference::open();
    let good = &reference.floats("values")[..512];
    for dtype in types().chain([DType::F32]) {
        let clean = quantized(dtype, good);
        for bad in [
            f32::NAN,
            -f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::MAX,
            f32::MIN,
        ] {
            for at in [0, 1, 77, 255] {
                let mut values = good.to_vec();
                values[at] = bad;
                let bytes = quantized(dtype, &values);
                let half = bytes.len() / 2;
                assert_eq!(bytes[half..], clean[half..], "{dtype} {bad} at {at}");
                read(dtype, &bytes);
            }
            quantized(dtype, &[bad; 256]);
        }
    }
}

#[test]
#[should_panic(expected = "Q6_K: 209 bytes do not hold 256 values")]
fn a_wrong_length_is_refused() {
    quantize(DType::Q6_K, &[0.0; 256], &mut [0; 209]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any 32 bits, so also infinities, subnormals and what is no number.
    #[test]
    fn any_values_make_blocks_that_can_be_read(bits in proptest::collection::vec(any::<u32>(), 512)) {
        let values: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
        for dtype in DType::ALL {
            let bytes = quantized(dtype, &values);
            read(dtype, &bytes);
            let apart: Vec<u8> = values.chunks(256).flat_map(|x| quantized(dtype, x)).collect();
            prop_assert_eq!(&bytes, &apart);
        }
    }

    /// The 32-value types: no value is off by more than a step (and the f16 rounding of the factors).
    #[test]
    fn no_value_is_off_by_more_than_a_step(
        values in proptest::collection::vec(-8.0f32..8.0, 32),
        scale in prop_oneof![Just(1.0f32), Just(1e-3), Just(100.0)],
    ) {
        let values: Vec<f32> = values.into_iter().map(|v| v * scale).collect();
        let largest = values.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        let (low, high) = values.iter().fold((f32::MAX, f32::MIN), |(l, h), &v| (l.min(v), h.max(v)));
        let steps = [
            (DType::Q8_0, largest / 127.0 * 0.5),
            (DType::Q5_0, largest / 16.0),
            (DType::Q4_0, largest / 8.0),
            (DType::Q5_1, (high - low) / 31.0 * 0.5),
            (DType::Q4_1, (high - low) / 15.0 * 0.5),
        ];
        for (dtype, bound) in steps {
            let back = read(dtype, &quantized(dtype, &values));
            for (a, b) in values.iter().zip(&back) {
                let slack = largest * 2e-3 + 1e-7;
                prop_assert!((a - b).abs() <= bound + slack, "{} {} {}", dtype, a, b);
            }
        }
    }

    /// What a reader gets is a fixed point for the types whose scale follows from the extremes.
    #[test]
    fn reading_and_writing_again_changes_nothing(values in proptest::collection::vec(-4.0f32..4.0, 64)) {
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            let once = quantized(dtype, &values);
            prop_assert_eq!(&quantized(dtype, &read(dtype, &once)), &once);
        }
    }
}
