//! The HTTP server: the dialects that clients speak, health, graceful shutdown.
//!
//! A request passes the gate of [`router`] (id, origin, count), is admitted or refused before its body
//! is read, is checked by its dialect, and becomes a request to the runtime, whose events the dialect
//! words again. Nothing here knows of tensors.

#![forbid(unsafe_code)]

mod account_bodies;
mod accounts;
mod admission;
mod answer;
pub mod audit;
pub mod auth;
mod caller;
mod credential;
mod dialects;
mod encoding;
mod extract;
mod family;
mod fields;
mod gate;
mod guard;
mod hardware;
mod health;
mod inputs;
mod limits;
pub mod logs;
mod meter;
mod metrics;
mod network;
mod openapi;
mod origin;
mod private;
mod probes;
mod problem;
mod quantities;
mod remote;
mod residency;
mod route;
mod router;
mod server;
pub mod settings;
mod state;
mod stops;
mod traces;
mod turns;
mod upstream;
mod waiting;
mod watched;
mod writer;

pub use caller::{Caller, Identity, Means, Permission, Role};
pub use family::Family;
pub use route::{Access, Elsewhere, Route, Routes};
pub use router::{router, routes};
pub use server::{Handle, Server, StartError};
pub use state::{App, show_logs};
