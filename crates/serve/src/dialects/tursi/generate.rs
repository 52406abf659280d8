//! `POST /api/v1/generate`.

use std::convert::Infallible;
use std::time::Instant;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt};
use hearth_runtime::{Ask, Event, GenerateRequest, Generation, SamplingParams};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{ApiError, Errors};
use super::remote;
use crate::admission::Ticket;
use crate::answer::{Answer, ended_early, finish_reason};
use crate::caller::Caller;
use crate::extract::admit;
use crate::fields::{FieldError, Fields};
use crate::metrics::Measure;
use crate::problem::Problem;
use crate::quantities::measured;
use crate::remote::{Asker, KeyHeaders, Keys};
use crate::state::App;
use crate::stops;
use crate::waiting::{self, Begun, Step};

/// A prompt to go on from.
#[derive(Debug, Clone, PartialEq, ToSchema)]
#[schema(as = tursi::Generate)]
pub struct Generate {
    /// The model.
    #[schema(min_length = 1, example = "ember")]
    pub(super) model: String,
    /// The text to go on from.
    #[schema(min_length = 1, example = "Once upon a time")]
    pub(super) prompt: String,
    /// Tokens to generate at most.
    #[schema(value_type = Option<usize>, default = 100, minimum = 1, maximum = 32768, example = 20)]
    pub(super) max_tokens: usize,
    /// How freely tokens are chosen; 0 takes the likeliest.
    #[schema(value_type = Option<f64>, default = 0.7, minimum = 0, maximum = 2)]
    pub(super) temperature: f64,
    /// The share of likelihood that tokens are chosen from.
    #[schema(value_type = Option<f64>, default = 0.9, minimum = 0, maximum = 1)]
    pub(super) top_p: f64,
    /// A text that ends the generation, or several; none of them is part of the answer.
    #[schema(value_type = Option<stops::Stop>)]
    pub(super) stop: Vec<String>,
    /// Whether to answer as server-sent events.
    #[schema(value_type = Option<bool>, default = false)]
    pub(super) stream: bool,
}

impl Generate {
    /// Most tokens that a request can ask for.
    const MOST_TOKENS: usize = 32_768;

    fn read(fields: &Fields) -> Result<Self, FieldError> {
        let number = |name, range, default: f64| -> Result<f64, FieldError> {
            Ok(fields.number(name, range)?.unwrap_or(default))
        };
        Ok(Self {
            model: fields.required_string("model")?.to_owned(),
            prompt: fields.required_string("prompt")?.to_owned(),
            max_tokens: fields
                .count("max_tokens", 1..=Self::MOST_TOKENS)?
                .unwrap_or(100),
            temperature: number("temperature", 0.0..=2.0, 0.7)?,
            top_p: number("top_p", 0.0..=1.0, 0.9)?,
            stop: stops::read(fields)?,
            stream: fields.boolean("stream")?.unwrap_or(false),
        })
    }
}

/// A prompt with its continuation.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = tursi::Generated)]
pub struct Generated {
    /// The prompt and what follows it.
    #[schema(example = "Once upon a time in a distant galaxy...")]
    pub(super) text: String,
    /// Tokens of what follows.
    pub(super) tokens_generated: usize,
    /// How long they took.
    #[schema(example = "1.2s")]
    pub(super) generation_time: String,
}

/// An event of a stream.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = tursi::StreamEvent)]
#[allow(dead_code, reason = "describes what is written elsewhere")]
pub struct StreamEvent {
    /// `text`, `done`, or `error`, which has the error envelope.
    event: EventName,
    /// A `TextEvent` or a `DoneEvent`, or the error envelope, as JSON.
    #[schema(content_media_type = "application/json")]
    data: String,
}

/// What an event tells.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = tursi::EventName, rename_all = "lowercase")]
#[allow(dead_code, reason = "describes what is written elsewhere")]
pub enum EventName {
    /// More text.
    Text,
    /// The end.
    Done,
    /// The end, of a stream that failed.
    Error,
}

