//! What each packed type's lines mean to a product.
//!
//! Weights are taken out as unsigned bytes, four consecutive values of 16 rows at a time, for groups of 32 values and the
//! parts of these that have one scale.

use super::layout::{Line, q6_k_high, q6_k_low};
use crate::matrix::quantized::QuantBlock;
use crate::simd::{LANES, Lanes};

/// A packed block type.
pub(super) trait Format: 'static {
    /// Lines of a block.
    const WORDS: usize;
    /// Whether an f16 scale stands behind the lines.
    const HALF: bool = false;
    /// Groups of 32 values of a block.
    const GROUPS: usize;
    /// Parts of a group with scales of their own: 1, or 2 of 16 values.
    const PARTS: usize = 1;
    /// Whether parts have minima.
    const MINS: bool = false;
    /// The largest weight.
    const MAX: i32;
    /// Of superblocks, whether the type is met often enough to be worth more code.
    const COMMON: bool = false;

    /// What the groups of a block share.
    type Header<S: Lanes>: Copy;

    /// `half` is the 16 rows' f16 where [`Format::HALF`], else of no meaning.
    fn header<S: Lanes>(s: S, words: &[Line], half: &[u8; 2 * LANES]) -> Self::Header<S>;

    /// The factor of a block of one group, the part's whole-numbered share of it in a superblock.
    fn scale<S: Lanes>(s: S, header: &Self::Header<S>, group: usize, part: usize) -> S::F;

    /// The other share of the parts' factors in a superblock.
    #[inline(always)]
    fn factor<S: Lanes>(s: S, _header: &Self::Header<S>) -> S::F {
        s.splat(1.0)
    }

    /// Where [`Format::MINS`], what is added to each value, or in a superblock what times the parts' minima is.
    #[inline(always)]
    fn min<S: Lanes>(s: S, _header: &Self::Header<S>) -> S::F {
        s.splat(0.0)
    }

    /// The whole-numbered minima of two parts of a superblock in 16 bits each: of the two of a group, or of this group and
    /// the next.
    #[inline(always)]
    fn min_pair<S: Lanes>(s: S, _header: &Self::Header<S>, _group: usize) -> S::I {
        s.splat_i32(0)
    }

    /// The `pair`th two fours of a part's weights: fours `pair` and `4 + pair` of 32 values, or `2 pair` and
    /// `2 pair + 1` of 16.
    fn weights<S: Lanes>(s: S, words: &[Line], group: usize, part: usize, pair: usize)
    -> [S::I; 2];

    /// Minus the weights' zero point times the sum of the part's activations.
    #[inline(always)]
    fn correction(_a: &QuantBlock, _part: usize) -> i32 {
        0
    }
}

/// The bits `mask` of every byte after a shift to the right.
#[inline(always)]
fn bits<S: Lanes>(s: S, line: &Line, shift: u32, mask: u8) -> S::I {
    s.and(
        s.shr_by(s.load_bytes(line), shift),
        s.splat_i32(i32::from_le_bytes([mask; 4])),
    )
}

/// The low and the high four bits of every byte.
#[inline(always)]
fn nibbles<S: Lanes>(s: S, line: &Line) -> [S::I; 2] {
    [bits(s, line, 0, 15), bits(s, line, 4, 15)]
}

/// One bit of every byte, moved to bit 4.
#[inline(always)]
fn fifth_bit<S: Lanes>(s: S, line: &Line, bit: usize) -> S::I {
    s.shl::<4>(bits(s, line, bit as u32, 1))
}

/// The two f16 of a line.
#[inline(always)]
fn halves<S: Lanes>(s: S, line: &Line) -> [S::F; 2] {
    let (halves, _) = line.as_chunks::<{ 2 * LANES }>();
    [s.load_f16(&halves[0]), s.load_f16(&halves[1])]
}

#[inline(always)]
fn four_lines<S: Lanes>(s: S, lines: &[Line]) -> [S::I; 4] {
    [
        s.load_bytes(&lines[0]),
        s.load_bytes(&lines[1]),
        s.load_bytes(&lines[2]),
        s.load_bytes(&lines[3]),
    ]
}

/// The byte `at` of every word as a number.
#[inline(always)]
fn byte<S: Lanes>(s: S, words: S::I, at: usize) -> S::F {
    s.to_f32(s.and(s.shr_by(words, 8 * at as u32), s.splat_i32(0xFF)))
}

