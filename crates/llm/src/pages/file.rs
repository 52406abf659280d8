//! The file of a page.
//!
//! All integers little-endian: the magic number, the number of tokens (u32), the length of the data (u64), the hash of
//! the chain before the block (32 bytes), the tokens (u32 each), the data as [`KvCache::export_block`] makes it, and the
//! BLAKE3 hash of everything before. The file's name is the hash of the chain that ends with the block.
//!
//! [`KvCache::export_block`]: crate::KvCache::export_block

use super::hash::PageHash;

/// The number at the end is the version of the format.
const MAGIC: [u8; 8] = *b"hearthk1";
const CHECKSUM: usize = 32;

/// Why a file is no sound page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unsound {
    #[error("it is cut short, or of another program")]
    Shape,
    #[error("it belongs to other tokens")]
    Tokens,
    #[error("its checksum is wrong")]
    Checksum,
}

/// A page that was read: a file's bytes, checked.
pub(crate) struct Page {
    bytes: Vec<u8>,
    start: usize,
}

impl Page {
    /// Keys and values, as [`KvCache::export_block`](crate::KvCache::export_block) made them.
    pub fn data(&self) -> &[u8] {
        &self.bytes[self.start..self.bytes.len() - CHECKSUM]
    }
}

/// Bytes of a file beside its data.
pub(super) fn overhead(tokens: usize) -> usize {
    MAGIC.len() + 4 + 8 + 32 + 4 * tokens + CHECKSUM
}

fn header(before: &PageHash, tokens: &[u32], data_len: usize) -> Vec<u8> {
    let mut header = Vec::with_capacity(overhead(tokens.len()) + data_len);
    header.extend_from_slice(&MAGIC);
    header.extend_from_slice(&(tokens.len() as u32).to_le_bytes());
    header.extend_from_slice(&(data_len as u64).to_le_bytes());
    header.extend_from_slice(before.as_bytes());
    header.extend(tokens.iter().flat_map(|token| token.to_le_bytes()));
    header
}

/// The file of a page.
pub(super) fn encode(before: &PageHash, tokens: &[u32], data: &[u8]) -> Vec<u8> {
    let mut bytes = header(before, tokens, data.len());
    bytes.extend_from_slice(data);
    let checksum = blake3::hash(&bytes);
    bytes.extend_from_slice(checksum.as_bytes());
    bytes
}

/// Holds a file against what it has to be: the page of `tokens` behind `before`, with `data_len` bytes.
pub(super) fn decode(
    bytes: Vec<u8>,
    before: &PageHash,
    tokens: &[u32],
    data_len: usize,
) -> Result<Page, Unsound> {
    if bytes.len() != overhead(tokens.len()) + data_len || !bytes.starts_with(&MAGIC) {
        return Err(Unsound::Shape);
    }
    let expected = header(before, tokens, data_len);
    if !bytes.starts_with(&expected) {
        return Err(Unsound::Tokens);
    }
    let (content, checksum) = bytes.split_at(bytes.len() - CHECKSUM);
    if blake3::hash(content).as_bytes() != checksum {
        return Err(Unsound::Checksum);
    }
    let start = expected.len();
    Ok(Page { bytes, start })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::ModelIdentity;

    fn root() -> PageHash {
        let checkpoint = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/models/llama3/model.gguf");
        let checkpoint = hearth_formats::Checkpoint::open(&checkpoint).unwrap();
        let model = ModelIdentity::of(&checkpoint, &crate::LoadOptions::default()).unwrap();
        PageHash::root(&model, "F16", 3, 100)
    }

    #[test]
    fn what_is_written_is_read() {
        let data: Vec<u8> = (0..100).collect();
        let bytes = encode(&root(), &[1, 2, 3], &data);
        assert_eq!(bytes.len(), overhead(3) + 100);
        let page = decode(bytes, &root(), &[1, 2, 3], 100).unwrap();
        assert_eq!(page.data(), data);
    }

    #[test]
    fn every_damaged_byte_and_every_cut_is_noticed() {
        let data: Vec<u8> = (0..20).collect();
        let sound = encode(&root(), &[1, 2, 3], &data);
        for at in 0..sound.len() {
            let mut bytes = sound.clone();
            bytes[at] ^= 0x10;
            assert!(decode(bytes, &root(), &[1, 2, 3], 20).is_err(), "byte {at}");
            let cut = sound[..at].to_vec();
            assert!(decode(cut, &root(), &[1, 2, 3], 20).is_err(), "cut at {at}");
        }
        let other = root().then(&[9]);
        for (before, tokens) in [(root(), [1, 2, 4]), (other, [1, 2, 3])] {
            let refused = decode(sound.clone(), &before, &tokens, 20).err();
            assert_eq!(refused, Some(Unsound::Tokens));
        }
        assert_eq!(
            decode(sound, &root(), &[1, 2, 3], 21).err(),
            Some(Unsound::Shape)
        );
    }
}
