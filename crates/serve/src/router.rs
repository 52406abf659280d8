//! The routes, and the gate that every request passes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::X_CONTENT_TYPE_OPTIONS;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use tracing::Instrument;

use crate::caller::{Caller, Identity};
use crate::dialects::{framework, inferno, tursi, voice};
use crate::family::{Family, Fault};
use crate::health;
use crate::limits::Standing;
use crate::metrics;
use crate::openapi;
use crate::origin::{self, Verdict};
use crate::route::{Access, Routes};
use crate::state::App;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Every route there is.
pub fn routes() -> Routes {
    Routes::of(Family::Framework)
        .get("/health", Access::Open, "health", health::health)
        .merge(Routes::of(Family::Inferno).get(
            "/metrics",
            Access::Monitoring,
            "metrics",
            metrics::metrics,
        ))
        .merge(inferno::routes())
        .merge(tursi::routes())
        .merge(framework::routes())
        .merge(voice::routes())
        .merge(openapi::pages::routes())
}

/// All routes behind the gate.
pub fn router(app: App) -> Router {
    routes()
        .into_router(&app)
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(app.clone(), gate))
        .with_state(app)
}

async fn not_found(request: Request) -> Response {
    let path = request.uri().path();
    Family::of(path).fault(Fault::NotFound, &format!("there is nothing at {path}"))
}

async fn method_not_allowed(request: Request) -> Response {
    let path = request.uri().path();
    let message = format!(
        "{path} does not take {}; see Allow for what it takes",
        request.method()
    );
    Family::of(path).fault(Fault::MethodNotAllowed, &message)
}

/// What every request passes, whatever its path: its id, the judgement of its origin, its count, the
/// headers common to all answers, and the net under a handler that panics.
async fn gate(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = request_id(&request);
    let family = Family::of(request.uri().path());
    let verdict = origin::judge(
        request.method(),
        request.headers(),
        &app.settings().allowed_origins,
    );
    let identity = Arc::new(Identity::local());
    let caller = Caller::new(identity, client_address(&request));
    let standing = app.limits.count(&caller.client());
    request.extensions_mut().insert(caller);
    let asked = request.headers().clone();
    let preflight = origin::is_preflight(request.method(), &asked);

    let span = tracing::info_span!(
        "request",
        id = id.to_str().unwrap_or_default(),
        method = %request.method(),
        path = request.uri().path(),
    );
    let answered = async {
        let response = match &verdict {
            Verdict::Refused => family.fault(
                Fault::ForeignOrigin,
                "web pages of this origin may not use the server",
            ),
            _ if preflight => StatusCode::NO_CONTENT.into_response(),
            _ if standing.excess.is_some() => limited(&app, family, &standing),
            _ => match AssertUnwindSafe(next.run(request)).catch_unwind().await {
                Ok(response) => response,
                Err(_panic) => {
                    tracing::error!("a handler panicked; this is a bug");
                    family.fault(Fault::Internal, "the request met a defect of the server")
                }
            },
        };
        let (status, elapsed) = (response.status().as_u16(), began.elapsed());
        tracing::info!(status, ms = elapsed.as_secs_f64() * 1e3, "answered");
        response
    };
    let mut response = answered.instrument(span).await;

    let headers = response.headers_mut();
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

/// The answer to a client that has used up what it is allowed.
fn limited(app: &App, family: Family, standing: &Standing) -> Response {
    app.metrics.limited.fetch_add(1, Ordering::Relaxed);
    let excess = standing.excess.as_ref();
    let retry_after = excess.map_or(Duration::ZERO, |excess| excess.retry_after);
    let message = excess.map(ToString::to_string).unwrap_or_default();
    family.fault(Fault::RateLimited { retry_after }, &message)
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

/// The address of the peer; loopback where there is no connection, as in tests within the process.
fn client_address(request: &Request) -> IpAddr {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    peer.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |ConnectInfo(address)| {
        address.ip()
    })
}
