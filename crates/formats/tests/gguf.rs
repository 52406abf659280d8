//! GGUF against files of the `gguf` package (`oracle/formats_fixtures.py`), and the writer against the reader.

use std::path::{Path, PathBuf};

use hearth_formats::Checkpoint;
use hearth_formats::gguf::{Array, GgufFile, GgufWriter, Metadata, TensorSpec, Value};
use hearth_kernels::{Bytes, DType, dequantize};
use serde_json::Value as Json;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn expected() -> Json {
    serde_json::from_slice(&std::fs::read(fixture("gguf.json")).unwrap()).unwrap()
}

/// An integer's JSON is a string, so that 64 bits survive.
fn integer(json: &Json) -> i128 {
    json.as_str().unwrap().parse().unwrap()
}

#[test]
fn every_value_of_the_reference_is_read() {
    let expected = expected();
    for name in ["v2.gguf", "v3.gguf", "v3-aligned-64.gguf"] {
        let file = GgufFile::open(&fixture(name)).unwrap();
        assert_eq!(file.version(), if name == "v2.gguf" { 2 } else { 3 });
        let m = file.metadata();
        assert_eq!(m.get_str("general.architecture").unwrap(), Some("llama"));
        let values = expected["values"].as_object().unwrap();
        assert_eq!(values.len(), 12);
        for (key, want) in values {
            let same = match m.get(key).unwrap() {
                Value::F32(v) => f64::from(*v) == want.as_f64().unwrap(),
                Value::F64(v) => *v == want.as_f64().unwrap(),
                Value::Bool(v) => *v == want.as_bool().unwrap(),
                Value::String(v) => v == want.as_str().unwrap(),
                other => other.as_i128().unwrap() == integer(want),
            };
            assert!(same, "{name}: {key}: {:?} is not {want}", m.get(key));
        }
        let array = |key: &str| match m.get(key) {
            Some(Value::Array(a)) => a.clone(),
            other => panic!("{key}: {other:?}"),
        };
        assert_eq!(array("test.u8s"), Array::U8(vec![0, 7, 255]));
        assert_eq!(array("test.i16s"), Array::I16(vec![-1, 2]));
        assert_eq!(m.get_i32s("test.i32s").unwrap(), Some(vec![1, -2, 3]));
        assert_eq!(m.get_f32s("test.f32s").unwrap(), Some(vec![0.5, -1.25]));
        assert_eq!(array("test.bools"), Array::Bool(vec![true, false, true]));
        assert_eq!(m.require_strings("test.strings").unwrap(), ["a", "", "ß"]);
        assert_eq!(array("test.u64s"), Array::U64(vec![1, 1 << 63]));
        assert_eq!(array("test.f64s"), Array::F64(vec![1e-300]));
        let nested = match array("test.nested") {
            Array::Array(v) => v,
            other => panic!("{other:?}"),
        };
        let nested: Vec<_> = nested.iter().map(|a| a.integers().unwrap()).collect();
        assert_eq!(nested, [vec![1, 2], vec![3]]);
    }
}

#[test]
fn every_tensor_of_the_reference_is_read() {
    let expected = expected();
    for name in ["v2.gguf", "v3.gguf", "v3-aligned-64.gguf"] {
        let file = GgufFile::open(&fixture(name)).unwrap();
        let want = expected["tensors"].as_array().unwrap();
        assert_eq!(file.tensors().len(), want.len());
        for (tensor, want) in file.tensors().iter().zip(want) {
            assert_eq!(tensor.name, want["name"].as_str().unwrap());
            assert_eq!(tensor.dtype.name(), want["type"].as_str().unwrap());
            let shape: Vec<usize> = serde_json::from_value(want["shape"].clone()).unwrap();
            assert_eq!(tensor.shape, shape, "{}", tensor.name);
            let values: Vec<f32> = serde_json::from_value(want["values"].clone()).unwrap();
            let mut got = vec![0.0; tensor.elements()];
            dequantize(tensor.dtype, &file.bytes(tensor), &mut got);
            assert_eq!(got, values, "{name}: {}", tensor.name);
            let alignment = if name.contains("64") { 64 } else { 32 };
            assert!(tensor.offset.is_multiple_of(alignment));
        }
    }
}

/// Writes the file anew from what was read.
fn rewrite(file: &GgufFile, piece: usize) -> Vec<u8> {
    let specs = file.tensors().iter().map(|t| TensorSpec {
        name: t.name.clone(),
        dtype: t.dtype,
        shape: t.shape.clone(),
    });
    let mut writer = GgufWriter::new(Vec::new(), file.metadata(), specs.collect()).unwrap();
    for tensor in file.tensors() {
        assert_eq!(writer.due().unwrap().name, tensor.name);
        for bytes in file.bytes(tensor).chunks(piece) {
            writer.write(bytes).unwrap();
        }
    }
    writer.finish().unwrap()
}

