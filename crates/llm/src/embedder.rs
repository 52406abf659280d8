//! Embeddings: many callers, one encoder.
//!
//! An [`Embedder`] owns a thread that takes inputs from all waiting requests in turn, so that a
//! large request delays a small one by a batch at most, and computes as many at a time as its token
//! budget holds. Nothing is padded, and an input's vector is that of the input alone, whatever
//! shares its batch ([`EncoderModel::encode`]).

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvError, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::oneshot;

use crate::engine::{EngineError, Gate, Permit, Shutdown, Status, panic_message};
use crate::model::EncoderModel;
use crate::models::Scratch;

/// Settings of an [`Embedder`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbedderConfig {
    /// Tokens of one batch; an input that is longer is computed alone. Default 2048.
    pub max_batch_tokens: usize,
    /// Requests that are admitted at a time. Default 256.
    pub queue_limit: usize,
}

impl Default for EmbedderConfig {
    fn default() -> Self {
        Self {
            max_batch_tokens: 2048,
            queue_limit: 256,
        }
    }
}

/// What an embedder is doing, and has done since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EmbedderStats {
    /// Requests that are not yet answered.
    pub waiting: usize,
    /// Inputs computed.
    pub inputs: u64,
    /// Their tokens.
    pub tokens: u64,
    /// Batches that they were computed in.
    pub batches: u64,
    /// Requests whose caller went away.
    pub cancelled: u64,
}

/// An encoder at work. Dropping it aborts what is under way.
pub struct Embedder {
    commands: Sender<Command>,
    thread: Mutex<Option<JoinHandle<()>>>,
    gate: Arc<Gate>,
    stats: Arc<Mutex<EmbedderStats>>,
    vocab_size: usize,
    context_length: usize,
}

type Answer = Result<Vec<Vec<f32>>, EngineError>;

enum Command {
    Embed(Request),
    Shutdown(Shutdown),
}

struct Request {
    inputs: Vec<Vec<u32>>,
    /// Inputs before this one are computed, or in the batch under way.
    taken: usize,
    vectors: Vec<Vec<f32>>,
    deadline: Option<Instant>,
    answer: oneshot::Sender<Answer>,
    _permit: Permit,
}

impl Embedder {
    /// Starts the embedder's thread.
    ///
    /// # Errors
    /// [`EngineError::Start`] where a setting is 0 or a thread is refused.
    pub fn start(
        model: Arc<dyn EncoderModel>,
        config: EmbedderConfig,
    ) -> Result<Self, EngineError> {
        for (name, value) in [
            ("max_batch_tokens", config.max_batch_tokens),
            ("queue_limit", config.queue_limit),
        ] {
            if value == 0 {
                return Err(EngineError::Start {
                    message: format!("{name} is 0"),
                });
            }
        }
        let gate = Arc::new(Gate::new(config.queue_limit));
        let stats = Arc::new(Mutex::new(EmbedderStats::default()));
        let (commands, receiver) = channel();
        let vocab_size = model.info().vocab_size;
        let context_length = model.info().context_length;
        let worker = Worker {
            model,
            gate: Arc::clone(&gate),
            commands: receiver,
            max_batch_tokens: config.max_batch_tokens,
            waiting: VecDeque::new(),
            draining: false,
            scratch: Scratch::default(),
            stats: EmbedderStats::default(),
            published: Arc::clone(&stats),
        };
        let thread = std::thread::Builder::new()
            .name("embedder".into())
            .spawn(move || worker.run())
            .map_err(|error| EngineError::Start {
                message: format!("the embedder's thread: {error}"),
            })?;
        Ok(Self {
            commands,
            thread: Mutex::new(Some(thread)),
            gate,
            stats,
            vocab_size,
            context_length,
        })
    }

    /// The vectors of `inputs`, each `[hidden_size]`, in their order. Dropping the future cancels
    /// the request. A request that is not complete at its `deadline` fails.
    ///
    /// # Errors
    /// [`EngineError::InvalidParameter`] where there is no input, one is empty, or a token is
    /// outside the vocabulary; [`EngineError::ContextLength`] where one is too long;
    /// [`EngineError::QueueFull`], [`EngineError::Deadline`], [`EngineError::NotFinite`],
    /// [`EngineError::Compute`], [`EngineError::ShuttingDown`], [`EngineError::Unhealthy`].
    pub async fn embed(&self, inputs: Vec<Vec<u32>>, deadline: Option<Instant>) -> Answer {
        let answer = self.submit(inputs, deadline)?;
        answer.await.unwrap_or_else(|_| Err(self.gate.stopped()))
    }

