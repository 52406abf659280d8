//! The models by name: listed, loaded when they are asked for, kept, unloaded.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hearth_hub::catalog::{Catalog, Entry, Fault, Kind, Location, Sound};
use hearth_kernels::Pool;
use hearth_llm::engine::Shutdown;
use serde::Serialize;

use crate::backends::{self, Shared};
use crate::clock::Clock;
use crate::config::RuntimeConfig;
use crate::engine::ModelKind;
use crate::events::{EventStream, ModelEvent};
use crate::heads::Heads;
use crate::lease::Lease;
use crate::manager::{Ask, LoadRequest, LoadedModel, Manager, ModelStatus, RuntimeStats, blocking};
use crate::meter::ModelMetrics;
use crate::preparation::Preparation;
use crate::progress::Loading;
use crate::series::Series;
use crate::{EmbeddingService, Error, NetworkService, TextService};

/// A model that the catalog knows, or another name of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelEntry {
    /// The name by which requests ask for it.
    pub name: String,
    /// Unix time in seconds at which its file was last changed; 0 if that is not known.
    pub created: u64,
    /// `hearth` for built-in models, `local` for files of this machine.
    pub owned_by: String,
    /// What it is for; `None` where it cannot be used.
    pub kind: Option<ModelKind>,
    /// Why it cannot be used.
    pub problem: Option<String>,
    /// The model that this name stands for, where it is an alias.
    pub alias_of: Option<String>,
    /// Bytes of its files.
    pub bytes: u64,
    /// The architecture's GGUF name, where it is known.
    pub architecture: Option<String>,
    /// A sentence about it, for built-in models.
    pub note: Option<String>,
    /// What kind of files it has.
    pub format: ModelFormat,
    /// Where they are; `None` for a part of the program.
    pub path: Option<PathBuf>,
    /// Its versions, the newest first; one, called 1, where it has no folders of them.
    pub versions: Vec<ModelVersion>,
}

/// A version of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelVersion {
    /// Its number.
    pub number: u64,
    /// The name by which requests ask for it.
    pub name: String,
}

/// What kind of files a model has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ModelFormat {
    /// A GGUF file.
    Gguf,
    /// A folder as Hugging Face has them.
    HuggingFace,
    /// A program of torch.export.
    Pt2,
    /// A module in TorchScript.
    TorchScript,
    /// An ONNX model.
    Onnx,
    /// A state dict of a network by itself.
    PyTorch,
}

impl std::fmt::Display for ModelFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Gguf => "gguf",
            Self::HuggingFace => "huggingface",
            Self::Pt2 => "pt2",
            Self::TorchScript => "torchscript",
            Self::Onnx => "onnx",
            Self::PyTorch => "pytorch",
        })
    }
}

/// The models of this process.
pub struct Runtime {
    manager: Arc<Manager>,
    heads: Arc<Heads>,
}

