//! Weight matrices and their products with activations.

mod activations;
mod float;
#[cfg(test)]
mod tests;
mod tile;

pub use activations::Activations;

use crate::{Bytes, DType, KernelError, Pool, Tier, cpu_tier, dequantize};
use float::FloatProduct;

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
    bytes: Bytes,
}

impl Matrix {
    /// A matrix from its stored rows.
    ///
    /// # Errors
    /// If `bytes` is not as long as the shape says, or a row is not made of whole blocks.
    pub fn new(
        pool: &Pool,
        dtype: DType,
        rows: usize,
        cols: usize,
        bytes: Bytes,
        precision: Precision,
    ) -> Result<Matrix, KernelError> {
        let _ = (pool, precision);
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
        Ok(Matrix {
            dtype,
            rows,
            cols,
            bytes,
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
        self.bytes.len()
    }

    /// Writes the values of one row (the embedding of a token, say) to `out`.
    ///
    /// # Panics
    /// If there is no such row or `out` is not of `cols` values.
    pub fn read_row(&self, row: usize, out: &mut [f32]) {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        assert_eq!(out.len(), self.cols, "read_row: wrong length");
        let n = self.bytes.len() / self.rows;
        dequantize(self.dtype, &self.bytes[row * n..][..n], out);
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
    let product = FloatProduct {
        dtype: w.dtype,
        weights: &w.bytes,
        rows: w.rows,
        cols: w.cols,
        x: x.values(),
        stride: x.stride(),
        tokens: x.rows(),
    };
    product.run(tier, pool, out);
}

/// How many tiles of `tile_bytes` weights a task takes: enough that the threads even out, but not tiny ones.
fn tiles_per_task(tiles: usize, threads: usize, tile_bytes: usize) -> usize {
    /// Weights worth a task.
    const TASK_BYTES: usize = 48 * 1024;
    let even = tiles.div_ceil(8 * threads);
    even.min(TASK_BYTES.div_ceil(tile_bytes.max(1))).max(1)
}
