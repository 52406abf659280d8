//! The `hearth` program: serve models over HTTP, chat with one in the terminal, look at, measure and quantize them.
//!
//! One module a command. A command gets its parsed arguments, does its work and returns an error that says what to do
//! next; `main` prints it and chooses the exit status: 0 for success, 1 for a failure, 2 for wrong usage, 130 after
//! Ctrl-C.

#![forbid(unsafe_code)]

mod accounts;
mod audit;
mod bench;
mod completions;
mod config;
mod convert;
mod doctor;
mod flags;
mod holder;
mod interrupt;
mod list;
mod models;
mod quantize;
mod run;
mod serve;
mod show;
mod units;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Runs AI models on this machine: an OpenAI-compatible server, a chat in the terminal, and tools for model files.
#[derive(Parser)]
#[command(
    name = "hearth",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Serve(serve::Args),
    User(accounts::UserArgs),
    Key(accounts::KeyArgs),
    Config(config::Args),
    Audit(audit::Args),
    Run(run::Args),
    List(list::Args),
    Show(show::Args),
    Bench(bench::Args),
    Quantize(quantize::Args),
    Convert(convert::Args),
    Doctor(doctor::Args),
    Completions(completions::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(args) => serve::run(args),
        Command::User(args) => accounts::run_user(args),
        Command::Key(args) => accounts::run_key(args),
        Command::Config(args) => config::run(args),
        Command::Audit(args) => audit::run(args),
        Command::Run(args) => run::run(args),
        Command::List(args) => list::run(args),
        Command::Show(args) => show::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Quantize(args) => quantize::run(args),
        Command::Convert(args) => convert::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Completions(args) => completions::run(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<interrupt::Interrupted>() => {
            eprintln!("{error}");
            ExitCode::from(130)
        }
        // `hearth list | head -1`: whoever read our output has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Sends log lines to stderr: those of `HEARTH_LOG` (a level, or `module=level` pairs), else from `level` up.
fn log_to_stderr(level: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("HEARTH_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_table_of_arguments_is_sound_and_documented() {
        let command = Cli::command();
        command.clone().debug_assert();
        for sub in command.get_subcommands() {
            assert!(
                sub.get_about().is_some(),
                "{} has no description",
                sub.get_name()
            );
            for argument in sub.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "{} {}",
                    sub.get_name(),
                    argument.get_id()
                );
            }
        }
    }
}