/// The data of a `text` event.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = tursi::TextEvent)]
pub struct TextEvent {
    /// More text; the first event has the prompt.
    text: String,
    /// Always false: `done` ends the stream.
    finished: bool,
}

/// The data of the `done` event.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = tursi::DoneEvent)]
pub struct DoneEvent {
    /// Tokens of what follows the prompt.
    tokens_generated: usize,
    /// How long they took.
    #[schema(example = "1.2s")]
    generation_time: String,
}

/// Continues a prompt.
///
/// With `stream`, the answer is a stream of `text` events whose texts add up to the whole, and a `done`
/// event; a failure after the beginning is an `error` event with the error envelope.
#[utoipa::path(
    post, path = "/api/v1/generate", tag = "tursi", operation_id = "tursi_generate",
    request_body(content = Generate, example = json!({
        "model": "ember", "prompt": "Once upon a time", "max_tokens": 100, "temperature": 0.7, "top_p": 0.9,
        "stop": ["\n\n", "THE END"], "stream": false
    })),
    params(KeyHeaders),
    responses(
        (status = 200, description = "The text", content(
            (Generated = "application/json"),
            (StreamEvent = "text/event-stream"),
        )),
        Errors
    )
)]
pub async fn create(
    State(app): State<App>,
    caller: Caller,
    measure: Measure,
    keys: Keys,
    request: Request,
) -> Result<Response, ApiError> {
    let (ticket, fields) = admit(&app, request).await?;
    let asked = Generate::read(&fields)?;
    if let Some(elsewhere) = app.upstream_model(&asked.model) {
        let asker = Asker {
            app: &app,
            caller: &caller,
            measure: &measure,
            keys: &keys,
            entered: ticket.entered(),
            waits_its_turn: false,
        };
        return Ok(remote::create(asker, ticket, asked, &elsewhere).await?);
    }
    let (model, prompt, stream) = (asked.model.clone(), asked.prompt.clone(), asked.stream);
    let begin = begin(app.clone(), caller, measure.clone(), asked);
    if stream {
        let begun = waiting::begin(&app, &model, begin).await?;
        return Ok(streamed(&app, events(prompt, begun, ticket, measure)));
    }
    let (generation, began) = begin.await?;
    let answer = Answer::of(generation, &measure).await?;
    measure.tokens(
        answer.usage.prompt_tokens as u64,
        answer.usage.completion_tokens as u64,
    );
    Ok(Json(Generated {
        text: prompt + &answer.text,
        tokens_generated: answer.usage.completion_tokens,
        generation_time: measured(began.elapsed()),
    })
    .into_response())
}

/// The response that a stream of events is.
pub(super) fn streamed(
    app: &App,
    events: impl Stream<Item = SseEvent> + Send + 'static,
) -> Response {
    let keep_alive = KeepAlive::new().interval(app.settings().keep_alive);
    let events = Sse::new(events.map(Ok::<_, Infallible>));
    waiting::unbuffered(events.keep_alive(keep_alive).into_response())
}

/// Loads the model if need be and hands it the prompt; answers with the moment at which it did.
async fn begin(
    app: App,
    caller: Caller,
    measure: Measure,
    asked: Generate,
) -> Result<(Generation, Instant), Problem> {
    let lease = waiting::text(&app, &caller, &measure, &asked.model, Ask::default()).await?;
    let tokens = lease.tokenize(asked.prompt).await?;
    let mut request = GenerateRequest::new(tokens);
    request.max_tokens = asked.max_tokens;
    request.stop = asked.stop;
    request.sampling = SamplingParams {
        temperature: asked.temperature as f32,
        // A share of nothing still holds the most likely token, so 0 means that one.
        top_p: (asked.top_p as f32).max(f32::MIN_POSITIVE),
        ..SamplingParams::default()
    };
    let began = Instant::now();
    Ok((lease.generate(request)?, began))
}

