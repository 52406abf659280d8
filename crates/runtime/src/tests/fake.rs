//! Models that cost nothing, whose loads and sizes tests hold in their hands.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use hearth_hub::Entry;
use hearth_hub::catalog::{Catalog, CatalogConfig};
use hearth_llm::engine::Shutdown;
use hearth_llm::{LoadObserver, ModelInfo};

use crate::Error;
use crate::clock::Clock;
use crate::config::RuntimeConfig;
use crate::engine::{Backend, Engine, Job, ModelKind, Need, Weights};
use crate::figures::Figures;
use crate::manager::{Ask, Hold, Manager};

/// Bytes of an instance of any model.
pub const INSTANCE: u64 = 10;

/// What the fakes do, and what they have seen.
#[derive(Default)]
pub struct Controls {
    /// Bytes of each model's weights.
    pub sizes: BTreeMap<String, u64>,
    /// Models whose load waits for its gate before the first and the second half of its bytes, and `start of MODEL`
    /// whose engines wait for theirs before they start.
    gates: Mutex<BTreeMap<String, Receiver<()>>>,
    /// Models whose load fails.
    pub failing: Mutex<BTreeSet<String>>,
    /// Loads that were begun, in their order.
    pub loads: Mutex<Vec<String>>,
    /// Bytes that are really there, and the most that ever were.
    held: AtomicU64,
    pub most: AtomicU64,
    /// Engines that were cut.
    pub aborted: AtomicU64,
    /// Engines that have failed answer so.
    pub broken: AtomicBool,
}

impl Controls {
    fn hold(&self, bytes: u64) {
        let held = self.held.fetch_add(bytes, Ordering::SeqCst) + bytes;
        self.most.fetch_max(held, Ordering::SeqCst);
    }

    fn free(&self, bytes: u64) {
        self.held.fetch_sub(bytes, Ordering::SeqCst);
    }

    /// Bytes that are really there.
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::SeqCst)
    }

    /// How often a model's load was begun.
    pub fn loads_of(&self, name: &str) -> usize {
        let loads = self.loads.lock().unwrap();
        loads.iter().filter(|loaded| *loaded == name).count()
    }

    /// From now on, a model's loads wait at a gate that the answer opens.
    pub fn gate(&self, name: &str) -> Sender<()> {
        let (open, gate) = channel();
        self.gates.lock().unwrap().insert(name.into(), gate);
        open
    }

    /// Whether somebody waits at a gate that is closed.
    pub fn waits_at(&self, name: &str) -> bool {
        !self.gates.lock().unwrap().contains_key(name)
    }

    fn pass_gate(&self, name: &str) {
        // While somebody waits, the gate is not there.
        let gate = self.gates.lock().unwrap().remove(name);
        if let Some(gate) = gate {
            // A gate whose key is gone is open.
            let open = gate.recv();
            if open.is_ok() {
                self.gates.lock().unwrap().insert(name.into(), gate);
            }
        }
    }
}

struct Fakes(Arc<Controls>);

impl Backend for Fakes {
    fn kind(&self) -> ModelKind {
        ModelKind::Text
    }

    fn takes(&self, _: &Entry) -> bool {
        true
    }

    fn concurrency(&self) -> usize {
        2
    }

    fn predict(&self, job: &Job) -> Result<Need, Error> {
        let bytes = self.0.sizes.get(&job.entry.name).copied();
        let bytes = bytes.unwrap_or(job.entry.bytes);
        Ok(Need {
            read: bytes,
            weights: bytes,
            cache: INSTANCE,
            scratch: 0,
        })
    }

    fn load(
        &self,
        job: &Job,
        need: Need,
        observer: &dyn LoadObserver,
    ) -> Result<Box<dyn Weights>, Error> {
        let name = job.entry.name.clone();
        self.0.loads.lock().unwrap().push(name.clone());
        let weights = FakeWeights {
            name: name.clone(),
            controls: Arc::clone(&self.0),
            bytes: need.weights,
        };
        self.0.hold(need.weights);
        for half in [need.read / 2, need.read] {
            self.0.pass_gate(&name);
            if !observer.loaded(half) {
                return Err(Error::Cancelled);
            }
        }
        if self.0.failing.lock().unwrap().contains(&name) {
            return Err(Error::Internal {
                message: format!("{name} is torn"),
            });
        }
        Ok(Box::new(weights))
    }
}

struct FakeWeights {
    name: String,
    controls: Arc<Controls>,
    bytes: u64,
}

impl Drop for FakeWeights {
    fn drop(&mut self) {
        self.controls.free(self.bytes);
    }
}

impl Weights for FakeWeights {
    fn memory_bytes(&self) -> u64 {
        self.bytes
    }

    fn info(&self) -> Option<&ModelInfo> {
        None
    }

