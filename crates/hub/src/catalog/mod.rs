//! Which models there are: the built-in ones, those of a folder, and those given as `NAME=PATH`.
//!
//! The folder is looked at anew each time that the models are listed, so a file that is put there is served without a
//! restart. Only headers are read; what was found in one is remembered until the file changes.

mod built_in;
mod describe;
mod meaning;
mod name;
mod network;
mod remove;
mod scan;
mod verify;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use hearth_formats::Checkpoint;

use built_in::BUILT_IN;

pub use describe::Stamp;
pub use meaning::{Activation, Labels, NetworkMeaning};
pub use network::{
    DeclaredTensor, NetworkConfig, NetworkEngine, NetworkFile, NetworkPlace, VersionPolicy,
};
pub use remove::{Removable, RemoveError};
pub use verify::{Fault, Sound};

/// Why the models can't be listed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// A path can't be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A name can't be used.
    #[error("the model name {name:?} ({}) can't be used: {problem}", path.display())]
    Name {
        /// The name.
        name: String,
        /// Where it comes from.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Two models have one name.
    #[error("the model name {name:?} is taken twice: by {first} and by {second}")]
    Clash {
        /// The name.
        name: String,
        /// One of the models.
        first: String,
        /// The other.
        second: String,
    },
}

/// Where models are looked for, besides in the program itself.
#[derive(Debug, Clone, Default)]
pub struct CatalogConfig {
    /// A folder of `*.gguf` files, named by their stems, and of folders, named as they are: Hugging Face ones, and those
    /// with a network, `model.pt2`, `model.pt`, `model.onnx` or `model.pth`, or with an exported one for each version in folders
    /// named `1`, `2` and so on, as in the repositories of Triton too.
    pub models_dir: Option<PathBuf>,
    /// Names with the file or folder that each stands for.
    pub named: Vec<(String, PathBuf)>,
}

/// What a model is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// It continues text.
    Text,
    /// It turns text into vectors.
    Embedding,
    /// It is a network, tensors in and tensors out.
    Network,
    /// It can't be used, and why.
    Unknown(String),
}

/// Where a model's files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// In the program.
    BuiltIn,
    /// A GGUF file, a Hugging Face folder, an exported network or the folder of one.
    Path(PathBuf),
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Location::BuiltIn => f.write_str("the program itself"),
            Location::Path(p) => write!(f, "{}", p.display()),
        }
    }
}

/// A model of the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name that requests use.
    pub name: String,
    /// Where its files are.
    pub location: Location,
    /// What it is for.
    pub kind: Kind,
    /// The architecture under its GGUF name, or the class of a network that is known by name; where it is known.
    pub architecture: Option<String>,
    /// The size of its files in bytes; of a folder, that of the weights and `config.json`.
    pub bytes: u64,
    /// When its files were last changed, in seconds of Unix time; for a built-in model, when it was made.
    pub created: u64,
    /// A sentence about it, for built-in models.
    pub note: Option<&'static str>,
    /// Where an exported network's files are; of several versions those of the newest. `None` for other models, and for what
    /// is a part of the program.
    pub place: Option<NetworkPlace>,
    /// The versions of a network that has folders of them, the newest first: entries of their own, called `NAME:VERSION`.
    pub versions: Vec<Entry>,
    /// The model that this is one of the versions of.
    pub version_of: Option<String>,
    /// Instances that its files want started, where they say so.
    pub instances: Option<usize>,
    /// What its files were when it was described.
    pub stamp: Stamp,
}

impl Entry {
    /// Its version: 1 unless it is one of several, or has several, and then the newest.
    pub fn version(&self) -> u64 {
        self.place.as_ref().map_or(1, |place| place.version)
    }

    /// The name of the model, which all of its versions have in common.
    pub fn model(&self) -> &str {
        self.version_of.as_deref().unwrap_or(&self.name)
    }

    /// The same under another name.
    fn called(&self, name: &str) -> Entry {
        let versions = self.versions.iter().map(|version| Entry {
            name: version_name(name, version.version()),
            version_of: Some(name.to_owned()),
            ..version.clone()
        });
        Entry {
            name: name.to_owned(),
            versions: versions.collect(),
            ..self.clone()
        }
    }

    /// Opens the model's files.
    ///
    /// # Errors
    /// They are unsound or of an unsupported kind; see [`Checkpoint::open`]. A network has none of a checkpoint's.
    pub fn open(&self) -> hearth_formats::Result<Checkpoint> {
        if self.kind == Kind::Network {
            let problem = "an exported network, which `/predict` of the server runs";
            return Err(hearth_formats::Error::unsupported(&self.name, problem));
        }
        match &self.location {
            Location::Path(path) => Checkpoint::open(path),
            Location::BuiltIn => {
                let model = BUILT_IN.iter().find(|m| m.name == self.name);
                let model = model.ok_or_else(|| {
                    hearth_formats::Error::unsupported(&self.name, "a built-in model of this name")
                })?;
                model.open()
            }
        }
    }

