//! `hearth list`: the models that can be run by name.

use std::io::Write;

use anyhow::Result;
use chrono::{DateTime, Local, SecondsFormat};
use hearth_formats::Checkpoint;
use hearth_hub::{Entry, Kind, Location};
use hearth_kernels::DType;
use serde::Serialize;

use crate::models::Models;
use crate::{show, units};

/// List the built-in models and those of the models folder.
#[derive(clap::Args)]
pub struct Args {
    /// Print a JSON array of objects.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    models: Models,
}

/// One model's line.
#[derive(Serialize)]
struct Row {
    name: String,
    /// `text`, `embedding` or `network`; absent where the files cannot be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    size_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    quantization: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    architecture: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<u64>,
    /// Absent for what is a part of the program.
    #[serde(skip_serializing_if = "Option::is_none")]
    modified: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    built_in: bool,
    /// The versions of a network that has several, the newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    versions: Vec<u64>,
    /// Why the files cannot be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip)]
    modified_local: String,
}

impl Row {
    fn new(entry: &Entry) -> Row {
        let built_in = entry.location == Location::BuiltIn;
        let modified = match built_in {
            true => None,
            false => i64::try_from(entry.created)
                .ok()
                .and_then(|at| DateTime::from_timestamp(at, 0)),
        };
        let (kind, error) = match &entry.kind {
            Kind::Text => (Some("text"), None),
            Kind::Embedding => (Some("embedding"), None),
            Kind::Network => (Some("network"), None),
            Kind::Unknown(reason) => (None, Some(reason.clone())),
        };
        let checkpoint = entry.open().ok();
        Row {
            name: entry.name.clone(),
            kind,
            size_bytes: entry.bytes,
            quantization: checkpoint
                .as_ref()
                .and_then(show::quantization)
                .map(DType::name),
            architecture: entry.architecture.clone(),
            parameters: checkpoint.as_ref().map(Checkpoint::parameters),
            modified: modified.map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true)),
            path: match &entry.location {
                Location::BuiltIn => None,
                Location::Path(path) => Some(path.display().to_string()),
            },
            built_in,
            versions: entry.versions.iter().map(Entry::version).collect(),
            error,
            modified_local: modified.map_or("built in".to_owned(), |at| {
                at.with_timezone(&Local)
                    .format("%Y-%m-%d %H:%M")
                    .to_string()
            }),
        }
    }
}

pub fn run(args: Args) -> Result<()> {
    let catalog = args.models.catalog(Vec::new())?;
    let rows: Vec<Row> = catalog.entries()?.iter().map(Row::new).collect();
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &rows).map_err(std::io::Error::from)?;
        writeln!(out)?;
        return Ok(());
    }
    let width = rows
        .iter()
        .map(|row| row.name.chars().count())
        .max()
        .unwrap_or(0)
        .max(4);
    writeln!(
        out,
        "{:width$}  {:9}  {:>8}  {:12}  MODIFIED",
        "NAME", "KIND", "SIZE", "QUANTIZATION"
    )?;
    for row in &rows {
        writeln!(
            out,
            "{:width$}  {:9}  {:>8}  {:12}  {}",
            row.name,
            row.kind.unwrap_or("unusable"),
            units::bytes(row.size_bytes),
            row.quantization.unwrap_or("-"),
            row.modified_local,
        )?;
    }
    drop(out);
    for row in &rows {
        if let Some(error) = &row.error {
            eprintln!("{}: {error}", row.name);
        }
    }
    Ok(())
}
