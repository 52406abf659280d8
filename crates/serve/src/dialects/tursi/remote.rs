//! Prompts for models that a service on another machine serves: asked as completions, answered in this dialect.

use std::time::Instant;

use axum::Json;
use axum::response::sse::Event as SseEvent;
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use serde::Deserialize;
use serde_json::{Value, json};

use super::generate::{Generate, Generated, last, streamed, text};
use crate::admission::Ticket;
use crate::fields::Fields;
use crate::metrics::Measure;
use crate::problem::Problem;
use crate::quantities::measured;
use crate::remote::{Asker, Outgoing, count, stream};
use crate::upstream::{self, Model, Usage};

/// The service's name for what it is asked.
const PATH: &str = "/completions";

/// A completion, or a part of one.
#[derive(Deserialize)]
struct Completion {
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    text: String,
}

impl Completion {
    fn text(self) -> String {
        let mut choices = self.choices.into_iter();
        choices.next().map(|choice| choice.text).unwrap_or_default()
    }
}

/// A completion and its tokens.
#[derive(Deserialize)]
struct Whole {
    #[serde(flatten)]
    completion: Completion,
    usage: Usage,
}

/// Has a prompt continued.
///
/// # Errors
/// Those of the call.
pub async fn create(
    asker: Asker<'_>,
    ticket: Ticket,
    asked: Generate,
    model: &Model,
) -> Result<Response, Problem> {
    let outgoing = Outgoing::write(request(&asked), model).await?;
    let began = Instant::now();
    let answer = asker.ask(model, PATH, &outgoing).await?;
    if asked.stream {
        let (stream, measure) = (stream(answer)?, asker.measure.clone());
        let events = events(asked.prompt, stream, began, ticket, measure);
        return Ok(streamed(asker.app, events));
    }
    let Whole { completion, usage } = asker.whole_as(answer, &ticket).await?;
    Ok(Json(Generated {
        text: asked.prompt + &completion.text(),
        tokens_generated: tokens(usage),
        generation_time: measured(began.elapsed()),
    })
    .into_response())
}

/// The request in the service's words.
fn request(asked: &Generate) -> Fields {
    let mut body = json!({
        "model": asked.model, "prompt": asked.prompt, "max_tokens": asked.max_tokens,
        "temperature": asked.temperature, "top_p": asked.top_p, "stream": asked.stream,
    });
    if !asked.stop.is_empty() {
        body["stop"] = json!(asked.stop);
    }
    match body {
        Value::Object(members) => Fields::new(members),
        _ => Fields::default(),
    }
}

fn tokens(usage: Usage) -> usize {
    usize::try_from(usage.completion_tokens).unwrap_or(usize::MAX)
}

fn events(
    prompt: String,
    mut stream: upstream::Stream,
    began: Instant,
    ticket: Ticket,
    measure: Measure,
) -> impl Stream<Item = SseEvent> {
    async_stream::stream! {
        let _held = ticket;
        yield text(prompt);
        let end = loop {
            match stream.part::<Completion>().await {
                Ok(Some(part)) => {
                    measure.first_token();
                    let more = part.text();
                    if !more.is_empty() {
                        yield text(more);
                    }
                }
                Ok(None) => break stream.tokens().map(tokens),
                Err(failure) => break Err(failure),
            }
        };
        if let Some(usage) = stream.end() {
            count(&measure, usage);
        }
        yield last(end.map_err(Problem::from), began, &measure);
    }
}
