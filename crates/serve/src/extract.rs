//! From an HTTP request to a ticket and the members of its JSON body.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::CONTENT_LENGTH;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde_json::Value;

use crate::admission::Ticket;
use crate::fields::{Fields, describe};
use crate::state::App;

/// Why a request was turned away before its fields were looked at.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// As many requests are in work as the server takes.
    #[error("the server is busy with {limit} requests, its limit; try again shortly")]
    Full {
        /// The limit.
        limit: usize,
    },
    /// The server has been told to stop.
    #[error("the server is shutting down")]
    Stopping,
    /// The body is longer than the limit.
    #[error("the body is longer than the limit of {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The body did not arrive in time.
    #[error("the body did not arrive within {} s", .limit.as_secs_f64())]
    TooSlow {
        /// The time a body may take.
        limit: Duration,
    },
    /// The connection failed within the body.
    #[error("the body could not be read: {0}")]
    Broken(String),
    /// The body is not JSON.
    #[error("the body is not JSON: {0}")]
    Malformed(String),
    /// The body is JSON, but no object.
    #[error("the body: expected a JSON object, got {0}")]
    NotAnObject(String),
}

/// Admits a request for inference, then reads its body as a JSON object, whatever its content type says.
///
/// # Errors
/// One [`Refusal`]; a refused request holds no ticket.
pub async fn admit(app: &App, request: Request) -> Result<(Ticket, Fields), Refusal> {
    if app.is_stopping() {
        return Err(Refusal::Stopping);
    }
    let ticket = app.admission.enter().ok_or(Refusal::Full {
        limit: app.admission.limit(),
    })?;
    let (limit, patience) = (app.config.body_limit, app.config.body_timeout);
    let bytes = tokio::time::timeout(patience, read_body(request, limit))
        .await
        .map_err(|_elapsed| Refusal::TooSlow { limit: patience })??;
    Ok((ticket, parse_object(&bytes)?))
}

/// Reads at most `limit` bytes of body. A declared length above the limit is refused unread.
async fn read_body(request: Request, limit: usize) -> Result<Bytes, Refusal> {
    let declared = request.headers().get(CONTENT_LENGTH);
    let declared: Option<u64> = declared.and_then(|value| value.to_str().ok()?.parse().ok());
    if declared.is_some_and(|length| length > limit as u64) {
        return Err(Refusal::TooLarge { limit });
    }
    collect(request.into_body(), limit).await
}

async fn collect(body: Body, limit: usize) -> Result<Bytes, Refusal> {
    let mut stream = body.into_data_stream();
    let mut collected = BytesMut::new();
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|error| Refusal::Broken(error.to_string()))?;
        if collected.len() + piece.len() > limit {
            return Err(Refusal::TooLarge { limit });
        }
        collected.extend_from_slice(&piece);
    }
    Ok(collected.freeze())
}

fn parse_object(bytes: &[u8]) -> Result<Fields, Refusal> {
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => Ok(Fields::new(object)),
        Ok(other) => Err(Refusal::NotAnObject(describe(&other))),
        Err(_) if bytes.is_empty() => Err(Refusal::Malformed("it is empty".into())),
        Err(error) => Err(Refusal::Malformed(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(body: impl Into<Body>, length: Option<&str>) -> Request {
        let mut builder = Request::builder();
        if let Some(length) = length {
            builder = builder.header(CONTENT_LENGTH, length);
        }
        builder.body(body.into()).expect("a request")
    }

    #[tokio::test]
    async fn bodies_up_to_the_limit_are_read() {
        assert_eq!(
            read_body(request("12345", None), 5).await.expect("fits"),
            "12345"
        );
        for (body, length) in [("123456", None), ("1", Some("6"))] {
            let refusal = read_body(request(body, length), 5)
                .await
                .expect_err("too large");
            assert!(
                matches!(refusal, Refusal::TooLarge { limit: 5 }),
                "{refusal}"
            );
        }
    }

    #[test]
    fn only_objects_are_taken() {
        assert!(parse_object(br#"{"a": 1}"#).is_ok());
        for (body, text) in [
            ("", "the body is not JSON: it is empty"),
            (
                "]",
                "the body is not JSON: expected value at line 1 column 1",
            ),
            (
                "{}}",
                "the body is not JSON: trailing characters at line 1 column 3",
            ),
            ("[1]", "the body: expected a JSON object, got an array of 1"),
            ("null", "the body: expected a JSON object, got null"),
        ] {
            assert_eq!(
                parse_object(body.as_bytes()).expect_err(body).to_string(),
                text
            );
        }
        // Nesting is bounded by the parser, so a hostile body cannot overflow the stack.
        let deep = "[".repeat(100_000);
        assert!(matches!(
            parse_object(deep.as_bytes()),
            Err(Refusal::Malformed(_))
        ));
    }
}
