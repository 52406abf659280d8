//! The laws of the engine over real models of a few thousand weights.

mod laws;
mod support;
