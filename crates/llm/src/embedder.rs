//! Embeddings: many callers, one encoder.
//!
//! An [`Embedder`] owns a thread that takes inputs from all waiting requests in turn, so that a
//! large request delays a small one by a batch at most, and computes as many at a time as its token
//! budget holds. Nothing is padded, and an input's vector is that of the input alone, whatever
//! shares its batch ([`EncoderModel::encode`]).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::oneshot;

use crate::engine::{ComputeThread, EngineError, Gate, Permit, Shutdown, Work};
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
    thread: ComputeThread<Request>,
    gate: Arc<Gate>,
    stats: Arc<Mutex<EmbedderStats>>,
    vocab_size: usize,
    context_length: usize,
}

type Answer = Result<Vec<Vec<f32>>, EngineError>;

struct Request {
    inputs: Vec<Vec<u32>>,
    /// Inputs before this one are computed.
    computed: usize,
    vectors: Vec<Vec<f32>>,
    /// Why it cannot be answered.
    failure: Option<EngineError>,
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
        let vocab_size = model.info().vocab_size;
        let context_length = model.info().context_length;
        let worker = Worker {
            model,
            gate: Arc::clone(&gate),
            max_batch_tokens: config.max_batch_tokens,
            waiting: VecDeque::new(),
            scratch: Scratch::default(),
            stats: EmbedderStats::default(),
            published: Arc::clone(&stats),
        };
        let thread = ComputeThread::start("embedder", Arc::clone(&gate), worker)?;
        Ok(Self {
            thread,
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
            computed: 0,
            failure: None,
            deadline,
            answer: sender,
            _permit: permit,
        };
        self.thread.submit(request)?;
        Ok(answer)
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
        self.thread.shutdown(how);
    }
}

struct Worker {
    model: Arc<dyn EncoderModel>,
    gate: Arc<Gate>,
    max_batch_tokens: usize,
    /// Requests with inputs left, the next to be served first.
    waiting: VecDeque<Request>,
    scratch: Scratch,
    stats: EmbedderStats,
    published: Arc<Mutex<EmbedderStats>>,
}

impl Work for Worker {
    type Request = Request;

    fn take_in(&mut self, request: Request) {
        self.waiting.push_back(request);
    }

    fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    fn step(&mut self) {
        self.end_checked();
        if !self.waiting.is_empty() {
            self.batch();
        }
        self.publish();
    }

    fn end(&mut self, error: &EngineError) {
        for request in std::mem::take(&mut self.waiting) {
            request.answer(Err(error.clone()));
        }
        self.publish();
    }
}

impl Worker {
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

    /// The next batch, one input of each request in turn: which request and which of its inputs. And the request whose
    /// turn it is after that.
    fn choose(&self) -> (Vec<(usize, usize)>, usize) {
        let mut chosen = Vec::new();
        let mut tokens = 0;
        for round in 0.. {
            let before = chosen.len();
            for (index, request) in self.waiting.iter().enumerate() {
                let number = request.computed + round;
                let Some(input) = request.inputs.get(number) else {
                    continue;
                };
                if tokens > 0 && tokens + input.len() > self.max_batch_tokens {
                    return (chosen, index);
                }
                tokens += input.len();
                chosen.push((index, number));
            }
            if chosen.len() == before {
                break;
            }
        }
        (chosen, 0)
    }

    /// Computes a batch of inputs. The requests stay where they are meanwhile, so that a panic of
    /// the model drops none of them.
    fn batch(&mut self) {
        let (chosen, next) = self.choose();
        let inputs = chosen.iter().map(|&(r, i)| &self.waiting[r].inputs[i][..]);
        let inputs: Vec<&[u32]> = inputs.collect();
        let tokens: usize = inputs.iter().map(|input| input.len()).sum();
        let result = self.model.encode(&inputs, &mut self.scratch);
        self.stats.batches += 1;
        self.stats.inputs += inputs.len() as u64;
        self.stats.tokens += tokens as u64;
        let hidden_size = self.model.info().hidden_size;
        for (row, (index, number)) in chosen.into_iter().enumerate() {
            let request = &mut self.waiting[index];
            request.computed = number + 1;
            let vector = match &result {
                Ok(vectors) => &vectors[row * hidden_size..(row + 1) * hidden_size],
                Err(error) => {
                    let message = error.to_string();
                    request.failure = Some(EngineError::Compute { message });
                    continue;
                }
            };
            if vector.iter().all(|v| v.is_finite()) {
                request.vectors.push(vector.to_vec());
            } else {
                let position = request.inputs[number].len() - 1;
                request.failure = Some(EngineError::NotFinite { position });
            }
        }
        self.deal_out(next);
    }

    /// Answers the requests that are complete or failed; the others wait on, `next` first.
    fn deal_out(&mut self, next: usize) {
        self.waiting.rotate_left(next);
        let mut done = Vec::new();
        for request in std::mem::take(&mut self.waiting) {
            match request.failure.is_some() || request.computed == request.inputs.len() {
                true => done.push(request),
                false => self.waiting.push_back(request),
            }
        }
        // First, so that a caller that has the answer finds it counted.
        self.publish();
        let now = Instant::now();
        for mut request in done {
            let answer = match request.failure.take() {
                Some(error) => Err(error),
                None => Ok(std::mem::take(&mut request.vectors)),
            };
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
