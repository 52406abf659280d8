//! Answers as server-sent events.
//!
//! Every part of an answer is one `data` event; `[DONE]` ends the stream. A failure is one `data` event
//! with the error envelope, and the end. When the client hangs up, the stream is dropped, and with it the
//! generations, which frees what they hold.

use std::convert::Infallible;
use std::future::Future;

use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream, StreamExt};
use hearth_runtime::{Error, Event, Generation, TokenLogprobs};
use serde::Serialize;

use super::error::ApiError;
use super::params::Params;
use super::types::{Chunk, Head, Usage};
use crate::admission::Ticket;
use crate::answer::{ended_early, finish_reason};
use crate::metrics::Measure;
use crate::problem::Problem;
use crate::state::App;
use crate::waiting::{self, Begun, Step};

/// How an endpoint words the parts of its answers.
pub trait Wording: Send + 'static {
    /// A choice within a part.
    type Choice: Serialize + Send;

    /// What begins choice number `index`, if anything does.
    fn first(&mut self, index: usize) -> Option<Self::Choice>;

    /// The scored prompt of a choice.
    fn prompt(&mut self, index: usize, tokens: &[TokenLogprobs]) -> Option<Self::Choice>;

    /// More of a choice; `None` if there is nothing to show yet.
    fn more(
        &mut self,
        index: usize,
        text: String,
        tokens: &[TokenLogprobs],
    ) -> Option<Self::Choice>;

    /// What ends a choice.
    fn last(&mut self, index: usize, finish_reason: &'static str) -> Self::Choice;
}

/// A streamed answer that is about to begin.
pub struct Streamed {
    /// Id, model and so on.
    head: Head,
    /// Choices for each prompt.
    per_prompt: usize,
    /// Tell the usage at the end.
    include_usage: bool,
    /// The request's place, held until the stream ends.
    ticket: Ticket,
    /// What the request is measured by, until the stream ends.
    measure: Measure,
}

impl Streamed {
    /// The answer to a request with `params`, its parts headed by `head`.
    pub fn new(head: Head, params: &Params, ticket: Ticket, measure: Measure) -> Self {
        Self {
            head,
            per_prompt: params.n,
            include_usage: params.include_usage,
            ticket,
            measure,
        }
    }

    /// The response: what `begin` waits for its model to begin, which is how the parts are worded, and the
    /// choices in the order of their index. A comment is sent after each `server.stream_keep_alive` of
    /// silence, and with the progress of a model that is being loaded.
    ///
    /// # Errors
    /// Those of `begin` within its first moment; later ones are told in the stream.
    pub async fn respond<W: Wording>(
        self,
        app: &App,
        begin: impl Future<Output = Result<(W, Vec<Generation>), Problem>> + Send + 'static,
    ) -> Result<Response, Problem> {
        let begun = waiting::begin(app, &self.head.model, begin).await?;
        let events = self.events(begun).map(Ok::<_, Infallible>);
        let keep_alive = KeepAlive::new().interval(app.settings().keep_alive);
        let sse = Sse::new(events).keep_alive(keep_alive);
        Ok(waiting::unbuffered(sse.into_response()))
    }

    fn events<W: Wording>(
        self,
        begun: Begun<(W, Vec<Generation>)>,
    ) -> impl Stream<Item = SseEvent> {
        let Self {
            head,
            per_prompt,
            include_usage,
            ticket,
            measure,
        } = self;
        async_stream::stream! {
            let _held = ticket;
            let mut steps = std::pin::pin!(begun.steps());
            let (mut wording, choices) = loop {
                match steps.next().await {
                    Some(Step::Waiting(progress)) => yield SseEvent::default().comment(progress),
                    Some(Step::Done(Ok(begun))) => break begun,
                    Some(Step::Done(Err(problem))) => {
                        measure.failed();
                        yield data(&ApiError::from(problem).envelope());
                        return;
                    }
                    None => return,
                }
            };
            let mut usage = Usage::default();
            let mut unfinished = choices.len();
            let part = |choice: W::Choice| {
                let usage = include_usage.then_some(None);
                data(&Chunk { head: &head, choices: vec![choice], usage })
            };
            for index in 0..choices.len() {
                if let Some(choice) = wording.first(index) {
                    yield part(choice);
                }
            }
            let mut events = stream::select_all(choices.into_iter().enumerate().map(|(index, generation)| {
                Box::pin(events_of(generation).map(move |event| (index, event)))
            }));
            let mut failure: Option<Error> = None;
            while let Some((index, event)) = events.next().await {
                let choice = match event {
                    Event::Prompt(tokens) => wording.prompt(index, &tokens),
                    Event::Token { text, tokens } => {
                        measure.first_token();
                        wording.more(index, text, &tokens)
                    }
                    Event::Finished { reason, usage: candidate, .. } => {
                        let is_first = index.is_multiple_of(per_prompt);
                        usage.add(candidate, is_first);
                        let prompt = if is_first { candidate.prompt_tokens } else { 0 };
                        measure.tokens(prompt as u64, candidate.completion_tokens as u64);
                        unfinished -= 1;
                        match finish_reason(reason) {
                            Ok(word) => Some(wording.last(index, word)),
                            Err(error) => {
                                failure = Some(error);
                                break;
                            }
                        }
                    }
                    Event::Failed(error) => {
                        failure = Some(error);
                        break;
                    }
                };
                if let Some(choice) = choice {
                    yield part(choice);
                }
            }
            if failure.is_none() && unfinished > 0 {
                failure = Some(ended_early());
            }
            if let Some(error) = failure {
                tracing::warn!(%error, "a stream ended with a failure");
                measure.failed();
                yield data(&ApiError::from(error).envelope());
                return;
            }
            if include_usage {
                let choices: Vec<W::Choice> = Vec::new();
                yield data(&Chunk { head: &head, choices, usage: Some(Some(usage)) });
            }
            yield SseEvent::default().data("[DONE]");
        }
    }
}

fn events_of(generation: Generation) -> impl Stream<Item = Event> {
    stream::unfold(generation, |mut generation| async {
        generation.next().await.map(|event| (event, generation))
    })
}

fn data(value: &impl Serialize) -> SseEvent {
    let text = serde_json::to_string(value)
        .expect("answers have text keys and finite numbers; this is a bug");
    SseEvent::default().data(text)
}
