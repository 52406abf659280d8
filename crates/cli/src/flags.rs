//! The settings of the server as flags, and all their sources put together.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches};
use hearth_serve::settings::{Loaded, Raw, Setting, Settings, Sources, TABLE};

/// Where the configuration file is named, besides the flag.
const CONFIG_VARIABLE: &str = "HEARTH_CONFIG";

/// The flags that the table of settings has, and `--config`.
#[derive(Debug, Clone)]
pub struct SettingFlags {
    file: Option<PathBuf>,
    given: Vec<(String, Raw)>,
}

impl SettingFlags {
    /// No flags.
    pub fn none() -> Self {
        Self {
            file: None,
            given: Vec::new(),
        }
    }

    /// Where settings are read from: these flags, the environment, files in the current folder and in
    /// hearth's home.
    ///
    /// # Errors
    /// There is no home.
    pub fn sources(&self) -> Result<Sources> {
        let home = home()?;
        let variable = std::env::var_os(CONFIG_VARIABLE).filter(|path| !path.is_empty());
        Ok(Sources {
            flags: self.given.clone(),
            // A variable that is no text is none of ours.
            environment: std::env::vars_os()
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                })
                .collect(),
            file: self.file.clone().or(variable.map(PathBuf::from)),
            folders: vec![PathBuf::from("."), home],
        })
    }

    /// The settings, and where each came from.
    ///
    /// # Errors
    /// Whatever is wrong in any of the sources, with its place.
    pub fn load(&self) -> Result<Loaded> {
        Ok(self.sources()?.load()?)
    }
}

/// The folder of our own files: `$HEARTH_HOME`, or `~/.hearth`.
///
/// # Errors
/// There is neither.
pub fn home() -> Result<PathBuf> {
    match std::env::var_os("HEARTH_HOME").filter(|home| !home.is_empty()) {
        Some(home) => Ok(home.into()),
        None => Ok(std::env::home_dir()
            .context("there is no home directory; set HEARTH_HOME to a folder for hearth's files")?
            .join(".hearth")),
    }
}

impl clap::Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help("A file of settings to read in the place of hearth.toml; see 'hearth config'");
        TABLE
            .iter()
            .filter_map(flag)
            .fold(command.arg(file), Command::arg)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// The flag of a setting, if it has one.
fn flag(setting: &'static Setting) -> Option<Arg> {
    let name = setting.flag?;
    let help = setting.doc.trim().trim_end_matches('.');
    let mut arg = Arg::new(name).long(name).help(match setting.env.first() {
        Some(variable) => format!("{help} [env: {variable}]"),
        None => help.to_owned(),
    });
    arg = match (setting.placeholder, setting.repeats) {
        (None, _) => arg
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
        (Some(placeholder), true) => arg.value_name(placeholder).action(ArgAction::Append),
        (Some(placeholder), false) => arg.value_name(placeholder),
    };
    let check = move |text: &str| {
        let raw = match setting.repeats {
            true => Raw::List(vec![text.to_owned()]),
            false => Raw::Text(text.to_owned()),
        };
        match (setting.set)(&mut Settings::default(), &raw) {
            true => Ok(text.to_owned()),
            false => Err(format!("give {}", setting.expected)),
        }
    };
    Some(
        arg.allow_negative_numbers(setting.placeholder.is_some())
            .value_parser(check),
    )
}

impl FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given = Vec::new();
        for setting in TABLE {
            let Some(name) = setting.flag else {
                continue;
            };
            let Some(values) = matches.get_many::<String>(name) else {
                continue;
            };
            let values: Vec<String> = values.cloned().collect();
            let raw = match setting.repeats {
                true => Raw::List(values),
                // The last word counts, as in a shell's alias with more behind it.
                false => Raw::Text(values.into_iter().next_back().unwrap_or_default()),
            };
            given.push((name.to_owned(), raw));
        }
        Ok(Self {
            file: matches.get_one::<PathBuf>("config").cloned(),
            given,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
