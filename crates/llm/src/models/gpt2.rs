//! GPT-2: pre-norm layers with LayerNorm, learned positions, one fused projection for queries, keys and values, and a
//! GELU MLP.
//!
//! Paper: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners". Upstream:
//! <https://github.com/huggingface/transformers/blob/v4.57.0/src/transformers/models/gpt2/modeling_gpt2.py>.
//!
//! Left out: `scale_attn_by_inverse_layer_idx` and `reorder_and_upcast_attn`, which no public checkpoint of the family
//! needs.

use std::sync::Arc;

use hearth_kernels::{KvLayer, Matrix, Pool, add, attention, gelu_tanh, layer_norm, matmul};

use super::mlp::GeluMlp;
use super::pooling::read_embedding;
use super::scratch::{Scratch, sized};
use super::weights::{Embedding, Linear, Norm, Reader, Sizes};
use crate::cache::KvCache;
use crate::error::Result;
use crate::model::{Batch, ModelInfo, TextModel};

struct Attention {
    /// `c_attn`: queries, keys and values, `[3 * hidden_size, hidden_size]`.
    qkv: Linear,
    /// `c_proj`.
    o: Linear,
}

impl Attention {
    fn read(reader: &mut Reader, layer: &str, sizes: &Sizes) -> Result<Attention> {
        let width = sizes.hidden_size;
        Ok(Attention {
            qkv: reader.linear_with_bias(&format!("{layer}.attn_qkv"), 3 * width, width)?,
            o: reader.linear_with_bias(&format!("{layer}.attn_output"), width, width)?,
        })
    }

    /// `s.y`, `[T, hidden_size]`, to `s.attended`, `[T, H * D]`, before the output projection.
    fn attend(&self, model: &Gpt2, batch: &Batch, kv: &mut KvLayer, s: &mut Scratch) {
        let (pool, sizes) = (&*model.pool, &model.sizes);
        let (rows, width) = (batch.tokens.len(), sizes.hidden_size);
        s.activations.load(pool, &s.y, width);
        self.qkv.forward(pool, &s.activations, rows, &mut s.qkv); // [T, 3, H, D]
        for (part, out) in [&mut s.q, &mut s.k, &mut s.v].into_iter().enumerate() {
            let out = sized(out, rows * width); // [T, H, D]
            for (to, from) in out
                .chunks_exact_mut(width)
                .zip(s.qkv.chunks_exact(3 * width))
            {
                to.copy_from_slice(&from[part * width..(part + 1) * width]);
            }
        }
        kv.write(batch.slots, &s.k, &s.v);
        let scale = 1.0 / (sizes.head_dim as f32).sqrt();
        let attended = sized(&mut s.attended, rows * width);
        attention(
            pool,
            &s.q,
            sizes.num_heads,
            kv,
            batch.spans,
            scale,
            attended,
        );
    }
}

struct Layer {
    attention_norm: Norm,
    attention: Attention,
    mlp_norm: Norm,
    mlp: GeluMlp,
}

impl Layer {
    fn read(reader: &mut Reader, index: usize, sizes: &Sizes) -> Result<Layer> {
        let layer = format!("blk.{index}");
        Ok(Layer {
            attention_norm: reader.norm(&format!("{layer}.attn_norm"), sizes.hidden_size)?,
            attention: Attention::read(reader, &layer, sizes)?,
            mlp_norm: reader.norm(&format!("{layer}.ffn_norm"), sizes.hidden_size)?,
            mlp: GeluMlp::read(reader, &layer, sizes, gelu_tanh)?,
        })
    }
}

/// GPT-2 with its head.
pub(crate) struct Gpt2 {
    info: ModelInfo,
    pool: Arc<Pool>,
    sizes: Sizes,
    layer_norm_eps: f32,
    /// `wte`, `[V, hidden_size]`.
    token_embedding: Embedding,
    /// `wpe`, `[context_length, hidden_size]`.
    position_embedding: Embedding,
    layers: Vec<Layer>,
    norm: Norm,
    head: Matrix,
}

/// Reads a GPT-2 checkpoint.
pub(crate) fn load(mut reader: Reader) -> Result<Gpt2> {
    let sizes = reader.ungrouped_sizes()?;
    let layer_norm_eps = reader.require_positive("attention.layer_norm_epsilon")?;
    let token_embedding = reader.embedding("token_embd.weight", sizes.hidden_size)?;
    let position_embedding = reader.table(
        "position_embd.weight",
        sizes.context_length,
        sizes.hidden_size,
    )?;
    let mut layers = Vec::new();
    for index in 0..sizes.num_layers {
        layers.push(Layer::read(&mut reader, index, &sizes)?);
    }
    let norm = reader.norm("output_norm", sizes.hidden_size)?;
    let head = reader.head(&token_embedding)?;
    let pooling = read_embedding(reader.checkpoint())?;
    let pool = reader.pool().clone();
    let info = reader.finish(&sizes, token_embedding.count(), pooling)?;
    Ok(Gpt2 {
        info,
        pool,
        sizes,
        layer_norm_eps,
        token_embedding,
        position_embedding,
        layers,
        norm,
        head,
    })
}

impl Gpt2 {
    fn layer_norm(&self, x: &[f32], norm: &Norm, out: &mut Vec<f32>) {
        layer_norm(
            &self.pool,
            x,
            &norm.weight,
            &norm.bias,
            self.layer_norm_eps,
            sized(out, x.len()),
        );
    }
}

impl TextModel for Gpt2 {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    fn forward(&self, batch: &Batch, cache: &mut KvCache, s: &mut Scratch, hidden: &mut Vec<f32>) {
        batch.check(&self.info);
        let width = self.sizes.hidden_size;
        self.token_embedding.lookup(batch.tokens, &mut s.x); // [T, hidden_size]
        self.position_embedding.lookup(batch.positions, &mut s.y);
        add(&mut s.x, &s.y);
        let mut rows = batch.tokens.len();
        for (index, layer) in self.layers.iter().enumerate() {
            self.layer_norm(&s.x, &layer.attention_norm, &mut s.y);
            layer
                .attention
                .attend(self, batch, cache.layer_mut(index), s);
            if index + 1 == self.layers.len() {
                // Behind the last attention rows no longer see each other: only those that are asked for go on.
                rows = batch.outputs.len();
                if rows == 0 {
                    break;
                }
                s.keep_rows(batch.outputs, width, width);
            }
            s.activations.load(&self.pool, &s.attended, width);
            layer
                .attention
                .o
                .forward(&self.pool, &s.activations, rows, &mut s.y);
            add(&mut s.x, &s.y);

            self.layer_norm(&s.x, &layer.mlp_norm, &mut s.y);
            s.activations.load(&self.pool, &s.y, width);
            layer.mlp.forward(&self.pool, rows, s);
            add(&mut s.x, &s.y);
        }
        self.layer_norm(&s.x[..rows * width], &self.norm, hidden); // [outputs, hidden_size]
    }

    fn logits(&self, hidden: &[f32], s: &mut Scratch, logits: &mut Vec<f32>) {
        s.activations
            .load(&self.pool, hidden, self.sizes.hidden_size);
        let rows = hidden.len() / self.sizes.hidden_size;
        matmul(
            &self.pool,
            &self.head,
            &s.activations,
            sized(logits, rows * self.head.rows()),
        );
    }
}
