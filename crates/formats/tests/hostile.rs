//! Parsers under hostile bytes: whatever is read, there is a result or an error, no panic, and no allocation that is not
//! in proportion to the file.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use hearth_formats::gguf::{Array, GgufFile, GgufWriter, Metadata, TensorSpec, Value};
use hearth_formats::pt2::Pt2Archive;
use hearth_formats::safetensors::SafetensorsFile;
use hearth_formats::torch::TorchFile;
use hearth_formats::torchscript::{ScriptArchive, ScriptValue};
use hearth_kernels::{Bytes, DType, dequantize};
use proptest::prelude::*;

/// Remembers the largest allocation of the process.
struct Largest(AtomicUsize);

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Largest {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.0.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static LARGEST: Largest = Largest(AtomicUsize::new(0));

/// More than anything that parsing files of a few kilobytes, or the test's own bookkeeping, needs at once.
const MOST_BYTES: usize = 16 << 20;

const GGUF: &[u8] = include_bytes!("fixtures/v3.gguf");
const GGUF_ALIGNED: &[u8] = include_bytes!("fixtures/v3-aligned-64.gguf");
const SAFETENSORS: &[u8] = include_bytes!("fixtures/types.safetensors");
const STATE_DICT: &[u8] = include_bytes!("fixtures/state-dict.pth");
const PT2: [&[u8]; 3] = [
    include_bytes!("fixtures/mlp-2.5.pt2"),
    include_bytes!("fixtures/mlp-2.8.pt2"),
    include_bytes!("fixtures/mlp.pt2"),
];

const SCRIPT: [&[u8]; 2] = [
    include_bytes!("../../graph/tests/fixtures/script/mlp.pt"),
    include_bytes!("../../graph/tests/fixtures/script/branches-scripted.pt"),
];

/// Parses and reads everything that parses.
fn read_gguf(bytes: Vec<u8>) -> bool {
    let len = bytes.len();
    let Ok(file) = GgufFile::from_bytes(Bytes::from(bytes), "hostile".into()) else {
        return false;
    };
    for t in file.tensors() {
        let mut values = vec![0.0; t.elements()];
        dequantize(t.dtype, &file.bytes(t), &mut values);
    }
    let total: usize = file.tensors().iter().map(|t| t.len).sum();
    assert!(total <= len, "tensors of {total} bytes in a file of {len}");
    true
}

fn read_safetensors(bytes: Vec<u8>) -> bool {
    let Ok(file) = SafetensorsFile::from_bytes(Bytes::from(bytes), "hostile".into()) else {
        return false;
    };
    for name in file.tensors().keys() {
        if let Ok(Some(t)) = file.tensor(name) {
            let mut values = vec![0.0; t.shape.iter().product()];
            dequantize(t.dtype, &t.bytes, &mut values);
        }
    }
    true
}

fn read_pt2(bytes: Vec<u8>) -> bool {
    // The weights of the older layouts are archives of their own, which damage to the outer one seldom reaches.
    let file = TorchFile::from_bytes(Bytes::from(bytes.clone()), "hostile".into());
    for t in file.iter().flat_map(|file| file.tensors().values()) {
        if t.dense_bytes() < MOST_BYTES / 2 {
            t.dense();
        }
    }
    let Ok(archive) = Pt2Archive::from_bytes(Bytes::from(bytes), "hostile".into()) else {
        return false;
    };
    for spec in &archive.program().graph_module.signature.input_specs {
        archive.tensor(spec).expect("checked when it was opened");
    }
    true
}

fn read_script(bytes: Vec<u8>) -> bool {
    let Ok(archive) = ScriptArchive::from_bytes(Bytes::from(bytes), "hostile".into()) else {
        return false;
    };
    for value in archive.data().iter() {
        if let ScriptValue::Tensor(t) = value
            && t.dense_bytes() < MOST_BYTES / 2
        {
            t.dense();
        }
    }
    true
}

fn check(read: fn(Vec<u8>) -> bool, bytes: Vec<u8>) -> bool {
    let sound = read(bytes);
    let largest = LARGEST.0.load(Ordering::Relaxed);
    assert!(largest < MOST_BYTES, "an allocation of {largest} bytes");
    sound
}

/// What a byte range is overwritten with.
#[derive(Debug, Clone)]
enum Damage {
    Flip { at: usize, bit: u8 },
    Word { at: usize, value: u64 },
    Half { at: usize, value: u32 },
    Cut { at: usize },
    Insert { at: usize, byte: u8 },
}

fn damage() -> impl Strategy<Value = Damage> {
    let value = prop_oneof![
        Just(0u64),
        Just(1),
        Just(u64::MAX),
        Just(u64::MAX / 2),
        Just(1 << 63),
        Just(1 << 32),
        Just(u64::from(u32::MAX)),
        0..4096u64,
        any::<u64>(),
    ];
    let at = any::<usize>();
    prop_oneof![
        (at, 0..8u8).prop_map(|(at, bit)| Damage::Flip { at, bit }),
        (at, value.clone()).prop_map(|(at, value)| Damage::Word { at, value }),
        (at, value).prop_map(|(at, value)| Damage::Half {
            at,
            value: value as u32
        }),
        at.prop_map(|at| Damage::Cut { at }),
        (at, any::<u8>()).prop_map(|(at, byte)| Damage::Insert { at, byte }),
    ]
}

fn apply(mut bytes: Vec<u8>, damages: &[Damage]) -> Vec<u8> {
    for d in damages {
        let len = bytes.len().max(1);
        match *d {
            _ if bytes.is_empty() => {}
            Damage::Flip { at, bit } => bytes[at % len] ^= 1 << bit,
            Damage::Word { at, value } => overwrite(&mut bytes, at % len, &value.to_le_bytes()),
            Damage::Half { at, value } => overwrite(&mut bytes, at % len, &value.to_le_bytes()),
            Damage::Cut { at } => bytes.truncate(at % len),
            Damage::Insert { at, byte } => bytes.insert(at % len, byte),
        }
    }
    bytes
}

fn overwrite(bytes: &mut [u8], at: usize, with: &[u8]) {
    let n = with.len().min(bytes.len() - at);
    bytes[at..at + n].copy_from_slice(&with[..n]);
}

fn number_array() -> impl Strategy<Value = Array> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..9).prop_map(Array::U8),
        prop::collection::vec(any::<i8>(), 0..9).prop_map(Array::I8),
        prop::collection::vec(any::<u16>(), 0..9).prop_map(Array::U16),
        prop::collection::vec(any::<i16>(), 0..9).prop_map(Array::I16),
        prop::collection::vec(any::<u32>(), 0..9).prop_map(Array::U32),
        prop::collection::vec(any::<i32>(), 0..9).prop_map(Array::I32),
        prop::collection::vec(-1e9f32..1e9, 0..9).prop_map(Array::F32),
        prop::collection::vec(any::<bool>(), 0..9).prop_map(Array::Bool),
        prop::collection::vec(".{0,9}", 0..9).prop_map(Array::String),
        prop::collection::vec(any::<u64>(), 0..9).prop_map(Array::U64),
        prop::collection::vec(any::<i64>(), 0..9).prop_map(Array::I64),
        prop::collection::vec(-1e99f64..1e99, 0..9).prop_map(Array::F64),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let nested = prop::collection::vec(number_array(), 0..4).prop_map(Array::Array);
    prop_oneof![
        any::<u8>().prop_map(Value::U8),
        any::<i8>().prop_map(Value::I8),
        any::<u16>().prop_map(Value::U16),
        any::<i16>().prop_map(Value::I16),
        any::<u32>().prop_map(Value::U32),
        any::<i32>().prop_map(Value::I32),
        (-1e9f32..1e9).prop_map(Value::F32),
        any::<bool>().prop_map(Value::Bool),
        ".{0,20}".prop_map(Value::String),
        any::<u64>().prop_map(Value::U64),
        any::<i64>().prop_map(Value::I64),
        (-1e99f64..1e99).prop_map(Value::F64),
        number_array().prop_map(Value::Array),
        nested.prop_map(Value::Array),
    ]
}

