//! Rotary position embeddings.

use crate::Pool;

/// Which values of a head form the pairs that are rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RopeStyle {
    /// `(2 i, 2 i + 1)`: llama in GGUF files.
    Interleaved,
    /// `(i, i + n)` with `n` pairs: qwen, GPT-NeoX.
    Half,
}

/// Rotations by angles `position * inv_freq[i]`.
pub struct Rope {
    inv_freq: Vec<f32>,
    scale: f32,
    style: RopeStyle,
}

impl Rope {
    /// Rotates the pair `i` of a head by `position * inv_freq[i]` and multiplies it by `scale` (1 but for scaling
    /// schemes with an attention factor).
    pub fn new(inv_freq: Vec<f32>, scale: f32, style: RopeStyle) -> Rope {
        Rope {
            inv_freq,
            scale,
            style,
        }
    }

    /// Rotates `x` (`[T, heads, head_dim]`) in place, row `t` by `positions[t]`. Values of a head from `2 * inv_freq.len()` on stay as they
    /// are.
    ///
    /// # Panics
    /// If `x` has not that shape or a head is shorter than the pairs.
    pub fn apply(
        &self,
        _pool: &Pool,
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
        if x.is_empty() {
            return;
        }
        for (row, &position) in x.chunks_exact_mut(heads * head_dim).zip(positions) {
            for i in 0..n {
                let (sin, cos) = (position as f32 * self.inv_freq[i]).sin_cos();
                let (sin, cos) = (sin * self.scale, cos * self.scale);
                for head in row.chunks_exact_mut(head_dim) {
                    let (a, b) = match self.style {
                        RopeStyle::Interleaved => (2 * i, 2 * i + 1),
                        RopeStyle::Half => (i, i + n),
                    };
                    let (x, y) = (head[a], head[b]);
                    head[a] = x * cos - y * sin;
                    head[b] = y * cos + x * sin;
                }
            }
        }
    }
}
