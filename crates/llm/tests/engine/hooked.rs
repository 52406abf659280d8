//! Models that do something else before they compute: wait to be told, break, fail.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use hearth_kernels::{KvDType, Pool};
use hearth_llm::{Batch, EncoderModel, KvCache, ModelInfo, Result, Scratch, TextModel};

type OnForward = dyn FnMut(&Batch) + Send;
type OnLogits = dyn FnMut(&mut [f32]) + Send;
type OnCache = dyn Fn() -> Result<()> + Send + Sync;
type OnEncode = dyn FnMut(&[&[u32]]) -> Result<Effect> + Send;

/// A text model with hooks.
pub struct HookedText {
    inner: Arc<dyn TextModel>,
    on_forward: Mutex<Box<OnForward>>,
    on_logits: Mutex<Box<OnLogits>>,
    on_cache: Box<OnCache>,
}

impl HookedText {
    /// As `inner` is.
    pub fn new(inner: Arc<dyn TextModel>) -> Self {
        Self {
            inner,
            on_forward: Mutex::new(Box::new(|_| {})),
            on_logits: Mutex::new(Box::new(|_| {})),
            on_cache: Box::new(|| Ok(())),
        }
    }

    /// Calls `hook` before each step.
    pub fn on_forward(mut self, hook: impl FnMut(&Batch) + Send + 'static) -> Self {
        self.on_forward = Mutex::new(Box::new(hook));
        self
    }

    /// Calls `hook` with the logits of each step's wanted rows, `[n, V]`.
    pub fn on_logits(mut self, hook: impl FnMut(&mut [f32]) + Send + 'static) -> Self {
        self.on_logits = Mutex::new(Box::new(hook));
        self
    }

    /// Calls `hook` when a cache is asked for.
    pub fn on_cache(mut self, hook: impl Fn() -> Result<()> + Send + Sync + 'static) -> Self {
        self.on_cache = Box::new(hook);
        self
    }
}

impl TextModel for HookedText {
    fn info(&self) -> &ModelInfo {
        self.inner.info()
    }

    fn pool(&self) -> &Arc<Pool> {
        self.inner.pool()
    }

    fn forward(
        &self,
        batch: &Batch,
        cache: &mut KvCache,
        scratch: &mut Scratch,
        hidden: &mut Vec<f32>,
    ) {
        (self.on_forward.lock().unwrap())(batch);
        self.inner.forward(batch, cache, scratch, hidden);
    }

    fn logits(&self, hidden: &[f32], scratch: &mut Scratch, logits: &mut Vec<f32>) {
        self.inner.logits(hidden, scratch, logits);
        (self.on_logits.lock().unwrap())(logits);
    }

    fn new_cache(&self, blocks: usize, block_size: usize, dtype: KvDType) -> Result<KvCache> {
        (self.on_cache)()?;
        self.inner.new_cache(blocks, block_size, dtype)
    }
}

/// What becomes of an encoder's vectors.
pub enum Effect {
    Nothing,
    /// The vector of this sequence of the batch is NaN.
    Nan(usize),
}

/// An encoder with a hook.
pub struct HookedEncoder {
    inner: Arc<dyn EncoderModel>,
    on_encode: Mutex<Box<OnEncode>>,
}

impl HookedEncoder {
    /// Calls `hook` with each batch before it is computed.
    pub fn new(
        inner: Arc<dyn EncoderModel>,
        hook: impl FnMut(&[&[u32]]) -> Result<Effect> + Send + 'static,
    ) -> Self {
        Self {
            inner,
            on_encode: Mutex::new(Box::new(hook)),
        }
    }
}

impl EncoderModel for HookedEncoder {
    fn info(&self) -> &ModelInfo {
        self.inner.info()
    }

    fn pool(&self) -> &Arc<Pool> {
        self.inner.pool()
    }

    fn encode(&self, sequences: &[&[u32]], scratch: &mut Scratch) -> Result<Vec<f32>> {
        let effect = (self.on_encode.lock().unwrap())(sequences)?;
        let mut vectors = self.inner.encode(sequences, scratch)?;
        if let Effect::Nan(index) = effect {
            let hidden_size = self.info().hidden_size;
            vectors[index * hidden_size..][..hidden_size].fill(f32::NAN);
        }
        Ok(vectors)
    }
}

/// The test's end of a [`Turnstile`].
pub struct Control {
    arrived: Receiver<()>,
    go_on: Sender<()>,
}

/// A place where the model's thread waits until the test lets it go on.
pub struct Turnstile {
    arrived: Sender<()>,
    told: Receiver<()>,
}

/// A turnstile and its control.
pub fn turnstile() -> (Turnstile, Control) {
    let (arrived, arrivals) = channel();
    let (go_on, told) = channel();
    (
        Turnstile { arrived, told },
        Control {
            arrived: arrivals,
            go_on,
        },
    )
}

impl Turnstile {
    /// Waits to be let through; passes freely once the control is gone.
    pub fn pass(&self) {
        if self.arrived.send(()).is_ok() {
            let _ = self.told.recv();
        }
    }
}

impl Control {
    /// Waits until the thread has come to the turnstile.
    pub fn wait(&self) {
        self.arrived.recv().expect("the model's thread is there");
    }

    /// Lets it through once.
    pub fn let_through(&self) {
        self.go_on.send(()).expect("the model's thread is there");
    }
}