    /// As [`embed`](Self::embed), blocking the thread.
    ///
    /// # Errors
    /// As [`embed`](Self::embed).
    ///
    /// # Panics
    /// Within an asynchronous task.
    pub fn blocking_embed(&self, inputs: Vec<Vec<u32>>, deadline: Option<Instant>) -> Answer {
        let answer = self.submit(inputs, deadline)?;
        let answer = answer.blocking_recv();
        answer.unwrap_or_else(|_| Err(self.gate.stopped()))
    }

    fn submit(
        &self,
        inputs: Vec<Vec<u32>>,
        deadline: Option<Instant>,
    ) -> Result<oneshot::Receiver<Answer>, EngineError> {
        self.validate(&inputs)?;
        if deadline.is_some_and(|at| at <= Instant::now()) {
            return Err(EngineError::Deadline);
        }
        let permit = self.gate.admit()?;
        let (sender, answer) = oneshot::channel();
        let request = Request {
            vectors: Vec::with_capacity(inputs.len()),
            inputs,
            taken: 0,
            deadline,
            answer: sender,
            _permit: permit,
        };
        match self.commands.send(Command::Embed(request)) {
            Ok(()) => Ok(answer),
            Err(_) => Err(self.gate.stopped()),
        }
    }

    fn validate(&self, inputs: &[Vec<u32>]) -> Result<(), EngineError> {
        let invalid = |message| {
            Err(EngineError::InvalidParameter {
                param: "inputs",
                message,
            })
        };
        let Some(longest) = inputs.iter().map(Vec::len).max() else {
            return invalid("there is none".into());
        };
        if longest > self.context_length {
            return Err(EngineError::ContextLength {
                prompt_tokens: longest,
                max_tokens: 0,
                context_length: self.context_length,
            });
        }
        if let Some(i) = inputs.iter().position(Vec::is_empty) {
            return invalid(format!("input {i} has no tokens"));
        }
        let outside = |&&token: &&u32| token as usize >= self.vocab_size;
        if let Some(token) = inputs.iter().flatten().find(outside) {
            return invalid(format!(
                "token {token} is outside the vocabulary of {}",
                self.vocab_size
            ));
        }
        Ok(())
    }

    /// Tokens that an input can have.
    pub fn context_length(&self) -> usize {
        self.context_length
    }

    /// What it is doing and has done, as of its last batch.
    pub fn stats(&self) -> EmbedderStats {
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it takes requests.
    ///
    /// # Errors
    /// [`EngineError::ShuttingDown`], or [`EngineError::Unhealthy`] after a panic.
    pub fn health(&self) -> Result<(), EngineError> {
        self.gate.health()
    }

    /// Takes no more requests and ends the thread as told; blocks until it has ended.
    pub fn shutdown(&self, how: Shutdown) {
        self.gate.close();
        // Where the thread has ended there is nothing to tell it.
        let _ = self.commands.send(Command::Shutdown(how));
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take() {
            // The thread catches the model's panics and tells of them by its status.
            let _ = thread.join();
        }
    }
}

impl Drop for Embedder {
    fn drop(&mut self) {
        self.shutdown(Shutdown::Abort);
    }
}

struct Worker {
    model: Arc<dyn EncoderModel>,
    gate: Arc<Gate>,
    commands: Receiver<Command>,
    max_batch_tokens: usize,
    /// Requests with inputs left, the next to be served first.
    waiting: VecDeque<Request>,
    draining: bool,
    scratch: Scratch,
    stats: EmbedderStats,
    published: Arc<Mutex<EmbedderStats>>,
}

impl Worker {
    fn run(mut self) {
        let result = catch_unwind(AssertUnwindSafe(|| self.work()));
        let (status, error) = match result {
            Ok(()) => (Status::ShutDown, EngineError::ShuttingDown),
            Err(panic) => {
                let message = panic_message(&*panic);
                tracing::error!(message, "the embedder's thread panicked");
                let error = EngineError::Unhealthy {
                    message: message.clone(),
                };
                (Status::Failed(message), error)
            }
        };
        // First the status, so that nobody submits to a thread that is about to be gone; then
        // those who did before.
        self.gate.set_status(status);
        while let Ok(command) = self.commands.try_recv() {
            if let Command::Embed(request) = command {
                self.waiting.push_back(request);
            }
        }
        for request in std::mem::take(&mut self.waiting) {
            request.answer(Err(error.clone()));
        }
        self.publish();
    }

    fn work(&mut self) {
        while self.take_commands() {
            self.end_checked();
            if !self.waiting.is_empty() {
                self.batch();
            }
            self.publish();
        }
    }

