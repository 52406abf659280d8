//! The framework dialect: inference, hardware, autoscaling and server management at the root path.

pub mod error;

/// The dialect, as the owner of an error envelope.
#[derive(Debug)]
pub struct Framework;
