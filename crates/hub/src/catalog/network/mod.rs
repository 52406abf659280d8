//! Networks: where their files lie, what is said about running them, and the files themselves.

mod config;
mod layout;
mod policy;
mod triton;

use std::path::{Path, PathBuf};

use hearth_formats::NetworkCheckpoint;
use hearth_formats::pt2::Pt2Archive;
use hearth_formats::torchscript::ScriptArchive;
use hearth_kernels::Bytes;

use super::built_in::BUILT_IN;
use super::meaning::NetworkMeaning;
use super::{Entry, Kind, Location};

pub use config::{NetworkConfig, NetworkEngine};
pub use layout::NetworkPlace;
pub(super) use layout::{Layout, is_exported, own_folder, version};
pub use policy::VersionPolicy;
pub use triton::DeclaredTensor;

/// Whether a folder is that of a network, or meant to be.
pub(super) fn is_model(folder: &Path) -> bool {
    Layout::of(folder).is_some() || Layout::missing(folder).is_some()
}

/// Whether the network at `path` has folders of versions, and that one.
pub(super) fn has_version(path: &Path, version: u64) -> bool {
    let layout = Layout::of(path).filter(|layout| layout.is_versioned);
    layout.is_some_and(|layout| layout.places.iter().any(|place| place.version == version))
}

/// A network's file, open.
#[derive(Debug)]
pub enum NetworkFile {
    /// A program of torch.export.
    Pt2(Box<Pt2Archive>),
    /// A module in TorchScript.
    Script(Box<ScriptArchive>),
    /// An ONNX model.
    Onnx(Bytes),
    /// A checkpoint of an architecture that is known by name.
    Checkpoint(Box<NetworkCheckpoint>),
}

impl NetworkFile {
    /// Reads the file of a network, which may be written to while it is served. An ONNX file is not looked into. A checkpoint, in
    /// its folder or file, is mapped: its graph is built when it is loaded, and then the map goes.
    ///
    /// # Errors
    /// It can't be read, or is no sound archive or checkpoint.
    pub fn open(path: &Path) -> hearth_formats::Result<NetworkFile> {
        if !is_exported(path) {
            return Ok(NetworkFile::Checkpoint(checkpoint(path)?.into()));
        }
        // A map would change with the file, or end before its end.
        let bytes = std::fs::read(path).map_err(|error| hearth_formats::Error::io(path, error))?;
        let bytes = Bytes::from(bytes);
        let label = path.display().to_string();
        match path.extension().and_then(|e| e.to_str()) {
            Some("pt2") => Ok(NetworkFile::Pt2(
                Pt2Archive::from_bytes(bytes, label)?.into(),
            )),
            Some("pt") => Ok(NetworkFile::Script(
                ScriptArchive::from_bytes(bytes, label)?.into(),
            )),
            _ => Ok(NetworkFile::Onnx(bytes)),
        }
    }
}

/// The checkpoint in a folder, of the class that is asked for in its `config.toml`, or in a file.
fn checkpoint(path: &Path) -> hearth_formats::Result<NetworkCheckpoint> {
    NetworkCheckpoint::open(path, layout::asked(path).as_deref())
}

/// The files that hold the weights of the network in `file`, or the one; of a checkpoint that can't be opened, none.
pub(super) fn files(file: &Path) -> Vec<PathBuf> {
    match is_exported(file) {
        true => vec![file.to_owned()],
        false => checkpoint(file).map_or_else(|_| Vec::new(), |checkpoint| checkpoint.files()),
    }
}

/// The class of a checkpoint, of which only the headers are read; `None` for exported networks.
///
/// # Errors
/// A sentence: why it can't be opened.
pub(super) fn class(place: &NetworkPlace) -> Result<Option<&'static str>, String> {
    if is_exported(&place.file) {
        return Ok(None);
    }
    let checkpoint = checkpoint(&place.file).map_err(|error| error.to_string())?;
    Ok(Some(checkpoint.class()))
}

impl Entry {
    /// Whether its file is that of a network, usable or not.
    pub fn is_network(&self) -> bool {
        self.kind == Kind::Network || self.place.is_some()
    }

    /// The file of a network, of its newest version where there are several, or the folder of a checkpoint; `None` for other models,
    /// and for what is a part of the program.
    pub fn network_path(&self) -> Option<PathBuf> {
        self.place.as_ref().map(|place| place.file.clone())
    }

    /// Opens an exported network, the newest version where there are several.
    ///
    /// # Errors
    /// The file can't be read or is no sound archive; the model is no network. An ONNX file is not looked into here.
    pub fn open_network(&self) -> hearth_formats::Result<NetworkFile> {
        let no_network =
            || hearth_formats::Error::unsupported(&self.name, "a model that is no network");
        match &self.location {
            Location::Path(_) => {
                NetworkFile::open(&self.place.as_ref().ok_or_else(no_network)?.file)
            }
            Location::BuiltIn => {
                let model = BUILT_IN.iter().find(|model| model.name == self.name);
                model.ok_or_else(no_network)?.open_network()
            }
        }
    }

    /// How the network is run.
    ///
    /// # Errors
    /// A sentence: which file is wrong, and what.
    pub fn network_config(&self) -> Result<NetworkConfig, String> {
        match (&self.place, &self.location) {
            (Some(place), _) => NetworkConfig::of(place),
            (None, Location::Path(_)) => Ok(NetworkConfig::default()),
            (None, Location::BuiltIn) => {
                let model = BUILT_IN.iter().find(|model| model.name == self.name);
                NetworkConfig::built_in(model.map_or("", |model| model.config))
            }
        }
    }

    /// What the files beside the network say about its inputs and outputs, `config` among them.
    ///
    /// # Errors
    /// A sentence: which file is wrong, and what.
    pub fn network_meaning(&self, config: &NetworkConfig) -> Result<NetworkMeaning, String> {
        NetworkMeaning::read(config, |name| self.place.as_ref()?.beside(name))
    }
}
