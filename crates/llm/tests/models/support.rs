//! Fixtures, and a stand-in for the scheduler that runs sequences through a model as it is told.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hearth_formats::Checkpoint;
use hearth_formats::gguf::{GgufWriter, Metadata, TensorSpec};
use hearth_kernels::{AttentionSpan, DType, KvDType, Pool, Precision};
use hearth_llm::{Batch, KvCache, LoadOptions, Scratch, TextModel, load_text};

/// The text models among the fixtures.
pub const TEXT_MODELS: [&str; 11] = [
    "gpt2",
    "gpt2-b",
    "llama2",
    "llama2-b",
    "llama3",
    "llama3-b",
    "llama-tied-bias",
    "qwen2",
    "qwen2-yarn",
    "qwen3",
    "qwen3-b",
];

pub const EXACT: LoadOptions = LoadOptions {
    precision: Precision::F32,
    quantize: None,
};

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/models")
        .join(name)
}

pub fn golden(name: &str) -> serde_json::Value {
    let text = fs::read_to_string(fixture(name).join("golden.json")).expect("golden.json");
    serde_json::from_str(&text).expect("golden.json")
}

pub fn tokens(value: &serde_json::Value) -> Vec<u32> {
    let ids = value.as_array().expect("an array of tokens");
    ids.iter()
        .map(|t| t.as_u64().expect("a token") as u32)
        .collect()
}

pub fn read_f32(path: &Path) -> Vec<f32> {
    let bytes = fs::read(path).expect("golden numbers");
    let values = bytes.chunks_exact(4);
    values
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect()
}

/// Loads a fixture with weights in full precision on `threads` threads.
pub fn load(name: &str, threads: usize) -> Arc<dyn TextModel> {
    load_path(&fixture(name), threads)
}

pub fn load_path(path: &Path, threads: usize) -> Arc<dyn TextModel> {
    let checkpoint = Checkpoint::open(path).unwrap_or_else(|e| panic!("{e}"));
    load_text(&checkpoint, Arc::new(Pool::new(threads)), EXACT).unwrap_or_else(|e| panic!("{e}"))
}

/// Writes a checkpoint as GGUF with weights of two dimensions in `dtype`, where their rows are made of whole blocks.
pub fn write_gguf(checkpoint: &Checkpoint, path: &Path, dtype: DType) {
    let mut specs = Vec::new();
    let mut contents = Vec::new();
    for layout in checkpoint.tensors() {
        let tensor = checkpoint.require(&layout.name).expect("a tensor");
        let fits = layout.shape.len() == 2 && layout.shape[1].is_multiple_of(dtype.block_len());
        let dtype = if fits { dtype } else { DType::F32 };
        let values = tensor.to_f32();
        let mut bytes = vec![0; dtype.bytes_for(values.len()).expect("whole blocks")];
        hearth_formats::quant::quantize(dtype, &values, &mut bytes);
        contents.push(bytes);
        specs.push(TensorSpec {
            name: layout.name.clone(),
            dtype,
            shape: layout.shape.clone(),
        });
    }
    write_tensors(checkpoint.metadata(), specs, &contents, path);
}

pub fn write_tensors(
    metadata: &Metadata,
    specs: Vec<TensorSpec>,
    contents: &[Vec<u8>],
    path: &Path,
) {
    let file = fs::File::create(path).expect("a file");
    let mut writer = GgufWriter::new(file, metadata, specs).expect("a header");
    for bytes in contents {
        writer.write(bytes).expect("a tensor");
    }
    writer.finish().expect("all tensors");
}

/// Sequences on their way through a model, each in blocks of its own that lie anywhere in the cache.
pub struct Session {
    pub model: Arc<dyn TextModel>,
    cache: KvCache,
    scratch: Scratch,
    sequences: Vec<Sequence>,
    free_blocks: Vec<u32>,
}

struct Sequence {
    len: usize,
    blocks: Vec<u32>,
}

impl Session {
    pub const BLOCK_SIZE: usize = 8;

    pub fn new(model: &Arc<dyn TextModel>, sequences: usize, kv: KvDType) -> Session {
        let blocks = sequences * model.info().context_length.div_ceil(Self::BLOCK_SIZE);
        Session {
            model: Arc::clone(model),
            cache: model
                .new_cache(blocks, Self::BLOCK_SIZE, kv)
                .expect("a cache"),
            scratch: Scratch::default(),
            sequences: (0..sequences)
                .map(|_| Sequence {
                    len: 0,
                    blocks: Vec::new(),
                })
                .collect(),
            // A step that shares no factor with the number of blocks visits them all, out of order.
            free_blocks: (0..blocks as u32)
                .map(|i| {
                    let step = (7..).find(|s| gcd(*s, blocks) == 1).expect("a prime");
                    (i as usize * step % blocks) as u32
                })
                .collect(),
        }
    }

