//! The decoder that Llama made common: pre-norm layers of grouped-query attention with rotary positions and a gated MLP.
//!
//! [Llama](super::llama), [Qwen2](super::qwen2) and [Qwen3](super::qwen3) are this and differ only in a [`Variant`].
//! Grouped-query attention: Ainslie et al. 2023, <https://arxiv.org/abs/2305.13245>; SwiGLU: Shazeer 2020,
//! <https://arxiv.org/abs/2002.05202>; RMSNorm: Zhang and Sennrich 2019, <https://arxiv.org/abs/1910.07467>.
//!
//! Left out, and refused at load: sliding windows, mixtures of experts, RoPE scalings besides linear, Llama 3 and YaRN.

use std::sync::Arc;

use hearth_kernels::{
    Inputs, KvLayer, Matrix, Pool, Rope, RopeStyle, attention, matmul, matmul_each, rms_norm,
};

use super::pooling::read_embedding;
use super::rope;
use super::scratch::{Scratch, sized};
use super::weights::{Embedding, Linear, Reader, Sizes};
use crate::cache::KvCache;
use crate::error::{Error, Result};
use crate::model::{Batch, ModelInfo, TextModel};

/// Where an architecture departs from Llama.
pub(super) struct Variant {
    /// Which values of a head rotate together.
    pub rope_style: RopeStyle,
    /// True where queries, keys and values must have a bias; elsewhere they may.
    pub qkv_bias: bool,
    /// True where each head of queries and keys is normalized before it is rotated.
    pub qk_norm: bool,
}

struct Attention {
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    /// How queries, keys and values take their input.
    inputs: Inputs,
    /// Weights of the norms over a head of queries and of keys, `[D]` each.
    qk_norm: Option<(Vec<f32>, Vec<f32>)>,
}

impl Attention {
    fn read(
        reader: &mut Reader,
        layer: &str,
        sizes: &Sizes,
        variant: &Variant,
    ) -> Result<Attention> {
        let Sizes {
            hidden_size,
            num_heads,
            num_kv_heads,
            head_dim,
            ..
        } = *sizes;
        let mut qkv = |name: &str, heads: usize| {
            let name = format!("{layer}.{name}");
            if variant.qkv_bias {
                reader.linear_with_bias(&name, heads * head_dim, hidden_size)
            } else {
                reader.linear(&name, heads * head_dim, hidden_size)
            }
        };
        let q = qkv("attn_q", num_heads)?;
        let k = qkv("attn_k", num_kv_heads)?;
        let v = qkv("attn_v", num_kv_heads)?;
        Ok(Attention {
            inputs: Inputs::of([&q, &k, &v].map(Linear::weight)),
            q,
            k,
            v,
            o: reader.linear(
                &format!("{layer}.attn_output"),
                hidden_size,
                num_heads * head_dim,
            )?,
            qk_norm: if variant.qk_norm {
                Some((
                    reader.vector(&format!("{layer}.attn_q_norm.weight"), head_dim)?,
                    reader.vector(&format!("{layer}.attn_k_norm.weight"), head_dim)?,
                ))
            } else {
                None
            },
        })
    }

