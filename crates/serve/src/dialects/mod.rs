//! The dialects that clients speak, a folder each; none imports another.

pub mod framework;
pub mod inferno;
pub mod kserve;
pub mod torchserve;
pub mod tursi;
pub mod voice;
