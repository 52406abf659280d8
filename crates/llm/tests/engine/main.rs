//! The engine and the embedder over real models of a few thousand weights: laws, faults, and what callers and operators
//! do to them.

mod callers;
mod embedder;
mod faults;
mod hooked;
mod laws;
mod shutdown;
mod support;
