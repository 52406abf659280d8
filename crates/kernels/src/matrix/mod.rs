//! Weight matrices and their products with activations.

mod activations;
mod float;
mod packed;
mod quantized;
#[cfg(test)]
mod tests;
mod tile;

pub use activations::{Activations, Inputs};

use crate::activation::silu_mul_on;
use crate::pool::SharedMut;
use crate::{Bytes, DType, KernelError, Pool, Tier, cpu_tier, dequantize};
use float::FloatProduct;
use packed::{Finish, Packed, PackedProduct};

/// How exactly a quantized matrix is multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// Weights are dequantized and multiplied by f32 activations: the reference's accuracy.
    F32,
    /// Activations are quantized to 8 bits in blocks of 32, or of 256 for types of 256 values a block, and the products are
    /// integer ones. Types that are not quantized are multiplied as with [`Precision::F32`].
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

    fn packed(&self) -> Option<&Packed> {
        match &self.weights {
            Weights::Packed(packed) => Some(packed),
            Weights::Stored(_) => None,
        }
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

/// One of several products with the same activations: `out = x weightᵀ + bias`.
pub struct Product<'a> {
    /// The weights.
    pub weight: &'a Matrix,
    /// What is added to each row, `[weight.rows()]`.
    pub bias: Option<&'a [f32]>,
    /// `[T, weight.rows()]`, overwritten.
    pub out: &'a mut [f32],
}

/// `out = x wᵀ`: `out` (`[T, w.rows()]`) is overwritten. Row `t` of it depends bit for bit on row `t` of `x` only.
///
/// # Panics
/// If the shapes do not fit.
pub fn matmul(pool: &Pool, w: &Matrix, x: &Activations, out: &mut [f32]) {
    let product = Product {
        weight: w,
        bias: None,
        out,
    };
    matmul_each_on(cpu_tier(), pool, x, [product]);
}

/// Several products at once, so that threads meet once: the same as one after the other, bit for bit.
///
/// # Panics
/// As [`matmul`].
pub fn matmul_each<const N: usize>(pool: &Pool, x: &Activations, products: [Product; N]) {
    matmul_each_on(cpu_tier(), pool, x, products);
}

/// `out += x wᵀ + bias`, as a residual stream takes a block's output.
///
/// # Panics
/// As [`matmul`].
pub fn matmul_add(pool: &Pool, w: &Matrix, bias: Option<&[f32]>, x: &Activations, out: &mut [f32]) {
    matmul_add_on(cpu_tier(), pool, w, bias, x, out);
}

/// `out = silu(x gateᵀ) * (x upᵀ)`, the inner values of a gated MLP; `out` (`[T, gate.rows()]`) is overwritten, `spare` is
/// room that may be used.
///
/// # Panics
/// As [`matmul`], and if the matrices differ in shape.
pub fn matmul_silu_mul(
    pool: &Pool,
    gate: &Matrix,
    up: &Matrix,
    x: &Activations,
    out: &mut [f32],
    spare: &mut Vec<f32>,
) {
    matmul_silu_mul_on(cpu_tier(), pool, gate, up, x, out, spare);
}

fn check(w: &Matrix, bias: Option<&[f32]>, x: &Activations, out: &[f32]) {
    assert_eq!(
        x.cols(),
        w.cols,
        "matmul: {} inputs for a matrix of {} columns",
        x.cols(),
        w.cols
    );
    assert_eq!(out.len(), x.rows() * w.rows, "matmul: wrong output length");
    assert!(
        bias.is_none_or(|bias| bias.len() == w.rows),
        "matmul: a bias of another length than {} rows",
        w.rows
    );
}

fn matmul_each_on<const N: usize>(
    tier: Tier,
    pool: &Pool,
    x: &Activations,
    mut products: [Product; N],
) {
    for product in &products {
        check(product.weight, product.bias, x, product.out);
    }
    let scales = |p: &Product| p.weight.packed().map(Packed::scales);
    let first = products.first().and_then(scales);
    if let Some(common) = first
        && products.iter().all(|p| scales(p) == first)
    {
        let products = products.each_mut().map(|p| PackedProduct {
            weight: p.weight.packed().expect("checked above; this is a bug"),
            finish: Finish::Store(p.bias),
            out: SharedMut::new(p.out),
        });
        x.with_quantized(tier, pool, common, |x| {
            packed::products(tier, pool, x, &products)
        });
        return;
    }
    for Product { weight, bias, out } in products {
        multiply(tier, pool, weight, x, Finish::Store(bias), out);
    }
}

fn matmul_add_on(
    tier: Tier,
    pool: &Pool,
    w: &Matrix,
    bias: Option<&[f32]>,
    x: &Activations,
    out: &mut [f32],
) {
    check(w, bias, x, out);
    multiply(tier, pool, w, x, Finish::Add(bias), out);
}

fn matmul_silu_mul_on(
    tier: Tier,
    pool: &Pool,
    gate: &Matrix,
    up: &Matrix,
    x: &Activations,
    out: &mut [f32],
    spare: &mut Vec<f32>,
) {
    check(gate, None, x, out);
    check(up, None, x, out);
    match (gate.packed(), up.packed()) {
        (Some(of_gate), Some(up)) if of_gate.scales() == up.scales() => {
            multiply(tier, pool, gate, x, Finish::Gate(up), out)
        }
        _ => {
            spare.resize(out.len(), 0.0);
            multiply(tier, pool, gate, x, Finish::Store(None), out);
            multiply(tier, pool, up, x, Finish::Store(None), spare);
            silu_mul_on(tier, pool, out, spare);
        }
    }
}

/// One product, all lengths checked.
fn multiply(tier: Tier, pool: &Pool, w: &Matrix, x: &Activations, finish: Finish, out: &mut [f32]) {
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
                finish,
            };
            product.run(tier, pool, out);
        }
        Weights::Packed(packed) => {
            let product = PackedProduct {
                weight: packed,
                finish,
                out: SharedMut::new(out),
            };
            x.with_quantized(tier, pool, packed.scales(), |x| {
                packed::products(tier, pool, x, &[product])
            });
        }
    }
}

/// How many tiles of `tile_bytes` weights a task takes: enough that the threads even out, but not tiny ones. For many
/// tokens a task's weights fill a good part of the second-level cache, to be used again; for one, a long stretch is read
/// as one stream, as each end of it is foreseen anew.
fn tiles_per_task(tiles: usize, threads: usize, tile_bytes: usize) -> usize {
    const TASK_BYTES: usize = 256 * 1024;
    let even = tiles.div_ceil(8 * threads);
    even.min(TASK_BYTES.div_ceil(tile_bytes.max(1))).max(1)
}
