//! DistilBERT: "DistilBERT, a distilled version of BERT", <https://arxiv.org/abs/1910.01108>: BERT's layers under other names,
//! without sentences and pooler. transformers: `models/distilbert/modeling_distilbert.py` of 5.24.

use super::attention::Projections;
use super::builder::{Net, Rows};
use super::text::{self, Encoder, Layer, WordHead};
use super::{Architecture, labels};
use crate::Result;
use hearth_formats::Config;

pub(super) const ARCHITECTURE: Architecture = Architecture {
    classes: &[
        "DistilBertForSequenceClassification",
        "DistilBertForTokenClassification",
        "DistilBertForQuestionAnswering",
        "DistilBertForMaskedLM",
    ],
    build,
};

fn settings(config: &Config) -> Result<Encoder> {
    let encoder = Encoder {
        vocab_size: config.require_size("vocab_size")? as usize,
        hidden_size: config.size_or("dim", 768)? as usize,
        num_hidden_layers: config.size_or("n_layers", 6)? as usize,
        num_attention_heads: config.size_or("n_heads", 12)? as usize,
        intermediate_size: config.size_or("hidden_dim", 3072)? as usize,
        max_position_embeddings: config.size_or("max_position_embeddings", 512)? as usize,
        // No setting of this architecture.
        layer_norm_eps: 1e-12,
        activation: config.string("activation")?.unwrap_or("gelu").to_owned(),
        activation_key: "activation",
    };
    encoder.check(config, "n_heads")?;
    Ok(encoder)
}

fn build(net: &mut Net<'_>) -> Result<()> {
    let class = net.checkpoint().class();
    let e = settings(net.config())?;
    let hidden = e.hidden_size;
    net.leave_out(&["distilbert.embeddings.position_ids"]);
    let ids = text::input_ids(net);
    let mask = text::attention_mask(net)?;
    let mut x = embeddings(net, &e, &ids)?;
    for n in 0..e.num_hidden_layers {
        x = e.layer(net, &layer(n), &x, &mask)?;
    }
    match class {
        "DistilBertForSequenceClassification" => {
            let labels = labels(net.config())?;
            let first = text::first_token(net, &x)?;
            let y = net.linear("pre_classifier", &first, (hidden, hidden), Rows::Single)?;
            let y = net.node("pre_classifier", "Relu", &[&y], vec![]);
            let logits = net.linear("classifier", &y, (hidden, labels), Rows::Single)?;
            text::output_of_sequences(net, "logits", &logits, labels);
        }
        "DistilBertForTokenClassification" => {
            let labels = labels(net.config())?;
            let logits = net.linear("classifier", &x, (hidden, labels), Rows::Many)?;
            text::output_of_tokens(net, "logits", &logits, labels);
        }
        "DistilBertForQuestionAnswering" => text::answer_span(net, &x, hidden)?,
        _ => {
            net.leave_out(&["vocab_projector.weight"]);
            let head = WordHead {
                dense: "vocab_transform",
                norm: "vocab_layer_norm",
                table: "distilbert.embeddings.word_embeddings.weight",
                bias: "vocab_projector.bias",
                output: "logits",
            };
            head.add(net, &e, &x, &e.activation)?;
        }
    }
    Ok(())
}

/// Words and positions: `(B, L)` → `(B, L, hidden)`.
fn embeddings(net: &mut Net<'_>, e: &Encoder, ids: &str) -> Result<String> {
    let at = |table: &str| format!("distilbert.embeddings.{table}");
    let words = e.embed(net, &at("word_embeddings"), e.vocab_size, ids)?;
    let positions = e.positions(net, &at("position_embeddings"), ids)?;
    let sum = net.node(&at("sum"), "Add", &[&words, &positions], vec![]);
    net.layer_norm(&at("LayerNorm"), &sum, e.hidden_size, e.layer_norm_eps)
}

fn layer(n: usize) -> Layer {
    let layer = format!("distilbert.transformer.layer.{n}");
    Layer {
        attention: Projections {
            query: format!("{layer}.attention.q_lin"),
            key: format!("{layer}.attention.k_lin"),
            value: format!("{layer}.attention.v_lin"),
            output: format!("{layer}.attention.out_lin"),
            bias: true,
        },
        attention_norm: format!("{layer}.sa_layer_norm"),
        up: format!("{layer}.ffn.lin1"),
        down: format!("{layer}.ffn.lin2"),
        output_norm: format!("{layer}.output_layer_norm"),
    }
}
