//! What a page is found by.

use std::fmt::{self, Write};
use std::str::FromStr;

use super::ModelIdentity;

/// The hash of a chain of full blocks: of the model and the cache, and of all tokens from the first on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PageHash([u8; 32]);

impl PageHash {
    /// The chain of no blocks, for blocks of `block_size` tokens in `block_bytes` bytes of type `kv_dtype`.
    pub fn root(
        model: &ModelIdentity,
        kv_dtype: &str,
        block_size: usize,
        block_bytes: usize,
    ) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("hearth KV page chain 1");
        hasher.update(model.as_bytes());
        hasher.update(&(block_size as u64).to_le_bytes());
        hasher.update(&(block_bytes as u64).to_le_bytes());
        hasher.update(kv_dtype.as_bytes());
        Self(hasher.finalize().into())
    }

    /// The chain that goes on with a block of these tokens.
    pub fn then(&self, tokens: &[u32]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0);
        for token in tokens {
            hasher.update(&token.to_le_bytes());
        }
        Self(hasher.finalize().into())
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Hexadecimal, as files are named.
impl fmt::Display for PageHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PageHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in &self.0[..4] {
            write!(f, "{byte:02x}")?;
        }
        f.write_char('…')
    }
}

impl FromStr for PageHash {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let digit = |c: u8| match c {
            b'0'..=b'9' => Ok(c - b'0'),
            b'a'..=b'f' => Ok(c - b'a' + 10),
            _ => Err(()),
        };
        let mut hash = [0; 32];
        if text.len() != 2 * hash.len() {
            return Err(());
        }
        for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = digit(digits[0])? << 4 | digit(digits[1])?;
        }
        Ok(Self(hash))
    }
}
