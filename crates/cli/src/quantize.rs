//! `hearth quantize`: a model's weights in fewer bits.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use hearth_hub::{ConvertError, ConvertOptions, Progress, Target, convert};
use indicatif::{ProgressBar, ProgressStyle};

use crate::interrupt::{self, Interrupted};
use crate::models::Models;
use crate::units;

/// Write a model as a GGUF file with its weights in another type.
///
/// Matrices get the type; norms, biases and small tables stay F32, and the mixes (Q4_K_M and others) spend more bits on
/// some layers, as llama-quantize does. Ctrl-C cancels and leaves no file.
#[derive(clap::Args)]
pub struct Args {
    /// What to read: a Hugging Face folder, a GGUF file or a model's name.
    input: String,
    /// The GGUF file to write.
    output: PathBuf,
    /// F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K_S/_M/_L, Q4_K_S/_M, Q5_K_S/_M or Q6_K.
    #[arg(long = "type", value_name = "TYPE")]
    target: Target,
    /// Replace OUTPUT where it exists.
    #[arg(long)]
    force: bool,
    /// Quantize also what is quantized already, at a loss.
    #[arg(long)]
    allow_requantize: bool,
    /// Threads to compute on [default: one a core].
    #[arg(long, value_name = "N")]
    threads: Option<std::num::NonZeroUsize>,
    #[command(flatten)]
    models: Models,
}

pub fn run(args: Args) -> Result<()> {
    let found = args.models.open(&args.input)?;
    let options = ConvertOptions {
        threads: args.threads.map_or(0, Into::into),
        overwrite: args.force,
        allow_requantize: args.allow_requantize,
        ..ConvertOptions::new(args.target)
    };
    let cancel = interrupt::flag()?;
    let bar = ProgressBar::new(0).with_style(
        ProgressStyle::with_template("{bar:32} {bytes}/{total_bytes}, {eta} left  {msg}")
            .context("the progress bar's template is sound; this is a bug")?,
    );
    let mut progress = |at: Progress| {
        bar.set_length(at.total_bytes);
        bar.set_position(at.done_bytes);
        bar.set_message(format!("{} {}", at.tensor, at.dtype));
    };
    let result = convert(
        &found.checkpoint,
        &args.output,
        &options,
        &mut progress,
        &cancel,
    );
    bar.finish_and_clear();
    let summary = result.map_err(|error| match error {
        ConvertError::Cancelled => Interrupted.into(),
        ConvertError::Exists(_) => {
            anyhow!("{error}; choose another name, or replace it with --force")
        }
        ConvertError::Requantize { .. } => {
            anyhow!("{error}; start from the original, or say --allow-requantize")
        }
        error => {
            anyhow::Error::from(error).context(format!("cannot make {}", args.output.display()))
        }
    })?;
    println!(
        "{}: {} tensors, {} of weights from {}",
        args.output.display(),
        summary.tensors,
        units::bytes(summary.weight_bytes),
        units::bytes(summary.source_bytes),
    );
    if !summary.fallbacks.is_empty() {
        println!(
            "Rows of these tensors do not divide into blocks of their type, so they got another:"
        );
        for (name, dtype) in &summary.fallbacks {
            println!("  {name} {dtype}");
        }
    }
    Ok(())
}
