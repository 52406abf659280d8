//! The text engine.
