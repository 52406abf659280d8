//! RoBERTa: "RoBERTa: A Robustly Optimized BERT Pretraining Approach", <https://arxiv.org/abs/1907.11692>: BERT's encoder with
//! positions that count tokens but not padding, and heads of its own. transformers: `models/roberta/modeling_roberta.py` of
//! 5.24; XLM-RoBERTa (<https://arxiv.org/abs/1911.02116>) is the same with another vocabulary.

use super::bert::{self, encoder};
use super::builder::{Net, Rows};
use super::text::{self, Encoder, WordHead};
use super::{Architecture, labels};
use crate::Result;
use crate::lower::builder::int;
use crate::onnx::DataType;

pub(super) const ARCHITECTURE: Architecture = Architecture {
    classes: &[
        "RobertaForSequenceClassification",
        "RobertaForTokenClassification",
        "RobertaForQuestionAnswering",
        "RobertaForMaskedLM",
        "XLMRobertaForSequenceClassification",
        "XLMRobertaForTokenClassification",
        "XLMRobertaForQuestionAnswering",
        "XLMRobertaForMaskedLM",
    ],
    build,
};

fn build(net: &mut Net<'_>) -> Result<()> {
    let class = net.checkpoint().class().trim_start_matches("XLM");
    let e = bert::settings(net.config())?;
    let hidden = e.hidden_size;
    let root = "roberta.";
    net.leave_out(&[
        "embeddings.position_ids",
        "embeddings.token_type_ids",
        "roberta.pooler.",
    ]);
    let ids = text::input_ids(net);
    let mask = text::attention_mask(net)?;
    let x = embeddings(net, &e, root, &ids)?;
    let x = encoder(net, &e, root, x, &mask)?;
    match class {
        "RobertaForSequenceClassification" => {
            let labels = labels(net.config())?;
            let first = text::first_token(net, &x)?;
            let y = net.linear("classifier.dense", &first, (hidden, hidden), Rows::Single)?;
            let y = net.node("classifier.dense", "Tanh", &[&y], vec![]);
            let logits = net.linear("classifier.out_proj", &y, (hidden, labels), Rows::Single)?;
            text::output_of_sequences(net, "logits", &logits, labels);
        }
        "RobertaForTokenClassification" => {
            let labels = labels(net.config())?;
            let logits = net.linear("classifier", &x, (hidden, labels), Rows::Many)?;
            text::output_of_tokens(net, "logits", &logits, labels);
        }
        "RobertaForQuestionAnswering" => text::answer_span(net, &x, hidden)?,
        _ => {
            net.leave_out(&["lm_head.decoder."]);
            let head = WordHead {
                dense: "lm_head.dense",
                norm: "lm_head.layer_norm",
                table: "roberta.embeddings.word_embeddings.weight",
                bias: "lm_head.bias",
                output: "logits",
            };
            // This one is fixed, whatever the encoder has.
            head.add(net, &e, &x, "gelu")?;
        }
    }
    Ok(())
}

/// Words, sentences and positions: `(B, L)` → `(B, L, hidden)`. A table of more than one kind of sentence has an input.
fn embeddings(net: &mut Net<'_>, e: &Encoder, root: &str, ids: &str) -> Result<String> {
    let at = |table: &str| format!("{root}embeddings.{table}");
    let words = e.embed(net, &at("word_embeddings"), e.vocab_size, ids)?;
    let types_at = at("token_type_embeddings");
    let types = match net.config().size_or("type_vocab_size", 2)? as usize {
        1 => net.weight(&format!("{types_at}.weight"), &[1, e.hidden_size])?,
        count => {
            let types = text::token_type_ids(net);
            e.embed(net, &types_at, count, &types)?
        }
    };
    let positions = positions(net, &at("position_ids"), ids)?;
    let positions = e.embed(
        net,
        &at("position_embeddings"),
        e.max_position_embeddings,
        &positions,
    )?;
    let sum = net.node(&at("sum"), "Add", &[&words, &types], vec![]);
    let sum = net.node(&at("sum"), "Add", &[&sum, &positions], vec![]);
    net.layer_norm(&at("LayerNorm"), &sum, e.hidden_size, e.layer_norm_eps)
}

/// The place of each token among those that are no padding, counted from behind `pad_token_id`, which padding has:
/// `create_position_ids_from_input_ids`.
fn positions(net: &mut Net<'_>, layer: &str, ids: &str) -> Result<String> {
    let padding = i64::from(net.config().u32("pad_token_id")?.unwrap_or(1));
    let (padding, axis) = (net.long(padding)?, net.long(1)?);
    let is_padding = net.node(layer, "Equal", &[ids, &padding], vec![]);
    let is_token = net.node(layer, "Not", &[&is_padding], vec![]);
    let to = vec![int("to", DataType::Int64 as i64)];
    let is_token = net.node(layer, "Cast", &[&is_token], to);
    let counted = net.node(layer, "CumSum", &[&is_token, &axis], vec![]);
    let counted = net.node(layer, "Mul", &[&counted, &is_token], vec![]);
    Ok(net.node(layer, "Add", &[&counted, &padding], vec![]))
}
