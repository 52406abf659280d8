//! safetensors against a file of the reference implementation (`oracle/formats_fixtures.py`), and sharded folders.

use std::path::{Path, PathBuf};

use hearth_formats::WeightFiles;
use hearth_formats::safetensors::SafetensorsFile;
use hearth_kernels::dequantize;
use serde_json::{Value as Json, json};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

#[test]
fn every_tensor_of_the_reference_is_read() {
    let expected: Json =
        serde_json::from_slice(&std::fs::read(fixture("safetensors.json")).unwrap()).unwrap();
    let file = SafetensorsFile::open(&fixture("types.safetensors")).unwrap();
    let tensors = expected["tensors"].as_object().unwrap();
    assert_eq!(tensors.len(), file.tensors().len());
    for (name, want) in tensors {
        let shape: Vec<usize> = serde_json::from_value(want["shape"].clone()).unwrap();
        assert_eq!(file.tensors()[name].shape, shape, "{name}");
        if name == "i64" {
            let error = file.tensor(name).unwrap_err().to_string();
            assert!(
                error.contains("tensor i64: the type I64 is unsupported"),
                "{error}"
            );
            continue;
        }
        let tensor = file.tensor(name).unwrap().unwrap();
        let values: Vec<f32> = serde_json::from_value(want["values"].clone()).unwrap();
        let mut got = vec![0.0; values.len()];
        dequantize(tensor.dtype, &tensor.bytes, &mut got);
        assert_eq!(got, values, "{name}");
    }
}

fn write_shard(path: &Path, name: &str, value: f32) {
    let header = json!({name: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(value.to_le_bytes());
    std::fs::write(path, bytes).unwrap();
}

fn write_index(dir: &Path, map: Json) {
    let index = json!({"metadata": {"total_size": 8}, "weight_map": map});
    std::fs::write(dir.join("model.safetensors.index.json"), index.to_string()).unwrap();
}

#[test]
fn a_sharded_folder_is_one_set_of_tensors() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let problem = || WeightFiles::open(dir).expect_err("a defect").to_string();
    assert!(problem().contains("model.safetensors.index.json, pytorch_model.bin"));
    write_shard(&dir.join("model-1.safetensors"), "a", 1.0);
    write_index(
        dir,
        json!({"a": "model-1.safetensors", "b": "model-2.safetensors"}),
    );
    assert!(problem().contains("model-2.safetensors"));
    write_shard(&dir.join("model-2.safetensors"), "b", 2.0);
    let folder = WeightFiles::open(dir).unwrap();
    assert_eq!(folder.names().collect::<Vec<_>>(), ["a", "b"]);
    let b = folder.tensor("b").unwrap().unwrap();
    assert_eq!(&*b.bytes, 2.0f32.to_le_bytes());
    assert!(folder.tensor("c").unwrap().is_none());

    write_index(dir, json!({"a": "model-2.safetensors"}));
    assert!(problem().contains("weight_map.a: the tensor is not in model-2.safetensors"));
    write_index(dir, json!({"a": "../model-1.safetensors"}));
    assert!(
        problem().contains(
            "weight_map.a: \"../model-1.safetensors\" is no file of weights in this folder"
        )
    );
    write_index(dir, json!(["a"]));
    assert!(problem().contains("weight_map"));
}