    /// Who the model belongs to: `hearth` for built-in ones, `local` for others.
    pub fn owned_by(&self) -> &'static str {
        match self.location {
            Location::BuiltIn => "hearth",
            Location::Path(_) => "local",
        }
    }
}

/// The models of this machine. Clones share what they remember.
#[derive(Debug, Clone)]
pub struct Catalog {
    config: CatalogConfig,
    known: Arc<Mutex<HashMap<PathBuf, (Stamp, Entry)>>>,
}

impl Catalog {
    /// A catalog of the built-in models and those that `config` names.
    ///
    /// # Errors
    /// The folder can't be read, a named path is not there, a name can't be used, or two models have the same name. A
    /// model that is there but unsound is no error: its entry says so.
    pub fn new(config: CatalogConfig) -> Result<Catalog, CatalogError> {
        for (_, path) in &config.named {
            std::fs::metadata(path).map_err(|source| CatalogError::Io {
                path: path.clone(),
                source,
            })?;
        }
        let catalog = Catalog {
            config,
            known: Arc::default(),
        };
        catalog.paths()?;
        Ok(catalog)
    }

    /// All models by name: the built-in ones, then the others.
    ///
    /// # Errors
    /// As [`Catalog::new`], by what has changed since.
    pub fn entries(&self) -> Result<Vec<Entry>, CatalogError> {
        let built_in = BUILT_IN.iter().map(|m| m.entry());
        let paths = self.paths()?;
        let others = paths.iter().map(|(name, path)| self.describe(name, path));
        Ok(built_in.chain(others).collect())
    }

    /// The model of that name, or `None`. `NAME:VERSION` is a version of the network `NAME`; of a network without folders of
    /// versions, version 1 is the network, unless a model is called so itself.
    ///
    /// # Errors
    /// As [`Catalog::new`], by what has changed since; not for built-in models.
    pub fn find(&self, name: &str) -> Result<Option<Entry>, CatalogError> {
        let found = self.find_model(name)?;
        let Some((model, version)) = split_version(name).filter(|_| found.is_none()) else {
            return Ok(found);
        };
        let entry = self.find_model(model)?;
        Ok(entry.and_then(|entry| match entry.versions.is_empty() {
            true => Some(entry).filter(|entry| entry.is_network() && version == 1),
            false => { entry.versions.into_iter() }.find(|own| own.version() == version),
        }))
    }

    fn find_model(&self, name: &str) -> Result<Option<Entry>, CatalogError> {
        if let Some(model) = BUILT_IN.iter().find(|m| m.name == name) {
            return Ok(Some(model.entry()));
        }
        let paths = self.paths()?;
        Ok(paths.get(name).map(|path| self.describe(name, path)))
    }

    /// The names and places of all models that are not built in.
    fn paths(&self) -> Result<BTreeMap<String, PathBuf>, CatalogError> {
        let mut paths: BTreeMap<String, PathBuf> = BTreeMap::new();
        let found = match &self.config.models_dir {
            Some(dir) => scan::models(dir)?,
            None => Vec::new(),
        };
        for (name, path) in self.config.named.iter().cloned().chain(found) {
            if let Err(problem) = name::check(&name) {
                return Err(CatalogError::Name {
                    name,
                    path,
                    problem,
                });
            }
            let clash = |first: String| CatalogError::Clash {
                name: name.clone(),
                first,
                second: path.display().to_string(),
            };
            if BUILT_IN.iter().any(|m| m.name == name) {
                return Err(clash("a built-in model".to_owned()));
            }
            if let Some(first) = paths.get(&name) {
                return Err(clash(first.display().to_string()));
            }
            paths.insert(name, path);
        }
        for (name, path) in &paths {
            let version = split_version(name);
            let network = version.and_then(|(model, version)| Some((paths.get(model)?, version)));
            if let Some((network, version)) = network
                && network::has_version(network, version)
            {
                return Err(CatalogError::Clash {
                    name: name.clone(),
                    first: format!("version {version} of {}", network.display()),
                    second: path.display().to_string(),
                });
            }
        }
        Ok(paths)
    }

    fn describe(&self, name: &str, path: &Path) -> Entry {
        let stamp = Stamp::of(path);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((then, entry)) = known.get(path)
            && *then == stamp
        {
            return entry.called(name);
        }
        let entry = describe::entry(name, path, &stamp);
        known.insert(path.to_owned(), (stamp, entry.clone()));
        entry
    }
}

/// What a version of a network is called.
pub fn version_name(model: &str, version: u64) -> String {
    format!("{model}:{version}")
}

/// A model's name and the version that stands behind it, where one does.
pub fn split_version(name: &str) -> Option<(&str, u64)> {
    let (model, version) = name.rsplit_once(':')?;
    Some((model, network::version(version.as_ref())?))
}
