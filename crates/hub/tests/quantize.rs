//! Types and bytes of quantized files against llama.cpp's quantizer (`oracle/hub_quantize.py`).

use std::path::Path;
use std::sync::atomic::AtomicBool;

use hearth_formats::Checkpoint;
use hearth_formats::gguf::{GgufFile, GgufWriter, Metadata, TensorSpec};
use hearth_hub::{ConvertOptions, Target, convert};
use hearth_kernels::DType;
use serde_json::Value as Json;

/// The made-up model of the oracle: names, shapes and values are its.
fn write_model(path: &Path, shape: &Json) {
    let size = |key: &str| shape[key].as_u64().unwrap() as usize;
    let mut m = Metadata::new("source");
    m.insert("general.architecture", "llama");
    for (key, value) in [
        ("llama.block_count", "layers"),
        ("llama.attention.head_count", "heads"),
        ("llama.attention.head_count_kv", "kv_heads"),
    ] {
        m.insert(key, size(value) as u32);
    }
    let cols = size("cols");
    let mut tensors = vec![("token_embd.weight".to_owned(), vec![3, cols])];
    for i in 0..size("layers") {
        for (name, cols) in [
            ("attn_norm", None),
            ("attn_q", Some("cols")),
            ("attn_k", Some("cols")),
            ("attn_v", Some("cols")),
            ("attn_output", Some("cols")),
            ("ffn_norm", None),
            ("ffn_gate", Some("gate_cols")),
            ("ffn_up", Some("cols")),
            ("ffn_down", Some("ffn_cols")),
        ] {
            let shape = cols.map_or(vec![size("cols")], |c| vec![2, size(c)]);
            tensors.push((format!("blk.{i}.{name}.weight"), shape));
        }
    }
    tensors.push(("output_norm.weight".to_owned(), vec![cols]));
    if shape["output"].as_bool().unwrap() {
        tensors.push(("output.weight".to_owned(), vec![3, cols]));
    }
    let specs: Vec<TensorSpec> = tensors
        .into_iter()
        .map(|(name, shape)| TensorSpec {
            name,
            dtype: DType::F32,
            shape,
        })
        .collect();
    let mut writer = GgufWriter::new(Vec::new(), &m, specs.clone()).unwrap();
    let mut state = 1u64;
    for spec in &specs {
        let mut bytes = Vec::new();
        for _ in 0..spec.shape.iter().product() {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let value = ((state >> 40) as i32 - (1 << 23)) as f32 * 2f32.powi(-26);
            bytes.extend(value.to_le_bytes());
        }
        writer.write(&bytes).unwrap();
    }
    std::fs::write(path, writer.finish().unwrap()).unwrap();
}

fn fnv1a(state: u64, data: &[u8]) -> u64 {
    data.iter().fold(state, |h, &b| {
        (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3)
    })
}

#[test]
fn every_target_has_the_types_and_bytes_of_llama_cpp() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/quantize.json");
    let fixture: Json = serde_json::from_slice(&std::fs::read(fixture).unwrap()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    for model in ["grouped", "ragged"] {
        let expected = &fixture["models"][model];
        let path = dir.path().join(format!("{model}.gguf"));
        write_model(&path, &expected["shape"]);
        let source = Checkpoint::open(&path).unwrap();
        for target in Target::ALL {
            let output = dir.path().join(format!("{model}-{target}.gguf"));
            let options = ConvertOptions::new(target);
            let cancel = AtomicBool::new(false);
            convert(&source, &output, &options, &mut |_| {}, &cancel).unwrap();
            let file = GgufFile::open(&output).unwrap();
            let names: Vec<&str> = file.tensors().iter().map(|t| t.name.as_str()).collect();
            let want: Vec<&str> = expected["names"]
                .as_array()
                .unwrap()
                .iter()
                .map(|n| n.as_str().unwrap())
                .collect();
            assert_eq!(names, want);
            let want = &expected["targets"][target.name()];
            let types: Vec<&str> = file.tensors().iter().map(|t| t.dtype.name()).collect();
            assert_eq!(
                types.join(" "),
                want["types"].as_str().unwrap(),
                "{model} {target}"
            );
            let sum = file
                .tensors()
                .iter()
                .fold(0xcbf2_9ce4_8422_2325, |h, t| fnv1a(h, &file.bytes(t)));
            let sum = format!("{sum:016x}");
            assert_eq!(sum, want["fnv1a"].as_str().unwrap(), "{model} {target}");
            assert_eq!(
                file.metadata().require_u32("general.file_type").unwrap(),
                target.file_type()
            );
        }
    }
}