/// The bits `mask` of the two lowest bytes of every word, as 16 bits each.
#[inline(always)]
fn byte_pair<S: Lanes>(s: S, words: S::I, mask: i32) -> S::I {
    s.or(
        s.and(words, s.splat_i32(mask)),
        s.and(s.shl::<8>(words), s.splat_i32(mask << 16)),
    )
}

/// The fifth bits of the two fours of a pair, from the line as it is packed.
#[inline(always)]
fn packed_fifth_bits<S: Lanes>(s: S, line: &Line, pair: usize) -> [S::I; 2] {
    [fifth_bit(s, line, pair), fifth_bit(s, line, 4 + pair)]
}

#[inline(always)]
fn or<S: Lanes>(s: S, a: [S::I; 2], b: [S::I; 2]) -> [S::I; 2] {
    [s.or(a[0], b[0]), s.or(a[1], b[1])]
}

pub(super) struct Q4_0;

impl Format for Q4_0 {
    const MAX: i32 = 15;
    const WORDS: usize = 4;
    const HALF: bool = true;
    const GROUPS: usize = 1;
    type Header<S: Lanes> = S::F;

    #[inline(always)]
    fn header<S: Lanes>(s: S, _words: &[Line], half: &[u8; 2 * LANES]) -> S::F {
        s.load_f16(half)
    }
    #[inline(always)]
    fn scale<S: Lanes>(_s: S, header: &S::F, _group: usize, _part: usize) -> S::F {
        *header
    }
    #[inline(always)]
    fn weights<S: Lanes>(
        s: S,
        words: &[Line],
        _group: usize,
        _part: usize,
        pair: usize,
    ) -> [S::I; 2] {
        nibbles(s, &words[pair])
    }
    #[inline(always)]
    fn correction(a: &QuantBlock, _part: usize) -> i32 {
        a.minus_8
    }
}

pub(super) struct Q4_1;

impl Format for Q4_1 {
    const MAX: i32 = 15;
    const WORDS: usize = 5;
    const GROUPS: usize = 1;
    const MINS: bool = true;
    type Header<S: Lanes> = [S::F; 2];

    #[inline(always)]
    fn header<S: Lanes>(s: S, words: &[Line], _half: &[u8; 2 * LANES]) -> [S::F; 2] {
        halves(s, &words[0])
    }
    #[inline(always)]
    fn scale<S: Lanes>(_s: S, header: &[S::F; 2], _group: usize, _part: usize) -> S::F {
        header[0]
    }
    #[inline(always)]
    fn min<S: Lanes>(_s: S, header: &[S::F; 2]) -> S::F {
        header[1]
    }
    #[inline(always)]
    fn weights<S: Lanes>(
        s: S,
        words: &[Line],
        _group: usize,
        _part: usize,
        pair: usize,
    ) -> [S::I; 2] {
        nibbles(s, &words[1 + pair])
    }
}

pub(super) struct Q5_0;

impl Format for Q5_0 {
    const MAX: i32 = 31;
    const WORDS: usize = 5;
    const HALF: bool = true;
    const GROUPS: usize = 1;
    type Header<S: Lanes> = S::F;

    #[inline(always)]
    fn header<S: Lanes>(s: S, _words: &[Line], half: &[u8; 2 * LANES]) -> S::F {
        s.load_f16(half)
    }
    #[inline(always)]
    fn scale<S: Lanes>(_s: S, header: &S::F, _group: usize, _part: usize) -> S::F {
        *header
    }
    #[inline(always)]
    fn weights<S: Lanes>(
        s: S,
        words: &[Line],
        _group: usize,
        _part: usize,
        pair: usize,
    ) -> [S::I; 2] {
        or(
            s,
            nibbles(s, &words[1 + pair]),
            packed_fifth_bits(s, &words[0], pair),
        )
    }
    #[inline(always)]
    fn correction(a: &QuantBlock, _part: usize) -> i32 {
        2 * a.minus_8
    }
}

pub(super) struct Q5_1;

impl Format for Q5_1 {
    const MAX: i32 = 31;
    const WORDS: usize = 6;
    const GROUPS: usize = 1;
    const MINS: bool = true;
    type Header<S: Lanes> = [S::F; 2];

