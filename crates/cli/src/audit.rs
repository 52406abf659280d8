//! `hearth audit`: the record of who did what.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Subcommand;
use hearth_serve::audit::verify;

use crate::flags;

/// Check the record of who did what.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Check that no line was changed, removed or put in.
    ///
    /// Lines that were cut off at the very end leave no trace in the record itself: keep the last hash that this
    /// prints, and compare.
    Verify {
        /// The folder of a record [default: each folder audit* in $HEARTH_HOME].
        folder: Option<PathBuf>,
    },
}

pub fn run(args: Args) -> Result<()> {
    let Action::Verify { folder } = args.command;
    let folders = match folder {
        Some(folder) => vec![folder],
        None => records()?,
    };
    if folders.is_empty() {
        bail!("there is no record yet; 'hearth serve' keeps one unless audit.enabled is false");
    }
    for folder in folders {
        let verified = verify(&folder)?;
        match verified.lines {
            None => println!("{}: empty", folder.display()),
            Some((first, last)) => println!(
                "{}: whole, lines {first} to {last}, last hash {}",
                folder.display(),
                verified.last_hash
            ),
        }
    }
    Ok(())
}

/// The folders of records in hearth's home.
fn records() -> Result<Vec<PathBuf>> {
    let home = flags::home()?;
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(&home).into_iter().flatten() {
        let path = entry?.path();
        let is_record = path.file_name().is_some_and(|name| {
            let name = name.to_string_lossy();
            name == "audit" || name.starts_with("audit-")
        });
        if is_record && path.is_dir() {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}
