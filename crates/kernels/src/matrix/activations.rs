//! The inputs of matrix products.

use std::sync::{PoisonError, RwLock};

use super::Matrix;
use super::quantized::{Quantized, Scales, Source};
use crate::norm::{RmsNorm, check_rows};
use crate::pool::for_each_row;
use crate::simd::{self, LANES};
use crate::{Pool, Tier, cpu_tier};

/// The inputs of one or several products, loaded once.
///
/// Buffers are kept, so that loading allocates only where it needs more than ever before.
#[derive(Default)]
pub struct Activations {
    values: Vec<f32>,
    /// Whether `values` are those that are loaded now.
    has_values: bool,
    rows: usize,
    cols: usize,
    /// The rows in 8 bits with scales of each kind, made when a product first asks for them, or loaded so.
    quantized: [RwLock<Lazy>; 2],
}

#[derive(Default)]
struct Lazy {
    /// Whether `rows` are those that are loaded now.
    fresh: bool,
    rows: Quantized,
}

/// In which form some matrices take activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inputs {
    float: bool,
    /// With scales of each kind.
    int8: [bool; 2],
}

impl Inputs {
    /// What all of these matrices together take.
    pub fn of<'a>(matrices: impl IntoIterator<Item = &'a Matrix>) -> Inputs {
        let mut inputs = Inputs {
            float: false,
            int8: [false; 2],
        };
        for matrix in matrices {
            match matrix.packed() {
                Some(packed) => inputs.int8[packed.scales() as usize] = true,
                None => inputs.float = true,
            }
        }
        inputs
    }
}

impl Activations {
    /// Takes over `x` (`[T, cols]`) for products with any matrix.
    ///
    /// # Panics
    /// If `x` does not consist of whole rows.
    pub fn load(&mut self, pool: &Pool, x: &[f32], cols: usize) {
        self.begin(x, cols);
        self.load_values(pool, |row, out| {
            out.copy_from_slice(&x[row * cols..][..cols]);
        });
    }

    /// As [`Activations::load`], for products with the matrices that `inputs` was made of: where all of them take 8 bits,
    /// `x` is quantized as it is read.
    ///
    /// # Panics
    /// If `x` does not consist of whole rows. Products with other matrices may panic.
    pub fn load_for(&mut self, pool: &Pool, x: &[f32], cols: usize, inputs: Inputs) {
        if inputs.float {
            return self.load(pool, x, cols);
        }
        self.begin(x, cols);
        self.load_quantized(cpu_tier(), pool, inputs, Source::Rows { x, stride: cols });
    }

    /// As [`Activations::load_for`], of what [`crate::rms_norm`] makes of `x` (`[T, n]`, `n = weight.len()`).
    ///
    /// # Panics
    /// As [`Activations::load_for`].
    pub fn load_rms_norm(
        &mut self,
        pool: &Pool,
        x: &[f32],
        weight: &[f32],
        eps: f32,
        inputs: Inputs,
    ) {
        self.load_rms_norm_on(cpu_tier(), pool, x, weight, eps, inputs);
    }

    pub(super) fn load_rms_norm_on(
        &mut self,
        tier: Tier,
        pool: &Pool,
        x: &[f32],
        weight: &[f32],
        eps: f32,
        inputs: Inputs,
    ) {
        let cols = weight.len();
        self.begin(x, cols);
        if inputs.float {
            self.load_values(pool, |row, out| {
                let x = &x[row * cols..][..cols];
                let norm = RmsNorm {
                    x,
                    weight,
                    eps,
                    out,
                };
                simd::run(tier, norm);
            });
        } else {
            self.load_quantized(tier, pool, inputs, Source::RmsNorm { x, weight, eps });
        }
    }

    fn begin(&mut self, x: &[f32], cols: usize) {
        check_rows(x, cols, "activations");
        (self.rows, self.cols) = (x.len() / cols, cols);
        self.has_values = false;
        for scales in Scales::ALL {
            self.lazy(scales).fresh = false;
        }
    }

    fn lazy(&mut self, scales: Scales) -> &mut Lazy {
        self.quantized[scales as usize]
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// `row(t, out)` writes row `t`.
    fn load_values(&mut self, pool: &Pool, row: impl Fn(usize, &mut [f32]) + Sync) {
        let (cols, stride) = (self.cols, self.stride());
        self.values.resize(self.rows * stride, 0.0);
        for_each_row(pool, &mut self.values, stride, |t, out| {
            row(t, &mut out[..cols]);
            out[cols..].fill(0.0);
        });
        self.has_values = true;
    }

    fn load_quantized(&mut self, tier: Tier, pool: &Pool, inputs: Inputs, source: Source) {
        let shape = [self.rows, self.cols];
        for scales in Scales::ALL {
            if inputs.int8[scales as usize] {
                let lazy = self.lazy(scales);
                lazy.rows.fill(tier, pool, scales, shape, source);
                lazy.fresh = true;
            }
        }
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
    ///
    /// # Panics
    /// If they were loaded for matrices that take 8 bits.
    pub(super) fn values(&self) -> &[f32] {
        assert!(
            self.has_values,
            "the activations were loaded for other matrices"
        );
        &self.values
    }

    /// Calls `f` with the rows in 8 bits; `cols` is made of whole blocks, or superblocks.
    pub(super) fn with_quantized<R>(
        &self,
        tier: Tier,
        pool: &Pool,
        scales: Scales,
        f: impl FnOnce(&Quantized) -> R,
    ) -> R {
        loop {
            let lazy = &self.quantized[scales as usize];
            let guard = lazy.read().unwrap_or_else(PoisonError::into_inner);
            if guard.fresh {
                return f(&guard.rows);
            }
            drop(guard);
            let mut guard = lazy.write().unwrap_or_else(PoisonError::into_inner);
            if !guard.fresh {
                let (x, stride) = (self.values(), self.stride());
                let source = Source::Rows { x, stride };
                let shape = [self.rows, self.cols];
                guard.rows.fill(tier, pool, scales, shape, source);
                guard.fresh = true;
            }
        }
    }
}