    fn start(&self) -> Result<Arc<dyn Engine>, Error> {
        self.controls.pass_gate(&format!("start of {}", self.name));
        self.controls.hold(INSTANCE);
        Ok(Arc::new(FakeEngine {
            controls: Arc::clone(&self.controls),
            running: AtomicBool::new(true),
        }))
    }
}

struct FakeEngine {
    controls: Arc<Controls>,
    running: AtomicBool,
}

impl Engine for FakeEngine {
    fn memory_bytes(&self) -> u64 {
        INSTANCE
    }

    fn health(&self) -> Result<(), Error> {
        match self.controls.broken.load(Ordering::SeqCst) {
            false => Ok(()),
            true => Err(Error::Internal {
                message: "it has panicked".into(),
            }),
        }
    }

    fn figures(&self) -> Option<Figures> {
        None
    }

    fn shutdown(&self, how: Shutdown) {
        if self.running.swap(false, Ordering::SeqCst) {
            self.controls.free(INSTANCE);
            if how == Shutdown::Abort {
                self.controls.aborted.fetch_add(1, Ordering::SeqCst);
            }
            // What was broken is gone.
            self.controls.broken.store(false, Ordering::SeqCst);
        }
    }
}

impl Drop for FakeEngine {
    fn drop(&mut self) {
        self.shutdown(Shutdown::Abort);
    }
}

/// A runtime of fakes.
pub struct Stage {
    pub manager: Arc<Manager>,
    pub controls: Arc<Controls>,
    pub clock: Clock,
    pub folder: tempfile::TempDir,
}

/// A runtime of models with weights of so many bytes.
pub fn stage(sizes: &[(&str, u64)], config: RuntimeConfig) -> Stage {
    let folder = tempfile::tempdir().expect("a folder");
    let named = sizes.iter().map(|(name, _)| {
        let path = folder.path().join(format!("{name}.gguf"));
        std::fs::write(&path, "not a model").expect("written");
        (name.to_string(), path)
    });
    let config_of_catalog = CatalogConfig {
        named: named.collect(),
        ..CatalogConfig::default()
    };
    make(folder, config_of_catalog, sizes, config)
}

/// A runtime of the models in a folder, whose weights have as many bytes as their files.
pub fn stage_of_folder(config: RuntimeConfig) -> Stage {
    let folder = tempfile::tempdir().expect("a folder");
    let config_of_catalog = CatalogConfig {
        models_dir: Some(folder.path().to_owned()),
        ..CatalogConfig::default()
    };
    make(folder, config_of_catalog, &[], config)
}

fn make(
    folder: tempfile::TempDir,
    config_of_catalog: CatalogConfig,
    sizes: &[(&str, u64)],
    config: RuntimeConfig,
) -> Stage {
    let catalog = Catalog::new(config_of_catalog).expect("models with good names");
    let controls = Arc::new(Controls {
        sizes: sizes.iter().map(|(n, b)| (n.to_string(), *b)).collect(),
        ..Controls::default()
    });
    let clock = Clock::manual();
    let backends: Vec<Arc<dyn Backend>> = vec![Arc::new(Fakes(Arc::clone(&controls)))];
    let manager = Manager::new(catalog, Arc::new(config), backends, clock.clone());
    Stage {
        manager,
        controls,
        clock,
        folder,
    }
}

impl Stage {
    pub async fn ask(&self, name: &str, ask: Ask) -> Result<Hold, Error> {
        self.manager.acquire(name, ModelKind::Text, ask).await
    }

    /// A place at a model, which has to come.
    pub async fn hold(&self, name: &str) -> Hold {
        let asked = self.ask(name, Ask::default()).await;
        asked.unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Somebody who waits for a place meanwhile.
    pub fn waiter(&self, name: &str, ask: Ask) -> tokio::task::JoinHandle<Result<Hold, Error>> {
        let (manager, name) = (Arc::clone(&self.manager), name.to_owned());
        tokio::spawn(async move { manager.acquire(&name, ModelKind::Text, ask).await })
    }

    pub fn loaded(&self) -> Vec<String> {
        let loaded = self.manager.loaded().into_iter();
        loaded.map(|model| model.name).collect()
    }

    /// Lets everything go on until `seen`.
    pub async fn until(&self, what: &str, seen: impl Fn(&Stage) -> bool) {
        let patience = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while !seen(self) {
            assert!(std::time::Instant::now() < patience, "never: {what}");
            tokio::task::yield_now().await;
        }
    }

    /// Waits until so many wait for a model.
    pub async fn until_waiting(&self, name: &str, count: usize) {
        self.until("waiting", |stage| {
            let house = stage.manager.lock();
            house.slots.get(name).map_or(0, |slot| slot.queue.len()) == count
        })
        .await;
    }
}
