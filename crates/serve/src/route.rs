//! The table of routes: method, path, family, the permission that it takes, and the name under which it
//! is measured. There is no other way to add a route, so none can be forgotten by the gate.

use std::collections::HashSet;
use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware;
use axum::routing::{MethodFilter, MethodRouter, on};

use crate::caller::Permission;
use crate::family::Family;
use crate::guard::guard;
use crate::state::App;

/// What a caller needs for a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing: nobody is asked for a credential.
    Open,
    /// Any valid credential.
    Account,
    /// The permission to run models and to see which there are.
    Inference,
    /// The permission to load, unload, scale, convert and fetch models.
    Management,
    /// The permission to read measurements and settings.
    Monitoring,
    /// The permission to do anything.
    Admin,
}

impl Access {
    /// The permission behind it, if it takes one.
    pub fn permission(self) -> Option<Permission> {
        match self {
            Self::Open | Self::Account => None,
            Self::Inference => Some(Permission::Inference),
            Self::Management => Some(Permission::ModelManagement),
            Self::Monitoring => Some(Permission::Monitoring),
            Self::Admin => Some(Permission::Admin),
        }
    }
}

/// Where a credential may come from besides the headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elsewhere {
    /// Nowhere.
    No,
    /// The member `token` of a JSON body.
    Body,
    /// The query parameter `token`, for browsers' WebSockets, which cannot send headers.
    Query,
}

/// One route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The method; `GET` answers `HEAD` too.
    pub method: Method,
    /// The path, with parameters in braces.
    pub path: &'static str,
    /// Whose envelope its errors have.
    pub family: Family,
    /// What it takes.
    pub access: Access,
    /// The name under which it is measured.
    pub endpoint: &'static str,
    /// Where else its credential may come from.
    pub elsewhere: Elsewhere,
}

/// The names of the endpoints that run models, as the metrics have them.
const INFERENCE: [&str; 8] = [
    "chat",
    "completions",
    "embeddings",
    "batch",
    "generate",
    "predict",
    "synthesize",
    "transcribe",
];

impl Route {
    /// Whether requests to it run a model.
    pub fn is_inference(&self) -> bool {
        self.access == Access::Inference && INFERENCE.contains(&self.endpoint)
    }
}

/// Routes with their handlers.
pub struct Routes {
    family: Family,
    rows: Vec<(Route, MethodRouter<App>)>,
}

/// Methods of [`Routes`] that add a route of an HTTP method each.
macro_rules! adds {
    ($($name:ident $method:ident,)*) => {$(
        #[doc = concat!("Adds a ", stringify!($method), " route.")]
        #[must_use]
        pub fn $name<H, T>(
            self,
            path: &'static str,
            access: Access,
            endpoint: &'static str,
            handler: H,
        ) -> Self
        where
            H: Handler<T, App>,
            T: 'static,
        {
            let handler = on(MethodFilter::$method, handler);
            self.add(Method::$method, path, access, endpoint, handler)
        }
    )*};
}

impl Routes {
    /// An empty table; what is added belongs to `family`.
    pub fn of(family: Family) -> Self {
        Self {
            family,
            rows: Vec::new(),
        }
    }

    adds! {
        get GET,
        post POST,
        put PUT,
        delete DELETE,
    }

    /// Adds a GET route for WebSockets, whose credential may also be the query parameter `token`.
    #[must_use]
    pub fn websocket<H, T>(
        self,
        path: &'static str,
        access: Access,
        endpoint: &'static str,
        handler: H,
    ) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        self.get(path, access, endpoint, handler)
            .elsewhere(Elsewhere::Query)
    }

    /// Lets the route that was added last take its credential from the member `token` of its JSON body,
    /// where no header brings one.
    #[must_use]
    pub fn token_in_body(self) -> Self {
        self.elsewhere(Elsewhere::Body)
    }

    /// Adds the routes of another table, which keep their family.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.rows.extend(other.rows);
        self
    }

    /// The table.
    pub fn rows(&self) -> impl Iterator<Item = &Route> {
        self.rows.iter().map(|(route, _)| route)
    }

    /// The router, each route behind its guard.
    ///
    /// # Panics
    /// If two rows have the same method and path, which is a bug.
    pub fn into_router(self, app: &App) -> Router<App> {
        let mut seen = HashSet::new();
        let mut router = Router::new();
        for (route, handler) in self.rows {
            let is_new = seen.insert((route.method.clone(), route.path));
            assert!(
                is_new,
                "{} {} is there twice; this is a bug",
                route.method, route.path
            );
            let path = route.path;
            let state = (app.clone(), Arc::new(route));
            let guarded = handler.route_layer(middleware::from_fn_with_state(state, guard));
            router = router.route(path, guarded);
        }
        router
    }

    fn add(
        mut self,
        method: Method,
        path: &'static str,
        access: Access,
        endpoint: &'static str,
        handler: MethodRouter<App>,
    ) -> Self {
        let route = Route {
            method,
            path,
            family: self.family,
            access,
            endpoint,
            elsewhere: Elsewhere::No,
        };
        self.rows.push((route, handler));
        self
    }

    fn elsewhere(mut self, elsewhere: Elsewhere) -> Self {
        if let Some((route, _)) = self.rows.last_mut() {
            route.elsewhere = elsewhere;
        }
        self
    }
}
