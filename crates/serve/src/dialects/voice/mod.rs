//! The voice dialect: spoken replies and voices.

pub mod error;

/// The dialect, as the owner of an error envelope.
#[derive(Debug)]
pub struct Voice;
