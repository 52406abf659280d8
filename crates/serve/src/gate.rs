//! What every request passes, whatever its path: its id, the judgement of its origin, who asks and what he
//! has used up, the headers common to all answers, the logs, and the net under a handler that panics.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::header::{
    REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use tracing::Instrument;

use crate::audit::{Event, Note};
use crate::caller::Caller;
use crate::credential;
use crate::family::{Family, Fault};
use crate::guard::Found;
use crate::limits::Standing;
use crate::logs::REQUESTS;
use crate::origin::{self, Verdict};
use crate::route::Route;
use crate::settings::Settings;
use crate::state::App;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Passes a request on, and completes its answer.
pub async fn gate(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let settings = app.settings();
    let id = request_id(&request);
    let trace = app.traces.begin(&request);
    let family = Family::of(request.uri().path());
    let verdict = origin::judge(
        request.method(),
        request.headers(),
        &settings.allowed_origins,
    );
    let asked = request.headers().clone();
    let preflight = origin::is_preflight(request.method(), &asked);

    // A wrong credential is counted for its address, like none.
    let anonymous = credential::anonymous(&request);
    let found = credential::caller(&app, &asked, anonymous.address()).await;
    let client = found.as_ref().unwrap_or(&anonymous).client();
    let standing = app.limits.count(&client);
    let note = Note::default();
    let known = found.as_ref().ok().cloned();
    request
        .extensions_mut()
        .insert(Found(found.map_err(Arc::new)));
    request.extensions_mut().insert(note.clone());

    let line = Line {
        method: request.method().clone(),
        path: request.uri().path().to_owned(),
        id: id.clone(),
        began,
    };
    let span = tracing::info_span!(
        "request",
        id = id.to_str().unwrap_or_default(),
        method = %request.method(),
        path = request.uri().path(),
    );
    let answered = async {
        match &verdict {
            Verdict::Refused => family.fault(
                Fault::ForeignOrigin,
                "web pages of this origin may not use the server",
            ),
            _ if preflight => StatusCode::NO_CONTENT.into_response(),
            _ if standing.excess.is_some() => limited(&app, family, &standing),
            _ => match AssertUnwindSafe(trace.within(next.run(request)))
                .catch_unwind()
                .await
            {
                Ok(response) => response,
                Err(_panic) => {
                    tracing::error!("a handler panicked; this is a bug");
                    family.fault(Fault::Internal, "the request met a defect of the server")
                }
            },
        }
    };
    let mut response = answered.instrument(span).await;
    // The guard may know better who asks than the headers told.
    let caller = response.extensions_mut().remove::<Caller>();
    let caller = caller.or(known).unwrap_or(anonymous);
    line.write(&app, &caller, response.status(), &note);
    let route = response.extensions_mut().remove::<Arc<Route>>();
    let mut response = trace.answered(response, route.as_deref());

    let is_unauthorized = response.status() == StatusCode::UNAUTHORIZED;
    let headers = response.headers_mut();
    if is_unauthorized {
        headers
            .entry(WWW_AUTHENTICATE)
            .or_insert(HeaderValue::from_static("Bearer"));
    }
    if settings.security_headers {
        protect(headers, &settings);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REQUEST_ID, id);
    standing.write(headers);
    origin::vary(headers);
    if let Verdict::Allowed(origin) = verdict {
        origin::allow(headers, origin);
        if preflight {
            origin::allow_preflight(headers, &asked);
        }
    }
    response
}

/// The headers that keep pages from framing the answers, and browsers from leaving TLS.
fn protect(headers: &mut HeaderMap, settings: &Settings) {
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if settings.tls_certificate.is_some() {
        let year = HeaderValue::from_static("max-age=31536000");
        headers.insert(STRICT_TRANSPORT_SECURITY, year);
    }
}

/// The answer to a client that has used up what it is allowed.
fn limited(app: &App, family: Family, standing: &Standing) -> Response {
    app.metrics.limited.fetch_add(1, Ordering::Relaxed);
    let status = StatusCode::TOO_MANY_REQUESTS.as_u16();
    app.metrics.answered("limited", status);
    let excess = standing.excess.as_ref();
    let retry_after = excess.map_or(Duration::ZERO, |excess| excess.retry_after);
    let message = excess.map(ToString::to_string).unwrap_or_default();
    family.fault(Fault::RateLimited { retry_after }, &message)
}

/// What the logs say of a request. The path has no query, in which a token could stand.
struct Line {
    method: Method,
    path: String,
    id: HeaderValue,
    began: Instant,
}

impl Line {
    fn write(&self, app: &App, caller: &Caller, status: StatusCode, note: &Note) {
        let (method, path) = (&self.method, &self.path);
        let millis = self.began.elapsed().as_secs_f64() * 1e3;
        let id = self.id.to_str().unwrap_or_default();
        tracing::info!(
            target: REQUESTS,
            "[API REQUEST] {method} {path} - Client: {} - {} - {} - {millis:.1} ms - {id}",
            caller.address(),
            caller.username(),
            status.as_u16(),
        );
        // Probes come every second and change nothing.
        if path.starts_with("/health") && status.is_success() {
            return;
        }
        let event = Event::new("request")
            .by(caller)
            .with("id", id)
            .with("method", method.as_str())
            .with("path", path.as_str())
            .with("status", status.as_u16());
        app.audit.event(event.noted(note));
    }
}

/// The client's own id if it is short printable ASCII, a new one otherwise.
fn request_id(request: &Request) -> HeaderValue {
    const LONGEST: usize = 128;
    let own = request.headers().get(&REQUEST_ID).filter(|value| {
        !value.is_empty()
            && value.len() <= LONGEST
            && value.as_bytes().iter().all(u8::is_ascii_graphic)
    });
    own.cloned().unwrap_or_else(|| {
        let id = format!("req-{}", uuid::Uuid::new_v4().simple());
        HeaderValue::from_str(&id).expect("hexadecimal digits are a header value; this is a bug")
    })
}