fn events(
    prompt: String,
    begun: Begun<(Generation, Instant)>,
    ticket: Ticket,
    measure: Measure,
) -> impl Stream<Item = SseEvent> {
    async_stream::stream! {
        let _held = ticket;
        let mut steps = std::pin::pin!(begun.steps());
        let (mut generation, began) = loop {
            match steps.next().await {
                Some(Step::Waiting(progress)) => yield SseEvent::default().comment(progress),
                Some(Step::Done(Ok(begun))) => break begun,
                Some(Step::Done(Err(problem))) => {
                    measure.failed();
                    yield failure(problem);
                    return;
                }
                None => return,
            }
        };
        yield text(prompt);
        let mut end = Err(ended_early());
        while let Some(event) = generation.next().await {
            match event {
                Event::Prompt(_) => {}
                Event::Token { text: more, .. } => {
                    measure.first_token();
                    if !more.is_empty() {
                        yield text(more);
                    }
                }
                Event::Finished { reason, usage, .. } => {
                    measure.tokens(usage.prompt_tokens as u64, usage.completion_tokens as u64);
                    end = finish_reason(reason).map(|_| usage.completion_tokens);
                }
                Event::Failed(error) => end = Err(error),
            }
        }
        yield last(end.map_err(Problem::from), began, &measure);
    }
}

/// More text.
pub(super) fn text(text: String) -> SseEvent {
    let finished = false;
    event("text", &TextEvent { text, finished })
}

/// The end of a stream, of so many tokens or with a failure.
pub(super) fn last(end: Result<usize, Problem>, began: Instant, measure: &Measure) -> SseEvent {
    match end {
        Ok(tokens_generated) => {
            let generation_time = measured(began.elapsed());
            event(
                "done",
                &DoneEvent {
                    tokens_generated,
                    generation_time,
                },
            )
        }
        Err(problem) => {
            tracing::warn!(error = problem.message, "a stream ended with a failure");
            measure.failed();
            failure(problem)
        }
    }
}

fn event(name: &str, data: &impl Serialize) -> SseEvent {
    let text = serde_json::to_string(data).expect("texts and counts are JSON; this is a bug");
    SseEvent::default().event(name).data(text)
}

fn failure(problem: Problem) -> SseEvent {
    event("error", &ApiError::from(problem).envelope())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(change: Value) -> Result<Generate, FieldError> {
        let mut body = json!({"model": "m", "prompt": "Once upon a time"});
        let (Value::Object(body), Value::Object(change)) = (body.take(), change) else {
            panic!("not objects")
        };
        Generate::read(&Fields::new(body.into_iter().chain(change).collect()))
    }

    #[test]
    fn defaults_are_the_documents() {
        let expected = Generate {
            model: "m".into(),
            prompt: "Once upon a time".into(),
            max_tokens: 100,
            temperature: 0.7,
            top_p: 0.9,
            stop: vec![],
            stream: false,
        };
        assert_eq!(read(json!({})), Ok(expected));
        let request = read(json!({"stop": ["\n\n", "THE END"], "stream": true, "unknown": 1}));
        let request = request.expect("all right");
        assert_eq!(request.stop, ["\n\n", "THE END"]);
        assert!(request.stream);
    }

    #[test]
    fn wrong_fields_are_refused_by_name() {
        for (change, field) in [
            (json!({"model": null}), "model"),
            (json!({"prompt": null}), "prompt"),
            (json!({"prompt": 5}), "prompt"),
            (json!({"max_tokens": "many"}), "max_tokens"),
            (json!({"max_tokens": 0}), "max_tokens"),
            (json!({"temperature": -1}), "temperature"),
            (json!({"top_p": 1.5}), "top_p"),
            (json!({"stop": [1]}), "stop[0]"),
            (json!({"stream": "maybe"}), "stream"),
        ] {
            assert_eq!(
                read(change.clone()).expect_err(&change.to_string()).field,
                field
            );
        }
    }
}
