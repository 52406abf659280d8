//! The routes, and the gate that every request passes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::time::{Instant, SystemTime};

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::X_CONTENT_TYPE_OPTIONS;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::FutureExt;
use tracing::Instrument;

use crate::dialects::inferno;
use crate::family::{Family, Fault};
use crate::health;
use crate::origin::{self, Verdict};
use crate::state::App;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// All routes behind the gate.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/health", get(health::health))
        .merge(inferno::routes())
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
async fn gate(State(app): State<App>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = request_id(&request);
    let family = Family::of(request.uri().path());
    let verdict = origin::judge(
        request.method(),
        request.headers(),
        &app.config.allowed_origins,
    );
    let standing = app.rate.count(client_address(&request), SystemTime::now());
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
