//! What stands before each route: the credential that it takes, the measure of the request, and the record of
//! what it changes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::audit::Change;
use crate::auth::AuthError;
use crate::caller::{Caller, Denied, Means};
use crate::credential;
use crate::extract::{Refusal, read_body};
use crate::family::{Fault, whole_seconds};
use crate::limits::Excess;
use crate::metrics::Measure;
use crate::problem::Problem;
use crate::route::{Access, Elsewhere, Route};
use crate::state::App;
use crate::watched::Watched;

/// What the gate found out about the caller.
#[derive(Clone)]
pub struct Found(pub Result<Caller, Arc<AuthError>>);

/// Why a request does not get through.
enum Stop {
    /// It brings no credential.
    NoCredential,
    /// Its credential is not valid, or cannot be checked.
    Auth(Arc<AuthError>),
    /// The credential does not allow it.
    Denied(Denied),
    /// The client has used up what it is allowed.
    Excess(Excess),
    /// Its body cannot be read.
    Body(Refusal),
}

/// Lets a request through to its handler, or answers why not.
pub async fn guard(
    State((app, route)): State<(App, Arc<Route>)>,
    request: Request,
    next: Next,
) -> Response {
    let (mut response, held) = match admit(&app, &route, request).await {
        Err(stop) => (stop.answer(&app, &route), None),
        Ok((mut request, caller)) => {
            let place = match route.is_inference() {
                false => Ok(None),
                true => app.limits.hold(&caller.client()).map(Some),
            };
            match place {
                Err(excess) => (Stop::Excess(excess).answer(&app, &route), None),
                Ok(place) => {
                    let known = caller.clone();
                    let measure = Measure::of(&app, &caller, route.endpoint, route.is_inference());
                    request.extensions_mut().insert(caller);
                    request.extensions_mut().insert(measure.clone());
                    let change = Change::of(&route, &mut request).await;
                    let mut response = next.run(request).await;
                    if let Some(change) = change {
                        app.audit.event(change.event(&known, response.status()));
                    }
                    response.extensions_mut().insert(known);
                    if response.status().is_client_error() || response.status().is_server_error() {
                        measure.failed();
                    }
                    (response, Some((measure, place)))
                }
            }
        }
    };
    app.metrics
        .answered(route.endpoint, response.status().as_u16());
    response.extensions_mut().insert(Arc::clone(&route));
    // Measure and place are held until the last byte has been sent, or the client has gone.
    response.map(|body| match held {
        None => body,
        Some(held) => Body::new(Watched::new(body, held)),
    })
}

/// Finds out who asks and whether he may.
async fn admit(app: &App, route: &Route, request: Request) -> Result<(Request, Caller), Stop> {
    let found = request.extensions().get::<Found>().cloned();
    let Some(Found(found)) = found else {
        tracing::error!(
            path = route.path,
            "no gate stands before the route; this is a bug"
        );
        return Err(Stop::NoCredential);
    };
    if route.access == Access::Open {
        let caller = found.unwrap_or_else(|_| credential::anonymous(&request));
        return Ok((request, caller));
    }
    let in_headers = credential::in_headers(request.headers()).map(str::to_owned);
    if !app.settings().auth {
        let mut caller = found.map_err(Stop::Auth)?;
        // What is about the caller takes him at his word, whether others are asked or not.
        if let Some(credential) = in_headers.filter(|_| route.access == Access::Account) {
            let identity = app.auth.identify(&credential).await;
            caller = Caller::new(
                identity.map_err(|error| Stop::Auth(error.into()))?,
                caller.address(),
            );
        }
        return Ok((request, caller));
    }
    let caller = found.map_err(Stop::Auth)?;
    let is_anonymous = *caller.means() == Means::Anonymous;
    let (request, caller) = match is_anonymous && in_headers.is_none() {
        true => elsewhere(app, route, request).await?,
        false => (request, caller),
    };
    match route.access.permission() {
        Some(permission) if !caller.may(permission) => {
            Err(Stop::Denied(Denied::Permission(permission)))
        }
        _ => Ok((request, caller)),
    }
}

/// Looks for the credential where the route lets it be besides the headers.
async fn elsewhere(app: &App, route: &Route, request: Request) -> Result<(Request, Caller), Stop> {
    let address = credential::anonymous(&request).address();
    let (request, credential) = match route.elsewhere {
        Elsewhere::No => (request, None),
        Elsewhere::Query => {
            let credential = credential::in_query(request.uri());
            (request, credential)
        }
        Elsewhere::Body => {
            let (request, bytes) = read(app, request).await.map_err(Stop::Body)?;
            let credential = credential::in_body(&bytes);
            (request.map(|_| Body::from(bytes)), credential)
        }
    };
    let credential = credential.ok_or(Stop::NoCredential)?;
    let identity = app.auth.identify(&credential).await;
    let caller = Caller::new(identity.map_err(|error| Stop::Auth(error.into()))?, address);
    // The gate could count it for its address only.
    match app.limits.count(&caller.client()).excess {
        Some(excess) => Err(Stop::Excess(excess)),
        None => Ok((request, caller)),
    }
}

/// Reads the body of somebody who is not known yet, within the room and the time that there is for all.
async fn read(app: &App, request: Request) -> Result<(Request, bytes::Bytes), Refusal> {
    let settings = app.settings();
    let (parts, body) = request.into_parts();
    let whole = Request::from_parts(parts.clone(), body);
    let mut ticket = app.admission.enter().ok_or(Refusal::Full {
        limit: app.admission.limit(),
    })?;
    ticket.discount();
    let reading = read_body(whole, settings.body_limit.length(), &mut ticket);
    let patience = settings.body_timeout;
    let bytes = tokio::time::timeout(patience, reading)
        .await
        .map_err(|_elapsed| Refusal::TooSlow { limit: patience })??;
    Ok((Request::from_parts(parts, Body::empty()), bytes))
}

impl Stop {
    fn answer(self, app: &App, route: &Route) -> Response {
        let family = route.family;
        match self {
            Self::NoCredential => {
                app.metrics.unauthenticated.fetch_add(1, Ordering::Relaxed);
                let message = "this takes a credential: Authorization: Bearer with a token or an API key, or X-API-Key";
                family.fault(Fault::Unauthenticated, message)
            }
            Self::Auth(error) if matches!(*error, AuthError::Invalid) => {
                app.metrics.unauthenticated.fetch_add(1, Ordering::Relaxed);
                family.fault(Fault::Unauthenticated, &error.to_string())
            }
            Self::Auth(error) => {
                tracing::error!(%error, "a credential cannot be checked");
                family.fault(
                    Fault::Internal,
                    "the credential cannot be checked at the moment",
                )
            }
            Self::Denied(denied) => family.fault(Fault::PermissionDenied, &denied.to_string()),
            Self::Excess(excess) => {
                app.metrics.limited.fetch_add(1, Ordering::Relaxed);
                let fault = Fault::RateLimited {
                    retry_after: excess.retry_after,
                };
                tracing::debug!(seconds = whole_seconds(excess.retry_after), "limited");
                family.fault(fault, &excess.to_string())
            }
            Self::Body(refusal) => family.problem(Problem::from(refusal)),
        }
    }
}
