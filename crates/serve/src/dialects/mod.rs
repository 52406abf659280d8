//! The dialects that clients speak, a folder each; none imports another.

pub mod openai;
