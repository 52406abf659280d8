//! What encoders of text have in common: the inputs, the layers of BERT under any names, and the heads' outputs.

use hearth_formats::Config;
use serde_json::json;

use super::attention::{Heads, Projections, attend};
use super::builder::{Net, Rows, any, fixed};
use crate::Result;
use crate::lower::builder::int;
use crate::onnx::{DataType, Dim};

/// The sizes of an encoder, by the names that BERT's settings have.
#[derive(Debug, Clone)]
pub(super) struct Encoder {
    pub(super) vocab_size: usize,
    pub(super) hidden_size: usize,
    pub(super) num_hidden_layers: usize,
    pub(super) num_attention_heads: usize,
    pub(super) intermediate_size: usize,
    pub(super) max_position_embeddings: usize,
    pub(super) layer_norm_eps: f64,
    /// The activation, and the setting that names it.
    pub(super) activation: String,
    pub(super) activation_key: &'static str,
}

/// The layers of one of BERT's, in order.
pub(super) struct Layer {
    pub(super) attention: Projections,
    pub(super) attention_norm: String,
    pub(super) up: String,
    pub(super) down: String,
    pub(super) output_norm: String,
}

impl Encoder {
    /// Refuses what is no bidirectional encoder, and heads that do not divide the hidden size.
    pub(super) fn check(&self, config: &Config, heads_key: &str) -> Result<()> {
        config.only("is_decoder", &[json!(false)])?;
        config.only("add_cross_attention", &[json!(false)])?;
        config.only("position_embedding_type", &[json!("absolute")])?;
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            let (hidden, heads) = (self.hidden_size, self.num_attention_heads);
            let problem = format!("a hidden size of {hidden} does not divide into {heads} heads");
            return Err(config.wrong(heads_key, problem).into());
        }
        Ok(())
    }

    /// One layer, each half normalized with what goes around it: `(B, L, hidden)` → `(B, L, hidden)`.
    pub(super) fn layer(
        &self,
        net: &mut Net<'_>,
        names: &Layer,
        x: &str,
        mask: &str,
    ) -> Result<String> {
        let heads = Heads {
            hidden: self.hidden_size,
            heads: self.num_attention_heads,
        };
        let (hidden, inner) = (self.hidden_size, self.intermediate_size);
        let y = attend(net, &names.attention, x, heads, Some(mask))?;
        let sum = net.node(&names.attention_norm, "Add", &[&y, x], vec![]);
        let x = net.layer_norm(&names.attention_norm, &sum, hidden, self.layer_norm_eps)?;
        let y = net.linear(&names.up, &x, (hidden, inner), Rows::Many)?;
        let y = self.activate(net, &names.up, &y)?;
        let y = net.linear(&names.down, &y, (inner, hidden), Rows::Many)?;
        let sum = net.node(&names.output_norm, "Add", &[&y, &x], vec![]);
        net.layer_norm(&names.output_norm, &sum, hidden, self.layer_norm_eps)
    }

    /// The activation that the settings name.
    pub(super) fn activate(&self, net: &mut Net<'_>, layer: &str, x: &str) -> Result<String> {
        net.activation(layer, x, self.activation_key, &self.activation)
    }

    /// The rows of a table that `ids` name.
    pub(super) fn embed(
        &self,
        net: &mut Net<'_>,
        layer: &str,
        rows: usize,
        ids: &str,
    ) -> Result<String> {
        let table = net.weight(&format!("{layer}.weight"), &[rows, self.hidden_size])?;
        Ok(net.node(layer, "Gather", &[&table, ids], vec![int("axis", 0)]))
    }

    /// The first rows of the table of positions, as many as there are tokens.
    pub(super) fn positions(&self, net: &mut Net<'_>, layer: &str, ids: &str) -> Result<String> {
        let shape = [self.max_position_embeddings, self.hidden_size];
        let table = net.weight(&format!("{layer}.weight"), &shape)?;
        let length = net.node(layer, "Shape", &[ids], vec![int("start", 1), int("end", 2)]);
        let zero = net.ints(&[0])?;
        Ok(net.node(layer, "Slice", &[&table, &zero, &length, &zero], vec![]))
    }
}

