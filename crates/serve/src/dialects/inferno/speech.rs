//! `POST /v1/audio/speech`: texts that a service on another machine speaks.

use std::io;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::Stream;
use utoipa::ToSchema;

use super::error::{ApiError, Errors, Later};
use crate::admission::Ticket;
use crate::caller::Caller;
use crate::extract::admit;
use crate::metrics::Measure;
use crate::problem::{Kind, Problem};
use crate::remote::{Asker, KeyHeaders, Keys, Outgoing};
use crate::state::App;
use crate::upstream::{Answer, UpstreamError};
use crate::waiting::permit;

/// A text to speak. What it says besides goes to the service as it is.
#[derive(Debug, ToSchema)]
#[schema(as = inferno::SpeechRequest)]
#[allow(dead_code, reason = "describes what the service reads")]
pub struct SpeechBody {
    /// The model, one that another service serves.
    #[schema(min_length = 1)]
    model: String,
    /// The text.
    #[schema(min_length = 1)]
    input: String,
    /// The voice, by the service's name for it.
    voice: Option<String>,
    /// The form of the audio.
    response_format: Option<String>,
    /// How fast it is spoken.
    speed: Option<f64>,
}

/// Speaks a text, where another service serves the model; the audio comes through as it is spoken.
///
/// Models of this server do not speak yet.
#[utoipa::path(
    post, path = "/v1/audio/speech", tag = "inferno", operation_id = "inferno_speech",
    request_body(content = SpeechBody),
    params(KeyHeaders),
    responses(
        (status = 200, description = "The audio, in the form that the service gives it", content_type = "audio/*", body = Vec<u8>),
        Errors, Later
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
    let name = fields.required_string("model")?;
    fields.required_string("input")?;
    let Some(model) = app.upstream_model(name) else {
        permit(&app, &caller, name)?;
        app.runtime.model(name).await?;
        let message = format!(
            "'{name}' is a model of this server, and speech by such is not implemented in this version"
        );
        return Err(Problem::new(Kind::NotImplemented, message).into());
    };
    let asker = Asker {
        app: &app,
        caller: &caller,
        measure: &measure,
        keys: &keys,
        entered: ticket.entered(),
        waits_its_turn: false,
    };
    let outgoing = Outgoing::write(fields, &model).await?;
    let answer = asker.ask(&model, "/audio/speech", &outgoing).await?;
    Ok(relay(answer, ticket, measure)?)
}

/// The audio as it comes. Where it breaks off, so does the answer.
fn relay(answer: Answer, ticket: Ticket, measure: Measure) -> Result<Response, UpstreamError> {
    let kind = answer.content_type();
    if !is_audio(kind) {
        return Err(answer.garbled("its answer is no audio"));
    }
    let Ok(kind) = HeaderValue::from_str(kind) else {
        return Err(answer.garbled("its answer has no content type"));
    };
    let body = Body::from_stream(relayed(answer, ticket, measure));
    Ok(([(CONTENT_TYPE, kind)], body).into_response())
}

fn is_audio(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    let kind = kind.to_ascii_lowercase();
    kind.starts_with("audio/") || kind == "application/octet-stream"
}

fn relayed(
    mut answer: Answer,
    ticket: Ticket,
    measure: Measure,
) -> impl Stream<Item = io::Result<Bytes>> {
    async_stream::stream! {
        let _held = ticket;
        loop {
            match answer.piece().await {
                Ok(Some(piece)) => yield Ok(piece),
                Ok(None) => return answer.end(),
                Err(failure) => {
                    tracing::warn!(error = %failure, "audio broke off");
                    measure.failed();
                    yield Err(io::Error::other(failure.to_string()));
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audio_is_told_by_its_type() {
        for kind in [
            "audio/mpeg",
            "Audio/PCM; rate=24000",
            "application/octet-stream",
        ] {
            assert!(is_audio(kind), "{kind}");
        }
        for kind in ["", "application/json", "text/html", "text/event-stream"] {
            assert!(!is_audio(kind), "{kind}");
        }
    }
}
