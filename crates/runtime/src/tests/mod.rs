//! The runtime with models that tests hold in their hands: no files of weights, no time that passes by itself.

mod dispatch;
mod fake;
mod lives;
mod loads;
mod memory;
mod versions;