/// `(B, L)`.
fn tokens() -> Vec<Dim> {
    vec![any("batch"), any("sequence")]
}

/// Adds the input of tokens.
pub(super) fn input_ids(net: &mut Net<'_>) -> String {
    net.input("input_ids", DataType::Int64, tokens())
}

/// Adds the input that says which sentence a token is of, the first where it is left out.
pub(super) fn token_type_ids(net: &mut Net<'_>) -> String {
    net.optional_input("token_type_ids", DataType::Int64, tokens(), 0)
}

/// Adds the input that says which tokens are looked at, all where it is left out; what is added to scores for it,
/// `(B, 1, 1, L)`.
pub(super) fn attention_mask(net: &mut Net<'_>) -> Result<String> {
    let mask = net.optional_input("attention_mask", DataType::Int64, tokens(), 1);
    let axes = net.ints(&[1, 2])?;
    let mask = net.node("mask", "Unsqueeze", &[&mask, &axes], vec![]);
    let mask = net.node(
        "mask",
        "Cast",
        &[&mask],
        vec![int("to", DataType::Bool as i64)],
    );
    let (zero, lowest) = (net.number(0.0)?, net.number(f32::MIN.into())?);
    Ok(net.node("mask", "Where", &[&mask, &zero, &lowest], vec![]))
}

/// The state of each sequence's first token: `(B, L, hidden)` → `(B, hidden)`.
pub(super) fn first_token(net: &mut Net<'_>, x: &str) -> Result<String> {
    let first = net.long(0)?;
    Ok(net.node("first_token", "Gather", &[x, &first], vec![int("axis", 1)]))
}

/// Adds an output of one row for each sequence.
pub(super) fn output_of_sequences(net: &mut Net<'_>, name: &str, from: &str, size: usize) {
    net.output(name, from, vec![any("batch"), fixed(size)]);
}

/// Adds an output of one row for each token.
pub(super) fn output_of_tokens(net: &mut Net<'_>, name: &str, from: &str, size: usize) {
    let mut dims = tokens();
    dims.push(fixed(size));
    net.output(name, from, dims);
}

/// Where an answer begins and ends: `(B, L, hidden)` → two outputs of `(B, L)`.
pub(super) fn answer_span(net: &mut Net<'_>, x: &str, hidden: usize) -> Result<()> {
    let both = net.linear("qa_outputs", x, (hidden, 2), Rows::Many)?;
    for (at, name) in ["start_logits", "end_logits"].into_iter().enumerate() {
        let at = net.long(at as i64)?;
        let one = net.node("qa_outputs", "Gather", &[&both, &at], vec![int("axis", 2)]);
        net.output(name, &one, tokens());
    }
    Ok(())
}

/// The scores of all words: `x` through a layer, activation and norm, times the table of embeddings.
pub(super) struct WordHead<'a> {
    pub(super) dense: &'a str,
    pub(super) norm: &'a str,
    /// The table of embeddings, which the head shares.
    pub(super) table: &'a str,
    pub(super) bias: &'a str,
    pub(super) output: &'a str,
}

impl WordHead<'_> {
    /// Adds the head and its output, `(B, L, vocabulary)`.
    pub(super) fn add(
        &self,
        net: &mut Net<'_>,
        e: &Encoder,
        x: &str,
        activation: &str,
    ) -> Result<()> {
        net.config().only("tie_word_embeddings", &[json!(true)])?;
        let hidden = e.hidden_size;
        let x = net.linear(self.dense, x, (hidden, hidden), Rows::Many)?;
        let x = net.activation(self.dense, &x, e.activation_key, activation)?;
        let x = net.layer_norm(self.norm, &x, hidden, e.layer_norm_eps)?;
        let table = net.weight(self.table, &[e.vocab_size, hidden])?;
        let bias = net.weight(self.bias, &[e.vocab_size])?;
        let scores = net.product("words", &x, &table, Some(&bias), Rows::Many);
        output_of_tokens(net, self.output, &scores, e.vocab_size);
        Ok(())
    }
}
