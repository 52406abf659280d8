//! Changes to models, as the routes that make them tell: one line of the record for each request, whatever
//! its dialect.

use std::collections::HashMap;

use axum::RequestExt;
use axum::extract::{Query, RawPathParams, Request};
use axum::http::{Method, StatusCode};

use super::Event;
use crate::caller::Caller;
use crate::route::{Access, Route};

/// A change that a request asks for.
#[derive(Debug)]
pub struct Change {
    action: String,
    model: Option<String>,
}

impl Change {
    /// What a request to `route` would change; `None` where the route changes no model.
    pub async fn of(route: &Route, request: &mut Request) -> Option<Self> {
        if route.access != Access::Management || route.method == Method::GET {
            return None;
        }
        let query = Query::<HashMap<String, String>>::try_from_uri(request.uri());
        let mut query = query.map(|Query(query)| query).unwrap_or_default();
        let path = request.extract_parts::<RawPathParams>().await.ok();
        let in_path = path.and_then(|params| {
            let (_, value) = params.iter().next()?;
            Some(value.to_owned())
        });
        // The word after the last line: `model_load` is a load, as `autoscaler_load` is.
        let word = route.endpoint.rsplit('_').next().unwrap_or_default();
        let asked = query.remove("action").filter(|_| word == "manage");
        Some(Self {
            action: asked.unwrap_or_else(|| word.to_owned()),
            model: in_path.or_else(|| query.remove("model_name")),
        })
    }

    /// The line for it, once it has been answered to `caller` with `status`.
    pub fn event(self, caller: &Caller, status: StatusCode) -> Event {
        let outcome = match status.as_u16() {
            ..400 => "ok",
            400..500 => "refused",
            _ => "failed",
        };
        let event = Event::new("model").by(caller).with("action", self.action);
        let event = match self.model {
            Some(model) => event.with("model", model),
            None => event,
        };
        event
            .with("outcome", outcome)
            .with("status", status.as_u16())
    }
}