    #[inline(always)]
    fn header<S: Lanes>(s: S, words: &[Line], _half: &[u8; 2 * LANES]) -> [S::F; 2] {
        halves(s, &words[0])
    }
    #[inline(always)]
    fn scale<S: Lanes>(_s: S, header: &[S::F; 2], _group: usize, _part: usize) -> S::F {
        header[0]
    }
    #[inline(always)]
    fn min<S: Lanes>(_s: S, header: &[S::F; 2]) -> S::F {
        header[1]
    }
    #[inline(always)]
    fn weights<S: Lanes>(
        s: S,
        words: &[Line],
        _group: usize,
        _part: usize,
        pair: usize,
    ) -> [S::I; 2] {
        or(
            s,
            nibbles(s, &words[2 + pair]),
            packed_fifth_bits(s, &words[1], pair),
        )
    }
}

pub(super) struct Q8_0;

impl Format for Q8_0 {
    const MAX: i32 = 255;
    const WORDS: usize = 8;
    const HALF: bool = true;
    const GROUPS: usize = 1;
    type Header<S: Lanes> = S::F;

    #[inline(always)]
    fn header<S: Lanes>(s: S, _words: &[Line], half: &[u8; 2 * LANES]) -> S::F {
        s.load_f16(half)
    }
    #[inline(always)]
    fn scale<S: Lanes>(_s: S, header: &S::F, _group: usize, _part: usize) -> S::F {
        *header
    }
    #[inline(always)]
    fn weights<S: Lanes>(
        s: S,
        words: &[Line],
        _group: usize,
        _part: usize,
        pair: usize,
    ) -> [S::I; 2] {
        [s.load_bytes(&words[pair]), s.load_bytes(&words[4 + pair])]
    }
    #[inline(always)]
    fn correction(a: &QuantBlock, _part: usize) -> i32 {
        a.minus_128
    }
}

/// The 6-bit scales and minima of Q4_K and Q5_K: four groups to a word.
#[derive(Clone, Copy)]
pub(super) struct KScales<S: Lanes> {
    d: S::F,
    minus_dmin: S::F,
    scales: [S::I; 2],
    mins: [S::I; 2],
}

impl<S: Lanes> KScales<S> {
    /// From the line of `d` and `dmin` and the three lines of packed scales; see `scale_min_k4` for their bits.
    #[inline(always)]
    fn new(s: S, words: &[Line]) -> KScales<S> {
        let [d, dmin] = halves(s, &words[0]);
        // The upper two bits of the groups from 4 on, above the low four.
        let upper = [
            s.shl::<4>(bits(s, &words[1], 6, 3)),
            s.shl::<4>(bits(s, &words[2], 6, 3)),
        ];
        KScales {
            d,
            minus_dmin: s.sub(s.splat(0.0), dmin),
            scales: [
                bits(s, &words[1], 0, 63),
                s.or(bits(s, &words[3], 0, 15), upper[0]),
            ],
            mins: [
                bits(s, &words[2], 0, 63),
                s.or(bits(s, &words[3], 4, 15), upper[1]),
            ],
        }
    }
    #[inline(always)]
    fn scale(&self, s: S, group: usize) -> S::F {
        byte(s, self.scales[group / 4], group % 4)
    }
    /// The minima of an even group and the next.
    #[inline(always)]
    fn min_pair(&self, s: S, group: usize) -> S::I {
        byte_pair(
            s,
            s.shr_by(self.mins[group / 4], 8 * (group as u32 % 4)),
            0xFF,
        )
    }
}

pub(super) struct Q4K;

impl Format for Q4K {
    const MAX: i32 = 15;
    const COMMON: bool = true;
    const WORDS: usize = 36;
    const GROUPS: usize = 8;
    const MINS: bool = true;
    type Header<S: Lanes> = KScales<S>;

    #[inline(always)]
    fn header<S: Lanes>(s: S, words: &[Line], _half: &[u8; 2 * LANES]) -> KScales<S> {
        KScales::new(s, words)
    }
    #[inline(always)]
    fn scale<S: Lanes>(s: S, header: &KScales<S>, group: usize, _part: usize) -> S::F {
        header.scale(s, group)
    }
    #[inline(always)]
    fn factor<S: Lanes>(_s: S, header: &KScales<S>) -> S::F {
        header.d
    }
    #[inline(always)]
    fn min<S: Lanes>(_s: S, header: &KScales<S>) -> S::F {
        header.minus_dmin
    }
    #[inline(always)]
    fn min_pair<S: Lanes>(s: S, header: &KScales<S>, group: usize) -> S::I {
        header.min_pair(s, group)
    }
    #[inline(always)]
    fn weights<S: Lanes>(
        s: S,
        words: &[Line],
        group: usize,
        _part: usize,
        pair: usize,
    ) -> [S::I; 2] {
        let words = &words[4 + group / 2 * 8..][..8];
        let shift = 4 * (group as u32 % 2);
        [
            bits(s, &words[pair], shift, 15),
            bits(s, &words[4 + pair], shift, 15),
        ]
    }
}

