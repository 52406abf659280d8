//! `hearth completions`: what a shell needs to complete our commands and options.

use std::io::Write;

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::Shell;

/// Print a script that teaches a shell to complete hearth's commands and options.
///
/// bash: hearth completions bash > ~/.local/share/bash-completion/completions/hearth
///
/// zsh: hearth completions zsh > a file _hearth in a folder of $fpath
///
/// fish: hearth completions fish > ~/.config/fish/completions/hearth.fish
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The shell.
    shell: Shell,
}

pub fn run(args: Args) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(
        args.shell,
        &mut crate::Cli::command(),
        "hearth",
        &mut script,
    );
    std::io::stdout().write_all(&script)?;
    Ok(())
}
