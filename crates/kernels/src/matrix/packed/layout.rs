//! How stored blocks are rearranged for integer products.
//!
//! 16 rows are taken together. The 32-bit words of a block become lines of 64 bytes with the same word of each row, so
//! that one line holds four consecutive values' bits of 16 rows. Where a block has an odd f16, those of two blocks of the
//! 16 rows make a line behind the lines of both, so that a product reads one stream. Nothing is lost or added, so stored
//! blocks can be had back.

use crate::DType;

/// Rows that are packed together.
pub(in crate::matrix) const ROWS: usize = 16;

/// The same word of 16 rows.
pub(super) type Line = [u8; 64];

/// The parts of a stored block.
pub(super) struct Layout {
    /// The byte where the words begin.
    words_at: usize,
    /// The number of words.
    pub(super) words: usize,
    /// Where an f16 lies outside the words.
    half_at: Option<usize>,
    /// The word of two f16, which are packed as all of the first, then all of the second.
    halves: Option<usize>,
    /// The word of 32 fifth bits, which are packed so that bit `p` of byte `b` belongs to value `4 p + b`.
    fifth_bits: Option<usize>,
    /// Signed bytes, which are packed with 128 added.
    signed: bool,
    /// The line of each word, where they are not in the words' order.
    order: Option<&'static [u8]>,
}

impl Layout {
    /// The layout of a type that is multiplied in integers.
    pub(super) fn of(dtype: DType) -> Option<Layout> {
        let words = |words_at, words, half_at| Layout {
            words_at,
            words,
            half_at,
            halves: None,
            fifth_bits: None,
            signed: false,
            order: None,
        };
        Some(match dtype {
            DType::Q4_0 => words(2, 4, Some(0)),
            DType::Q4_1 => Layout {
                halves: Some(0),
                ..words(0, 5, None)
            },
            DType::Q5_0 => Layout {
                fifth_bits: Some(0),
                ..words(2, 5, Some(0))
            },
            DType::Q5_1 => Layout {
                halves: Some(0),
                fifth_bits: Some(1),
                ..words(0, 6, None)
            },
            DType::Q8_0 => Layout {
                signed: true,
                ..words(2, 8, Some(0))
            },
            DType::Q2_K => Layout {
                halves: Some(20),
                ..words(0, 21, None)
            },
            DType::Q3_K => words(0, 27, Some(108)),
            DType::Q4_K => Layout {
                halves: Some(0),
                ..words(0, 36, None)
            },
            DType::Q5_K => Layout {
                halves: Some(0),
                ..words(0, 44, None)
            },
            DType::Q6_K => Layout {
                order: Some(&Q6_K_ORDER),
                ..words(0, 52, Some(208))
            },
            DType::F32 | DType::F16 | DType::BF16 => return None,
        })
    }

    /// The lines that 16 rows of `blocks` blocks take.
    pub(super) fn lines(&self, blocks: usize) -> usize {
        let halves = if self.half_at.is_some() {
            blocks.div_ceil(2)
        } else {
            0
        };
        blocks * self.words + halves
    }

    /// Packs up to 16 rows of equal length; rows that are missing keep the zeros of `out`.
    pub(super) fn pack(&self, rows: &[&[u8]], block_bytes: usize, out: &mut [Line]) {
        let blocks = rows.first().map_or(0, |row| row.len() / block_bytes);
        for b in 0..blocks {
            let lines = match self.half_at {
                None => &mut out[b * self.words..][..self.words],
                Some(at) => {
                    let (line, part) = half_line(self.words, b, blocks);
                    let halves = out[line].as_chunks_mut::<2>().0;
                    for (half, row) in halves[part * ROWS..].iter_mut().zip(rows) {
                        let block = &row[b * block_bytes..];
                        *half = [block[at], block[at + 1]];
                    }
                    &mut out[block_line(self.words, b)..][..self.words]
                }
            };
            for (r, row) in rows.iter().enumerate() {
                let block = &row[b * block_bytes..][..block_bytes];
                let words = block[self.words_at..].as_chunks::<4>().0;
                for (i, word) in words[..self.words].iter().enumerate() {
                    lines[self.line(i)].as_chunks_mut::<4>().0[r] = *word;
                }
            }
            self.rearrange(lines, split_halves, fifth_bits_by_step);
        }
    }

