//! The engine: many requests for text, one model.
//!
//! An [`Engine`] owns a thread that computes steps over a paged KV cache. A request is validated
//! and admitted or refused when it is submitted ([`Engine::submit`]); what was admitted answers
//! through its [`Generation`], a stream of [`Event`]s, and is cancelled by dropping that.
//!
//! The tokens and scores of an answer depend on the request and its seed alone: not on what else
//! runs, on how the prompt is cut into steps, on what the prefix cache holds, on preemption or on
//! the number of threads. That rests on the model's promise that a row's numbers depend on its
//! sequence's tokens alone ([`TextModel`]), and on draws that depend on seed and index alone
//! ([`crate::sampling`]).

mod answer;
mod blocks;
mod config;
mod deal;
mod draft;
mod error;
mod event;
mod gate;
mod generation;
mod pace;
mod request;
mod resume;
mod scheduler;
mod sequence;
mod speculate;
mod stats;
mod stop;
mod thread;
mod worker;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::mpsc::unbounded_channel;

pub use config::{EngineConfig, Speculation};
pub use error::EngineError;
pub use event::{Event, FinishReason, Timings, TokenLogprobs, Usage};
pub use generation::Generation;
pub use request::{DEFAULT_PRIORITY, GenerateRequest, MAX_LOGPROBS, MAX_PRIORITY};
pub use stats::EngineStats;

use crate::model::TextModel;
use crate::pages::{ModelPages, PageHash};
use crate::sampling::random_seed;
use crate::tokenizer::Tokenizer;
use answer::Answer;
pub(crate) use gate::{Gate, Permit, Status};
use resume::Resume;
pub(crate) use thread::{ComputeThread, Work};
use worker::{Submission, Worker};

/// How an engine ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// After all that was admitted has been answered.
    Drain,
    /// At once; what is under way fails with [`EngineError::ShuttingDown`].
    Abort,
}

/// A model at work. Dropping it aborts what is under way.
pub struct Engine {
    thread: ComputeThread<Box<Submission>>,
    gate: Arc<Gate>,
    stats: Arc<Mutex<EngineStats>>,
    tokenizer: Arc<Tokenizer>,
    vocab_size: usize,
    context_length: usize,
    cache_bytes: usize,
}

impl Engine {
    /// Allocates the KV cache and starts the engine's thread.
    ///
    /// # Errors
    /// [`EngineError::Start`] where the settings make no sense, or memory or a thread is refused.
    pub fn start(
        model: Arc<dyn TextModel>,
        tokenizer: Arc<Tokenizer>,
        config: EngineConfig,
    ) -> Result<Self, EngineError> {
        Self::start_with(model, tokenizer, config, None)
    }

    /// As [`start`](Self::start); computed prefixes come from `pages` and go there when the engine ends.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_with_pages(
        model: Arc<dyn TextModel>,
        tokenizer: Arc<Tokenizer>,
        config: EngineConfig,
        pages: ModelPages,
    ) -> Result<Self, EngineError> {
        Self::start_with(model, tokenizer, config, Some(pages))
    }

    fn start_with(
        model: Arc<dyn TextModel>,
        tokenizer: Arc<Tokenizer>,
        config: EngineConfig,
        pages: Option<ModelPages>,
    ) -> Result<Self, EngineError> {
        let blocks = config.cache_blocks(&*model)?;
        let cache = model
            .new_cache(blocks, config.block_size, config.kv_dtype)
            .map_err(|error| EngineError::Start {
                message: format!(
                    "a KV cache of {blocks} blocks of {} tokens: {error}",
                    config.block_size
                ),
            })?;
        let cache_bytes = cache.memory_bytes();
        let info = model.info();
        let vocab_size = info.vocab_size;
        let context_length = info.context_length.min(blocks * config.block_size);
        let gate = Arc::new(Gate::new(
            config.max_sequences.saturating_add(config.queue_limit),
        ));
        let stats = Arc::new(Mutex::new(EngineStats::default()));
        let resume = pages.map(|pages| {
            let kv_dtype = format!("{:?}", config.kv_dtype);
            let (size, bytes) = (cache.block_size(), cache.block_bytes());
            let root = PageHash::root(&pages.model, &kv_dtype, size, bytes);
            Resume::new(pages.store, root, &cache)
        });
        let worker = Worker::new(
            model,
            Arc::clone(&gate),
            cache,
            &config,
            resume,
            Arc::clone(&stats),
        );
        let thread = ComputeThread::start("engine", Arc::clone(&gate), worker)?;
        Ok(Self {
            thread,
            gate,
            stats,
            tokenizer,
            vocab_size,
            context_length,
            cache_bytes,
        })
    }

    /// Validates and admits a request. Does not block.
    ///
    /// # Errors
    /// [`EngineError::InvalidParameter`], [`EngineError::ContextLength`] for a prompt that does
    /// not fit, [`EngineError::QueueFull`], [`EngineError::Deadline`] where it has passed already,
    /// [`EngineError::ShuttingDown`], [`EngineError::Unhealthy`].
    pub fn submit(&self, mut request: GenerateRequest) -> Result<Generation, EngineError> {
        request.validate(self.vocab_size, self.context_length)?;
        let submitted = Instant::now();
        if request.deadline.is_some_and(|at| at <= submitted) {
            return Err(EngineError::Deadline);
        }
        let permit = self.gate.admit()?;
        let seed = request.sampling.seed.unwrap_or_else(random_seed);
        let (sender, events) = unbounded_channel();
        let answer = Answer::new(
            &mut request,
            seed,
            self.context_length,
            &self.tokenizer,
            sender,
            permit,
            submitted,
        );
        let submission = Submission {
            prompt: request.prompt,
            priority: request.priority,
            submitted,
            answer,
        };
        self.thread.submit(Box::new(submission))?;
        Ok(Generation::new(events, Arc::clone(&self.gate), seed))
    }

    /// Tokens that a sequence can have, prompt and answer together: the model's context length, or
    /// the KV cache's size where that is less.
    pub fn context_length(&self) -> usize {
        self.context_length
    }

    /// Bytes of the KV cache.
    pub fn cache_bytes(&self) -> usize {
        self.cache_bytes
    }

    /// What it is doing and has done, as of its last step.
    pub fn stats(&self) -> EngineStats {
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it takes requests.
    ///
    /// # Errors
    /// [`EngineError::ShuttingDown`], or [`EngineError::Unhealthy`] after a panic.
    pub fn health(&self) -> Result<(), EngineError> {
        self.gate.health()
    }

    /// Takes no more requests and ends the thread as told; blocks until it has ended. A later call
    /// may turn [`Shutdown::Drain`] into [`Shutdown::Abort`].
    pub fn shutdown(&self, how: Shutdown) {
        self.thread.shutdown(how);
    }
}
