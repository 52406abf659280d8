//! The MLP of GPT-2 and BERT: `down(gelu(up(x)))`, with biases.
//!
//! GELU: Hendrycks and Gimpel 2016, <https://arxiv.org/abs/1606.08415>. GPT-2 has its tanh approximation, BERT the exact
//! one.

use hearth_kernels::Pool;

use super::scratch::Scratch;
use super::weights::{Linear, Reader, Sizes};
use crate::error::Result;

/// The MLP of one layer.
pub(super) struct GeluMlp {
    up: Linear,
    down: Linear,
    gelu: fn(&Pool, &mut [f32]),
    intermediate_size: usize,
}

impl GeluMlp {
    /// Reads the MLP of `layer`, for example `blk.0`.
    pub fn read(
        reader: &mut Reader,
        layer: &str,
        sizes: &Sizes,
        gelu: fn(&Pool, &mut [f32]),
    ) -> Result<GeluMlp> {
        let (inner, outer) = (sizes.intermediate_size, sizes.hidden_size);
        Ok(GeluMlp {
            up: reader.linear_with_bias(&format!("{layer}.ffn_up"), inner, outer)?,
            down: reader.linear_with_bias(&format!("{layer}.ffn_down"), outer, inner)?,
            gelu,
            intermediate_size: inner,
        })
    }

    /// The input that is loaded in `s.activations`, `[T, hidden_size]`, to `s.y`.
    pub fn forward(&self, pool: &Pool, rows: usize, s: &mut Scratch) {
        self.up.forward(pool, &s.activations, rows, &mut s.up); // [T, intermediate_size]
        (self.gelu)(pool, &mut s.up);
        s.activations.load(pool, &s.up, self.intermediate_size);
        self.down.forward(pool, &s.activations, rows, &mut s.y); // [T, hidden_size]
    }
}
