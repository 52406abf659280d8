//! BERT: "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding",
//! <https://arxiv.org/abs/1810.04805>, with the heads of transformers' `models/bert/modeling_bert.py` of 5.24.

use super::attention::Projections;
use super::builder::{Net, Rows};
use super::text::{self, Encoder, Layer, WordHead};
use super::{Architecture, labels};
use crate::Result;
use hearth_formats::Config;

pub(super) const ARCHITECTURE: Architecture = Architecture {
    classes: &[
        "BertModel",
        "BertForSequenceClassification",
        "BertForTokenClassification",
        "BertForQuestionAnswering",
        "BertForMaskedLM",
        "BertForPreTraining",
    ],
    build,
};

/// The sizes, which RoBERTa has under the same names.
pub(super) fn settings(config: &Config) -> Result<Encoder> {
    let encoder = Encoder {
        vocab_size: config.require_size("vocab_size")? as usize,
        hidden_size: config.size_or("hidden_size", 768)? as usize,
        num_hidden_layers: config.size_or("num_hidden_layers", 12)? as usize,
        num_attention_heads: config.size_or("num_attention_heads", 12)? as usize,
        intermediate_size: config.size_or("intermediate_size", 3072)? as usize,
        max_position_embeddings: config.size_or("max_position_embeddings", 512)? as usize,
        layer_norm_eps: config.f64("layer_norm_eps")?.unwrap_or(1e-12),
        activation: config.string("hidden_act")?.unwrap_or("gelu").to_owned(),
        activation_key: "hidden_act",
    };
    encoder.check(config, "num_attention_heads")?;
    Ok(encoder)
}

fn build(net: &mut Net<'_>) -> Result<()> {
    let class = net.checkpoint().class();
    let e = settings(net.config())?;
    let hidden = e.hidden_size;
    // Heads have the encoder in a module of this name; the encoder alone is saved without it.
    let root = match net.has("bert.embeddings.word_embeddings.weight") {
        true => "bert.",
        false => "",
    };
    net.leave_out(&["embeddings.position_ids", "embeddings.token_type_ids"]);
    let words = format!("{root}embeddings.word_embeddings");
    let ids = text::input_ids(net);
    let mask = text::attention_mask(net)?;
    let types = text::token_type_ids(net);
    let x = embeddings(net, &e, root, &ids, &types)?;
    let x = encoder(net, &e, root, x, &mask)?;
    match class {
        "BertModel" => {
            net.leave_out(&["cls."]);
            text::output_of_tokens(net, "last_hidden_state", &x, hidden);
            let pooled = pooler(net, root, &x, hidden)?;
            text::output_of_sequences(net, "pooler_output", &pooled, hidden);
        }
        "BertForSequenceClassification" => {
            let labels = labels(net.config())?;
            let pooled = pooler(net, root, &x, hidden)?;
            let logits = net.linear("classifier", &pooled, (hidden, labels), Rows::Single)?;
            text::output_of_sequences(net, "logits", &logits, labels);
        }
        "BertForTokenClassification" => {
            net.leave_out(&["bert.pooler."]);
            let labels = labels(net.config())?;
            let logits = net.linear("classifier", &x, (hidden, labels), Rows::Many)?;
            text::output_of_tokens(net, "logits", &logits, labels);
        }
        "BertForQuestionAnswering" => {
            net.leave_out(&["bert.pooler."]);
            text::answer_span(net, &x, hidden)?;
        }
        _ => {
            let is_whole = class == "BertForPreTraining";
            net.leave_out(&["cls.predictions.decoder."]);
            let head = WordHead {
                dense: "cls.predictions.transform.dense",
                norm: "cls.predictions.transform.LayerNorm",
                table: &format!("{words}.weight"),
                bias: "cls.predictions.bias",
                output: if is_whole {
                    "prediction_logits"
                } else {
                    "logits"
                },
            };
            head.add(net, &e, &x, &e.activation)?;
            if is_whole {
                let pooled = pooler(net, root, &x, hidden)?;
                let next =
                    net.linear("cls.seq_relationship", &pooled, (hidden, 2), Rows::Single)?;
                text::output_of_sequences(net, "seq_relationship_logits", &next, 2);
            } else {
                // What was trained together with it, as in the weights that Google published.
                net.leave_out(&["bert.pooler.", "cls.seq_relationship."]);
            }
        }
    }
    Ok(())
}

/// Words, sentences and positions: `(B, L)` → `(B, L, hidden)`.
fn embeddings(
    net: &mut Net<'_>,
    e: &Encoder,
    root: &str,
    ids: &str,
    types: &str,
) -> Result<String> {
    let at = |table: &str| format!("{root}embeddings.{table}");
    let type_count = net.config().size_or("type_vocab_size", 2)? as usize;
    let words = e.embed(net, &at("word_embeddings"), e.vocab_size, ids)?;
    let types = e.embed(net, &at("token_type_embeddings"), type_count, types)?;
    let positions = e.positions(net, &at("position_embeddings"), ids)?;
    let sum = net.node(&at("sum"), "Add", &[&words, &types], vec![]);
    let sum = net.node(&at("sum"), "Add", &[&sum, &positions], vec![]);
    net.layer_norm(&at("LayerNorm"), &sum, e.hidden_size, e.layer_norm_eps)
}

/// All layers: `(B, L, hidden)` → `(B, L, hidden)`.
pub(super) fn encoder(
    net: &mut Net<'_>,
    e: &Encoder,
    root: &str,
    mut x: String,
    mask: &str,
) -> Result<String> {
    for n in 0..e.num_hidden_layers {
        let layer = format!("{root}encoder.layer.{n}");
        let names = Layer {
            attention: Projections {
                query: format!("{layer}.attention.self.query"),
                key: format!("{layer}.attention.self.key"),
                value: format!("{layer}.attention.self.value"),
                output: format!("{layer}.attention.output.dense"),
                bias: true,
            },
            attention_norm: format!("{layer}.attention.output.LayerNorm"),
            up: format!("{layer}.intermediate.dense"),
            down: format!("{layer}.output.dense"),
            output_norm: format!("{layer}.output.LayerNorm"),
        };
        x = e.layer(net, &names, &x, mask)?;
    }
    Ok(x)
}

/// The first token's state through a layer and a tanh: `(B, L, hidden)` → `(B, hidden)`.
fn pooler(net: &mut Net<'_>, root: &str, x: &str, hidden: usize) -> Result<String> {
    let layer = format!("{root}pooler.dense");
    let first = text::first_token(net, x)?;
    let y = net.linear(&layer, &first, (hidden, hidden), Rows::Single)?;
    Ok(net.node(&layer, "Tanh", &[&y], vec![]))
}
