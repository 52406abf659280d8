//! A request's hold on a model.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

use hearth_llm::engine::{self as engine, FinishReason, GenerateRequest, Timings, Usage};

use crate::manager::{Hold, Mark};
use crate::{
    EmbeddingService, Error, HostTensor, InferRequest, NetworkService, PredictRequest, Prediction,
    TextService,
};

/// A request's hold on a model, which stays loaded until the lease, its clones and all that was made from them are
/// gone. All of them together are one request, counted as such when the last goes.
pub struct Lease<S> {
    service: Arc<S>,
    hold: Arc<Hold>,
}

impl<S> Clone for Lease<S> {
    fn clone(&self) -> Self {
        Self {
            service: Arc::clone(&self.service),
            hold: Arc::clone(&self.hold),
        }
    }
}

impl<S> Deref for Lease<S> {
    type Target = Arc<S>;

    fn deref(&self) -> &Arc<S> {
        &self.service
    }
}

impl<S> Lease<S> {
    pub(crate) fn new(service: Arc<S>, hold: Hold) -> Self {
        Self {
            service,
            hold: Arc::new(hold),
        }
    }

    /// The model's own name, where an alias was asked for too.
    pub fn model(&self) -> &str {
        self.hold.name()
    }
}

impl Lease<TextService> {
    /// Admits a sequence to the engine, with the priority by which this lease was asked for. It holds the model too.
    ///
    /// # Errors
    /// [`Error::InvalidInput`], [`Error::ContextLength`], [`Error::Overloaded`], [`Error::Deadline`],
    /// [`Error::ShuttingDown`].
    pub fn generate(&self, request: GenerateRequest) -> Result<Generation, Error> {
        let request = GenerateRequest {
            priority: self.hold.priority(),
            ..request
        };
        match self.service.generate(request) {
            Ok(generation) => Ok(Generation {
                generation,
                hold: Arc::clone(&self.hold),
                ended: false,
            }),
            Err(error) => Err(self.hold.failed(error)),
        }
    }
}

impl Lease<EmbeddingService> {
    /// A vector for each of `inputs`, in their order. Dropping the future cancels it.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for an input without tokens or with unknown ones, [`Error::ContextLength`] for one that
    /// is too long, [`Error::Overloaded`], [`Error::Deadline`], [`Error::ShuttingDown`].
    pub async fn embed(
        &self,
        inputs: Vec<Vec<u32>>,
        deadline: Option<Instant>,
    ) -> Result<Vec<Vec<f32>>, Error> {
        let tokens: usize = inputs.iter().map(Vec::len).sum();
        // Marked first, and taken for cancelled unless it comes to an end.
        let pending = Pending(Some(&self.hold));
        let vectors = self.service.embed(inputs, deadline).await;
        pending.settle();
        match vectors {
            Ok(vectors) => {
                self.hold.mark(Mark::Answered);
                self.hold.count_tokens(tokens as u64, 0);
                Ok(vectors)
            }
            Err(error) => Err(self.hold.failed(error)),
        }
    }
}

impl Lease<NetworkService> {
    /// Runs the network. Dropping the future cancels what has not begun.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for inputs that are not what the network takes, [`Error::Deadline`],
    /// [`Error::ShuttingDown`]; what its engine fails at.
    pub async fn predict(&self, request: PredictRequest) -> Result<Prediction, Error> {
        self.counted(self.service.predict(request)).await
    }

    /// Runs the network on tensors; one for each output comes back, in the outputs' order. Dropping the future cancels what
    /// has not begun.
    ///
    /// # Errors
    /// As of [`Self::predict`].
    pub async fn infer(&self, request: InferRequest) -> Result<Vec<HostTensor>, Error> {
        self.counted(self.service.infer(request)).await
    }

    /// Does the work of the request, and marks how it ended.
    async fn counted<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let pending = Pending(Some(&self.hold));
        let done = work.await;
        pending.settle();
        match done {
            Ok(done) => {
                self.hold.mark(Mark::Answered);
                Ok(done)
            }
            Err(error) => Err(self.hold.failed(error)),
        }
    }
}

/// Work that counts as cancelled if it is dropped before it has settled.
struct Pending<'a>(Option<&'a Hold>);

impl Pending<'_> {
    fn settle(mut self) {
        self.0 = None;
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if let Some(hold) = self.0 {
            hold.mark(Mark::Cancelled);
        }
    }
}

/// One message of a [`Generation`].
pub type Event = engine::Event<Error>;

/// The events of one sequence. Dropping it cancels the sequence; until then it holds the model.
pub struct Generation {
    generation: engine::Generation,
    hold: Arc<Hold>,
    ended: bool,
}

impl Generation {
    /// The seed of the draws: the request's, or the random one that it was given.
    pub fn seed(&self) -> u64 {
        self.generation.seed()
    }

    /// The next event; `None` after the last.
    pub async fn next(&mut self) -> Option<Event> {
        let event = self.generation.next().await?;
        if let engine::Event::Finished {
            reason,
            usage,
            timings,
        } = &event
        {
            self.finish(*reason, usage, timings);
        }
        self.ended |= event.is_last();
        Some(event.map_failure(|error| self.hold.failed(error.into())))
    }

    fn finish(&mut self, reason: FinishReason, usage: &Usage, timings: &Timings) {
        self.hold.mark(match reason {
            FinishReason::Deadline => Mark::Failed,
            _ => Mark::Answered,
        });
        let (tokens_in, tokens_out) = (usage.prompt_tokens, usage.completion_tokens);
        self.hold.count_tokens(tokens_in as u64, tokens_out as u64);
        self.hold.meter().count(|metrics| {
            if let Some(first) = timings.time_to_first_token {
                metrics.time_to_first_token.record(first);
            }
            // The first token ends the prefill; the others take the decode's time.
            if let Ok(gaps @ 1..) = u32::try_from(tokens_out.saturating_sub(1)) {
                metrics.time_per_token.record(timings.decode / gaps);
            }
        });
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        if !self.ended {
            self.hold.mark(Mark::Cancelled);
        }
    }
}