    /// Writes one stored block of row `r` to `out`: the inverse of [`Layout::pack`].
    pub(super) fn unpack(&self, lines: &[Line], blocks: usize, b: usize, r: usize, out: &mut [u8]) {
        let first = match self.half_at {
            None => b * self.words,
            Some(at) => {
                let (line, part) = half_line(self.words, b, blocks);
                let halves = lines[line].as_chunks::<2>().0;
                out[at..at + 2].copy_from_slice(&halves[part * ROWS + r]);
                block_line(self.words, b)
            }
        };
        let mut block = lines[first..][..self.words].to_vec();
        self.rearrange(&mut block, join_halves, fifth_bits_in_order);
        let words = out[self.words_at..].as_chunks_mut::<4>().0;
        for (i, word) in words[..self.words].iter_mut().enumerate() {
            *word = block[self.line(i)].as_chunks::<4>().0[r];
        }
    }

    /// The line of a word.
    fn line(&self, word: usize) -> usize {
        self.order.map_or(word, |order| usize::from(order[word]))
    }

    /// Applies what is special to some words of a block, in one direction or the other.
    fn rearrange(&self, lines: &mut [Line], halves: fn(&mut Line), fifth_bits: fn(u32) -> u32) {
        if let Some(at) = self.halves {
            halves(&mut lines[at]);
        }
        if let Some(at) = self.fifth_bits {
            for word in lines[at].as_chunks_mut::<4>().0 {
                *word = fifth_bits(u32::from_le_bytes(*word)).to_le_bytes();
            }
        }
        if self.signed {
            lines
                .as_flattened_mut()
                .iter_mut()
                .for_each(|byte| *byte ^= 0x80);
        }
    }
}

/// The line of word `at` (0 to 3) of 16 low bits of a Q6_K block: of its first or second 128 values, of their first or
/// second 32, of the first or last 16 of these.
///
/// Scales come first. Low and upper bits lie in the order in which a product comes to need them: a processor foresees one
/// stream, and the three of the stored order it did not.
#[inline(always)]
pub(super) const fn q6_k_low(half: usize, run: usize, part: usize, at: usize) -> usize {
    match run {
        0 => 4 + half * 24 + part * 8 + at / 2 * 4 + at % 2,
        _ => 4 + half * 24 + 16 + part * 4 + at,
    }
}

/// The line of word `at` (0 to 3) of the upper bits of the first or last 16 values of four runs.
#[inline(always)]
pub(super) const fn q6_k_high(half: usize, part: usize, at: usize) -> usize {
    q6_k_low(half, 0, part, at) + 2
}

/// The lines of the words of Q6_K: 32 of low bits, 16 of upper bits, 4 of scales.
const Q6_K_ORDER: [u8; 52] = {
    let mut order = [0; 52];
    let mut word = 0;
    while word < 52 {
        order[word] = match word {
            0..32 => q6_k_low(word / 16, word / 8 % 2, word / 4 % 2, word % 4),
            32..48 => q6_k_high(word / 8 % 2, word / 4 % 2, word % 4),
            _ => word - 48,
        } as u8;
        word += 1;
    }
    order
};

/// The first line of block `b`, of `words` lines, where there are f16 beside the words.
#[inline(always)]
pub(super) const fn block_line(words: usize, b: usize) -> usize {
    b / 2 * (2 * words + 1) + b % 2 * words
}

/// The line where the f16 of block `b` of `blocks` stand, and whether in its first or second half.
#[inline(always)]
const fn half_line(words: usize, b: usize, blocks: usize) -> (usize, usize) {
    let both = b | 1;
    let behind = if both < blocks { both } else { b };
    (block_line(words, behind) + words, b % 2)
}

fn split_halves(line: &mut Line) {
    let halves = line.as_chunks::<2>().0;
    let split: [[u8; 2]; 32] = std::array::from_fn(|i| halves[i % ROWS * 2 + i / ROWS]);
    line.copy_from_slice(split.as_flattened());
}

fn join_halves(line: &mut Line) {
    let halves = line.as_chunks::<2>().0;
    let joined: [[u8; 2]; 32] = std::array::from_fn(|i| halves[i % 2 * ROWS + i / 2]);
    line.copy_from_slice(joined.as_flattened());
}

/// Bit `4 p + b` to bit `p` of byte `b`.
fn fifth_bits_by_step(bits: u32) -> u32 {
    (0..32).fold(0, |out, i| out | (bits >> i & 1) << (i % 4 * 8 + i / 4))
}

/// Bit `p` of byte `b` to bit `4 p + b`.
fn fifth_bits_in_order(bits: u32) -> u32 {
    (0..32).fold(0, |out, i| out | (bits >> (i % 4 * 8 + i / 4) & 1) << i)
}
