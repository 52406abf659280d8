//! What each token stands for.

use super::decode::Decoding;

/// The tokens' bytes and which of them are special, by id.
#[derive(Debug, Default)]
pub(super) struct Vocabulary {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    special: Vec<bool>,
}

impl Vocabulary {
    /// Adds the token with the next id.
    pub(super) fn push(&mut self, token: &str, is_added: bool, special: bool, decoding: &Decoding) {
        decoding.token_bytes(token, is_added, &mut self.bytes);
        self.ends.push(self.bytes.len());
        self.special.push(special);
    }

    /// Adds an id that no token has.
    pub(super) fn push_unused(&mut self) {
        self.ends.push(self.bytes.len());
        self.special.push(false);
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Empty for an id beyond the vocabulary.
    pub(super) fn bytes(&self, token: u32) -> &[u8] {
        let at = token as usize;
        let Some(&end) = self.ends.get(at) else {
            return &[];
        };
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..end]
    }

    pub(super) fn is_special(&self, token: u32) -> bool {
        self.special.get(token as usize).copied().unwrap_or(false)
    }
}
