//! State dicts by `torch.save` against what PyTorch says is in them (`oracle/torch_checkpoints.py`), and folders of them.

mod zip;

use std::path::{Path, PathBuf};

use hearth_formats::torch::{ScalarType, StridedTensor, TorchFile};
use hearth_formats::{Checkpoint, WeightFiles};
use hearth_kernels::dequantize;
use serde_json::{Value as Json, json};

const STATE_DICT: &str = "state-dict.pth";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// The elements as numbers; every one of the fixture is exact.
fn values(tensor: &StridedTensor) -> Option<Vec<f64>> {
    use ScalarType::*;
    let bytes = tensor.dense();
    let items = bytes.chunks_exact(tensor.dtype().bytes());
    let read: fn(&[u8]) -> f64 = match tensor.dtype() {
        Float => |b| f32::from_le_bytes(b.try_into().unwrap()).into(),
        Double => |b| f64::from_le_bytes(b.try_into().unwrap()),
        Half => |b| half::f16::from_le_bytes(b.try_into().unwrap()).into(),
        BFloat16 => |b| half::bf16::from_le_bytes(b.try_into().unwrap()).into(),
        Byte | Bool => |b| b[0].into(),
        Char => |b| (b[0] as i8).into(),
        Short => |b| i16::from_le_bytes(b.try_into().unwrap()).into(),
        UInt16 => |b| u16::from_le_bytes(b.try_into().unwrap()).into(),
        Int => |b| i32::from_le_bytes(b.try_into().unwrap()).into(),
        UInt32 => |b| u32::from_le_bytes(b.try_into().unwrap()).into(),
        Long => |b| i64::from_le_bytes(b.try_into().unwrap()) as f64,
        UInt64 => |b| u64::from_le_bytes(b.try_into().unwrap()) as f64,
        _ => return None,
    };
    Some(items.map(read).collect())
}

fn name_of(dtype: ScalarType) -> &'static str {
    use ScalarType::*;
    match dtype {
        Float => "float32",
        Double => "float64",
        Half => "float16",
        BFloat16 => "bfloat16",
        Byte => "uint8",
        Char => "int8",
        Short => "int16",
        UInt16 => "uint16",
        Int => "int32",
        UInt32 => "uint32",
        Long => "int64",
        UInt64 => "uint64",
        Bool => "bool",
        Float8E4M3FN => "float8_e4m3fn",
        other => panic!("{other:?} is not in the fixture"),
    }
}

#[test]
fn every_tensor_of_a_trainers_state_dict_is_read() {
    let told: Json =
        serde_json::from_slice(&std::fs::read(fixture("state-dict.json")).unwrap()).unwrap();
    let told = told["tensors"].as_object().unwrap();
    let file = TorchFile::open(&fixture(STATE_DICT)).unwrap();
    assert_eq!(file.tensors().len(), told.len());
    for (name, want) in told {
        let tensor = &file.tensors()[name];
        assert_eq!(name_of(tensor.dtype()), want["dtype"], "{name}");
        let shape: Vec<usize> = serde_json::from_value(want["shape"].clone()).unwrap();
        assert_eq!(tensor.sizes(), shape, "{name}");
        if let Some(values) = values(tensor) {
            assert_eq!(json!(values), json!(floats(&want["values"])), "{name}");
        }
    }
}

fn floats(values: &Json) -> Vec<f64> {
    let values = values.as_array().unwrap();
    values.iter().map(|v| v.as_f64().unwrap()).collect()
}

#[test]
fn weights_are_used_where_their_type_can_be() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(fixture(STATE_DICT), dir.path().join("pytorch_model.bin")).unwrap();
    let weights = WeightFiles::open(dir.path()).unwrap();
    assert_eq!(weights.shape("transposed"), Some(&[6, 4][..]));
    let whole = weights.tensor("whole").unwrap().unwrap().to_f32();
    let turned = weights.tensor("transposed").unwrap().unwrap().to_f32();
    assert_eq!((turned[1], turned[4]), (whole[6], whole[1]));
    let half = weights.tensor("float16").unwrap().unwrap();
    let mut values = vec![0.0; 12];
    dequantize(half.dtype, &half.bytes, &mut values);
    assert_eq!(values[0], -6.0);
    let error = weights.tensor("int64").unwrap_err().to_string();
    assert!(
        error.ends_with("tensor int64: the type Long is unsupported; Float, Half and BFloat16 are"),
        "{error}"
    );
    assert!(weights.tensor("nothing").unwrap().is_none());
}