    /// Takes what was sent, waiting for something where there is nothing else to do. False where
    /// the thread is to end.
    fn take_commands(&mut self) -> bool {
        loop {
            let command = match self.waiting.is_empty() {
                true if self.draining => return false,
                true => match self.commands.recv() {
                    Ok(command) => command,
                    Err(RecvError) => return false,
                },
                false => match self.commands.try_recv() {
                    Ok(command) => command,
                    Err(TryRecvError::Empty) => return true,
                    Err(TryRecvError::Disconnected) => return false,
                },
            };
            match command {
                Command::Embed(request) => self.waiting.push_back(request),
                Command::Shutdown(Shutdown::Abort) => return false,
                Command::Shutdown(Shutdown::Drain) => self.draining = true,
            }
        }
    }

    /// Drops those whose caller went away or whose deadline passed.
    fn end_checked(&mut self) {
        let now = Instant::now();
        for _ in 0..self.waiting.len() {
            let Some(request) = self.waiting.pop_front() else {
                break;
            };
            if request.answer.is_closed() {
                self.stats.cancelled += 1;
            } else if request.deadline.is_some_and(|deadline| deadline <= now) {
                request.answer(Err(EngineError::Deadline));
            } else {
                self.waiting.push_back(request);
            }
        }
    }

    /// Computes a batch of inputs, one of each request in turn.
    fn batch(&mut self) {
        let mut requests: Vec<Request> = std::mem::take(&mut self.waiting).into();
        // The request of each input of the batch.
        let mut owners = Vec::new();
        let mut sequences: Vec<&[u32]> = Vec::new();
        let mut tokens = 0;
        // Where the next batch begins.
        let mut next = 0;
        'full: loop {
            let before = owners.len();
            for (index, request) in requests.iter().enumerate() {
                let taken = owners.iter().filter(|&&owner| owner == index).count();
                let Some(input) = request.inputs.get(request.taken + taken) else {
                    continue;
                };
                if tokens > 0 && tokens + input.len() > self.max_batch_tokens {
                    next = index;
                    break 'full;
                }
                tokens += input.len();
                owners.push(index);
                sequences.push(input);
            }
            if owners.len() == before {
                break;
            }
        }
        let result = self.model.encode(&sequences, &mut self.scratch);
        self.stats.batches += 1;
        self.stats.inputs += sequences.len() as u64;
        self.stats.tokens += tokens as u64;
        let result = result.map_err(|error| EngineError::Compute {
            message: error.to_string(),
        });
        let lengths: Vec<usize> = sequences.iter().map(|s| s.len()).collect();
        let mut failures: Vec<Option<EngineError>> = vec![None; requests.len()];
        let hidden_size = self.model.info().hidden_size;
        for (i, &owner) in owners.iter().enumerate() {
            requests[owner].taken += 1;
            let vector = match &result {
                Ok(vectors) => &vectors[i * hidden_size..(i + 1) * hidden_size],
                Err(error) => {
                    failures[owner] = Some(error.clone());
                    continue;
                }
            };
            if vector.iter().all(|v| v.is_finite()) {
                requests[owner].vectors.push(vector.to_vec());
            } else {
                let position = lengths[i] - 1;
                failures[owner] = Some(EngineError::NotFinite { position });
            }
        }
        self.deal_out(requests, failures, next);
    }

    /// Answers the requests that are complete or failed; the others wait on, `next` first.
    fn deal_out(
        &mut self,
        requests: Vec<Request>,
        failures: Vec<Option<EngineError>>,
        next: usize,
    ) {
        let now = Instant::now();
        let count = requests.len();
        let mut rest: Vec<(usize, Request)> = Vec::new();
        let mut done = Vec::new();
        for (index, (mut request, failure)) in requests.into_iter().zip(failures).enumerate() {
            if let Some(error) = failure {
                done.push((request, Err(error)));
            } else if request.taken == request.inputs.len() {
                let vectors = std::mem::take(&mut request.vectors);
                done.push((request, Ok(vectors)));
            } else {
                rest.push(((index + count - next) % count, request));
            }
        }
        rest.sort_by_key(|&(turn, _)| turn);
        self.waiting = rest.into_iter().map(|(_, request)| request).collect();
        // First, so that a caller that has the answer finds it counted.
        self.publish();
        for (request, answer) in done {
            request.answer(answer);
            self.gate.note_end(now);
        }
    }

    fn publish(&mut self) {
        self.stats.waiting = self.waiting.len();
        *self
            .published
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = self.stats;
    }
}

impl Request {
    fn answer(self, answer: Answer) {
        // Gives the place back first: who has the answer may ask again.
        drop(self._permit);
        // A caller that went away needs none.
        let _ = self.answer.send(answer);
    }
}
