//! The routes of all families, behind the gate.

use axum::Router;
use axum::extract::Request;
use axum::middleware;
use axum::response::Response;

use crate::dialects::{framework, inferno, kserve, torchserve, tursi, voice};
use crate::family::{Family, Fault};
use crate::gate::gate;
use crate::health;
use crate::metrics;
use crate::openapi;
use crate::probes;
use crate::route::{Access, Routes};
use crate::state::App;

/// Every route there is.
pub fn routes() -> Routes {
    Routes::of(Family::Framework)
        .get("/health", Access::Open, "health", health::health)
        .get("/health/live", Access::Open, "live", probes::live)
        .get("/health/ready", Access::Open, "ready", probes::ready)
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
        .merge(kserve::routes())
        .merge(torchserve::routes())
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
