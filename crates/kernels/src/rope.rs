//! Rotary position embeddings (Su et al. 2021).

use std::sync::OnceLock;

use crate::Pool;
use crate::pool::for_each_row;
use crate::simd::{self, Kernel, LANES, Simd};
use crate::{Tier, cpu_tier};

/// Which values of a head form the pairs that are rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RopeStyle {
    /// `(2 i, 2 i + 1)`: llama in GGUF files.
    Interleaved,
    /// `(i, i + n)` with `n` pairs: qwen, GPT-NeoX.
    Half,
}

/// Positions whose angles are computed and kept together.
const PAGE: usize = 256;
/// Pages kept; positions beyond are computed at each use.
const PAGES: usize = 256;

/// Rotations by angles `position * inv_freq[i]`.
pub struct Rope {
    inv_freq: Vec<f32>,
    scale: f32,
    style: RopeStyle,
    /// Cosines and sines of the positions that came up; a page is `[PAGE, 2, n]`.
    pages: Vec<OnceLock<Box<[f32]>>>,
}

impl Rope {
    /// Rotates the pair `i` of a head by `position * inv_freq[i]` and multiplies it by `scale` (1 but for scaling
    /// schemes with an attention factor).
    pub fn new(inv_freq: Vec<f32>, scale: f32, style: RopeStyle) -> Rope {
        Rope {
            inv_freq,
            scale,
            style,
            pages: (0..PAGES).map(|_| OnceLock::new()).collect(),
        }
    }

    /// Rotates `x` (`[T, heads, head_dim]`) in place, row `t` by `positions[t]`. Values of a head from
    /// `2 * inv_freq.len()` on stay as they are.
    ///
    /// Angles are products in f32, as in the reference implementations.
    ///
    /// # Panics
    /// If `x` has not that shape or a head is shorter than the pairs.
    pub fn apply(
        &self,
        pool: &Pool,
        x: &mut [f32],
        heads: usize,
        head_dim: usize,
        positions: &[u32],
    ) {
        self.apply_on(cpu_tier(), pool, x, heads, head_dim, positions);
    }

    fn apply_on(
        &self,
        tier: Tier,
        pool: &Pool,
        x: &mut [f32],
        heads: usize,
        head_dim: usize,
        positions: &[u32],
    ) {
        let n = self.inv_freq.len();
        assert_eq!(
            x.len(),
            positions.len() * heads * head_dim,
            "rope: wrong length"
        );
        assert!(2 * n <= head_dim, "rope: {n} pairs in a head of {head_dim}");
        if x.is_empty() || n == 0 {
            return;
        }
        for_each_row(pool, x, heads * head_dim, |t, row| {
            self.with_angles(positions[t] as usize, |cos, sin| {
                simd::run(
                    tier,
                    Rotate {
                        row,
                        head_dim,
                        cos,
                        sin,
                        style: self.style,
                    },
                );
            });
        });
    }

    /// Calls `f` with the cosines and sines of a position.
    fn with_angles(&self, position: usize, f: impl FnOnce(&[f32], &[f32])) {
        let n = self.inv_freq.len();
        match self.pages.get(position / PAGE) {
            Some(page) => {
                let first = position / PAGE * PAGE;
                let page = page.get_or_init(|| {
                    let mut page = vec![0.0; PAGE * 2 * n];
                    for (i, angles) in page.chunks_exact_mut(2 * n).enumerate() {
                        self.angles(first + i, angles);
                    }
                    page.into()
                });
                let (cos, sin) = page[position % PAGE * 2 * n..][..2 * n].split_at(n);
                f(cos, sin);
            }
            None => {
                let mut angles = vec![0.0; 2 * n];
                self.angles(position, &mut angles);
                f(&angles[..n], &angles[n..]);
            }
        }
    }

    fn angles(&self, position: usize, out: &mut [f32]) {
        let (cos, sin) = out.split_at_mut(self.inv_freq.len());
        for (i, inv_freq) in self.inv_freq.iter().enumerate() {
            let angle = position as f32 * inv_freq;
            cos[i] = angle.cos() * self.scale;
            sin[i] = angle.sin() * self.scale;
        }
    }
}

