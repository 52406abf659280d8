//! What the file of a network says.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::{Context, Result};
use hearth_graph::onnx::ValueInfo;
use hearth_graph::runtime::{Engines, find, summarize};
use hearth_hub::catalog::{NetworkEngine, NetworkFile};
use hearth_runtime::NetworkUses;
use serde::Serialize;

use crate::models::FoundNetwork;
use crate::units;

/// Classes that are listed by name where a person reads.
const SHOWN: usize = 8;

#[derive(Serialize)]
pub struct Card {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    built_in: bool,
    /// `pt2`, `torchscript`, `onnx`, `huggingface` or `pytorch`.
    format: &'static str,
    /// `network`.
    kind: &'static str,
    /// What runs it: `onnxruntime` or `tract`.
    runtime: String,
    inputs: Vec<Value>,
    outputs: Vec<Value>,
    /// What it takes besides tensors: `images` and `texts`.
    takes: Vec<&'static str>,
    /// Most tokens of a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<usize>,
    /// The classes that its answers name.
    classes: Vec<String>,
    /// Whether it gives one for each token of a text.
    classes_per_token: bool,
    parameters: u64,
    weight_bytes: u64,
    /// Number of nodes by operator.
    operators: BTreeMap<String, usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
}

/// An input or output.
#[derive(Serialize)]
struct Value {
    name: String,
    dtype: &'static str,
    /// Sizes; of those that may be any, the name or null.
    shape: Vec<serde_json::Value>,
    #[serde(skip)]
    text: String,
}

impl Value {
    fn new(info: &ValueInfo) -> Value {
        use hearth_graph::onnx::Dim;
        let dims = info.dims.iter().map(|dim| match dim {
            Dim::Fixed(size) => (*size).into(),
            Dim::Symbol(name) => name.as_str().into(),
            Dim::Unknown => serde_json::Value::Null,
        });
        Value {
            name: info.name.clone(),
            dtype: info.dtype.name(),
            shape: dims.collect(),
            text: info.to_string(),
        }
    }
}

impl Card {
    pub fn new(found: FoundNetwork) -> Result<Card> {
        let FoundNetwork {
            name,
            file,
            path,
            config,
            meaning,
            built_in,
            note,
        } = found;
        let format = match &file {
            NetworkFile::Pt2(_) => "pt2",
            NetworkFile::Script(_) => "torchscript",
            NetworkFile::Onnx(_) => "onnx",
            NetworkFile::Checkpoint(checkpoint) if checkpoint.folder().is_some() => "huggingface",
            NetworkFile::Checkpoint(_) => "pytorch",
        };
        let model = hearth_runtime::network_model(file, &config.inputs);
        let summary = model.and_then(|model| summarize(&model));
        let summary = summary.with_context(|| format!("cannot read {name}"))?;
        let runtime = match config.engine {
            Some(NetworkEngine::Tract) => "tract".to_owned(),
            Some(NetworkEngine::OnnxRuntime) => "onnxruntime".to_owned(),
            None => {
                let (engines, _) = Engines::with_libraries(find::candidates(), 1);
                engines.preferred().to_string()
            }
        };
        let uses = NetworkUses::of((&config, &meaning), &summary.inputs, &summary.outputs);
        let uses = uses.map_err(|problem| anyhow::anyhow!("{name}: config.pbtxt: {problem}"))?;
        Ok(Card {
            name,
            note,
            built_in,
            takes: uses.takes(),
            max_tokens: uses.max_tokens,
            classes: uses.classes,
            classes_per_token: uses.is_per_token,
            format,
            kind: "network",
            runtime,
            inputs: summary.inputs.iter().map(Value::new).collect(),
            outputs: summary.outputs.iter().map(Value::new).collect(),
            parameters: summary.parameters,
            weight_bytes: summary.tensor_bytes,
            operators: summary.operators,
            file: path.map(|path| path.display().to_string()),
        })
    }

    pub fn print(&self, out: &mut impl Write) -> Result<()> {
        let mut line = |name: &str, value: &str| writeln!(out, "{name:<16} {value}");
        line("name", &self.name)?;
        if self.built_in {
            line("built in", super::DEMONSTRATION)?;
        }
        if let Some(note) = &self.note {
            line("note", note)?;
        }
        line("kind", self.kind)?;
        line("format", self.format)?;
        line("runtime", &self.runtime)?;
        for (what, values) in [("input", &self.inputs), ("output", &self.outputs)] {
            for value in values {
                line(what, &value.text)?;
            }
        }
        if !self.takes.is_empty() {
            let most = self.max_tokens.filter(|_| self.takes.contains(&"texts"));
            let most = most.map_or_else(String::new, |most| format!(" of up to {most} tokens"));
            line("takes", &format!("{}{most}", self.takes.join(", ")))?;
        }
        if !self.classes.is_empty() {
            let shown = self.classes.iter().take(SHOWN).map(String::as_str);
            let rest = (self.classes.len() > SHOWN).then_some("...");
            let shown: Vec<&str> = shown.chain(rest).collect();
            let of = if self.classes_per_token {
                "of tokens, "
            } else {
                ""
            };
            line(
                "classes",
                &format!("{}: {of}{}", self.classes.len(), shown.join(", ")),
            )?;
        }
        line("parameters", &units::count(self.parameters))?;
        line("weights", &units::bytes(self.weight_bytes))?;
        let operators = self.operators.iter();
        let operators: Vec<String> = operators
            .map(|(name, count)| format!("{count} {name}"))
            .collect();
        line("operators", &operators.join(", "))?;
        if let Some(file) = &self.file {
            line("file", file)?;
        }
        Ok(())
    }
}