pub(super) struct Q5K;

impl Format for Q5K {
    const MAX: i32 = 31;
    const COMMON: bool = true;
    const WORDS: usize = 44;
    const GROUPS: usize = 8;
    const MINS: bool = true;
    type Header<S: Lanes> = KScales<S>;

    #[inline(always)]
    fn header<S: Lanes>(s: S, words: &[Line], _half: &[u8; 2 * LANES]) -> KScales<S> {
        KScales::new(s, words)
    }
    #[inline(always)]
    fn scale<S: Lanes>(s: S, header: &KScales<S>, group: usize, _part: usize) -> S::F {
        header.scale(s, group)
    }
    #[inline(always)]
    fn factor<S: Lanes>(_s: S, header: &KScales<S>) -> S::F {
        header.d
    }
    #[inline(always)]
    fn min<S: Lanes>(_s: S, header: &KScales<S>) -> S::F {
        header.minus_dmin
    }
    #[inline(always)]
    fn min_pair<S: Lanes>(s: S, header: &KScales<S>, group: usize) -> S::I {
        header.min_pair(s, group)
    }
    #[inline(always)]
    fn weights<S: Lanes>(
        s: S,
        words: &[Line],
        group: usize,
        _part: usize,
        pair: usize,
    ) -> [S::I; 2] {
        let low = &words[12 + group / 2 * 8..][..8];
        let shift = 4 * (group as u32 % 2);
        let fifth = [
            fifth_bit(s, &words[4 + pair], group),
            fifth_bit(s, &words[8 + pair], group),
        ];
        or(
            s,
            [
                bits(s, &low[pair], shift, 15),
                bits(s, &low[4 + pair], shift, 15),
            ],
            fifth,
        )
    }
}

pub(super) struct Q6K;

impl Format for Q6K {
    const MAX: i32 = 63;
    const COMMON: bool = true;
    const WORDS: usize = 52;
    const HALF: bool = true;
    const GROUPS: usize = 8;
    const PARTS: usize = 2;
    type Header<S: Lanes> = (S::F, [S::I; 4]);

    #[inline(always)]
    fn header<S: Lanes>(s: S, words: &[Line], half: &[u8; 2 * LANES]) -> (S::F, [S::I; 4]) {
        (s.load_f16(half), four_lines(s, &words[..4]))
    }
    #[inline(always)]
    fn scale<S: Lanes>(s: S, header: &(S::F, [S::I; 4]), group: usize, part: usize) -> S::F {
        let group = 2 * group + part;
        // The byte to the top of the word, and down again with its sign.
        let words = header.1[group / 4];
        let top = match group % 4 {
            0 => s.shl::<24>(words),
            1 => s.shl::<16>(words),
            2 => s.shl::<8>(words),
            _ => words,
        };
        s.to_f32(s.sar::<24>(top))
    }
    #[inline(always)]
    fn factor<S: Lanes>(_s: S, header: &(S::F, [S::I; 4])) -> S::F {
        header.0
    }
    #[inline(always)]
    fn weights<S: Lanes>(
        s: S,
        words: &[Line],
        group: usize,
        part: usize,
        pair: usize,
    ) -> [S::I; 2] {
        let (half, run) = (group / 4, group % 4);
        let low = &words[q6_k_low(half, run % 2, part, 2 * pair)..][..2];
        let high = &words[q6_k_high(half, part, 2 * pair)..][..2];
        let shifts = (4 * (run as u32 / 2), 2 * run as u32);
        let low = [
            bits(s, &low[0], shifts.0, 15),
            bits(s, &low[1], shifts.0, 15),
        ];
        let high = [
            bits(s, &high[0], shifts.1, 3),
            bits(s, &high[1], shifts.1, 3),
        ];
        or(s, low, [s.shl::<4>(high[0]), s.shl::<4>(high[1])])
    }
    #[inline(always)]
    fn correction(a: &QuantBlock, part: usize) -> i32 {
        a.halves_minus_32[part]
    }
}

pub(super) struct Q3K;

impl Format for Q3K {
    const MAX: i32 = 7;
    const WORDS: usize = 27;
    const HALF: bool = true;
    const GROUPS: usize = 8;
    const PARTS: usize = 2;
    type Header<S: Lanes> = (S::F, [S::I; 3]);