#[test]
fn the_writer_gives_the_bytes_of_the_reference() {
    for name in ["v3.gguf", "v3-aligned-64.gguf"] {
        let file = GgufFile::open(&fixture(name)).unwrap();
        for piece in [1, 7, 1 << 20] {
            assert!(
                rewrite(&file, piece) == std::fs::read(fixture(name)).unwrap(),
                "{name} in pieces of {piece}"
            );
        }
    }
}

fn spec(name: &str, dtype: DType, shape: &[usize]) -> TensorSpec {
    TensorSpec {
        name: name.to_owned(),
        dtype,
        shape: shape.to_vec(),
    }
}

#[test]
fn the_writer_refuses_what_a_reader_would() {
    let m = Metadata::new("out.gguf");
    let refused = |specs: Vec<TensorSpec>| {
        GgufWriter::new(Vec::new(), &m, specs)
            .expect_err("refused")
            .to_string()
    };
    assert!(refused(vec![spec("t", DType::Q4_K, &[2, 128])]).contains("has no size as Q4_K"));
    assert!(refused(vec![spec("t", DType::F32, &[0])]).contains("has no size"));
    assert!(refused(vec![spec("t", DType::F32, &[usize::MAX, 2])]).contains("has no size"));
    assert!(refused(vec![spec("t", DType::F32, &[])]).contains("dimensions"));
    assert!(refused(vec![spec(&"t".repeat(64), DType::F32, &[1])]).contains("1 to 63 bytes"));
    let twice = vec![spec("t", DType::F32, &[1]), spec("t", DType::F32, &[1])];
    assert!(refused(twice).contains("tensor t: the name occurs twice"));
    let mut aligned = Metadata::new("out.gguf");
    aligned.insert("general.alignment", 48u32);
    assert!(GgufWriter::new(Vec::new(), &aligned, Vec::new()).is_err());

    let one = || GgufWriter::new(Vec::new(), &m, vec![spec("t", DType::F32, &[2])]).unwrap();
    let mut writer = one();
    let error = writer.write(&[0; 9]).unwrap_err().to_string();
    assert_eq!(error, "out.gguf: tensor t: 9 bytes given, 8 missing");
    assert!(
        one()
            .finish()
            .unwrap_err()
            .to_string()
            .contains("never written completely")
    );
    writer.write(&[0; 8]).unwrap();
    assert!(writer.write(&[0]).is_err());
    assert!(writer.finish().is_ok());
}

/// The header of a file with one F32 tensor of four values, then `data` zero bytes.
fn file_with(dims: &[u64], type_id: u32, offset: u64, data: usize) -> Vec<u8> {
    let mut out = b"GGUF".to_vec();
    out.extend(3u32.to_le_bytes());
    out.extend(1u64.to_le_bytes());
    out.extend(0u64.to_le_bytes());
    out.extend(1u64.to_le_bytes());
    out.extend(b"t");
    out.extend((dims.len() as u32).to_le_bytes());
    dims.iter().for_each(|d| out.extend(d.to_le_bytes()));
    out.extend(type_id.to_le_bytes());
    out.extend(offset.to_le_bytes());
    out.resize(out.len().next_multiple_of(32) + data, 0);
    out
}

fn parse(bytes: Vec<u8>) -> hearth_formats::Result<GgufFile> {
    GgufFile::from_bytes(Bytes::from(bytes), "f.gguf".into())
}

