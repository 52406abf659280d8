//! The HTTP server: the dialects that clients speak, health, graceful shutdown.
//!
//! A request passes the gate of [`router`] (id, origin, count), is admitted or refused before its body
//! is read, is checked by its dialect, and becomes a request to the runtime, whose events the dialect
//! words again. Nothing here knows of tensors.

#![forbid(unsafe_code)]

mod admission;
mod answer;
mod config;
mod dialects;
mod extract;
mod family;
mod fields;
mod health;
mod origin;
mod problem;
mod quantities;
mod rate;
mod router;
mod server;
mod state;

pub use config::ServeConfig;
pub use router::router;
pub use server::Server;
pub use state::App;