    /// Appends tokens to some sequences in one step and returns the logits of each row, in the order given.
    pub fn step(&mut self, parts: &[(usize, &[u32])]) -> Vec<Vec<f32>> {
        let (mut tokens, mut positions, mut slots) = (Vec::new(), Vec::new(), Vec::new());
        for &(index, part) in parts {
            let sequence = &mut self.sequences[index];
            for &token in part {
                let (block, offset) = (
                    sequence.len / Self::BLOCK_SIZE,
                    sequence.len % Self::BLOCK_SIZE,
                );
                if offset == 0 {
                    sequence
                        .blocks
                        .push(self.free_blocks.pop().expect("a block"));
                }
                tokens.push(token);
                positions.push(sequence.len as u32);
                slots.push(sequence.blocks[block] * Self::BLOCK_SIZE as u32 + offset as u32);
                sequence.len += 1;
            }
        }
        let mut row = 0;
        let spans: Vec<AttentionSpan> = parts
            .iter()
            .map(|&(index, part)| {
                let sequence = &self.sequences[index];
                row += part.len();
                AttentionSpan {
                    rows: row - part.len()..row,
                    first_position: sequence.len - part.len(),
                    block_table: &sequence.blocks,
                }
            })
            .collect();
        let outputs: Vec<u32> = (0..tokens.len() as u32).collect();
        let batch = Batch {
            tokens: &tokens,
            positions: &positions,
            slots: &slots,
            spans: &spans,
            outputs: &outputs,
        };
        let (mut hidden, mut logits) = (Vec::new(), Vec::new());
        self.model
            .forward(&batch, &mut self.cache, &mut self.scratch, &mut hidden);
        self.model.logits(&hidden, &mut self.scratch, &mut logits);
        let rows = logits.chunks_exact(self.model.info().vocab_size);
        rows.map(<[f32]>::to_vec).collect()
    }
}

/// The logits of all positions of one sequence, computed in one step.
pub fn logits_of(model: &Arc<dyn TextModel>, tokens: &[u32]) -> Vec<Vec<f32>> {
    Session::new(model, 1, KvDType::F32).step(&[(0, tokens)])
}

pub fn argmax(row: &[f32]) -> u32 {
    (0..row.len())
        .max_by(|&a, &b| row[a].total_cmp(&row[b]))
        .expect("a row") as u32
}

/// The greatest difference between two sets of numbers, NaN if any is.
pub fn max_error(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let errors = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    errors.fold(0.0, |a, b| if b.is_nan() { b } else { a.max(b) })
}

/// Compares bits: equal numbers of another sign or NaN payload are not the same.
pub fn assert_same_bits(found: &[Vec<f32>], expected: &[Vec<f32>], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}: number of rows");
    for (row, (a, b)) in found.iter().zip(expected).enumerate() {
        let same = a
            .iter()
            .map(|x| x.to_bits())
            .eq(b.iter().map(|x| x.to_bits()));
        assert!(same, "{what}: row {row} differs by {}", max_error(a, b));
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// A small deterministic sequence of numbers below `bound`.
pub fn numbers(seed: u64, bound: usize) -> impl Iterator<Item = usize> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 33) as usize % bound
    })
}

/// Writes a random llama whose widths are whole blocks of every type, its matrices in `dtype`.
pub fn write_wide_llama(path: &Path, dtype: DType) {
    let (hidden, heads, kv_heads, head_dim, inner, vocab, layers) = (256, 4, 2, 64, 512, 300, 2);
    let mut metadata = Metadata::new("wide llama");
    metadata.insert("general.architecture", "llama");
    for (key, value) in [
        ("block_count", layers),
        ("context_length", 128),
        ("embedding_length", hidden),
        ("feed_forward_length", inner),
        ("attention.head_count", heads),
        ("attention.head_count_kv", kv_heads),
        ("attention.key_length", head_dim),
    ] {
        metadata.insert(format!("llama.{key}"), value as u32);
    }
    metadata.insert("llama.attention.layer_norm_rms_epsilon", 1e-5f32);
    let mut shapes = vec![
        ("token_embd".to_owned(), vec![vocab, hidden]),
        ("output_norm".to_owned(), vec![hidden]),
        ("output".to_owned(), vec![vocab, hidden]),
    ];
    for layer in 0..layers {
        for (name, shape) in [
            ("attn_norm", vec![hidden]),
            ("attn_q", vec![heads * head_dim, hidden]),
            ("attn_k", vec![kv_heads * head_dim, hidden]),
            ("attn_v", vec![kv_heads * head_dim, hidden]),
            ("attn_output", vec![hidden, heads * head_dim]),
            ("ffn_norm", vec![hidden]),
            ("ffn_gate", vec![inner, hidden]),
            ("ffn_up", vec![inner, hidden]),
            ("ffn_down", vec![hidden, inner]),
        ] {
            shapes.push((format!("blk.{layer}.{name}"), shape));
        }
    }
    let mut noise = numbers(11, 20001).map(|n| n as f32 / 10000.0 - 1.0);
    let (mut specs, mut contents) = (Vec::new(), Vec::new());
    for (name, shape) in shapes {
        let dtype = if shape.len() == 2 { dtype } else { DType::F32 };
        let count = shape.iter().product();
        let values: Vec<f32> = noise.by_ref().take(count).collect();
        let values: Vec<f32> = match shape[..] {
            [_, inputs] => values
                .iter()
                .map(|v| v * 2.0 / (inputs as f32).sqrt())
                .collect(),
            _ => values.iter().map(|v| 1.0 + 0.2 * v).collect(),
        };
        let mut bytes = vec![0; dtype.bytes_for(count).expect("whole blocks")];
        hearth_formats::quant::quantize(dtype, &values, &mut bytes);
        contents.push(bytes);
        specs.push(TensorSpec {
            name: format!("{name}.weight"),
            dtype,
            shape,
        });
    }
    write_tensors(&metadata, specs, &contents, path);
}
