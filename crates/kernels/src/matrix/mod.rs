//! Weight matrices and their products with activations.

mod activations;
mod float;
mod packed;
mod quantized;
#[cfg(test)]
mod tests;
mod tile;

pub use activations::Activations;

use crate::{Bytes, DType, KernelError, Pool, Tier, cpu_tier, dequantize};
use float::FloatProduct;
use packed::Packed;

/// How exactly a quantized matrix is multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// Weights are dequantized and multiplied by f32 activations: the reference's accuracy.
    F32,
    /// Activations are quantized to 8 bits in blocks of 32 and the products are integer ones. Types that are not
    /// quantized are multiplied as with [`Precision::F32`].
    #[default]
    Int8,
}

/// A weight matrix of `rows` outputs by `cols` inputs, stored in its own type.
pub struct Matrix {
    dtype: DType,
    rows: usize,
    cols: usize,
    weights: Weights,
}

enum Weights {
    /// As in the file, for products in f32.
    Stored(Bytes),
    /// Rearranged for integer products.
    Packed(Packed),
}

impl Matrix {
    /// A matrix from its stored rows.
    ///
    /// For integer products the weights are rearranged in memory of their own, of the same size, and `bytes` are
    /// released. Else they stay where they are.
    ///
    /// # Errors
    /// If `bytes` is not as long as the shape says, a row is not made of whole blocks, or there is no memory.
    pub fn new(
        pool: &Pool,
        dtype: DType,
        rows: usize,
        cols: usize,
        bytes: Bytes,
        precision: Precision,
    ) -> Result<Matrix, KernelError> {
        let row_bytes =
            dtype
                .bytes_for(cols)
                .ok_or(KernelError::RaggedRows { dtype, rows, cols })?;
        let expected = row_bytes
            .checked_mul(rows)
            .ok_or_else(|| KernelError::TooLarge {
                what: format!("a {dtype} matrix of {rows} x {cols}"),
            })?;
        if expected != bytes.len() {
            let got = bytes.len();
            return Err(KernelError::WrongSize {
                dtype,
                rows,
                cols,
                expected,
                got,
            });
        }
        let packed = match precision {
            Precision::Int8 => Packed::new(pool, dtype, rows, cols, &bytes).transpose()?,
            Precision::F32 => None,
        };
        let weights = match packed {
            Some(packed) => {
                bytes.release();
                Weights::Packed(packed)
            }
            None => Weights::Stored(bytes),
        };
        Ok(Matrix {
            dtype,
            rows,
            cols,
            weights,
        })
    }

    /// The number of outputs.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of inputs.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The type that the values are stored in.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The bytes that the weights take in memory.
    pub fn memory_bytes(&self) -> usize {
        match &self.weights {
            Weights::Stored(bytes) => bytes.len(),
            Weights::Packed(packed) => packed.memory_bytes(),
        }
    }

    /// Writes the values of one row (the embedding of a token, say) to `out`.
    ///
    /// # Panics
    /// If there is no such row or `out` is not of `cols` values.
    pub fn read_row(&self, row: usize, out: &mut [f32]) {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        assert_eq!(out.len(), self.cols, "read_row: wrong length");
        match &self.weights {
            Weights::Stored(bytes) => {
                let n = bytes.len() / self.rows;
                dequantize(self.dtype, &bytes[row * n..][..n], out);
            }
            Weights::Packed(packed) => packed.read_row(row, out),
        }
    }
}

/// `out = x wᵀ`: `out` (`[T, w.rows()]`) is overwritten. Row `t` of it depends bit for bit on row `t` of `x` only.
///
/// # Panics
/// If the shapes do not fit.
pub fn matmul(pool: &Pool, w: &Matrix, x: &Activations, out: &mut [f32]) {
    matmul_on(cpu_tier(), pool, w, x, out);
}

fn matmul_on(tier: Tier, pool: &Pool, w: &Matrix, x: &Activations, out: &mut [f32]) {
    assert_eq!(
        x.cols(),
        w.cols,
        "matmul: {} inputs for a matrix of {} columns",
        x.cols(),
        w.cols
    );
    assert_eq!(out.len(), x.rows() * w.rows, "matmul: wrong output length");
    match &w.weights {
        Weights::Stored(bytes) => {
            let product = FloatProduct {
                dtype: w.dtype,
                weights: bytes,
                rows: w.rows,
                cols: w.cols,
                x: x.values(),
                stride: x.stride(),
                tokens: x.rows(),
            };
            product.run(tier, pool, out);
        }
        Weights::Packed(packed) => {
            x.with_quantized(tier, pool, |quantized| {
                packed.product(tier, pool, quantized, x.rows(), out)
            });
        }
    }
}

/// How many tiles of `tile_bytes` weights a task takes: enough that the threads even out, but not tiny ones. Where
/// weights are used again, for many tokens, a task's weights fill a good part of the second-level cache.
fn tiles_per_task(tiles: usize, threads: usize, tile_bytes: usize, again: bool) -> usize {
    let task_bytes: usize = if again { 256 * 1024 } else { 48 * 1024 };
    let even = tiles.div_ceil(8 * threads);
    even.min(task_bytes.div_ceil(tile_bytes.max(1))).max(1)
}
