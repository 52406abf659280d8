//! What stands around a text, or a pair of texts, before a network that classifies or compares them.

use tokenizers::EncodeInput;

use super::guard;

/// Tokens of a text or a pair, with what stands around them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Framed {
    /// The tokens.
    pub ids: Vec<u32>,
    /// For each token, which text it is of, as the model was taught: BERT has 0 for the first and 1 for the second.
    pub type_ids: Vec<u32>,
}

/// A token and its type.
type Typed = (u32, u32);

/// What the post-processor makes of one text, or of two.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Frame {
    before: Vec<Typed>,
    first: u32,
    between: Vec<Typed>,
    second: u32,
    after: Vec<Typed>,
}

impl Frame {
    /// The frame of one text or a pair, found by encoding such; `None` where the post-processor makes something else.
    pub fn find(tokenizer: &tokenizers::Tokenizer, is_pair: bool) -> Option<Frame> {
        ["a", "0", " ", "\u{4e00}"].iter().find_map(|probe| {
            let input = || match is_pair {
                true => EncodeInput::Dual((*probe).into(), (*probe).into()),
                false => EncodeInput::Single((*probe).into()),
            };
            let encoding = guard::catch(|| tokenizer.encode_fast(input(), true)).ok()?;
            let sequences = guard::catch(|| Ok(encoding.get_sequence_ids())).ok()?;
            let typed = encoding.get_ids().iter().zip(encoding.get_type_ids());
            let mut frame = Frame::default();
            // How far one has come: 0 before the first, 1 within it, up to 4 after the second.
            let mut part = 0;
            for ((&id, &type_id), sequence) in typed.zip(sequences) {
                let next = match sequence {
                    Some(0) => 1,
                    Some(1) if is_pair => 3,
                    Some(_) => return None,
                    None if part % 2 == 1 => part + 1,
                    None => part,
                };
                if next < part {
                    return None;
                }
                part = next;
                match part {
                    0 => frame.before.push((id, type_id)),
                    1 => frame.first = type_id,
                    2 if is_pair => frame.between.push((id, type_id)),
                    3 => frame.second = type_id,
                    _ => frame.after.push((id, type_id)),
                }
            }
            let is_whole = if is_pair { part >= 3 } else { part >= 1 };
            is_whole.then_some(frame)
        })
    }

    /// How many tokens it adds.
    pub fn len(&self) -> usize {
        self.before.len() + self.between.len() + self.after.len()
    }

    /// Puts it around texts.
    pub fn around(&self, first: &[u32], second: &[u32]) -> Framed {
        let text = |ids: &[u32], type_id: u32| -> Vec<Typed> {
            ids.iter().map(|&id| (id, type_id)).collect()
        };
        let first = text(first, self.first);
        let second = text(second, self.second);
        let parts = [&self.before, &first, &self.between, &second, &self.after];
        let (ids, type_ids) = parts.into_iter().flatten().copied().unzip();
        Framed { ids, type_ids }
    }
}

/// How many tokens of two texts are kept so that they are `most` together: the longer one gives way first.
pub(super) fn cut(first: usize, second: usize, most: usize) -> (usize, usize) {
    if first + second <= most {
        return (first, second);
    }
    let half = most / 2;
    // Of an odd number, the longer one gets one more.
    match first <= second {
        true if first <= half => (first, most - first),
        true => (half, most - half),
        false if second <= half => (most - second, second),
        false => (most - half, half),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_text_gives_way_first() {
        // tokenizers: Tokenizer.enable_truncation(n, strategy="longest_first")
        for (first, second, most, kept) in [
            (3, 4, 7, (3, 4)),
            (3, 9, 8, (3, 5)),
            (9, 3, 8, (5, 3)),
            (9, 9, 8, (4, 4)),
            (9, 9, 7, (3, 4)),
            (9, 8, 7, (4, 3)),
            (5, 0, 2, (2, 0)),
            (5, 5, 0, (0, 0)),
        ] {
            assert_eq!(cut(first, second, most), kept, "{first} {second} {most}");
        }
    }
}
