//! `hearth config`: the settings in force, and where each comes from.

use std::io::Write;
use std::path::Path;

use anyhow::Result;
use hearth_serve::settings::{MODEL_TABLE, Origin, TABLE};

use crate::flags::SettingFlags;

/// Show every setting with its value and where that came from.
///
/// Settings are read from flags, the environment, .env, hearth.toml, and config.yaml, auth.yaml and inferno.toml, the
/// strongest first; files are looked for in the current folder and in $HEARTH_HOME (~/.hearth). What is printed is a
/// hearth.toml that says the same, without secrets.
#[derive(clap::Args)]
pub struct Args {
    /// Explain each setting as well.
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    flags: SettingFlags,
}

pub fn run(args: Args) -> Result<()> {
    let loaded = args.flags.load()?;
    let mut out = std::io::stdout().lock();
    let mut table = "";
    for setting in TABLE {
        let (own, key) = setting.key.split_once('.').unwrap_or(("", setting.key));
        if own != table {
            writeln!(out, "{}[{own}]", if table.is_empty() { "" } else { "\n" })?;
            table = own;
        }
        if args.explain {
            writeln!(out, "# {}", setting.doc.trim())?;
            let flag = setting
                .flag
                .map(|flag| format!("--{flag}, "))
                .unwrap_or_default();
            writeln!(out, "# {flag}{}", setting.env.join(", "))?;
        }
        let origin = loaded.origin(setting);
        match (setting.show)(&loaded.settings) {
            // What is not set stands there to be found, and says nothing.
            None => writeln!(out, "# {key} is not set")?,
            Some(value) if *origin == Origin::Default => {
                writeln!(out, "{key} = {}", quoted(&value))?
            }
            Some(value) => writeln!(out, "{key} = {}  # {origin}", quoted(&value))?,
        }
    }
    let models = &loaded.settings.models;
    for (name, choices) in models.iter() {
        writeln!(out, "\n[models.{name:?}]")?;
        for setting in MODEL_TABLE {
            let value = (setting.show)(choices).zip(models.origin(name, setting));
            if let Some((value, origin)) = value {
                writeln!(out, "{} = {}  # {origin}", setting.key, quoted(&value))?;
            }
        }
    }
    if args.explain {
        writeln!(out, "\n# [models.NAME]: what holds for one model")?;
        for setting in MODEL_TABLE {
            writeln!(out, "# {}: {}", setting.key, setting.doc.trim())?;
        }
    }
    let origin = loaded.upstreams_file.as_deref().unwrap_or(Path::new(""));
    for upstream in &loaded.settings.upstreams {
        write!(out, "\n[[upstream]]  # {}\n{upstream}", origin.display())?;
    }
    if let Some(path) = &loaded.models_json {
        let offers = loaded.settings.offers.len();
        writeln!(
            out,
            "\n# {offers} models can be fetched by {}",
            path.display()
        )?;
    }
    Ok(())
}

/// A value as TOML: numbers and truth values as they are, all else as text.
fn quoted(value: &str) -> String {
    match value.parse::<u64>().is_ok() || value == "true" || value == "false" {
        true => value.to_owned(),
        false => format!("{value:?}"),
    }
}
