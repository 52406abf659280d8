//! Requests for models that a service on another machine serves: passed on, and answered as it answers.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::Stream;

use super::error::ApiError;
use crate::admission::Ticket;
use crate::caller::Caller;
use crate::extract::admit;
use crate::fields::Fields;
use crate::metrics::Measure;
use crate::problem::Problem;
use crate::remote::{self, Asker, Keys, Outgoing, count};
use crate::state::App;
use crate::upstream::{self, Model, Part};
use crate::waiting::unbuffered;

/// A request that has been admitted.
pub enum Admitted {
    /// It is for a model of this server.
    Here(Ticket, Fields),
    /// A service elsewhere has answered it.
    Elsewhere(Response),
}

/// Admits a request, and passes it on to `path` of the service that serves its model, if one does.
///
/// # Errors
/// A refusal at the door; fields that mean something to this server only and cannot be obeyed; those of the
/// call.
pub async fn admit_or_pass_on(
    app: &App,
    caller: &Caller,
    measure: &Measure,
    keys: &Keys,
    request: Request,
    path: &'static str,
) -> Result<Admitted, ApiError> {
    let (ticket, fields) = admit(app, request).await?;
    let Some(model) = remote::model(app, &fields) else {
        return Ok(Admitted::Here(ticket, fields));
    };
    let asker = Asker {
        app,
        caller,
        measure,
        keys,
        entered: ticket.entered(),
        waits_its_turn: false,
    };
    let response = pass_on(asker, ticket, fields, &model, path).await?;
    Ok(Admitted::Elsewhere(response))
}

async fn pass_on(
    asker: Asker<'_>,
    ticket: Ticket,
    fields: Fields,
    model: &Model,
    path: &'static str,
) -> Result<Response, Problem> {
    let outgoing = Outgoing::write(fields, model).await?;
    let mut answer = asker.ask(model, path, &outgoing).await?;
    if outgoing.is_stream && answer.is_stream() {
        let stream = remote::stream(answer)?;
        let measure = asker.measure.clone();
        return Ok(relay(stream, outgoing.hides_usage, ticket, measure));
    }
    let body = asker.whole(&mut answer, &ticket).await?;
    answer.end();
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

/// The answer's events as they come. A failure is one event with the error envelope, and the end.
fn relay(
    stream: upstream::Stream,
    hides_usage: bool,
    ticket: Ticket,
    measure: Measure,
) -> Response {
    let events = relayed(stream, hides_usage, ticket, measure);
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    unbuffered((headers, Body::from_stream(events)).into_response())
}

fn relayed(
    mut stream: upstream::Stream,
    hides_usage: bool,
    ticket: Ticket,
    measure: Measure,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    async_stream::stream! {
        let _held = ticket;
        let failure = loop {
            match stream.next().await {
                Ok(Some((part, event))) => {
                    match part {
                        Part::Content { .. } => measure.first_token(),
                        Part::Usage(_) if hides_usage => continue,
                        _ => {}
                    }
                    yield Ok(event);
                }
                Ok(None) => break None,
                Err(failure) => break Some(failure),
            }
        };
        if let Some(usage) = stream.end() {
            count(&measure, usage);
        }
        if let Some(failure) = failure {
            tracing::warn!(error = %failure, "a stream ended with a failure");
            measure.failed();
            let envelope = ApiError::from(failure).envelope();
            yield Ok(Bytes::from(format!("data: {envelope}\n\n")));
        }
    }
}
