//! `hearth run`: talk with a model in the terminal, without a server.

mod chat;
mod session;

use std::io::{IsTerminal, Read, Write};

use anyhow::{Context, Result, ensure};

use crate::models::Models;
use session::{Options, Session};

/// Chat with a model in this terminal, or answer one prompt.
///
/// With a PROMPT, or with a prompt piped to the standard input, prints the answer and ends. Otherwise starts a chat, in
/// which /help lists the commands. A model without a chat template continues the text.
#[derive(clap::Args)]
pub struct Args {
    /// A model's name, GGUF file or Hugging Face folder.
    #[arg(default_value = crate::models::DEFAULT)]
    model: String,
    /// What to answer; without it, the standard input where that is no terminal, else a chat.
    prompt: Option<String>,
    /// What the model is told before the conversation.
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// How freely tokens are drawn: 0 always takes the most likely one.
    #[arg(long, value_name = "T", default_value_t = 0.7, allow_negative_numbers = true, value_parser = temperature)]
    temperature: f32,
    /// Makes answers repeatable: the same seed gives the same answer.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Most tokens of one answer [default: what the model's context holds].
    #[arg(long, value_name = "N")]
    max_tokens: Option<std::num::NonZeroUsize>,
    /// Threads to compute on [default: one a core].
    #[arg(long, value_name = "N")]
    threads: Option<std::num::NonZeroUsize>,
    /// Print timings to the standard error after each answer.
    #[arg(long)]
    verbose: bool,
    #[command(flatten)]
    models: Models,
}

/// A temperature that can be sampled with.
fn temperature(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok(value),
        _ => Err("give a number from 0, for example 0.7".to_owned()),
    }
}

pub fn run(args: Args) -> Result<()> {
    crate::log_to_stderr("warn");
    let stdin = std::io::stdin();
    let prompt = match args.prompt {
        Some(prompt) => Some(prompt),
        None if stdin.is_terminal() => None,
        None => {
            let mut text = String::new();
            stdin
                .lock()
                .read_to_string(&mut text)
                .context("cannot read the prompt from the standard input")?;
            Some(text)
        }
    };
    if let Some(prompt) = &prompt {
        ensure!(
            !prompt.trim().is_empty(),
            "the prompt is empty; for example: hearth run {} \"What is an ember?\"",
            args.model
        );
    }
    let found = args.models.open(&args.model)?;
    let options = Options {
        system: args.system,
        temperature: args.temperature,
        seed: args.seed,
        max_tokens: args.max_tokens.map(Into::into),
        threads: args.threads.map_or(0, Into::into),
    };
    let mut session = Session::open(found, options)?;
    match prompt {
        Some(prompt) => {
            let mut out = std::io::stdout();
            let answer = session.answer(prompt.trim_end_matches(['\r', '\n']), &mut out, false)?;
            writeln!(out)?;
            if let Some(note) = answer.note() {
                eprintln!("[{note}]");
            }
            if args.verbose {
                eprint!("{}", answer.timings(session.load_time()));
            }
            Ok(())
        }
        None => chat::run(&mut session, args.verbose, &crate::flags::home()?),
    }
}
