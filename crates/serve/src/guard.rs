//! What stands before each route: the credential that it takes, and the measure of the request.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::caller::{Caller, Denied};
use crate::family::Fault;
use crate::metrics::Measure;
use crate::route::Route;
use crate::state::App;
use crate::watched::Watched;

/// Lets a request through to its handler, or answers why not.
pub async fn guard(
    State((app, route)): State<(App, Arc<Route>)>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(caller) = request.extensions().get::<Caller>().cloned() else {
        tracing::error!(
            path = route.path,
            "no gate stands before the route; this is a bug"
        );
        return route
            .family
            .fault(Fault::Internal, "the request met a defect of the server");
    };
    if let Some(permission) = route.access.permission()
        && !caller.may(permission)
    {
        let denied = Denied::Permission(permission);
        return route
            .family
            .fault(Fault::PermissionDenied, &denied.to_string());
    }
    let place = match route.is_inference() {
        false => None,
        true => match app.limits.hold(&caller.client()) {
            Ok(place) => Some(place),
            Err(excess) => {
                let fault = Fault::RateLimited {
                    retry_after: excess.retry_after,
                };
                return route.family.fault(fault, &excess.to_string());
            }
        },
    };
    let measure = Measure::of(&app, &caller, route.endpoint, route.is_inference());
    request.extensions_mut().insert(measure.clone());
    let response = next.run(request).await;
    let status = response.status();
    app.metrics.answered(route.endpoint, status.as_u16());
    if status.is_client_error() || status.is_server_error() {
        measure.failed();
    }
    // Both are held until the last byte of the answer has been sent, or the client has gone.
    response.map(|body| Body::new(Watched::new(body, (measure, place))))
}
