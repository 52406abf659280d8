//! From what the user calls a model to its open files.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use hearth_formats::Checkpoint;
use hearth_hub::catalog::{
    Catalog, CatalogConfig, Location, NetworkConfig, NetworkFile, NetworkMeaning, NetworkPlace,
};

/// The model that is there with nothing installed.
pub const DEFAULT: &str = "ember";

/// Where models are looked for, an option of every command that takes one.
#[derive(clap::Args)]
pub struct Models {
    /// The folder of models [default: the folder models in $HEARTH_HOME, or in ~/.hearth].
    #[arg(long, value_name = "DIR")]
    models_dir: Option<PathBuf>,
}

/// A model that was found, its files open.
pub struct Found {
    /// Its name in the catalog, or the path that was given.
    pub name: String,
    pub checkpoint: Checkpoint,
    /// Whether it is a part of the program.
    pub built_in: bool,
    /// A sentence or two about it.
    pub note: Option<String>,
}

/// An exported network that was found.
pub struct FoundNetwork {
    /// Its name in the catalog, or the path that was given.
    pub name: String,
    pub file: NetworkFile,
    /// Where that is, unless it is a part of the program.
    pub path: Option<PathBuf>,
    pub config: NetworkConfig,
    /// What the files beside it say.
    pub meaning: NetworkMeaning,
    /// Whether it is a part of the program.
    pub built_in: bool,
    /// A sentence about it.
    pub note: Option<String>,
}

impl Models {
    /// Models of the folder `models_dir`, the default one where there is none.
    pub fn of(models_dir: Option<PathBuf>) -> Self {
        Self { models_dir }
    }

    /// The folder of models, whether it is there or not.
    pub fn dir(&self) -> Result<PathBuf> {
        match &self.models_dir {
            Some(dir) => Ok(dir.clone()),
            None => Ok(crate::flags::home()?.join("models")),
        }
    }

    /// The built-in models, those of the folder, and `named` ones.
    ///
    /// A folder that was asked for has to be there; the default one may be missing.
    pub fn catalog(&self, named: Vec<(String, PathBuf)>) -> Result<Catalog> {
        let models_dir = match &self.models_dir {
            Some(dir) if !dir.is_dir() => {
                bail!(
                    "{} is not a folder; --models-dir takes a folder of models",
                    dir.display()
                )
            }
            Some(dir) => Some(dir.clone()),
            None => Some(self.dir()?).filter(|dir| dir.is_dir()),
        };
        Ok(Catalog::new(CatalogConfig { models_dir, named })?)
    }

    /// Opens a network by its name in the catalog, or by its path; `None` where it is something else, or nothing.
    pub fn network(&self, model: &str) -> Result<Option<FoundNetwork>> {
        let about = || format!("cannot open {model}");
        if let Some(entry) = self.catalog(Vec::new())?.find(model)? {
            if !entry.is_network() {
                return Ok(None);
            }
            let config = entry.network_config().map_err(anyhow::Error::msg)?;
            return Ok(Some(FoundNetwork {
                file: entry.open_network().with_context(about)?,
                path: entry.network_path(),
                meaning: { entry.network_meaning(&config) }.map_err(anyhow::Error::msg)?,
                config,
                built_in: entry.location == Location::BuiltIn,
                note: entry.note.map(str::to_owned),
                name: entry.name,
            }));
        }
        let Some(place) = NetworkPlace::find(Path::new(model)) else {
            return Ok(None);
        };
        let config = NetworkConfig::of(&place).map_err(anyhow::Error::msg)?;
        Ok(Some(FoundNetwork {
            name: model.to_owned(),
            file: NetworkFile::open(&place.file).with_context(about)?,
            meaning: NetworkMeaning::of(&place, &config).map_err(anyhow::Error::msg)?,
            config,
            path: Some(place.file),
            built_in: false,
            note: None,
        }))
    }

    /// Opens a model by its name in the catalog, or by its path.
    pub fn open(&self, model: &str) -> Result<Found> {
        let catalog = self.catalog(Vec::new())?;
        if let Some(entry) = catalog.find(model)? {
            let checkpoint = entry
                .open()
                .with_context(|| format!("cannot open {model}"))?;
            return Ok(Found {
                built_in: entry.location == Location::BuiltIn,
                note: entry
                    .note
                    .map(str::to_owned)
                    .or_else(|| description(&checkpoint)),
                name: entry.name,
                checkpoint,
            });
        }
        let path = Path::new(model);
        if path.exists() {
            let checkpoint =
                Checkpoint::open(path).with_context(|| format!("cannot open {model}"))?;
            let note = description(&checkpoint);
            return Ok(Found {
                name: model.to_owned(),
                checkpoint,
                built_in: false,
                note,
            });
        }
        let names: Vec<String> = catalog
            .entries()?
            .into_iter()
            .map(|entry| entry.name)
            .collect();
        bail!(
            "there is no model {model:?}, and no such file or folder; models here: {}\n\
             Give one of these names, or the path of a model's file or folder.",
            names.join(", ")
        )
    }
}

/// What the file says about itself.
fn description(checkpoint: &Checkpoint) -> Option<String> {
    let text = checkpoint
        .metadata()
        .get_str("general.description")
        .ok()??;
    Some(text.to_owned())
}
