//! Requests for models that a service on another machine serves, in every dialect: as they go out, and what
//! comes back.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::Value;
use utoipa::IntoParams;

use crate::admission::Ticket;
use crate::caller::Caller;
use crate::fields::{FieldError, Fields};
use crate::metrics::Measure;
use crate::problem::{Kind, Problem};
use crate::settings::{Secret, Service};
use crate::state::App;
use crate::upstream::{Answer, Ask, Model, Stream, Told, UpstreamError, Usage};
use crate::waiting::permit;

/// The headers that may bring a key for a service: they are for it alone, and for this request alone.
#[derive(Clone)]
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
    fn of(&self, kind: Service) -> Result<Option<Secret>, Problem> {
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

/// The model that a request names, if a service elsewhere serves it.
pub fn model(app: &App, fields: &Fields) -> Option<Model> {
    app.upstream_model(fields.string("model").ok()??)
}

/// A request that asks a service, or several of them.
#[derive(Clone, Copy)]
pub struct Asker<'a> {
    /// The server.
    pub app: &'a App,
    /// Who asks.
    pub caller: &'a Caller,
    /// What it is measured by.
    pub measure: &'a Measure,
    /// The keys that it brings.
    pub keys: &'a Keys,
    /// When it was let in. Deadlines count from here.
    pub entered: Instant,
    /// Whether it waits where the server allows itself no more for now, and is not refused.
    pub waits_its_turn: bool,
}

impl Asker<'_> {
    /// Asks `path` of the service that serves `model`, and gives the answer once it begins well.
    ///
    /// # Errors
    /// A model that the caller may not use; those of the call.
    pub async fn ask(
        &self,
        model: &Model,
        path: &'static str,
        outgoing: &Outgoing,
    ) -> Result<Answer, Problem> {
        permit(self.app, self.caller, &outgoing.model)?;
        self.measure.model(&outgoing.model);
        let upstream = &model.upstream;
        let own = self.keys.of(upstream.kind())?;
        let ask = Ask {
            path,
            body: outgoing.body.clone(),
            key: upstream.key(own, &self.app.settings()),
            tokens: outgoing.tokens,
            deadline: outgoing.timeout.map(|timeout| self.entered + timeout),
            waits_its_turn: self.waits_its_turn,
        };
        Ok(upstream.call(&ask).await?)
    }

    /// The whole of an answer, which takes of the room of `ticket`.
    ///
    /// # Errors
    /// It is a stream, breaks off, is no JSON object, or finds no room.
    pub async fn whole(&self, answer: &mut Answer, ticket: &Ticket) -> Result<Bytes, Problem> {
        if answer.is_stream() {
            let what = "its answer is a stream that was not asked for";
            return Err(answer.garbled(what).into());
        }
        let room = ticket.room();
        let make_room = |bytes| ticket.make_room(bytes).then_some(()).ok_or(room);
        let most = self.app.settings().body_limit.length();
        let body = answer.whole(most, make_room).await?;
        let Some(told) = read(body.clone(), Told::of).await else {
            return Err(answer.garbled("its answer is not a JSON object").into());
        };
        if let Some(usage) = told.usage() {
            answer.settle(usage);
            count(self.measure, usage);
        }
        Ok(body)
    }

    /// The whole of an answer as a `T`.
    ///
    /// # Errors
    /// As [`Self::whole`]; it is no `T`.
    pub async fn whole_as<T: DeserializeOwned + Send + 'static>(
        &self,
        mut answer: Answer,
        ticket: &Ticket,
    ) -> Result<T, Problem> {
        let body = self.whole(&mut answer, ticket).await?;
        match read(body, |body| serde_json::from_slice(body).ok()).await {
            Some(whole) => {
                answer.end();
                Ok(whole)
            }
            None => Err(answer
                .garbled("its answer is none to such a request")
                .into()),
        }
    }
}

/// Adds what a service told to what its request is measured by.
pub fn count(measure: &Measure, usage: Usage) {
    measure.tokens(usage.prompt_tokens, usage.completion_tokens);
}

/// The stream that an answer is to be.
///
/// # Errors
/// It is none.
pub fn stream(answer: Answer) -> Result<Stream, UpstreamError> {
    match answer.is_stream() {
        true => Ok(Stream::new(answer)),
        false => Err(answer.garbled("its answer is not the stream that was asked for")),
    }
}

/// Reads a whole answer with `look`; a long one on a blocking thread.
async fn read<T: Send + 'static>(
    body: Bytes,
    look: impl FnOnce(&[u8]) -> Option<T> + Send + 'static,
) -> Option<T> {
    /// Longest answer that is read at once, in bytes.
    const SHORT: usize = 64 << 10;
    match body.len() {
        ..=SHORT => look(&body),
        _ => tokio::task::spawn_blocking(move || look(&body))
            .await
            .ok()?,
    }
}

/// A request as it goes out.
pub struct Outgoing {
    /// The model, as requests here call it.
    model: String,
    body: Bytes,
    /// Whether the answer is to be a stream.
    pub is_stream: bool,
    /// Whether the tokens are asked for by the server, and not by the client.
    pub hides_usage: bool,
    tokens: u64,
    timeout: Option<Duration>,
}

impl Outgoing {
    /// What the client sent, with the service's name for the model, and without what is for this server; written
    /// on a blocking thread, since it may be long.
    ///
    /// # Errors
    /// Fields that mean something to this server only and cannot be obeyed.
    pub async fn write(fields: Fields, model: &Model) -> Result<Self, Problem> {
        let model = model.name.clone();
        let written = tokio::task::spawn_blocking(move || Self::of(fields, &model)).await;
        match written {
            Ok(written) => Ok(written?),
            Err(error) => Err(Problem::new(Kind::Internal, error.to_string())),
        }
    }

    fn of(fields: Fields, theirs: &str) -> Result<Self, FieldError> {
        for name in ["keep_alive", "priority"] {
            if let Some(value) = fields.get(name) {
                let expected = format!("no {name} for a model that another service serves");
                return Err(FieldError::unsupported(name, expected, value));
            }
        }
        let model = fields.required_string("model")?.to_owned();
        let timeout = fields.timeout()?;
        let is_stream = fields.boolean("stream")?.unwrap_or(false);
        let options = fields.object("stream_options")?.cloned();
        let mut fields = fields.into_inner();
        for own in ["timeout", "keep_alive", "priority"] {
            fields.shift_remove(own);
        }
        fields.insert("model".into(), theirs.into());
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
            model,
            // About four letters a token, in the languages that most is written in.
            tokens: (body.len() as u64 / 4).saturating_add(most.unwrap_or(0)),
            body,
            is_stream,
            hides_usage: !asks_usage,
            timeout,
        })
    }
}