fn tensors() -> impl Strategy<Value = Vec<(TensorSpec, Vec<u8>)>> {
    let one = (
        prop::sample::select(&DType::ALL[..]),
        1..4usize,
        prop::collection::vec(1..4usize, 0..3),
        any::<u8>(),
    );
    prop::collection::vec(one, 0..5).prop_map(|list| {
        let build =
            |(i, (dtype, blocks, mut shape, fill)): (usize, (DType, usize, Vec<usize>, u8))| {
                shape.push(blocks * dtype.block_len());
                let spec = TensorSpec {
                    name: format!("tensor {i}"),
                    dtype,
                    shape,
                };
                let len = spec.bytes().expect("whole blocks");
                let data = (0..len)
                    .map(|j| (j as u8).wrapping_mul(31) ^ fill)
                    .collect();
                (spec, data)
            };
        list.into_iter().enumerate().map(build).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_bytes_are_no_model(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(!check(read_gguf, bytes.clone()));
        check(read_safetensors, bytes.clone());
        prop_assert!(!check(read_pt2, bytes.clone()));
        prop_assert!(!check(read_script, bytes));
    }

    #[test]
    fn damaged_programs_are_survived(
        layout in 0..PT2.len(),
        damages in prop::collection::vec(damage(), 1..4),
    ) {
        check(read_pt2, apply(PT2[layout].to_vec(), &damages));
    }

    #[test]
    fn damaged_state_dicts_are_survived(damages in prop::collection::vec(damage(), 1..4)) {
        check(read_pt2, apply(STATE_DICT.to_vec(), &damages));
    }

    #[test]
    fn damaged_modules_are_survived(
        which in 0..SCRIPT.len(),
        damages in prop::collection::vec(damage(), 1..4),
    ) {
        check(read_script, apply(SCRIPT[which].to_vec(), &damages));
    }

    #[test]
    fn damaged_gguf_is_survived(
        aligned in any::<bool>(),
        damages in prop::collection::vec(damage(), 1..4),
    ) {
        let sound = if aligned { GGUF_ALIGNED } else { GGUF };
        check(read_gguf, apply(sound.to_vec(), &damages));
    }

    #[test]
    fn damaged_gguf_headers_are_survived(
        damages in prop::collection::vec(damage(), 1..3),
    ) {
        // Keep the magic and the version, which most damage would hit to no effect beyond their own check.
        let mut bytes = GGUF[..8].to_vec();
        bytes.extend(apply(GGUF[8..].to_vec(), &damages));
        check(read_gguf, bytes);
    }

    #[test]
    fn damaged_safetensors_are_survived(damages in prop::collection::vec(damage(), 1..4)) {
        check(read_safetensors, apply(SAFETENSORS.to_vec(), &damages));
    }

    #[test]
    fn damaged_safetensors_json_is_survived(damages in prop::collection::vec(damage(), 1..3)) {
        let len = u64::from_le_bytes(SAFETENSORS[..8].try_into().unwrap()) as usize;
        let header = apply(SAFETENSORS[8..8 + len].to_vec(), &damages);
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header);
        bytes.extend(&SAFETENSORS[8 + len..]);
        check(read_safetensors, bytes);
    }

    #[test]
    fn what_is_written_is_read(
        pairs in prop::collection::btree_map("[a-z.]{1,12}", value(), 0..12),
        tensors in tensors(),
        alignment in prop::sample::select(&[8u32, 32, 64, 4096][..]),
    ) {
        let mut metadata = Metadata::new("m");
        metadata.insert("general.alignment", alignment);
        for (key, value) in pairs {
            metadata.insert(format!("x.{key}"), value);
        }
        let specs = tensors.iter().map(|(spec, _)| spec.clone()).collect();
        let mut writer = GgufWriter::new(Vec::new(), &metadata, specs).unwrap();
        for (_, data) in &tensors {
            writer.write(data).unwrap();
        }
        let bytes = writer.finish().unwrap();
        let file = GgufFile::from_bytes(Bytes::from(bytes), "m".into()).unwrap();
        let read: Vec<_> = file.metadata().iter().collect();
        let written: Vec<_> = metadata.iter().collect();
        prop_assert_eq!(read, written);
        prop_assert_eq!(file.tensors().len(), tensors.len());
        for (t, (spec, data)) in file.tensors().iter().zip(&tensors) {
            prop_assert_eq!((&t.name, t.dtype, &t.shape), (&spec.name, spec.dtype, &spec.shape));
            prop_assert!(t.offset.is_multiple_of(alignment as usize));
            prop_assert_eq!(&*file.bytes(t), &data[..]);
        }
    }
}

#[test]
fn every_truncation_is_an_error() {
    for sound in [GGUF, GGUF_ALIGNED] {
        assert!(check(read_gguf, sound.to_vec()));
        // The last tensor is followed by padding, which nothing needs.
        let file = GgufFile::from_bytes(Bytes::from(sound.to_vec()), "f".into()).unwrap();
        let end = file
            .tensors()
            .iter()
            .map(|t| t.offset + t.len)
            .max()
            .unwrap();
        for len in 0..end {
            assert!(!check(read_gguf, sound[..len].to_vec()), "{len} bytes");
        }
    }
    for len in (0..STATE_DICT.len()).step_by(7) {
        let bytes = Bytes::from(STATE_DICT[..len].to_vec());
        assert!(
            TorchFile::from_bytes(bytes, "f".into()).is_err(),
            "{len} bytes"
        );
    }
    assert!(check(read_safetensors, SAFETENSORS.to_vec()));
    for len in 0..SAFETENSORS.len() {
        assert!(
            !check(read_safetensors, SAFETENSORS[..len].to_vec()),
            "{len} bytes"
        );
    }
}
