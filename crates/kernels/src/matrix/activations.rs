//! The inputs of matrix products.

use crate::Pool;
use crate::pool::for_each_row;
use crate::simd::LANES;

/// The inputs of one or several products, loaded once.
///
/// Buffers are kept, so that loading allocates only where it needs more than ever before.
#[derive(Default)]
pub struct Activations {
    values: Vec<f32>,
    rows: usize,
    cols: usize,
}

impl Activations {
    /// Takes over `x` (`[T, cols]`).
    ///
    /// # Panics
    /// If `x` does not consist of whole rows.
    pub fn load(&mut self, pool: &Pool, x: &[f32], cols: usize) {
        assert!(
            cols > 0 && x.len().is_multiple_of(cols),
            "activations: {} values are not rows of {cols}",
            x.len()
        );
        (self.rows, self.cols) = (x.len() / cols, cols);
        let stride = self.stride();
        self.values.resize(self.rows * stride, 0.0);
        for_each_row(pool, &mut self.values, stride, |row, out| {
            out[..cols].copy_from_slice(&x[row * cols..][..cols]);
            out[cols..].fill(0.0);
        });
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of values in a row.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The distance of rows in [`Activations::values`]: whole vectors.
    pub(super) fn stride(&self) -> usize {
        self.cols.next_multiple_of(LANES)
    }

    /// The rows, padded with zeros to [`Activations::stride`].
    pub(super) fn values(&self) -> &[f32] {
        &self.values
    }
}