#[test]
fn each_defect_names_file_field_and_offset() {
    let problem = |bytes: Vec<u8>| parse(bytes).expect_err("a defect").to_string();
    assert!(parse(file_with(&[4], 0, 0, 16)).is_ok());
    assert_eq!(
        problem(b"GGML".to_vec()),
        "f.gguf: magic at byte 0: [47, 47, 4d, 4c] is not \"GGUF\""
    );
    assert!(problem(b"GG".to_vec()).contains("4 bytes needed, 2 left"));
    let mut old = file_with(&[4], 0, 0, 16);
    old[4] = 1;
    assert_eq!(
        problem(old.clone()),
        "f.gguf: version at byte 4: version 1 is not 2 or 3"
    );
    old[4..8].copy_from_slice(&3u32.to_be_bytes());
    assert!(problem(old).contains("big-endian"));
    let mut many = file_with(&[4], 0, 0, 16);
    many[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(problem(many).contains("tensor count at byte 8: count 18446744073709551615"));
    let mut pairs = file_with(&[4], 0, 0, 16);
    pairs[16..24].copy_from_slice(&1_000_000u64.to_le_bytes());
    assert!(problem(pairs).contains("metadata count at byte 16"));
    assert!(
        problem(file_with(&[4], 0, 0, 15)).contains("tensor t at byte 64: 16 bytes at offset 0")
    );
    assert!(problem(file_with(&[4], 0, 32, 16)).contains("cut short"));
    assert!(problem(file_with(&[4], 0, u64::MAX - 31, 16)).contains("reach past the end"));
    assert!(problem(file_with(&[4], 0, 8, 32)).contains("no multiple of the alignment 32"));
    assert!(problem(file_with(&[], 0, 0, 16)).contains("0 dimensions"));
    assert!(problem(file_with(&[1; 5], 0, 0, 16)).contains("5 dimensions"));
    assert!(problem(file_with(&[0], 0, 0, 16)).contains("impossible dimensions [0]"));
    assert!(problem(file_with(&[1 << 40, 1 << 40], 0, 0, 16)).contains("impossible dimensions"));
    assert!(problem(file_with(&[1 << 62], 0, 0, 16)).contains("impossible dimensions"));
    assert!(problem(file_with(&[48], 2, 0, 64)).contains("do not divide into Q4_0 blocks of 32"));
    assert!(problem(file_with(&[4], 23, 0, 16)).contains("unsupported tensor type IQ4_XS (23)"));
    assert!(problem(file_with(&[4], 999, 0, 16)).contains("unsupported tensor type 999"));
}

#[test]
fn overlapping_tensors_and_repeated_names_are_refused() {
    let m = Metadata::new("f.gguf");
    let specs = vec![spec("a", DType::F32, &[16]), spec("b", DType::F32, &[16])];
    let mut writer = GgufWriter::new(Vec::new(), &m, specs).unwrap();
    writer.write(&[0; 64]).unwrap();
    writer.write(&[0; 64]).unwrap();
    let sound = writer.finish().unwrap();
    assert!(parse(sound.clone()).is_ok());
    // An info is: name, dimensions, type, offset; that of b ends with the header's used part.
    let b = sound
        .windows(9)
        .position(|w| w == b"\x01\0\0\0\0\0\0\0b")
        .unwrap();
    let mut overlap = sound.clone();
    overlap[b + 9 + 4 + 8 + 4..][..8].copy_from_slice(&32u64.to_le_bytes());
    let error = parse(overlap).unwrap_err().to_string();
    assert!(error.contains("its data overlap those of a"), "{error}");
    let mut repeated = sound;
    repeated[b + 8] = b'a';
    let error = parse(repeated).unwrap_err().to_string();
    assert_eq!(error, "f.gguf: tensor a: the name occurs twice");
}

#[test]
fn arrays_that_nest_too_deep_are_refused() {
    let mut nested = Array::U8(vec![1]);
    for _ in 0..7 {
        nested = Array::Array(vec![nested]);
    }
    let write = |value: Array| {
        let mut m = Metadata::new("f.gguf");
        m.insert("k", Value::Array(value));
        GgufWriter::new(Vec::new(), &m, Vec::new())
            .unwrap()
            .finish()
            .unwrap()
    };
    let read = parse(write(nested.clone())).unwrap();
    assert_eq!(
        read.metadata().get("k"),
        Some(&Value::Array(nested.clone()))
    );
    let error = parse(write(Array::Array(vec![nested]))).unwrap_err();
    assert!(error.to_string().contains("metadata k at byte"), "{error}");
    assert!(error.to_string().contains("nest deeper than 8"), "{error}");
}

/// Writes a part of a split model with one tensor.
fn write_part(dir: &Path, part: u32, count: u32, name: &str) {
    let mut m = Metadata::new("part");
    if part == 0 {
        m.insert("general.architecture", "llama");
    }
    m.insert("split.no", Value::U16(part as u16));
    m.insert("split.count", Value::U16(count as u16));
    m.insert("split.tensors.count", Value::I32(count as i32));
    let mut writer = GgufWriter::new(Vec::new(), &m, vec![spec(name, DType::F32, &[2])]).unwrap();
    writer
        .write(&(part as f32).to_le_bytes().repeat(2))
        .unwrap();
    let path = dir.join(format!("m-{:05}-of-{count:05}.gguf", part + 1));
    std::fs::write(path, writer.finish().unwrap()).unwrap();
}

#[test]
fn a_split_model_opens_as_one() {
    let dir = tempfile::tempdir().unwrap();
    let first = dir.path().join("m-00001-of-00002.gguf");
    write_part(dir.path(), 0, 2, "a");
    assert!(
        Checkpoint::open(&first)
            .unwrap_err()
            .to_string()
            .contains("m-00002-of-00002.gguf")
    );
    write_part(dir.path(), 1, 2, "b");
    let c = Checkpoint::open(&first).unwrap();
    assert_eq!(c.tensor_names().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(c.require("b").unwrap().to_f32(), [1.0, 1.0]);
    assert_eq!(c.files().len(), 2);
    let second = dir.path().join("m-00002-of-00002.gguf");
    let error = Checkpoint::open(&second).unwrap_err().to_string();
    assert!(error.contains("-00001-of-00002.gguf"), "{error}");
    write_part(dir.path(), 1, 2, "a");
    assert!(
        Checkpoint::open(&first)
            .unwrap_err()
            .to_string()
            .contains("two tensors")
    );
}
