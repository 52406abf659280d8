//! Weight matrices and their products with activations.

use crate::{Bytes, DType, KernelError, Pool, dequantize};

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

/// The inputs of one or several products.
#[derive(Default)]
pub struct Activations {
    values: Vec<f32>,
    rows: usize,
    cols: usize,
}

impl Activations {
    /// Takes over `x` (`[T, cols]`). Buffers are reused from call to call.
    ///
    /// # Panics
    /// If `x` does not consist of whole rows.
    pub fn load(&mut self, pool: &Pool, x: &[f32], cols: usize) {
        let _ = pool;
        assert!(
            cols > 0 && x.len().is_multiple_of(cols),
            "{} values are not rows of {cols}",
            x.len()
        );
        self.values.clear();
        self.values.extend_from_slice(x);
        self.rows = x.len() / cols;
        self.cols = cols;
    }

    /// The number of rows loaded.
    pub fn rows(&self) -> usize {
        self.rows
    }
}

/// `out = x wᵀ`: `out` (`[T, w.rows()]`) is overwritten. Row `t` of it depends bit for bit on row `t` of `x` only.
///
/// # Panics
/// If the shapes do not fit.
pub fn matmul(pool: &Pool, w: &Matrix, x: &Activations, out: &mut [f32]) {
    assert_eq!(
        x.cols, w.cols,
        "matmul: {} inputs for a matrix of {} columns",
        x.cols, w.cols
    );
    assert_eq!(out.len(), x.rows * w.rows, "matmul: wrong output length");
    let columns: Vec<Vec<f32>> = {
        let mut columns = vec![vec![0.0; x.rows]; w.rows];
        pool.for_each_chunk(&mut columns, 16, |chunk, columns| {
            let mut weights = vec![0.0; w.cols];
            for (i, column) in columns.iter_mut().enumerate() {
                w.read_row(chunk * 16 + i, &mut weights);
                for (out, x) in column.iter_mut().zip(x.values.chunks_exact(w.cols)) {
                    *out = x.iter().zip(&weights).map(|(a, b)| a * b).sum();
                }
            }
        });
        columns
    };
    for (r, column) in columns.iter().enumerate() {
        for (t, value) in column.iter().enumerate() {
            out[t * w.rows + r] = *value;
        }
    }
}
