//! Products in f32 with weights of any type.
//!
//! Four rows of weights are dequantized into a tile that fits the first-level cache and multiplied with all rows of
//! activations, several at a time. A result is 16 sums, one a lane, over the columns in their order, folded at the end:
//! the same whatever else is computed beside it.

use super::tile;
use crate::pool::SharedMut;
use crate::simd::{self, Kernel, LANES, Simd};
use crate::{DType, Pool, Tier, scratch};

/// Rows of weights in a tile.
const TILE_ROWS: usize = 4;
/// Columns of a tile.
const TILE_COLS: usize = 1024;

/// One product: `out[t, r] = sum over c of x[t, c] w[r, c]`.
pub(super) struct FloatProduct<'a> {
    pub dtype: DType,
    pub weights: &'a [u8],
    pub rows: usize,
    pub cols: usize,
    /// `[tokens, stride]`: rows padded with zeros to whole vectors.
    pub x: &'a [f32],
    pub stride: usize,
    pub tokens: usize,
}

impl FloatProduct<'_> {
    /// Computes the product; `out` is `[tokens, rows]`.
    pub(super) fn run(&self, tier: Tier, pool: &Pool, out: &mut [f32]) {
        assert!(self.weights.len() == self.rows * self.row_bytes());
        assert!(self.x.len() == self.tokens * self.stride);
        assert!(self.stride == self.cols.next_multiple_of(LANES));
        assert!(out.len() == self.tokens * self.rows);
        if out.is_empty() {
            return;
        }
        let tiles = self.rows.div_ceil(TILE_ROWS);
        let per_task = super::tiles_per_task(tiles, pool.threads(), TILE_ROWS * self.row_bytes());
        let out = SharedMut::new(out);
        pool.run(tiles.div_ceil(per_task), |task| {
            let first = task * per_task * TILE_ROWS;
            let end = (first + per_task * TILE_ROWS).min(self.rows);
            simd::run(
                tier,
                Rows {
                    product: self,
                    first,
                    end,
                    out: &out,
                },
            );
        });
    }

    fn row_bytes(&self) -> usize {
        self.cols / self.dtype.block_len() * self.dtype.block_bytes()
    }
}

/// The rows `first..end` of a product.
struct Rows<'a> {
    product: &'a FloatProduct<'a>,
    first: usize,
    end: usize,
    out: &'a SharedMut<f32>,
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let FloatProduct { tokens, rows, .. } = *self.product;
        let sums_len = tokens * TILE_ROWS * LANES;
        scratch::with(sums_len + TILE_ROWS * TILE_COLS, |scratch| {
            let (sums, tile) = scratch.split_at_mut(sums_len);
            let (sums, _) = sums.as_chunks_mut::<LANES>();
            let (sums, _) = sums.as_chunks_mut::<TILE_ROWS>();
            for row in (self.first..self.end).step_by(TILE_ROWS) {
                let count = TILE_ROWS.min(self.end - row);
                tile_product(s, self.product, row, count, tile, sums);
                for (t, sums) in sums.iter().enumerate() {
                    // SAFETY: these rows belong to this task alone.
                    let out = unsafe { self.out.range(t * rows + row, count) };
                    for (out, sum) in out.iter_mut().zip(sums) {
                        *out = s.sum(s.load(sum));
                    }
                }
            }
        });
    }
}

/// The lanes' sums of `count` rows from `row` for all tokens.
#[inline(always)]
fn tile_product<S: Simd>(
    s: S,
    product: &FloatProduct,
    row: usize,
    count: usize,
    tile: &mut [f32],
    sums: &mut [[[f32; LANES]; TILE_ROWS]],
) {
    let FloatProduct {
        dtype,
        weights,
        cols,
        x,
        stride,
        ..
    } = *product;
    let row_bytes = product.row_bytes();
    sums.as_flattened_mut().as_flattened_mut().fill(0.0);
    for col in (0..cols).step_by(TILE_COLS) {
        let len = TILE_COLS.min(cols - col);
        let padded = len.next_multiple_of(LANES);
        let (begin, end) = (col / dtype.block_len(), (col + len) / dtype.block_len());
        let range = begin * dtype.block_bytes()..end * dtype.block_bytes();
        for (r, out) in tile.chunks_exact_mut(TILE_COLS).enumerate() {
            if r < count {
                let bytes = &weights[(row + r) * row_bytes..][..row_bytes][range.clone()];
                tile::fill(s, dtype, bytes, &mut out[..len]);
                out[len..padded].fill(0.0);
            } else {
                out[..padded].fill(0.0);
            }
        }
        let mut t = 0;
        while t < sums.len() {
            let x = &x[t * stride + col..];
            let sums = &mut sums[t..];
            t += match (sums.len(), S::WIDE) {
                (6.., true) => accumulate::<S, 6>(s, tile, x, stride, padded, sums),
                (4.., true) => accumulate::<S, 4>(s, tile, x, stride, padded, sums),
                (2.., true) => accumulate::<S, 2>(s, tile, x, stride, padded, sums),
                _ => accumulate::<S, 1>(s, tile, x, stride, padded, sums),
            };
        }
    }
}

/// Adds the products of the tile's `len` columns with `N` rows of `x`; returns `N`.
#[inline(always)]
fn accumulate<S: Simd, const N: usize>(
    s: S,
    tile: &[f32],
    x: &[f32],
    stride: usize,
    len: usize,
    sums: &mut [[[f32; LANES]; TILE_ROWS]],
) -> usize {
    assert!(len <= TILE_COLS && len.is_multiple_of(LANES) && tile.len() == TILE_ROWS * TILE_COLS);
    assert!(x.len() >= (N - 1) * stride + len && sums.len() >= N);
    // SAFETY: `i` is at most `len - LANES` below, rows below TILE_ROWS and tokens below N, so by the checks above all
    // 16 values lie within the slices.
    let weights = |r: usize, i: usize| unsafe {
        &*tile.as_ptr().add(r * TILE_COLS + i).cast::<[f32; LANES]>()
    };
    // SAFETY: as above.
    let inputs =
        |t: usize, i: usize| unsafe { &*x.as_ptr().add(t * stride + i).cast::<[f32; LANES]>() };
    let mut acc: [[S::F; TILE_ROWS]; N] =
        std::array::from_fn(|t| std::array::from_fn(|r| s.load(&sums[t][r])));
    let mut i = 0;
    while i < len {
        let w: [S::F; TILE_ROWS] = std::array::from_fn(|r| s.load(weights(r, i)));
        for (t, acc) in acc.iter_mut().enumerate() {
            let x = s.load(inputs(t, i));
            for (acc, w) in acc.iter_mut().zip(w) {
                *acc = s.fma(w, x, *acc);
            }
        }
        i += LANES;
    }
    for (acc, sums) in acc.iter().zip(sums) {
        for (acc, sum) in acc.iter().zip(sums) {
            s.store(*acc, sum);
        }
    }
    N
}
