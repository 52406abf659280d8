//! Requests for models that a service on another machine serves: passed on, and answered as it answers.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::Stream;
use serde_json::Value;
use utoipa::IntoParams;

use super::error::ApiError;
use super::params::LONGEST_TIMEOUT;
use crate::admission::Ticket;
use crate::caller::Caller;
use crate::fields::{FieldError, Fields};
use crate::metrics::Measure;
use crate::problem::{Kind, Problem};
use crate::settings::{Secret, Service};
use crate::state::App;
use crate::upstream::{Answer, Ask, Events, Model, Part, Told, UpstreamError, Usage};
use crate::waiting::{permit, unbuffered};

/// The headers that may bring a key for a service: they are for it alone, and for this request alone.
pub struct Keys(HeaderMap);

const HEADERS: [(Service, &str); 2] = [
    (Service::OpenAi, "x-openai-key"),
    (Service::Baseten, "x-baseten-key"),
];

/// The headers of [`Keys`], for the descriptions of endpoints.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "describes what `Keys` takes")]
pub struct KeyHeaders {
    /// A key for a model that OpenAI serves, for this request alone.
    #[param(rename = "X-OpenAI-Key")]
    openai: Option<String>,
    /// A key for a model that Baseten serves, for this request alone.
    #[param(rename = "X-Baseten-Key")]
    baseten: Option<String>,
}

impl Keys {
    /// The key for services of this kind.
    fn take(&self, kind: Service) -> Result<Option<Secret>, Problem> {
        let Self(headers) = self;
        let name = HEADERS.iter().find(|(own, _)| *own == kind);
        let Some((name, value)) = name.and_then(|(_, name)| Some((name, headers.get(*name)?)))
        else {
            return Ok(None);
        };
        match value.to_str().map(str::trim) {
            Ok("") => Ok(None),
            Ok(key) => Ok(Some(Secret::new(key))),
            Err(_) => {
                let message = format!("{name}: expected a key, got letters that no key has");
                Err(Problem::new(Kind::Invalid, message))
            }
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Keys {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let mut own = HeaderMap::new();
        for (_, name) in HEADERS {
            if let Some(value) = parts.headers.remove(name) {
                own.insert(name, value);
            }
        }
        Ok(Self(own))
    }
}

/// A request that has been admitted.
pub struct Admitted<'a> {
    /// The server.
    pub app: &'a App,
    /// Who asks.
    pub caller: &'a Caller,
    /// What it is measured by.
    pub measure: &'a Measure,
    /// Its place.
    pub ticket: Ticket,
    /// The keys that it brings.
    pub keys: Keys,
    /// What it asks.
    pub fields: Fields,
}

/// The model that a request asks for, if a service elsewhere serves it.
pub fn model<'a>(app: &'a App, fields: &Fields) -> Option<&'a Model> {
    app.upstream_model(fields.string("model").ok()??)
}