struct Rotate<'a> {
    row: &'a mut [f32],
    head_dim: usize,
    cos: &'a [f32],
    sin: &'a [f32],
    style: RopeStyle,
}

impl Kernel for Rotate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Rotate {
            row,
            head_dim,
            cos,
            sin,
            style,
        } = self;
        for head in row.chunks_exact_mut(head_dim) {
            match style {
                RopeStyle::Interleaved => {
                    let pairs = head.as_chunks_mut::<2>().0;
                    for ((pair, cos), sin) in pairs.iter_mut().zip(cos).zip(sin) {
                        let [x, y] = *pair;
                        *pair = [x * cos - y * sin, y * cos + x * sin];
                    }
                }
                RopeStyle::Half => {
                    let (first, second) = head.split_at_mut(cos.len());
                    let second = &mut second[..cos.len()];
                    let whole = cos.len() / LANES * LANES;
                    let pairs = first.as_chunks_mut::<LANES>().0.iter_mut();
                    let pairs = pairs.zip(second.as_chunks_mut::<LANES>().0);
                    let angles = cos
                        .as_chunks::<LANES>()
                        .0
                        .iter()
                        .zip(sin.as_chunks::<LANES>().0);
                    for ((first, second), (cos, sin)) in pairs.zip(angles) {
                        let (x, y) = (s.load(first), s.load(second));
                        let (cos, sin) = (s.load(cos), s.load(sin));
                        s.store(s.sub(s.mul(x, cos), s.mul(y, sin)), first);
                        s.store(s.add(s.mul(y, cos), s.mul(x, sin)), second);
                    }
                    for i in whole..cos.len() {
                        let (x, y) = (first[i], second[i]);
                        first[i] = x * cos[i] - y * sin[i];
                        second[i] = y * cos[i] + x * sin[i];
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Random, assert_close, bits};

    #[test]
    fn pairs_turn_by_their_angles_in_every_tier() {
        let pool = Pool::new(2);
        let mut random = Random::new(8);
        for (pairs, head_dim, heads) in [
            (1, 2, 1),
            (16, 32, 3),
            (20, 64, 2),
            (32, 64, 9),
            (33, 80, 4),
        ] {
            let inv_freq: Vec<f32> = (0..pairs)
                .map(|i| 1e4f32.powf(-(i as f32) / pairs as f32))
                .collect();
            let positions = [0, 1, 255, 256, 4000, PAGE as u32 * PAGES as u32 + 3];
            let x = random.normals(positions.len() * heads * head_dim);
            for style in [RopeStyle::Interleaved, RopeStyle::Half] {
                let mut expected = x.clone();
                for (row, p) in expected.chunks_exact_mut(heads * head_dim).zip(positions) {
                    for head in row.chunks_exact_mut(head_dim) {
                        for (i, f) in inv_freq.iter().enumerate() {
                            let (a, b) = match style {
                                RopeStyle::Interleaved => (2 * i, 2 * i + 1),
                                RopeStyle::Half => (i, i + pairs),
                            };
                            let angle = f64::from(p as f32 * f);
                            let (x, y) = (f64::from(head[a]), f64::from(head[b]));
                            head[a] = (1.25 * (x * angle.cos() - y * angle.sin())) as f32;
                            head[b] = (1.25 * (y * angle.cos() + x * angle.sin())) as f32;
                        }
                    }
                }
                let rope = Rope::new(inv_freq.clone(), 1.25, style);
                for tier in Tier::available() {
                    let mut got = x.clone();
                    rope.apply_on(tier, &pool, &mut got, heads, head_dim, &positions);
                    assert_close(&got, &expected, 1e-6, "rope");
                    let mut alone = x[heads * head_dim..][..heads * head_dim].to_vec();
                    rope.apply_on(tier, &pool, &mut alone, heads, head_dim, &positions[1..2]);
                    assert_eq!(
                        bits(&alone),
                        bits(&got[heads * head_dim..][..heads * head_dim])
                    );
                }
            }
        }
        Rope::new(vec![1.0], 1.0, RopeStyle::Half).apply(&pool, &mut [], 4, 64, &[]);
    }
}
