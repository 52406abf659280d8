//! The inputs of matrix products.

use std::sync::{PoisonError, RwLock};

use super::quantized::Quantized;
use crate::pool::for_each_row;
use crate::simd::LANES;
use crate::{Pool, Tier};

/// The inputs of one or several products, loaded once.
///
/// Buffers are kept, so that loading allocates only where it needs more than ever before.
#[derive(Default)]
pub struct Activations {
    values: Vec<f32>,
    rows: usize,
    cols: usize,
    /// The rows in 8 bits, made when a product first asks for them.
    quantized: RwLock<Lazy>,
}

#[derive(Default)]
struct Lazy {
    /// Whether `rows` are those that are loaded now.
    fresh: bool,
    rows: Quantized,
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
        let quantized = self
            .quantized
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        quantized.fresh = false;
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

    /// The distance of rows in [`Activations::values`]: an odd number of whole vectors, so that rows do not all fall on
    /// the same lines of the cache.
    pub(super) fn stride(&self) -> usize {
        self.cols.div_ceil(LANES) / 2 * 2 * LANES + LANES
    }

    /// The rows, padded with zeros to [`Activations::stride`].
    pub(super) fn values(&self) -> &[f32] {
        &self.values
    }

    /// Calls `f` with the rows in 8 bits; `cols` is a multiple of 32.
    pub(super) fn with_quantized<R>(
        &self,
        tier: Tier,
        pool: &Pool,
        f: impl FnOnce(&Quantized) -> R,
    ) -> R {
        loop {
            let guard = self
                .quantized
                .read()
                .unwrap_or_else(PoisonError::into_inner);
            if guard.fresh {
                return f(&guard.rows);
            }
            drop(guard);
            let mut guard = self
                .quantized
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            if !guard.fresh {
                guard.rows.fill(
                    tier,
                    pool,
                    &self.values,
                    self.stride(),
                    self.cols,
                    self.rows,
                );
                guard.fresh = true;
            }
        }
    }
}
