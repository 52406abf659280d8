//! `hearth bench`: how fast a model runs here, and how much of what the machine can do that is.

mod measure;
mod report;

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use hearth_formats::Checkpoint;
use hearth_kernels::{KvDType, Pool, Precision, probe};
use hearth_llm::tokenizer::Tokenizer;
use hearth_llm::{Kind, LoadOptions, TextModel};

use crate::models::{Found, Models};
use measure::{Bench, DECODE_PROMPT, median};
use report::{Decode, Machine, Prefill, Report};

/// Measure a text model: reading a prompt, writing one answer, writing many answers at once.
///
/// Times the model's own forward pass over its real paged cache with greedy choice of each token, and sets beside it
/// what the machine was measured to reach. The figures are tokens a second, the median of several runs. Each
/// sequence of the decode figures starts from a prompt of 16 tokens.
#[derive(clap::Args)]
pub struct Args {
    /// A model's name, GGUF file or Hugging Face folder.
    #[arg(long, default_value = crate::models::DEFAULT)]
    model: String,
    /// Tokens of the prompt that is read [default: 512, or what the model's context holds].
    #[arg(long, value_name = "TOKENS")]
    prompt: Option<usize>,
    /// Tokens that each sequence writes [default: 128, or what the model's context holds].
    #[arg(long, value_name = "TOKENS")]
    r#gen: Option<usize>,
    /// How many sequences write at once, one figure each.
    #[arg(
        long,
        value_name = "N,N,...",
        value_delimiter = ',',
        default_value = "1,8,32"
    )]
    batch: Vec<usize>,
    /// Threads to compute on [default: one a core].
    #[arg(long, value_name = "N")]
    threads: Option<std::num::NonZeroUsize>,
    /// Runs of each measurement.
    #[arg(long, value_name = "N", default_value = "3")]
    runs: std::num::NonZeroUsize,
    /// The type that keys and values are kept in: f16, q16, q8_0 or f32.
    #[arg(long, value_name = "TYPE", default_value_t = KvDType::F16)]
    cache_type: KvDType,
    /// How quantized weights are multiplied: with activations of 8 bits, or in f32.
    #[arg(long, value_enum, default_value = "int8")]
    precision: PrecisionArg,
    /// Measure no speed, but the model's perplexity on this text, in windows of --prompt tokens.
    #[arg(long, value_name = "FILE")]
    perplexity: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    models: Models,
}

/// How quantized weights are multiplied.
#[derive(Clone, Copy, clap::ValueEnum)]
enum PrecisionArg {
    /// Activations are quantized to 8 bits.
    Int8,
    /// Weights are dequantized.
    F32,
}