    /// `s.x`, `[T, hidden_size]`, normalized with `norm`, to `s.attended`, `[T, H * D]`, before the output projection.
    fn attend(
        &self,
        model: &Decoder,
        norm: &[f32],
        batch: &Batch,
        kv: &mut KvLayer,
        s: &mut Scratch,
    ) {
        let (pool, sizes) = (&*model.pool, &model.sizes);
        let rows = batch.tokens.len();
        s.activations
            .load_rms_norm(pool, &s.x, norm, model.rms_norm_eps, self.inputs);
        let products = [
            self.q.product(rows, &mut s.q), // [T, H, D]
            self.k.product(rows, &mut s.k), // [T, K, D]
            self.v.product(rows, &mut s.v), // [T, K, D]
        ];
        matmul_each(pool, &s.activations, products);
        if let Some((q_norm, k_norm)) = &self.qk_norm {
            for (heads, weight) in [(&mut s.q, q_norm), (&mut s.k, k_norm)] {
                rms_norm(
                    pool,
                    heads,
                    weight,
                    model.rms_norm_eps,
                    sized(&mut s.qkv, heads.len()),
                );
                std::mem::swap(heads, &mut s.qkv);
            }
        }
        model.rope.apply(
            pool,
            &mut s.q,
            sizes.num_heads,
            sizes.head_dim,
            batch.positions,
        );
        model.rope.apply(
            pool,
            &mut s.k,
            sizes.num_kv_heads,
            sizes.head_dim,
            batch.positions,
        );
        kv.write(batch.slots, &s.k, &s.v);
        let scale = 1.0 / (sizes.head_dim as f32).sqrt();
        let attended = sized(&mut s.attended, s.q.len());
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

/// SwiGLU: `down(silu(gate(x)) * up(x))`.
struct Mlp {
    gate: Linear,
    up: Linear,
    down: Linear,
    /// How the first two take their input.
    inputs: Inputs,
}

impl Mlp {
    fn read(reader: &mut Reader, layer: &str, sizes: &Sizes) -> Result<Mlp> {
        let Sizes {
            hidden_size,
            intermediate_size,
            ..
        } = *sizes;
        let gate = reader.linear(&format!("{layer}.ffn_gate"), intermediate_size, hidden_size)?;
        let up = reader.linear(&format!("{layer}.ffn_up"), intermediate_size, hidden_size)?;
        Ok(Mlp {
            inputs: Inputs::of([gate.weight(), up.weight()]),
            gate,
            up,
            down: reader.linear(&format!("{layer}.ffn_down"), hidden_size, intermediate_size)?,
        })
    }

    /// Adds its answer to `s.x`, `[T, hidden_size]`, normalized with `norm`, to `s.x`.
    fn add(&self, model: &Decoder, norm: &[f32], s: &mut Scratch) {
        let (pool, sizes) = (&*model.pool, &model.sizes);
        s.activations
            .load_rms_norm(pool, &s.x, norm, model.rms_norm_eps, self.inputs);
        Linear::silu_mul(
            [&self.gate, &self.up],
            pool,
            &s.activations,
            &mut s.gate,
            &mut s.up,
        ); // [T, intermediate_size]
        let inputs = Inputs::of([self.down.weight()]);
        s.activations
            .load_for(pool, &s.gate, sizes.intermediate_size, inputs);
        self.down.add(pool, &s.activations, &mut s.x); // [T, hidden_size]
    }
}

struct Layer {
    attention_norm: Vec<f32>,
    attention: Attention,
    mlp_norm: Vec<f32>,
    mlp: Mlp,
}

impl Layer {
    fn read(reader: &mut Reader, index: usize, sizes: &Sizes, variant: &Variant) -> Result<Layer> {
        let layer = format!("blk.{index}");
        Ok(Layer {
            attention_norm: reader
                .vector(&format!("{layer}.attn_norm.weight"), sizes.hidden_size)?,
            attention: Attention::read(reader, &layer, sizes, variant)?,
            mlp_norm: reader.vector(&format!("{layer}.ffn_norm.weight"), sizes.hidden_size)?,
            mlp: Mlp::read(reader, &layer, sizes)?,
        })
    }
}

/// The decoder with its head.
pub(crate) struct Decoder {
    info: ModelInfo,
    pool: Arc<Pool>,
    sizes: Sizes,
    rms_norm_eps: f32,
    rope: Rope,
    embedding: Embedding,
    layers: Vec<Layer>,
    norm: Vec<f32>,
    head: Matrix,
}

impl Decoder {
    /// Reads a checkpoint of the architecture that `variant` describes.
    pub(super) fn read(mut reader: Reader, variant: &Variant) -> Result<Decoder> {
        let sizes = reader.sizes()?;
        reader.refuse_count("expert_count", "a mixture of experts")?;
        if let Some(window) = reader.size("attention.sliding_window")?
            && window < sizes.context_length
        {
            return Err(Error::Unsupported {
                key: reader.key("attention.sliding_window"),
                found: window.to_string(),
                feature: "sliding-window attention",
            });
        }
        let rms_norm_eps = reader.require_positive("attention.layer_norm_rms_epsilon")?;
        let embedding = reader.embedding("token_embd.weight", sizes.hidden_size)?;
        let mut layers = Vec::new();
        for index in 0..sizes.num_layers {
            layers.push(Layer::read(&mut reader, index, &sizes, variant)?);
        }
        let norm = reader.vector("output_norm.weight", sizes.hidden_size)?;
        let head = reader.head(&embedding)?;
        let rope = rope::read(&mut reader, &sizes, variant.rope_style)?;
        let pooling = read_embedding(reader.checkpoint())?;
        let pool = reader.pool().clone();
        let info = reader.finish(&sizes, embedding.count(), pooling)?;
        Ok(Decoder {
            info,
            pool,
            sizes,
            rms_norm_eps,
            rope,
            embedding,
            layers,
            norm,
            head,
        })
    }

    fn rms_norm(&self, x: &[f32], weight: &[f32], out: &mut Vec<f32>) {
        rms_norm(
            &self.pool,
            x,
            weight,
            self.rms_norm_eps,
            sized(out, x.len()),
        );
    }
}

impl TextModel for Decoder {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    fn forward(&self, batch: &Batch, cache: &mut KvCache, s: &mut Scratch, hidden: &mut Vec<f32>) {
        batch.check(&self.info);
        let width = self.sizes.hidden_size;
        let attended_width = self.sizes.num_heads * self.sizes.head_dim;
        self.embedding.lookup(batch.tokens, &mut s.x); // [T, hidden_size]
        let mut rows = batch.tokens.len();
        for (index, layer) in self.layers.iter().enumerate() {
            let kv = cache.layer_mut(index);
            layer
                .attention
                .attend(self, &layer.attention_norm, batch, kv, s);
            if index + 1 == self.layers.len() {
                // Behind the last attention rows no longer see each other: only those that are asked for go on.
                rows = batch.outputs.len();
                if rows == 0 {
                    break;
                }
                s.keep_rows(batch.outputs, width, attended_width);
            }
            let o = &layer.attention.o;
            s.activations.load_for(
                &self.pool,
                &s.attended,
                attended_width,
                Inputs::of([o.weight()]),
            );
            o.add(&self.pool, &s.activations, &mut s.x);
            layer.mlp.add(self, &layer.mlp_norm, s);
        }
        self.rms_norm(&s.x[..rows * width], &self.norm, hidden); // [outputs, hidden_size]
    }

    fn logits(&self, hidden: &[f32], s: &mut Scratch, logits: &mut Vec<f32>) {
        let inputs = Inputs::of([&self.head]);
        s.activations
            .load_for(&self.pool, hidden, self.sizes.hidden_size, inputs);
        let rows = hidden.len() / self.sizes.hidden_size;
        matmul(
            &self.pool,
            &self.head,
            &s.activations,
            sized(logits, rows * self.head.rows()),
        );
    }
}
