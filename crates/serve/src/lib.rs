//! The HTTP server: the dialects that clients speak, health, graceful shutdown.
//!
//! A request passes the gate of [`router`] (id, origin, count), is admitted or refused before its body
//! is read, is checked by its dialect, and becomes a request to the runtime, whose events the dialect
//! words again. Nothing here knows of tensors.

#![forbid(unsafe_code)]

mod admission;
mod answer;
#[allow(
    dead_code,
    reason = "the accounts to come make identities of other kinds"
)]
mod caller;
mod config;
mod dialects;
mod extract;
mod family;
mod fields;
mod guard;
mod hardware;
mod health;
mod limits;
mod meter;
#[allow(dead_code, reason = "the dialects to come read more of it")]
mod metrics;
mod openapi;
mod origin;
mod problem;
mod quantities;
mod route;
mod router;
mod server;
mod state;
mod stops;
mod waiting;
mod watched;

pub use config::ServeConfig;
pub use family::Family;
pub use route::{Access, Elsewhere, Route, Routes};
pub use router::{router, routes};
pub use server::Server;
pub use state::App;
