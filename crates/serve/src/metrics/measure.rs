//! What is measured of one request, from its arrival to the last byte of its answer.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::{Labels, Outcome};
use crate::caller::{Caller, ClientId};
use crate::state::App;

/// Follows one request. Clones are the same measure; it is counted when the last of them is dropped,
/// which for a routed request is when its answer has been sent or its client has gone.
#[derive(Clone)]
pub struct Measure(Arc<Inner>);

struct Inner {
    app: App,
    client: ClientId,
    endpoint: &'static str,
    is_inference: bool,
    began: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    model: Option<Arc<str>>,
    tokens_in: u64,
    tokens_out: u64,
    first_token: Option<Instant>,
    last_token: Option<Instant>,
    failed: bool,
}

impl Measure {
    /// A measure of a request for inference that is no HTTP request of its own: a message on a
    /// WebSocket, an item of a batch.
    pub fn start(app: &App, caller: &Caller, endpoint: &'static str) -> Self {
        Self::of(app, caller, endpoint, true)
    }

    /// A measure of a request to `endpoint`, which begins now.
    pub(crate) fn of(
        app: &App,
        caller: &Caller,
        endpoint: &'static str,
        is_inference: bool,
    ) -> Self {
        Self(Arc::new(Inner {
            app: app.clone(),
            client: caller.client(),
            endpoint,
            is_inference,
            began: Instant::now(),
            state: Mutex::default(),
        }))
    }

    /// Notes the model that answers. To be called once the runtime has found it: a name that a client
    /// made up must not become a label.
    pub fn model(&self, name: &str) {
        self.update(|state| state.model = Some(name.into()));
    }

    /// Adds tokens of the prompt and of the answer.
    pub fn tokens(&self, prompt: u64, completion: u64) {
        self.update(|state| {
            state.tokens_in += prompt;
            state.tokens_out += completion;
            if completion > 0 {
                state.last_token = Some(Instant::now());
            }
        });
    }

    /// Notes that the first token is there; later calls change nothing.
    pub fn first_token(&self) {
        self.update(|state| {
            state.first_token.get_or_insert_with(Instant::now);
        });
    }

    /// Notes that the request failed, whatever its status said.
    pub fn failed(&self) {
        self.update(|state| state.failed = true);
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        let state = self.0.state.lock();
        change(&mut state.unwrap_or_else(|poisoned| poisoned.into_inner()));
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let state = std::mem::take(&mut self.state);
        let state = state
            .into_inner()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        self.app
            .limits
            .spend(&self.client, state.tokens_in + state.tokens_out);
        if !self.is_inference {
            return;
        }
        let labels = Labels {
            model: state.model.unwrap_or_default(),
            endpoint: self.endpoint,
        };
        let writing = state.first_token.zip(state.last_token);
        let outcome = Outcome {
            succeeded: !state.failed,
            duration: self.began.elapsed(),
            first_token: state
                .first_token
                .map(|first| first.duration_since(self.began)),
            writing: writing.map(|(first, last)| last.saturating_duration_since(first)),
            tokens_in: state.tokens_in,
            tokens_out: state.tokens_out,
        };
        self.app.metrics.ended(labels, &outcome);
    }
}

impl FromRequestParts<App> for Measure {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Self::Rejection> {
        if let Some(measure) = parts.extensions.get::<Self>() {
            return Ok(measure.clone());
        }
        // Only where no guard stands before the route; nothing of such a request is counted.
        let Ok(caller) = Caller::from_request_parts(parts, app).await;
        Ok(Self::of(app, &caller, "", false))
    }
}
