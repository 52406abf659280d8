//! Models from their files to their numbers: parity with the reference, laws that hold bit for bit, bad files refused.
//!
//! The fixtures in `tests/fixtures/models` are made by `oracle/models_golden.py`.

mod allocations;
mod embeddings;
mod hostile;
mod laws;
mod loading;
mod minilm;
mod parity;
mod perplexity;
mod support;