impl Runtime {
    /// A runtime for the models of `catalog`, none of which is loaded yet.
    pub fn new(catalog: Catalog, config: RuntimeConfig) -> Arc<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = config.threads.unwrap_or(cores).max(1);
        let config = Arc::new(config);
        let shared = Shared {
            pool: Arc::new(Pool::new(threads)),
            config: Arc::clone(&config),
            preparation: Preparation::new(cores),
        };
        let backends = backends::all(&shared);
        let manager = Manager::new(catalog, config, backends, Clock::system());
        Arc::new(Self {
            manager,
            heads: Arc::default(),
        })
    }

    /// Every model there is, of every kind, loaded or not, then the aliases of those.
    ///
    /// # Errors
    /// [`Error::Internal`] if the folder of models cannot be read.
    pub async fn models(&self) -> Result<Vec<ModelEntry>, Error> {
        let entries = self.manager.look(Catalog::entries).await?;
        let aliases = self.manager.config.aliases.iter();
        let aliases = aliases.filter(|(alias, _)| entries.iter().all(|e| e.name != **alias));
        let aliases = aliases.filter_map(|(alias, target)| {
            let entry = entries.iter().find(|entry| entry.name == *target)?;
            Some(self.alias(alias, entry))
        });
        let models = entries.iter().map(|entry| self.entry(entry));
        Ok(models.chain(aliases).collect())
    }

    /// The numbers of weights of models, loaded or not, by their names; those whose files do not tell are left out.
    ///
    /// # Errors
    /// [`Error::Internal`] if the folder of models cannot be read.
    pub async fn parameters(&self) -> Result<BTreeMap<String, u64>, Error> {
        let heads = Arc::clone(&self.heads);
        let read = move |catalog: &Catalog| Ok(heads.parameters(&catalog.entries()?));
        self.manager.look(read).await
    }

    /// The model called `name`, or the alias.
    ///
    /// # Errors
    /// [`Error::NotFound`], which lists the names there are.
    pub async fn model(&self, name: &str) -> Result<ModelEntry, Error> {
        let entry = self.manager.find(name).await?;
        Ok(match entry.name == name {
            true => self.entry(&entry),
            false => self.alias(name, &entry),
        })
    }

    /// The model that an alias stands for; other names are their own.
    pub fn resolve(&self, name: &str) -> String {
        self.manager.resolve(name).to_owned()
    }

    /// The text model called `name`, loaded if it is not yet, with a place for a request at one of its instances.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::InvalidInput`] if it is a model of another kind; [`Error::Overloaded`] where as
    /// many wait as may; [`Error::Deadline`]; [`Error::Loading`] if the load takes longer than it would wait; why it
    /// cannot be loaded; [`Error::ShuttingDown`].
    pub async fn text(&self, name: &str, ask: Ask) -> Result<Lease<TextService>, Error> {
        let hold = self.manager.acquire(name, ModelKind::Text, ask).await?;
        match Arc::clone(hold.engine()).text() {
            Some(service) => Ok(Lease::new(service, hold)),
            None => Err(not_as_told(name)),
        }
    }

    /// The embedding model called `name`, likewise.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub async fn embedding(&self, name: &str, ask: Ask) -> Result<Lease<EmbeddingService>, Error> {
        let hold = self
            .manager
            .acquire(name, ModelKind::Embedding, ask)
            .await?;
        match Arc::clone(hold.engine()).embedding() {
            Some(service) => Ok(Lease::new(service, hold)),
            None => Err(not_as_told(name)),
        }
    }

    /// The exported network called `name`, likewise.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub async fn network(&self, name: &str, ask: Ask) -> Result<Lease<NetworkService>, Error> {
        let hold = self.manager.acquire(name, ModelKind::Network, ask).await?;
        match Arc::clone(hold.engine()).network() {
            Some(service) => Ok(Lease::new(service, hold)),
            None => Err(not_as_told(name)),
        }
    }

    /// Begins to load a model, or joins its load; answers at once. A model that is loaded as asked gives a load that is
    /// done.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::InvalidInput`], [`Error::ShuttingDown`]; [`Error::Conflict`] while it is being
    /// loaded in another way. Why a load fails is told by what is returned.
    pub async fn load(&self, name: &str, request: LoadRequest) -> Result<Loading, Error> {
        self.manager.load(name, request).await
    }

    /// The load of a model that is under way, if one is.
    pub fn loading(&self, name: &str) -> Option<Loading> {
        self.manager.loading(name)
    }

    /// Begins to load all versions of a network, the newest first, as [`Self::load`] does; of another model the one.
    ///
    /// # Errors
    /// As of [`Self::load`].
    pub async fn load_versions(
        &self,
        name: &str,
        request: LoadRequest,
    ) -> Result<Vec<Loading>, Error> {
        self.manager.load_versions(name, request).await
    }

    /// Unloads a model, with all of its versions; answers when its memory is free, whether there was anything to unload.
    /// Running requests are finished first, or cut by `force`; a load is ended.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] where the model is pinned.
    pub async fn unload(&self, name: &str, force: bool) -> Result<bool, Error> {
        self.manager.unload(name, force).await
    }

    /// Unloads a model and removes its files, where they lie in the folder of models. Running requests are finished first.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] where it is a part of the program, lies elsewhere or is pinned, or where the
    /// name is an alias.
    pub async fn delete(&self, name: &str) -> Result<(), Error> {
        self.manager.delete(name).await
    }

    /// Reads a model's files to the end, and answers whether they are sound.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn verify(&self, name: &str) -> Result<Result<Sound, Fault>, Error> {
        let entry = self.manager.find(name).await?;
        let backend = Arc::clone(self.manager.backend(&entry));
        let verify = move || {
            let mut all = backend.verify(&entry)?;
            // The first of the versions is what the model itself stands for.
            for version in entry.versions.iter().skip(1) {
                let Sound {
                    tensors,
                    bytes,
                    hashed_files,
                } = backend.verify(version)?;
                all.tensors += tensors;
                all.bytes += bytes;
                all.hashed_files += hashed_files;
            }
            Ok(all)
        };
        blocking("verifying a model", move || Ok(verify())).await
    }

    /// Gives a model so many instances, all over the same weights, and answers how many it has then; 0 unloads it.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] above [`Self::max_instances`], [`Error::InsufficientMemory`], and those of
    /// [`Self::load`] and [`Self::unload`].
    pub async fn scale(&self, name: &str, instances: usize) -> Result<usize, Error> {
        self.manager.scale(name, instances).await
    }

    /// Most instances that a model may have.
    pub fn max_instances(&self) -> usize {
        self.manager.config.max_instances
    }

    /// Has a model stay whether it is used or not, or no longer. Does not load it.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn pin(&self, name: &str, pinned: bool) -> Result<(), Error> {
        self.manager.pin(name, pinned).await
    }

    /// Looks at the models again and again until the runtime goes. A model whose files have changed, or that has got a newer
    /// version, is loaded anew before requests go to that, once nothing has been written to its files for some seconds; what
    /// cannot be loaded leaves the former one where it is. Models whose files are gone are unloaded.
    pub fn watch(&self) -> impl Future<Output = ()> + Send + use<> {
        Arc::clone(&self.manager).watch()
    }

    /// Loads the models that the settings pin, and waits for them. What cannot be loaded is logged.
    pub async fn preload(&self) {
        let models = self.manager.config.models.iter();
        let pinned = models.filter(|(_, settings)| settings.pinned);
        let mut loads = Vec::new();
        for (name, _) in pinned {
            loads.push((name, self.load(name, LoadRequest::default()).await));
        }
        for (name, load) in loads {
            let outcome = match load {
                Ok(loading) => loading.wait().await,
                Err(error) => Err(error),
            };
            if let Err(error) = outcome {
                tracing::error!(model = name, %error, "a pinned model is not loaded");
            }
        }
    }

    /// The models that are loaded, in the order of their names.
    pub fn loaded(&self) -> Vec<LoadedModel> {
        self.manager.loaded()
    }

    /// Where a model stands.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn status(&self, name: &str) -> Result<ModelStatus, Error> {
        self.manager.status(name).await
    }

    /// Where each version of a model stands, the newest first; of most models there is one.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn version_statuses(&self, name: &str) -> Result<Vec<ModelStatus>, Error> {
        self.manager.version_statuses(name).await
    }

    /// Where each version of every model stands.
    ///
    /// # Errors
    /// [`Error::Internal`] if the folder of models cannot be read.
    pub async fn all_version_statuses(&self) -> Result<Vec<ModelStatus>, Error> {
        self.manager.all_version_statuses().await
    }

    /// The network that the name `NAME:VERSION` is of a version of, as far as that was seen.
    pub fn version_of(&self, name: &str) -> Option<String> {
        self.manager.version_of(name)
    }

    /// Looks which versions the network `model` has, for [`Self::version_of`]: it may have got one since the last look.
    pub async fn note_versions(&self, model: &str) {
        self.manager.note_versions(model).await;
    }

    /// The versions that a network has, the newest first, as of the last look at its folder, which [`Self::watch`] takes every two
    /// seconds; `None` where nobody has looked.
    pub fn known_versions(&self, name: &str) -> Option<Vec<u64>> {
        self.manager.known_versions(name)
    }

    /// The name of a version of a model, where it is loaded; what is not has to be looked up.
    pub fn loaded_version(&self, model: &str, version: u64) -> Option<String> {
        let model = self.manager.resolve(model);
        self.manager.loaded_version(model, version)
    }

    /// Where every model stands, loaded or not; versions of a network together.
    ///
    /// # Errors
    /// [`Error::Internal`] if the folder of models cannot be read.
    pub async fn statuses(&self) -> Result<Vec<ModelStatus>, Error> {
        self.manager.statuses().await
    }

    /// The runtime as a whole.
    pub fn stats(&self) -> RuntimeStats {
        self.manager.stats()
    }

    /// What was counted over the last `window`, up to a day, in at most 60 equally long stretches.
    pub fn series(&self, window: Duration) -> Series {
        self.manager.series(window)
    }

    /// What was counted of a model; `None` before anybody has asked for it.
    pub fn metrics(&self, name: &str) -> Option<ModelMetrics> {
        self.manager.metrics(name)
    }

    /// What happens to models from now on.
    pub fn events(&self) -> EventStream {
        self.manager.events.listen()
    }

    /// What has happened to models, oldest first; the last thousand events, progress left out.
    pub fn history(&self) -> Vec<ModelEvent> {
        self.manager.events.history()
    }

    /// Takes no more requests and ends all engines as told; answers when they have ended.
    pub async fn shutdown(&self, how: Shutdown) {
        self.manager.shutdown(how).await;
    }

    fn entry(&self, entry: &Entry) -> ModelEntry {
        let path = match &entry.location {
            Location::BuiltIn => None,
            Location::Path(path) => Some(path.clone()),
        };
        ModelEntry {
            name: entry.name.clone(),
            created: entry.created,
            owned_by: entry.owned_by().to_owned(),
            kind: self.manager.kind(entry),
            problem: match &entry.kind {
                Kind::Unknown(problem) => Some(problem.clone()),
                _ => None,
            },
            alias_of: None,
            bytes: entry.bytes,
            architecture: entry.architecture.clone(),
            note: entry.note.map(str::to_owned),
            format: match &path {
                _ if entry.is_network() => network_format(entry),
                Some(path) if path.is_dir() => ModelFormat::HuggingFace,
                _ => ModelFormat::Gguf,
            },
            versions: match entry.versions.as_slice() {
                [] => vec![version(entry)],
                versions => versions.iter().map(version).collect(),
            },
            path,
        }
    }

    fn alias(&self, alias: &str, entry: &Entry) -> ModelEntry {
        ModelEntry {
            name: alias.to_owned(),
            alias_of: Some(entry.name.clone()),
            ..self.entry(entry)
        }
    }
}

fn version(entry: &Entry) -> ModelVersion {
    ModelVersion {
        number: entry.version(),
        name: entry.name.clone(),
    }
}

/// What kind of file a network is.
fn network_format(entry: &Entry) -> ModelFormat {
    let Some(path) = entry.network_path() else {
        return ModelFormat::Pt2;
    };
    match path.extension().and_then(|e| e.to_str()) {
        Some("pt2") => ModelFormat::Pt2,
        Some("pt") => ModelFormat::TorchScript,
        Some("onnx") => ModelFormat::Onnx,
        _ if path.is_dir() => ModelFormat::HuggingFace,
        _ => ModelFormat::PyTorch,
    }
}

/// A model that is of another kind than its headers say.
fn not_as_told(name: &str) -> Error {
    Error::Internal {
        message: format!("model '{name}' is of another kind than its headers say"),
    }
}