    #[inline(always)]
    fn header<S: Lanes>(s: S, words: &[Line], half: &[u8; 2 * LANES]) -> (S::F, [S::I; 3]) {
        (
            s.load_f16(half),
            [
                s.load_bytes(&words[24]),
                s.load_bytes(&words[25]),
                s.load_bytes(&words[26]),
            ],
        )
    }
    #[inline(always)]
    fn scale<S: Lanes>(s: S, header: &(S::F, [S::I; 3]), group: usize, part: usize) -> S::F {
        let group = 2 * group + part;
        // Four low bits in the first 8 bytes, two high bits in the last 4.
        let words = &header.1;
        let byte = 8 * (group as u32 % 4);
        let low = s.shr_by(words[group % 8 / 4], byte + 4 * (group as u32 / 8));
        let high = s.shr_by(words[2], byte + 2 * (group as u32 / 4));
        let scale = s.or(
            s.and(low, s.splat_i32(15)),
            s.shl::<4>(s.and(high, s.splat_i32(3))),
        );
        s.to_f32(s.sub_i32(scale, s.splat_i32(32)))
    }
    #[inline(always)]
    fn factor<S: Lanes>(_s: S, header: &(S::F, [S::I; 3])) -> S::F {
        header.0
    }
    #[inline(always)]
    fn weights<S: Lanes>(
        s: S,
        words: &[Line],
        group: usize,
        part: usize,
        pair: usize,
    ) -> [S::I; 2] {
        let (half, run) = (group / 4, group % 4);
        let low = &words[8 + half * 8 + part * 4 + 2 * pair..][..2];
        let third = &words[part * 4 + 2 * pair..][..2];
        let shifts = (2 * run as u32, group as u32);
        let low = [bits(s, &low[0], shifts.0, 3), bits(s, &low[1], shifts.0, 3)];
        let third = [
            bits(s, &third[0], shifts.1, 1),
            bits(s, &third[1], shifts.1, 1),
        ];
        or(s, low, [s.shl::<2>(third[0]), s.shl::<2>(third[1])])
    }
    #[inline(always)]
    fn correction(a: &QuantBlock, part: usize) -> i32 {
        // The zero point is 4.
        a.halves_minus_32[part] >> 3
    }
}

pub(super) struct Q2K;

impl Format for Q2K {
    const MAX: i32 = 3;
    const WORDS: usize = 21;
    const GROUPS: usize = 8;
    const PARTS: usize = 2;
    const MINS: bool = true;
    type Header<S: Lanes> = ([S::F; 2], [S::I; 4]);

    #[inline(always)]
    fn header<S: Lanes>(s: S, words: &[Line], _half: &[u8; 2 * LANES]) -> ([S::F; 2], [S::I; 4]) {
        let [d, dmin] = halves(s, &words[20]);
        let scales = four_lines(s, &words[..4]);
        ([d, s.sub(s.splat(0.0), dmin)], scales)
    }
    #[inline(always)]
    fn scale<S: Lanes>(s: S, header: &([S::F; 2], [S::I; 4]), group: usize, part: usize) -> S::F {
        let group = 2 * group + part;
        let low = s.and(header.1[group / 4], s.splat_i32(0x0F0F_0F0F));
        byte(s, low, group % 4)
    }
    #[inline(always)]
    fn factor<S: Lanes>(_s: S, header: &([S::F; 2], [S::I; 4])) -> S::F {
        header.0[0]
    }
    #[inline(always)]
    fn min<S: Lanes>(_s: S, header: &([S::F; 2], [S::I; 4])) -> S::F {
        header.0[1]
    }
    #[inline(always)]
    fn min_pair<S: Lanes>(s: S, header: &([S::F; 2], [S::I; 4]), group: usize) -> S::I {
        let at = 8 * (2 * group as u32 % 4) + 4;
        byte_pair(s, s.shr_by(header.1[group / 2], at), 15)
    }
    #[inline(always)]
    fn weights<S: Lanes>(
        s: S,
        words: &[Line],
        group: usize,
        part: usize,
        pair: usize,
    ) -> [S::I; 2] {
        let (half, run) = (group / 4, group % 4);
        let low = &words[4 + half * 8 + part * 4 + 2 * pair..][..2];
        [
            bits(s, &low[0], 2 * run as u32, 3),
            bits(s, &low[1], 2 * run as u32, 3),
        ]
    }
}
