//! The Tursi dialect: text generation and model residency below `/api/v1`.

pub mod error;

/// The dialect, as the owner of an error envelope.
#[derive(Debug)]
pub struct Tursi;
