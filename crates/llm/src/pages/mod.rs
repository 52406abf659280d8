//! Pages: blocks of the KV cache kept on disk, for a model that comes back.
//!
//! What was computed for a prefix outlives the engine that computed it. When an engine ends, the blocks that its prefix
//! cache holds are written to a [`PageStore`], a folder with a budget; an engine of the same model finds them by hash
//! and takes a conversation up where it was, after a restart too.
//!
//! A page is used only where it is what would be computed, bit for bit. Its hash covers the
//! [model's identity](ModelIdentity) (its files, and the code and instructions that compute), the cache's type and
//! sizes, and every token from the sequence's first on; the file repeats its tokens and its predecessor's hash, which
//! are compared, and ends with a checksum of all that. A file that is not sound is removed and the tokens are computed.
//!
//! Pages hold what users wrote, as good as in clear text: folders and files are for their owner alone. Files appear
//! whole, by renaming; nothing is flushed to the device, as the checksum tells what a loss of power left behind. Above
//! the budget the pages used least recently go, the end of a prefix before its beginning. One process owns the folder
//! at a time.

mod file;
mod hash;
mod identity;
mod index;
mod reader;
mod store;
#[cfg(test)]
mod tests;

pub use identity::ModelIdentity;
pub use store::{ModelPages, PageStats, PageStore, PageStoreError};

pub(crate) use file::Page;
pub(crate) use hash::PageHash;
pub(crate) use store::Wanted;
