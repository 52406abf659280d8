//! What a model of the text engine will take in memory, told from its headers.

use hearth_formats::{Checkpoint, TensorLayout};
use hearth_kernels::DType;
use hearth_llm::embedder::EmbedderConfig;
use hearth_llm::engine::EngineConfig;
use hearth_llm::{LoadOptions, Quantize};

use super::Opened;
use crate::engine::Need;

/// The embeddings, which double as the projection onto the vocabulary where that has no tensor of its own.
const EMBEDDINGS: &str = "token_embd.weight";
const HEAD: &str = "output.weight";

/// The sizes that decide over buffers, 0 where a header does not say: the load will refuse such a model by name.
struct Sizes {
    layers: u64,
    hidden: u64,
    heads: u64,
    kv_heads: u64,
    head_dim: u64,
    intermediate: u64,
    context: u64,
    vocab: u64,
}

impl Sizes {
    fn of(checkpoint: &Checkpoint) -> Self {
        let architecture = checkpoint.architecture();
        let size = |name: &str| -> Option<u64> {
            let key = format!("{architecture}.{name}");
            let value = checkpoint.metadata().get_u32(&key).ok()??;
            Some(u64::from(value))
        };
        let hidden = size("embedding_length").unwrap_or(0);
        let heads = size("attention.head_count").unwrap_or(0);
        let embeddings = checkpoint.layout(EMBEDDINGS);
        Self {
            layers: size("block_count").unwrap_or(0),
            hidden,
            heads,
            kv_heads: size("attention.head_count_kv").unwrap_or(heads),
            head_dim: size("attention.key_length")
                .unwrap_or_else(|| hidden.checked_div(heads).unwrap_or(0)),
            intermediate: size("feed_forward_length").unwrap_or(0),
            context: size("context_length").unwrap_or(0),
            vocab: embeddings.map_or(0, |table| table.shape.first().map_or(0, |&n| n as u64)),
        }
    }

    /// Bytes of the buffers of a step over `rows` tokens, and of the logits of `outputs` of them: those of the text
    /// engine's scratch, each at its widest.
    fn step(&self, rows: u64, outputs: u64) -> u64 {
        let heads = self
            .heads
            .saturating_add(2 * self.kv_heads)
            .saturating_mul(self.head_dim);
        let widest = self.hidden.max(self.intermediate).max(heads);
        // The stream and its copy; the products' input in f32 and as 8-bit blocks of 64 bytes for 32 values; queries,
        // keys and values, twice, and attention's answer; the MLP's two halves.
        let values = [
            2 * self.hidden,
            widest + widest / 2,
            3 * heads,
            2 * self.intermediate,
        ];
        let values = values.iter().fold(0u64, |sum, n| sum.saturating_add(*n));
        let logits = outputs.saturating_mul(self.vocab);
        rows.saturating_mul(values)
            .saturating_add(logits)
            .saturating_mul(size_of::<f32>() as u64)
    }
}

/// Bytes of the weights in memory.
fn weights(checkpoint: &Checkpoint, options: LoadOptions, has_head: bool) -> u64 {
    let tensors = checkpoint.tensors().iter();
    let all = tensors.map(|tensor| tensor_bytes(tensor, options.quantize));
    let all = all.fold(0u64, u64::saturating_add);
    let head = match (checkpoint.layout(HEAD), checkpoint.layout(EMBEDDINGS)) {
        (None, Some(table)) if has_head => matrix_bytes(table, options.quantize, true),
        _ => 0,
    };
    all.saturating_add(head)
}

fn tensor_bytes(tensor: &TensorLayout, quantize: Option<Quantize>) -> u64 {
    match tensor.shape.len() {
        // Norms and biases are kept in single precision.
        0 | 1 => stored(DType::F32, tensor),
        // Tables are looked up as they are stored.
        _ if tensor.name.ends_with("_embd.weight") || tensor.name == "token_types.weight" => {
            stored(tensor.dtype, tensor)
        }
        _ => matrix_bytes(tensor, quantize, tensor.name == HEAD),
    }
}

fn matrix_bytes(tensor: &TensorLayout, quantize: Option<Quantize>, is_head: bool) -> u64 {
    let cols = tensor.shape.last().copied().unwrap_or(0);
    let target = quantize.and_then(|quantize| quantize.target(tensor.dtype, cols, is_head));
    stored(target.unwrap_or(tensor.dtype), tensor)
}

fn stored(dtype: DType, tensor: &TensorLayout) -> u64 {
    let elements = tensor
        .shape
        .iter()
        .try_fold(1usize, |n, d| n.checked_mul(*d));
    let bytes = elements.and_then(|elements| dtype.bytes_for(elements));
    bytes.map_or(0, |bytes| bytes as u64)
}

/// What a text model needs. The KV cache gets what `config` grants it, or less where only that fits into `budget`, but
/// at least what one full context takes.
pub(super) fn of_text(opened: &Opened, config: &EngineConfig, budget: u64) -> Need {
    let checkpoint = &opened.checkpoint;
    let sizes = Sizes::of(checkpoint);
    let weights = weights(checkpoint, opened.options, true);
    let scratch = sizes.step(config.max_batch_tokens as u64, config.max_sequences as u64);
    // Widths beyond 32 bits are refused when the model is loaded.
    let head_dim = sizes.head_dim.min(u64::from(u32::MAX)) as usize;
    let per_token = (2 * config.kv_dtype.bytes_for(head_dim) as u64)
        .saturating_mul(sizes.layers)
        .saturating_mul(sizes.kv_heads);
    // Contexts are whole blocks.
    let block = config.block_size.max(1) as u64;
    let context = per_token.saturating_mul(sizes.context.div_ceil(block).saturating_mul(block));
    let useful = context.saturating_mul(config.max_sequences as u64);
    let wanted = config.cache_bytes.min(useful);
    let left = budget.saturating_sub(weights.saturating_add(scratch));
    Need {
        read: checkpoint.weight_bytes(),
        weights,
        cache: wanted.min(left.max(context)),
        scratch,
    }
}

/// What an embedding model needs.
pub(super) fn of_embedding(opened: &Opened, config: &EmbedderConfig) -> Need {
    let Opened {
        checkpoint,
        options,
    } = opened;
    let sizes = Sizes::of(checkpoint);
    // An input longer than a batch is computed alone.
    let rows = sizes.context.max(config.max_batch_tokens as u64);
    // Keys and values of one layer, in f32.
    let pass = rows
        .saturating_mul(8)
        .saturating_mul(sizes.kv_heads.saturating_mul(sizes.head_dim));
    Need {
        read: checkpoint.weight_bytes(),
        weights: weights(checkpoint, *options, checkpoint.architecture() != "bert"),
        cache: 0,
        scratch: sizes.step(rows, 0).saturating_add(pass),
    }
}