/// Passes a request on to `path` of the service that serves `model`.
///
/// # Errors
/// Fields that mean something to this server only and cannot be obeyed; those of the call.
pub async fn pass_on(
    request: Admitted<'_>,
    model: &Model,
    path: &'static str,
) -> Result<Response, Problem> {
    let Admitted {
        app,
        caller,
        measure,
        mut ticket,
        keys,
        fields,
    } = request;
    let name = fields.required_string("model")?;
    permit(app, caller, name)?;
    measure.model(name);
    let settings = app.settings();
    let upstream = &model.upstream;
    let key = upstream.key(keys.take(upstream.kind())?, &settings);
    let Outgoing {
        body,
        is_stream,
        hides_usage,
        tokens,
        timeout,
    } = outgoing(fields, &model.name).await?;
    let deadline = timeout.map(|timeout| ticket.entered() + timeout);
    let ask = Ask {
        path,
        body,
        key,
        tokens,
        deadline,
    };
    let mut answer = upstream.call(&ask).await?;
    if answer.is_stream() && is_stream {
        return Ok(relay(answer, hides_usage, ticket, measure.clone()));
    }
    if answer.is_stream() {
        return Err(answer
            .garbled("its answer is a stream that was not asked for")
            .into());
    }
    let room = ticket.room();
    let make_room = |bytes| ticket.make_room(bytes).then_some(()).ok_or(room);
    let body = answer
        .whole(settings.body_limit.length(), make_room)
        .await?;
    let Some(told) = read(body.clone()).await else {
        return Err(answer.garbled("its answer is not a JSON object").into());
    };
    settle(&answer, measure, told.usage());
    answer.end();
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

/// A request as it goes out, written on a blocking thread: it may be long.
async fn outgoing(fields: Fields, model: &str) -> Result<Outgoing, Problem> {
    let model = model.to_owned();
    let written = tokio::task::spawn_blocking(move || Outgoing::of(fields, &model)).await;
    match written {
        Ok(written) => Ok(written?),
        Err(error) => Err(Problem::new(Kind::Internal, error.to_string())),
    }
}

/// A request as it goes out.
struct Outgoing {
    body: Bytes,
    is_stream: bool,
    /// Whether the tokens are asked for by the server, and not by the client.
    hides_usage: bool,
    tokens: u64,
    timeout: Option<Duration>,
}

impl Outgoing {
    /// What the client sent, with the service's name for the model, and without what is for this server.
    fn of(fields: Fields, model: &str) -> Result<Self, FieldError> {
        for name in ["keep_alive", "priority"] {
            if let Some(value) = fields.get(name) {
                let expected = format!("no {name} for a model that another service serves");
                return Err(FieldError::unsupported(name, expected, value));
            }
        }
        let timeout = fields
            .number("timeout", 0.001..=LONGEST_TIMEOUT)?
            .map(Duration::from_secs_f64);
        let is_stream = fields.boolean("stream")?.unwrap_or(false);
        let options = fields.object("stream_options")?.cloned();
        let mut fields = fields.into_inner();
        for own in ["timeout", "keep_alive", "priority"] {
            fields.shift_remove(own);
        }
        fields.insert("model".into(), model.into());
        let mut options = options.unwrap_or_default();
        let asks_usage = options.get("include_usage") == Some(&Value::Bool(true));
        if is_stream && !asks_usage {
            // What clients may use is counted in tokens too.
            options.insert("include_usage".into(), true.into());
            fields.insert("stream_options".into(), options.into());
        }
        let most = ["max_completion_tokens", "max_tokens"];
        let most = most.iter().find_map(|name| fields.get(*name)?.as_u64());
        let body = Bytes::from(Value::Object(fields).to_string());
        Ok(Self {
            // About four letters a token, in the languages that most is written in.
            tokens: (body.len() as u64 / 4).saturating_add(most.unwrap_or(0)),
            body,
            is_stream,
            hides_usage: !asks_usage,
            timeout,
        })
    }
}

/// Looks into a whole answer; into a long one on a blocking thread.
async fn read(body: Bytes) -> Option<Told> {
    /// Longest answer that is looked into at once, in bytes.
    const SHORT: usize = 64 << 10;
    match body.len() {
        ..=SHORT => Told::of(&body),
        _ => tokio::task::spawn_blocking(move || Told::of(&body))
            .await
            .ok()?,
    }
}

fn settle(answer: &Answer, measure: &Measure, usage: Option<Usage>) {
    if let Some(usage) = usage {
        answer.settle(usage);
        measure.tokens(usage.prompt_tokens, usage.completion_tokens);
    }
}

/// The answer's events as they come. A failure is one event with the error envelope, and the end.
fn relay(answer: Answer, hides_usage: bool, ticket: Ticket, measure: Measure) -> Response {
    let events = relayed(answer, hides_usage, ticket, measure);
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    unbuffered((headers, Body::from_stream(events)).into_response())
}

fn relayed(
    mut answer: Answer,
    hides_usage: bool,
    ticket: Ticket,
    measure: Measure,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    async_stream::stream! {
        let _held = ticket;
        let mut events = Events::default();
        let mut usage = None;
        let failure: Option<UpstreamError> = 'answer: loop {
            match answer.piece().await {
                Ok(Some(piece)) => {
                    if events.push(&piece).is_err() {
                        break Some(answer.garbled("an event of its stream does not end"));
                    }
                }
                Ok(None) => {
                    let rest = events.rest();
                    if Part::of(&rest) == Part::Done {
                        yield Ok(rest);
                        break None;
                    }
                    break Some(answer.garbled("its stream ended before its answer did"));
                }
                Err(failure) => break Some(failure),
            }
            while let Some(event) = events.next() {
                match Part::of(&event) {
                    Part::Content { usage: told } => {
                        measure.first_token();
                        usage = told.or(usage);
                    }
                    Part::Usage(told) => {
                        usage = Some(told);
                        if hides_usage {
                            continue;
                        }
                    }
                    Part::Failed(message) => {
                        break 'answer Some(answer.garbled(format!("its stream failed: {message}")));
                    }
                    Part::Done => {
                        yield Ok(event);
                        break 'answer None;
                    }
                    Part::Else => {}
                }
                yield Ok(event);
            }
        };
        settle(&answer, &measure, usage);
        match failure {
            None => answer.end(),
            Some(failure) => {
                tracing::warn!(error = %failure, "a stream ended with a failure");
                measure.failed();
                let envelope = ApiError::from(failure).envelope();
                yield Ok(Bytes::from(format!("data: {envelope}\n\n")));
            }
        }
    }
}