pub fn run(args: Args) -> Result<()> {
    ensure!(
        !args.batch.is_empty(),
        "--batch is empty; give for example --batch 1,8"
    );
    ensure!(
        !args.batch.contains(&0),
        "--batch has a 0; a batch is one sequence or more"
    );
    ensure!(
        args.prompt != Some(0),
        "--prompt is 0; a prompt has at least one token"
    );
    ensure!(
        args.r#gen != Some(0),
        "--gen is 0; give at least one token to write"
    );

    let pool = Arc::new(Pool::new(args.threads.map_or(0, Into::into)));
    let found = args.models.open(&args.model)?;
    let checkpoint = &found.checkpoint;
    if hearth_llm::kind_of(checkpoint)? == Kind::Embedding {
        bail!(
            "{} makes embeddings; bench measures text models",
            found.name
        );
    }
    let begin = Instant::now();
    let options = LoadOptions {
        precision: match args.precision {
            PrecisionArg::Int8 => Precision::Int8,
            PrecisionArg::F32 => Precision::F32,
        },
        ..LoadOptions::default()
    };
    let model = hearth_llm::load_text(checkpoint, Arc::clone(&pool), options)
        .with_context(|| format!("cannot load {}", found.name))?;
    let load = begin.elapsed();
    let resident_bytes = resident_bytes();

    let info = model.info().clone();
    let context = info.context_length;
    let prompt = fit("--prompt", args.prompt, 512, context, 0)?;
    if let Some(path) = &args.perplexity {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        return measure_perplexity(&found, &*model, &text, prompt, &args);
    }
    let generated = fit("--gen", args.r#gen, 128, context, DECODE_PROMPT)?;
    let most = args.batch.iter().copied().max().unwrap_or(1);
    let mut bench = Bench::new(
        Arc::clone(&model),
        most,
        prompt.max(DECODE_PROMPT + generated),
        args.cache_type,
    )?;

    let machine = Machine {
        threads: pool.threads(),
        cpu: hearth_kernels::cpu_tier().name(),
        read_bandwidth_bytes_per_second: probe::read_bandwidth(&pool).context(
            "no memory to measure the read bandwidth; it takes 512 MiB beside the model",
        )?,
        int8_ops_per_second: probe::int8_peak(&pool),
        f32_flops_per_second: probe::f32_peak(&pool),
    };
    let work = Work::of(checkpoint);
    let peak = if work.integer && matches!(args.precision, PrecisionArg::Int8) {
        machine.int8_ops_per_second
    } else {
        machine.f32_flops_per_second
    };

    // Once for nothing: buffers grow, pages are touched.
    bench.prefill(prompt.min(32));
    let runs = args.runs.get();
    let time = median((0..runs).map(|_| bench.prefill(prompt)).collect());
    let rate = prompt as f64 / time.as_secs_f64();
    let prefill = Prefill {
        tokens: prompt,
        tokens_per_second: rate,
        share_of_peak: 2.0 * work.weights_per_token as f64 * rate / peak,
    };
    let mut decode = Vec::new();
    for &batch in &args.batch {
        let time = median((0..runs).map(|_| bench.decode(batch, generated)).collect());
        let steps = generated as f64 / time.as_secs_f64();
        decode.push(Decode {
            batch,
            tokens: generated,
            tokens_per_second: steps * batch as f64,
            share_of_bandwidth: work.bytes_per_step as f64 * steps
                / machine.read_bandwidth_bytes_per_second,
            share_of_peak: 2.0 * work.weights_per_answer as f64 * steps * batch as f64 / peak,
        });
    }
    let report = Report {
        model: found.name,
        architecture: info.architecture,
        quantization: info.quantization,
        parameters: info.parameters,
        weight_bytes: info.weight_bytes,
        load_seconds: load.as_secs_f64(),
        resident_bytes,
        cache_bytes: bench.cache_bytes() as u64,
        runs,
        machine,
        prefill,
        decode,
    };
    report.print(args.json)
}

/// Prints the perplexity of a text.
fn measure_perplexity(
    found: &Found,
    model: &dyn TextModel,
    text: &str,
    window: usize,
    args: &Args,
) -> Result<()> {
    let tokens = Tokenizer::open(&found.checkpoint)?.encode_prompt(text)?;
    let measured = hearth_llm::perplexity(model, &tokens, window, args.cache_type)?
        .context("the text is too short to foresee any of it")?;
    let mut out = std::io::stdout().lock();
    if args.json {
        let report = serde_json::json!({
            "model": found.name,
            "perplexity": measured.value,
            "tokens": measured.tokens,
            "window": window,
        });
        writeln!(out, "{report:#}")?;
    } else {
        writeln!(
            out,
            "{}: perplexity {:.4} over {} tokens, windows of {window}",
            found.name, measured.value, measured.tokens
        )?;
    }
    Ok(())
}

/// A number of tokens that, after `before` others, fits the context: the one asked for, or else the usual one as far as
/// it fits.
fn fit(
    option: &str,
    asked: Option<usize>,
    usual: usize,
    context: usize,
    before: usize,
) -> Result<usize> {
    let room = context.saturating_sub(before);
    ensure!(
        room > 0,
        "the model's context of {context} tokens is too short to measure"
    );
    match asked {
        Some(n) if n > room => {
            bail!(
                "{option} {n} does not fit: the model's context holds {context} tokens; try {option} {room}"
            )
        }
        Some(n) => Ok(n),
        None => Ok(usual.min(room)),
    }
}

/// What a model's matrix products amount to.
struct Work {
    /// Bytes of weights that a decode step streams, however many sequences it serves.
    bytes_per_step: u64,
    /// Weights that each token of a prompt is multiplied with.
    weights_per_token: u64,
    /// Weights that each token of an answer is multiplied with: the logits' too.
    weights_per_answer: u64,
    /// Whether most of them are multiplied as integers.
    integer: bool,
}

impl Work {
    /// From the matrices of the file. Tables of embeddings are looked up, not multiplied, except where the one of tokens
    /// also makes the logits; logits are made once a step and not for each token of a prompt.
    fn of(checkpoint: &Checkpoint) -> Work {
        let head = match checkpoint.layout("output.weight") {
            Some(_) => "output.weight",
            None => "token_embd.weight",
        };
        let mut work = Work {
            bytes_per_step: 0,
            weights_per_token: 0,
            weights_per_answer: 0,
            integer: false,
        };
        let mut quantized = 0;
        for tensor in checkpoint.tensors().iter().filter(|t| t.shape.len() == 2) {
            let elements = tensor.elements() as u64;
            let bytes = tensor.dtype.bytes_for(tensor.elements()).unwrap_or(0) as u64;
            if tensor.name == head {
                work.bytes_per_step += bytes;
                work.weights_per_answer += elements;
            } else if tensor.name.starts_with("blk.") {
                work.bytes_per_step += bytes;
                work.weights_per_token += elements;
                work.weights_per_answer += elements;
                quantized += if tensor.dtype.is_quantized() {
                    elements
                } else {
                    0
                };
            }
        }
        work.integer = 2 * quantized > work.weights_per_token;
        work
    }
}

/// The memory that this process holds, where the system tells.
fn resident_bytes() -> Option<u64> {
    let id = sysinfo::get_current_pid().ok()?;
    let mut system = sysinfo::System::new();
    system.refresh_processes(sysinfo::ProcessesToUpdate::Some(&[id]), false);
    system.process(id).map(sysinfo::Process::memory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_lengths_shrink_to_the_context_and_asked_ones_do_not() {
        assert_eq!(fit("--gen", None, 128, 4096, 16).unwrap(), 128);
        assert_eq!(fit("--gen", None, 128, 100, 16).unwrap(), 84);
        assert_eq!(fit("--gen", Some(84), 128, 100, 16).unwrap(), 84);
        let error = fit("--gen", Some(85), 128, 100, 16)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("100") && error.contains("--gen 84"),
            "{error}"
        );
        assert!(fit("--gen", None, 128, 16, 16).is_err());
    }
}
