//! Model files for tests.

use std::io::BufWriter;
use std::path::Path;

use hearth_formats::gguf::{GgufWriter, Metadata, TensorSpec};
use hearth_kernels::DType;

/// Writes a GGUF file with the header of a llama model and `layers` matrices of 256 by 256 F32 values, of no use but to
/// be listed, shown and quantized.
pub fn tiny(path: &Path, layers: usize) {
    let mut metadata = Metadata::new(path.display().to_string());
    metadata.insert("general.architecture", "llama");
    metadata.insert("general.name", "tiny");
    for (key, value) in [
        ("block_count", layers as u32),
        ("context_length", 64),
        ("embedding_length", 256),
        ("feed_forward_length", 256),
        ("attention.head_count", 4),
    ] {
        metadata.insert(format!("llama.{key}"), value);
    }
    let specs = (0..layers).map(|layer| TensorSpec {
        name: format!("blk.{layer}.attn_q.weight"),
        dtype: DType::F32,
        shape: vec![256, 256],
    });
    let file = BufWriter::new(std::fs::File::create(path).unwrap());
    let mut writer = GgufWriter::new(file, &metadata, specs.collect()).unwrap();
    let values = (0..256 * 256u32).flat_map(|i| {
        let x = (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 24) as f32 - 0.5;
        x.to_le_bytes()
    });
    let matrix: Vec<u8> = values.collect();
    for _ in 0..layers {
        writer.write(&matrix).unwrap();
    }
    writer.finish().unwrap();
}
