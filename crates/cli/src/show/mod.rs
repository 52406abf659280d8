//! `hearth show`: what a model's files say.

mod network;

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::{Context, Result, anyhow};
use hearth_formats::gguf::Metadata;
use hearth_formats::{Checkpoint, Source};
use hearth_kernels::DType;
use hearth_llm::Kind;
use serde::Serialize;

use crate::models::{Found, Models};
use crate::units;

/// Show a model's architecture, sizes, quantization, tokenizer and chat template; of an exported network its inputs,
/// outputs, operators, and what runs it.
#[derive(clap::Args)]
pub struct Args {
    /// A model's name, GGUF file, Hugging Face folder, .pt2, .pt or .onnx file.
    #[arg(default_value = crate::models::DEFAULT)]
    model: String,
    /// Print the chat template and nothing else.
    #[arg(long, conflicts_with = "json")]
    template: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    models: Models,
}

#[derive(Serialize)]
struct Card {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    built_in: bool,
    /// `gguf` or `huggingface`.
    format: &'static str,
    /// `text` or `embedding`; absent for an architecture that cannot be run.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    /// Why it cannot be run.
    #[serde(skip_serializing_if = "Option::is_none")]
    unsupported: Option<String>,
    architecture: String,
    parameters: u64,
    weight_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    quantization: Option<&'static str>,
    /// Number of tensors by type.
    tensors: BTreeMap<&'static str, usize>,
    /// Numbers by the field's names, those that the files give.
    dimensions: BTreeMap<&'static str, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pooling: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    normalize: Option<bool>,
    tokenizer: Tokenizer,
    #[serde(skip_serializing_if = "Option::is_none")]
    chat_template: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    license: Option<String>,
    files: Vec<String>,
}

