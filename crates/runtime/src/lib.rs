//! The models that the server knows and their engines.
