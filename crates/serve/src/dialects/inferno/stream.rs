//! Answers as server-sent events.
//!
//! Every part of an answer is one `data` event; `[DONE]` ends the stream. A failure is one `data` event
//! with the error envelope, and the end. When the client hangs up, the stream is dropped, and with it the
//! generations, which frees what they hold.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream, StreamExt};
use hearth_runtime::{Error, Event, Generation, Lease, Runtime, TextService, TokenLogprobs};
use serde::Serialize;

use super::error::ApiError;
use super::types::{Chunk, Head, Usage};
use crate::admission::Ticket;
use crate::answer::{ended_early, finish_reason};
use crate::metrics::Measure;
use crate::state::App;

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
pub struct Streamed<W> {
    /// Id, model and so on.
    pub head: Head,
    /// How the parts are worded.
    pub wording: W,
    /// The choices, in the order of their index.
    pub choices: Vec<Generation>,
    /// Choices for each prompt.
    pub per_prompt: usize,
    /// Tell the usage at the end.
    pub include_usage: bool,
    /// The request's place, held until the stream ends.
    pub ticket: Ticket,
    /// What the request is measured by, until the stream ends.
    pub measure: Measure,
    /// The model, held until the stream ends.
    pub service: Lease<TextService>,
}

/// How long a stream waits for its model before it begins, so that what fails until then has a status of its own.
const BEFORE_STREAM: Duration = Duration::from_secs(1);
/// The time between comments that tell how far the model's load is.
const BETWEEN_COMMENTS: Duration = Duration::from_secs(1);

/// Streams what `begun` becomes. While that has to wait for its model, the stream consists of comments, which clients
/// pass over and which keep connections open; a failure is then its only event.
pub async fn respond<W: Wording>(
    app: &App,
    model: String,
    measure: Measure,
    begun: impl Future<Output = Result<Streamed<W>, Error>> + Send + 'static,
) -> Result<Response, ApiError> {
    let keep_alive = app.settings().keep_alive;
    let mut begun = Box::pin(begun);
    match tokio::time::timeout(BEFORE_STREAM, &mut begun).await {
        Ok(streamed) => Ok(event_stream(streamed?.events(), keep_alive)),
        Err(_elapsed) => {
            let events = waiting(Arc::clone(&app.runtime), model, measure, begun);
            Ok(event_stream(events, keep_alive))
        }
    }
}

fn waiting<W: Wording>(
    runtime: Arc<Runtime>,
    model: String,
    measure: Measure,
    mut begun: Pin<Box<dyn Future<Output = Result<Streamed<W>, Error>> + Send>>,
) -> impl Stream<Item = SseEvent> {
    async_stream::stream! {
        let streamed = loop {
            tokio::select! {
                biased;
                streamed = &mut begun => break streamed,
                () = tokio::time::sleep(BETWEEN_COMMENTS) => {
                    yield SseEvent::default().comment(waits_for(&runtime, &model));
                }
            }
        };
        match streamed {
            Ok(streamed) => {
                let mut events = std::pin::pin!(streamed.events());
                while let Some(event) = events.next().await {
                    yield event;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a stream ended before it began");
                measure.failed();
                yield data(&ApiError::from(error).envelope());
            }
        }
    }
}

/// What a request waits for, in words.
fn waits_for(runtime: &Runtime, model: &str) -> String {
    // Names of models have no line breaks, but what a client sent has not been held against them.
    let model: String = model.chars().filter(|c| !c.is_control()).collect();
    match runtime.loading(&model) {
        None => format!("waiting for {model}"),
        Some(loading) => {
            let progress = loading.progress();
            let percent = (progress.progress * 100.0) as u32;
            let state = format!("{:?}", progress.state).to_lowercase();
            let eta = progress.eta.map(|s| format!(", {} s left", s.ceil()));
            format!(
                "loading {model}: {state}, {percent} %{}",
                eta.unwrap_or_default()
            )
        }
    }
}

/// A response of events; a comment is sent after each `keep_alive` of silence.
fn event_stream(
    events: impl Stream<Item = SseEvent> + Send + 'static,
    keep_alive: Duration,
) -> Response {
    let events = events.map(Ok::<_, Infallible>);
    let sse = Sse::new(events).keep_alive(KeepAlive::new().interval(keep_alive));
    let mut response = sse.into_response();
    // Proxies such as nginx would otherwise hold the stream back to fill their buffers.
    let unbuffered = HeaderName::from_static("x-accel-buffering");
    response
        .headers_mut()
        .insert(unbuffered, HeaderValue::from_static("no"));
    response
}

impl<W: Wording> Streamed<W> {
    fn events(self) -> impl Stream<Item = SseEvent> {
        let Self {
            head,
            mut wording,
            choices,
            per_prompt,
            include_usage,
            ticket,
            measure,
            service,
        } = self;
        async_stream::stream! {
            let _held = (ticket, service);
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
                        failure = Some(error.into());
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
