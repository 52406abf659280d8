//! The engine and the embedder over real models of a few thousand weights: laws, faults, what prefixes cost, and what callers and operators
//! do to them.

mod allocations;
mod callers;
mod embedder;
mod faults;
mod hooked;
mod laws;
mod pages;
mod prefix;
mod shutdown;
mod support;