#[derive(Serialize)]
struct Tokenizer {
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pre: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<usize>,
    /// Why it cannot be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Metadata that tells a size, under `{architecture}.`, with the names we show.
const DIMENSIONS: [(&str, &str, &str); 8] = [
    ("context_length", "context_length", "context"),
    ("embedding_length", "hidden_size", "hidden size"),
    ("feed_forward_length", "intermediate_size", "MLP size"),
    ("block_count", "num_layers", "layers"),
    ("attention.head_count", "num_heads", "heads"),
    ("attention.head_count_kv", "num_kv_heads", "KV heads"),
    ("attention.key_length", "head_dim", "head size"),
    ("vocab_size", "vocab_size", "vocabulary"),
];

/// The type that most weight bytes are stored in.
pub fn quantization(checkpoint: &Checkpoint) -> Option<DType> {
    let mut bytes = BTreeMap::new();
    for tensor in checkpoint.tensors() {
        let size = tensor.dtype.bytes_for(tensor.elements()).unwrap_or(0);
        *bytes.entry(tensor.dtype.ggml_id()).or_insert(0) += size;
    }
    let (id, _) = bytes.into_iter().max_by_key(|&(_, size)| size)?;
    DType::from_ggml_id(id)
}

/// What is said of a model that is built in.
const DEMONSTRATION: &str = "yes; a demonstration, small enough to be part of the program";

pub fn run(args: Args) -> Result<()> {
    let mut out = std::io::stdout().lock();
    if let Some(found) = args.models.network(&args.model)? {
        let card = network::Card::new(found)?;
        return match (args.template, args.json) {
            (true, _) => Err(anyhow!("an exported network has no chat template")),
            (_, true) => print_json(&mut out, &card),
            _ => card.print(&mut out),
        };
    }
    let card = Card::new(args.models.open(&args.model)?)?;
    if args.template {
        let template = card.chat_template.ok_or_else(|| {
            anyhow!(
                "{} has no chat template: it continues text and does not chat",
                card.name
            )
        })?;
        writeln!(out, "{}", template.trim_end_matches('\n'))?;
        Ok(())
    } else if args.json {
        print_json(&mut out, &card)
    } else {
        card.print(&mut out)
    }
}

fn print_json(out: &mut impl Write, card: &impl Serialize) -> Result<()> {
    serde_json::to_writer_pretty(&mut *out, card).map_err(std::io::Error::from)?;
    writeln!(out)?;
    Ok(())
}

impl Card {
    fn new(found: Found) -> Result<Card> {
        let Found {
            name,
            checkpoint,
            built_in,
            note,
        } = found;
        let about = || format!("cannot read the metadata of {name}");
        // Files that describe no usable tokenizer are no reason to show nothing.
        let (tokenizer, tokenizer_error) = match tokenizer_metadata(&checkpoint) {
            Ok(metadata) => (metadata, None),
            Err(error) => (Metadata::new(&name), Some(error.to_string())),
        };
        let metadata = checkpoint.metadata();
        let architecture = checkpoint.architecture();

        let text = |metadata: &Metadata, key: &str| -> Result<Option<String>> {
            Ok(metadata
                .get_str(key)
                .with_context(about)?
                .map(str::to_owned))
        };
        let mut dimensions = BTreeMap::new();
        for (key, field, _) in DIMENSIONS {
            // Some architectures give a list here, a number for each layer; that is no one size.
            if let Ok(Some(value)) = metadata.get_u64(&format!("{architecture}.{key}")) {
                dimensions.insert(field, value);
            }
        }
        let tokens = tokenizer
            .get_strings("tokenizer.ggml.tokens")
            .with_context(about)?
            .map(|t| t.len());
        if let Some(tokens) = tokens {
            dimensions.entry("vocab_size").or_insert(tokens as u64);
        }
        let mut tensors = BTreeMap::new();
        for tensor in checkpoint.tensors() {
            *tensors.entry(tensor.dtype.name()).or_insert(0) += 1;
        }
        let (kind, unsupported) = match hearth_llm::kind_of(&checkpoint) {
            Ok(Kind::Text) => (Some("text"), None),
            Ok(Kind::Embedding) => (Some("embedding"), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let pooling = metadata
            .get_u64(&format!("{architecture}.pooling_type"))
            .ok()
            .flatten();
        Ok(Card {
            title: text(metadata, "general.name")?,
            note,
            built_in,
            format: match checkpoint.source() {
                Source::Gguf => "gguf",
                Source::HuggingFace => "huggingface",
            },
            kind,
            unsupported,
            parameters: checkpoint.parameters(),
            weight_bytes: checkpoint.weight_bytes(),
            quantization: quantization(&checkpoint).map(DType::name),
            tensors,
            dimensions,
            pooling: match pooling {
                Some(1) => Some("mean"),
                Some(2) => Some("cls"),
                Some(3) => Some("last"),
                _ => None,
            },
            normalize: metadata
                .get_bool(hearth_formats::checkpoint::NORMALIZE_KEY)
                .ok()
                .flatten(),
            tokenizer: Tokenizer {
                model: text(&tokenizer, "tokenizer.ggml.model")?,
                pre: text(&tokenizer, "tokenizer.ggml.pre")?,
                tokens,
                error: tokenizer_error,
            },
            chat_template: text(&tokenizer, "tokenizer.chat_template")?,
            license: text(metadata, "general.license")?,
            files: checkpoint
                .files()
                .iter()
                .map(|path| path.display().to_string())
                .collect(),
            architecture: architecture.to_owned(),
            name,
        })
    }

    fn print(&self, out: &mut impl Write) -> Result<()> {
        let mut line = |name: &str, value: &str| writeln!(out, "{name:<16} {value}");
        line("name", &self.name)?;
        if let Some(title) = &self.title {
            line("title", title)?;
        }
        if self.built_in {
            line("built in", DEMONSTRATION)?;
        }
        if let Some(note) = &self.note {
            line("note", note)?;
        }
        match (self.kind, &self.unsupported) {
            (Some(kind), _) => line("kind", kind)?,
            (None, reason) => line(
                "kind",
                &format!("unusable: {}", reason.as_deref().unwrap_or("?")),
            )?,
        }
        line("architecture", &self.architecture)?;
        line("parameters", &units::count(self.parameters))?;
        let types: Vec<String> = self
            .tensors
            .iter()
            .map(|(t, n)| format!("{n} {t}"))
            .collect();
        line(
            "quantization",
            &format!(
                "{} ({})",
                self.quantization.unwrap_or("-"),
                types.join(", ")
            ),
        )?;
        line("weights", &units::bytes(self.weight_bytes))?;
        for (_, field, name) in DIMENSIONS {
            if let Some(value) = self.dimensions.get(field) {
                line(name, &value.to_string())?;
            }
        }
        if let Some(pooling) = self.pooling {
            let normalized = if self.normalize == Some(true) {
                ", scaled to length 1"
            } else {
                ""
            };
            line("pooling", &format!("{pooling}{normalized}"))?;
        }
        let tokenizer = [&self.tokenizer.model, &self.tokenizer.pre];
        let tokenizer: Vec<&str> = tokenizer
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect();
        match &self.tokenizer.error {
            Some(error) => line("tokenizer", &format!("unusable: {error}"))?,
            None if tokenizer.is_empty() => line("tokenizer", "none")?,
            None => line("tokenizer", &tokenizer.join(", "))?,
        }
        line(
            "chat template",
            if self.chat_template.is_some() {
                "yes, see --template"
            } else {
                "none"
            },
        )?;
        if let Some(license) = &self.license {
            line("license", license)?;
        }
        for file in &self.files {
            line("file", file)?;
        }
        Ok(())
    }
}

/// The tokenizer's metadata: a GGUF file holds it with the rest, a folder in files of its own.
fn tokenizer_metadata(checkpoint: &Checkpoint) -> hearth_formats::Result<Metadata> {
    let Some(folder) = checkpoint.folder() else {
        return Ok(checkpoint.metadata().clone());
    };
    let mut metadata = Metadata::new(folder.display().to_string());
    for (key, value) in hearth_formats::checkpoint::tokenizer::tokenizer_metadata(folder)? {
        metadata.insert(key, value);
    }
    Ok(metadata)
}
