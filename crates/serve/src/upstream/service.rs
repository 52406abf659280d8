//! A service: its address, its key, what was asked of it and how it does.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use axum::http::{HeaderValue, Method, Request};

use super::Clock;
use super::allowance::Allowance;
use super::breaker::Breaker;
use super::client::Client;
use crate::settings::{Secret, Service, Settings, Upstream as Entry};
use crate::traces;

/// For how long it is known how a service does, once it has answered or failed to.
const FRESH: Duration = Duration::from_secs(30);

/// How long a service may take to show that it is there.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// A service on another machine that serves models.
pub struct Upstream {
    entry: Entry,
    pub(super) client: Client,
    pub(super) clock: Clock,
    dealings: Arc<Dealings>,
}

/// What has passed between the server and a service. It outlives changes of the service's entry.
pub(super) struct Dealings {
    pub breaker: Breaker,
    pub allowance: Allowance,
    counters: Counters,
    contact: Mutex<Option<Contact>>,
    probe: tokio::sync::Mutex<()>,
}

/// When the service last answered or failed to.
#[derive(Debug, Clone, Copy)]
struct Contact {
    at: Instant,
    answered: bool,
}

#[derive(Debug, Default)]
struct Counters {
    requests: AtomicU64,
    retries: AtomicU64,
    failures: AtomicU64,
    tokens: AtomicU64,
}

/// What was asked of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Requests that reached it, those that were made again included.
    pub requests: u64,
    /// Requests that were made again.
    pub retries: u64,
    /// Requests that it failed to answer.
    pub failures: u64,
    /// Tokens in and out, as far as it told of them.
    pub tokens: u64,
}

impl Upstream {
    /// The service of `entry`.
    pub fn new(entry: &Entry, client: Client, clock: Clock) -> Self {
        Self {
            entry: entry.clone(),
            client,
            clock,
            dealings: Arc::new(Dealings {
                breaker: Breaker::default(),
                allowance: Allowance::of(entry.service),
                counters: Counters::default(),
                contact: Mutex::default(),
                probe: tokio::sync::Mutex::default(),
            }),
        }
    }

    /// The same service under another entry: what was asked of it stays counted. `None` where the entry is
    /// of another service.
    pub(super) fn under(&self, entry: &Entry) -> Option<Self> {
        let own = &self.entry;
        let is_same = (&own.name, own.service, &own.base_url)
            == (&entry.name, entry.service, &entry.base_url);
        is_same.then(|| Self {
            entry: entry.clone(),
            client: self.client.clone(),
            clock: Arc::clone(&self.clock),
            dealings: Arc::clone(&self.dealings),
        })
    }

    /// Whether both are entries of one service.
    pub(super) fn is_also(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.dealings, &other.dealings)
    }

    /// What the operator calls it.
    pub fn name(&self) -> &str {
        &self.entry.name
    }

    /// Whose it is.
    pub fn kind(&self) -> Service {
        self.entry.service
    }

    pub(super) fn dealings(&self) -> &Dealings {
        &self.dealings
    }

    /// How long it may take to begin its answer, and to go on with it.
    pub fn patience(&self) -> Duration {
        self.entry.timeout
    }

    /// Whether calls to it pass, and are not only tried.
    pub fn is_trusted(&self) -> bool {
        self.dealings.breaker.is_closed()
    }

    /// The key for a request: its own, the entry's, or the one for all services of this kind.
    pub fn key(&self, own: Option<Secret>, settings: &Settings) -> Option<Secret> {
        let common = match self.entry.service {
            Service::OpenAi => &settings.openai_key,
            Service::Baseten => &settings.baseten_key,
            Service::Other => &None,
        };
        own.or_else(|| self.entry.key.clone())
            .or_else(|| common.clone())
    }

    /// What was asked of it.
    pub fn figures(&self) -> Figures {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Figures {
            requests: of(&self.dealings.counters.requests),
            retries: of(&self.dealings.counters.retries),
            failures: of(&self.dealings.counters.failures),
            tokens: of(&self.dealings.counters.tokens),
        }
    }

    /// A request that goes out now, which is counted unless it turns out that it never did.
    pub(super) fn count_request(&self, is_retry: bool) -> Counted<'_> {
        Counted {
            counters: &self.dealings.counters,
            is_retry,
            is_sent: true,
        }
    }

    pub(super) fn count_tokens(&self, tokens: u64) {
        self.dealings
            .counters
            .tokens
            .fetch_add(tokens, Ordering::Relaxed);
    }

    pub(super) fn count_failure(&self) {
        self.dealings
            .counters
            .failures
            .fetch_add(1, Ordering::Relaxed);
    }

    /// Whether it answers. Where nothing has been heard of it for a while it is asked for its models, without
    /// a key: any answer will do.
    pub async fn answers(&self) -> bool {
        if !self.dealings.breaker.is_closed() {
            return false;
        }
        if let Some(answered) = self.known() {
            return answered;
        }
        // Of several that ask at once one finds out.
        let _probing = self.dealings.probe.lock().await;
        if let Some(answered) = self.known() {
            return answered;
        }
        let Ok(request) = self.request(Method::GET, "/models", None, Body::empty()) else {
            return false;
        };
        let probe = self.client.send(request);
        let answered = tokio::time::timeout(PROBE_TIMEOUT, probe).await;
        let answered = matches!(answered, Ok(Ok(_)));
        self.heard(answered);
        answered
    }

    /// Notes that it answered, or failed to.
    pub(super) fn heard(&self, answered: bool) {
        let at = (self.clock)();
        let contact = self.dealings.contact.lock();
        *contact.unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(Contact { at, answered });
    }

    fn known(&self) -> Option<bool> {
        let contact = self.dealings.contact.lock();
        let contact = (*contact.unwrap_or_else(|poisoned| poisoned.into_inner()))?;
        let age = (self.clock)().saturating_duration_since(contact.at);
        (age < FRESH).then_some(contact.answered)
    }

    /// A request to `path` below the service's address.
    ///
    /// # Errors
    /// The key has letters that a header cannot have.
    pub(super) fn request(
        &self,
        method: Method,
        path: &str,
        key: Option<&Secret>,
        body: Body,
    ) -> Result<Request<Body>, axum::http::Error> {
        let agent = concat!("hearth/", env!("CARGO_PKG_VERSION"));
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.entry.base_url))
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, agent);
        if let Some(key) = key {
            let mut value = HeaderValue::try_from(format!("Bearer {}", key.expose()))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let mut request = request.body(body)?;
        traces::carry(request.headers_mut());
        Ok(request)
    }
}

/// A request that is counted when this is dropped.
pub(super) struct Counted<'a> {
    counters: &'a Counters,
    is_retry: bool,
    is_sent: bool,
}

impl Counted<'_> {
    /// It never reached the service.
    pub fn take_back(&mut self) {
        self.is_sent = false;
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if !self.is_sent {
            return;
        }
        self.counters.requests.fetch_add(1, Ordering::Relaxed);
        if self.is_retry {
            self.counters.retries.fetch_add(1, Ordering::Relaxed);
        }
    }
}
