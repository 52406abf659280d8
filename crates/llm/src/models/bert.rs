//! BERT encoders for sentence embeddings (MiniLM, BGE, E5 and kin): post-norm layers of bidirectional attention with
//! learned positions and a GELU MLP.
//!
//! Papers: Devlin et al. 2018, <https://arxiv.org/abs/1810.04805>; Reimers and Gurevych 2019,
//! <https://arxiv.org/abs/1908.10084>. Upstream:
//! <https://github.com/huggingface/transformers/blob/v4.57.0/src/transformers/models/bert/modeling_bert.py>.
//!
//! Left out: the pooler, the heads for training, relative positions, a second segment (every token has type 0).

use std::ops::Range;
use std::sync::Arc;

use hearth_kernels::{Pool, add, add_bias, attention_full, gelu, layer_norm};

use super::mlp::GeluMlp;
use super::pooling::{pool_sequences, read_embedding};
use super::scratch::{Scratch, sized};
use super::weights::{Embedding, Linear, Norm, Reader, Sizes};
use crate::error::{Error, Result};
use crate::model::{EmbeddingInfo, EncoderModel, ModelInfo, Pooling};

struct Attention {
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
}

impl Attention {
    fn read(reader: &mut Reader, layer: &str, width: usize) -> Result<Attention> {
        let mut linear =
            |name: &str| reader.linear_with_bias(&format!("{layer}.{name}"), width, width);
        Ok(Attention {
            q: linear("attn_q")?,
            k: linear("attn_k")?,
            v: linear("attn_v")?,
            o: linear("attn_output")?,
        })
    }

    /// `s.x`, `[T, hidden_size]`, to `s.y`.
    fn forward(&self, model: &Bert, spans: &[Range<usize>], rows: usize, s: &mut Scratch) {
        let (pool, sizes) = (&*model.pool, &model.sizes);
        let (num_heads, head_dim) = (sizes.num_heads, sizes.head_dim);
        s.activations.load(pool, &s.x, sizes.hidden_size);
        self.q.forward(pool, &s.activations, rows, &mut s.q); // [T, H, D]
        self.k.forward(pool, &s.activations, rows, &mut s.k); // [T, H, D]
        self.v.forward(pool, &s.activations, rows, &mut s.v); // [T, H, D]
        let scale = 1.0 / (head_dim as f32).sqrt();
        let attended = sized(&mut s.attended, rows * sizes.hidden_size);
        attention_full(
            pool, &s.q, &s.k, &s.v, num_heads, head_dim, spans, scale, attended,
        );
        s.activations.load(pool, &s.attended, sizes.hidden_size);
        self.o.forward(pool, &s.activations, rows, &mut s.y); // [T, hidden_size]
    }
}

struct Layer {
    attention: Attention,
    attention_norm: Norm,
    mlp: GeluMlp,
    mlp_norm: Norm,
}

impl Layer {
    fn read(reader: &mut Reader, index: usize, sizes: &Sizes) -> Result<Layer> {
        let layer = format!("blk.{index}");
        Ok(Layer {
            attention: Attention::read(reader, &layer, sizes.hidden_size)?,
            attention_norm: reader.norm(&format!("{layer}.attn_output_norm"), sizes.hidden_size)?,
            mlp: GeluMlp::read(reader, &layer, sizes, gelu)?,
            mlp_norm: reader.norm(&format!("{layer}.layer_output_norm"), sizes.hidden_size)?,
        })
    }
}

/// The encoder with its pooling.
pub(crate) struct Bert {
    info: ModelInfo,
    pool: Arc<Pool>,
    sizes: Sizes,
    pooling: EmbeddingInfo,
    layer_norm_eps: f32,
    /// `word_embeddings`, `[V, hidden_size]`.
    token_embedding: Embedding,
    /// `position_embeddings`, `[context_length, hidden_size]`.
    position_embedding: Embedding,
    /// The first row of `token_type_embeddings`, `[hidden_size]`.
    token_type: Vec<f32>,
    embedding_norm: Norm,
    layers: Vec<Layer>,
}

/// Reads a BERT checkpoint.
pub(crate) fn load(mut reader: Reader) -> Result<Bert> {
    let sizes = reader.ungrouped_sizes()?;
    if reader.bool("attention.causal")?.unwrap_or(false) {
        return Err(Error::Unsupported {
            key: reader.key("attention.causal"),
            found: "true".to_owned(),
            feature: "a causal encoder",
        });
    }
    let layer_norm_eps = reader.require_positive("attention.layer_norm_epsilon")?;
    let pooling = read_embedding(reader.checkpoint())?.unwrap_or(EmbeddingInfo {
        pooling: Pooling::Mean,
        normalize: true,
    });
    let token_embedding = reader.embedding("token_embd.weight", sizes.hidden_size)?;
    let position_embedding = reader.table(
        "position_embd.weight",
        sizes.context_length,
        sizes.hidden_size,
    )?;
    let token_types = reader.embedding("token_types.weight", sizes.hidden_size)?;
    let mut token_type = Vec::new();
    token_types.lookup(&[0], &mut token_type);
    let embedding_norm = reader.norm("token_embd_norm", sizes.hidden_size)?;
    let mut layers = Vec::new();
    for index in 0..sizes.num_layers {
        layers.push(Layer::read(&mut reader, index, &sizes)?);
    }
    let pool = reader.pool().clone();
    let info = reader.finish(&sizes, token_embedding.count(), Some(pooling))?;
    Ok(Bert {
        info,
        pool,
        sizes,
        pooling,
        layer_norm_eps,
        token_embedding,
        position_embedding,
        token_type,
        embedding_norm,
        layers,
    })
}

impl Bert {
    /// Normalizes `s.x` in place.
    fn layer_norm(&self, norm: &Norm, s: &mut Scratch) {
        let out = sized(&mut s.y, s.x.len());
        layer_norm(
            &self.pool,
            &s.x,
            &norm.weight,
            &norm.bias,
            self.layer_norm_eps,
            out,
        );
        std::mem::swap(&mut s.x, &mut s.y);
    }
}

impl EncoderModel for Bert {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    fn encode(&self, sequences: &[&[u32]], s: &mut Scratch) -> Result<Vec<f32>> {
        let mut tokens = Vec::new();
        let mut positions = Vec::new();
        let mut spans = Vec::new();
        for sequence in sequences {
            assert!(
                !sequence.is_empty() && sequence.len() <= self.sizes.context_length,
                "a sequence's length"
            );
            spans.push(tokens.len()..tokens.len() + sequence.len());
            tokens.extend_from_slice(sequence);
            positions.extend(0..sequence.len() as u32);
        }
        let rows = tokens.len();

        self.token_embedding.lookup(&tokens, &mut s.x); // [T, hidden_size]
        add_bias(&mut s.x, &self.token_type);
        self.position_embedding.lookup(&positions, &mut s.y);
        add(&mut s.x, &s.y);
        self.layer_norm(&self.embedding_norm, s);
        for layer in &self.layers {
            layer.attention.forward(self, &spans, rows, s);
            add(&mut s.x, &s.y);
            self.layer_norm(&layer.attention_norm, s);
            s.activations.load(&self.pool, &s.x, self.sizes.hidden_size);
            layer.mlp.forward(&self.pool, rows, s);
            add(&mut s.x, &s.y);
            self.layer_norm(&layer.mlp_norm, s);
        }
        Ok(pool_sequences(
            &s.x,
            self.sizes.hidden_size,
            &spans,
            self.pooling,
        ))
    }
}