#[test]
fn files_before_pytorch_1_6_are_refused_by_name() {
    let error = TorchFile::open(&fixture("state-dict-legacy.pth")).unwrap_err();
    assert!(error.to_string().contains("before PyTorch 1.6"), "{error}");
}

/// `{name: float tensor of shape (2,) from a storage of two}`, as `torch.save` writes it.
fn pickle(name: &str) -> Vec<u8> {
    let mut out = b"\x80\x02}X".to_vec();
    out.extend((name.len() as u32).to_le_bytes());
    out.extend(name.as_bytes());
    out.extend(
        b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n",
    );
    out.extend(b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x02tQK\x00K\x02\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtRs.");
    out
}

fn write(dir: &Path, file: &str, name: &str, values: [f32; 2]) {
    let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let bytes = zip::archive(&[("m/data.pkl", &pickle(name)), ("m/data/0", &data)]);
    std::fs::write(dir.join(file), bytes).unwrap();
}

#[test]
fn a_sharded_folder_is_one_set_of_tensors() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write(dir, "pytorch_model-00001-of-00002.bin", "a", [1.0, 2.0]);
    write(dir, "pytorch_model-00002-of-00002.bin", "b", [3.0, 4.0]);
    let index = |map: Json| {
        let index = json!({"metadata": {}, "weight_map": map}).to_string();
        std::fs::write(dir.join("pytorch_model.bin.index.json"), index).unwrap();
    };
    index(
        json!({"a": "pytorch_model-00001-of-00002.bin", "b": "pytorch_model-00002-of-00002.bin"}),
    );
    let weights = WeightFiles::open(dir).unwrap();
    assert_eq!(weights.names().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(weights.tensor("b").unwrap().unwrap().to_f32(), [3.0, 4.0]);
    assert!(
        weights
            .label_of("a")
            .unwrap()
            .ends_with("00001-of-00002.bin")
    );

    index(json!({"c": "pytorch_model-00001-of-00002.bin"}));
    let error = WeightFiles::open(dir).unwrap_err().to_string();
    assert!(
        error.contains("weight_map.c: the tensor is not in"),
        "{error}"
    );
    index(json!({"a": "../pytorch_model-00001-of-00002.bin"}));
    let error = WeightFiles::open(dir).unwrap_err().to_string();
    assert!(
        error.contains("no file of weights in this folder"),
        "{error}"
    );
}

#[test]
fn tensors_much_larger_than_their_file_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("huge.pth");
    // Two dimensions of 2^14 over one element: 1 GiB.
    let view = pickle("a");
    let at = view
        .windows(7)
        .position(|w| w == b"K\x02\x85K\x01\x85\x89")
        .unwrap();
    let mut huge = view[..at].to_vec();
    huge.extend(b"M\x00\x40M\x00\x40\x86K\x00K\x00\x86\x89");
    huge.extend(&view[at + 7..]);
    std::fs::write(
        &path,
        zip::archive(&[("m/data.pkl", &huge), ("m/data/0", &[0; 8])]),
    )
    .unwrap();
    let error = TorchFile::open(&path).unwrap_err().to_string();
    assert!(
        error.contains("laid out densely they are much larger"),
        "{error}"
    );
}

/// The same text model from `model.safetensors` and from `pytorch_model.bin`.
#[test]
fn a_text_model_may_be_a_pytorch_checkpoint() {
    let config = json!({
        "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "vocab_size": 2, "n_positions": 1, "n_embd": 1,
        "n_layer": 1, "n_head": 1, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5
    });
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    write(
        dir.path(),
        "pytorch_model.bin",
        "transformer.ln_f.weight",
        [0.5, 1.5],
    );
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    let norm = checkpoint.require("output_norm.weight").unwrap();
    assert_eq!(norm.to_f32(), [0.5, 1.5]);
    assert!(checkpoint.files()[0].ends_with("pytorch_model.bin"));
}
