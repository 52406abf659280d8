//! Products in f32 with weights of any type.
//!
//! Some rows of weights are dequantized into a tile that fits the first-level cache and multiplied with many rows of
//! activations, four by six at a time; with few rows of activations, plain weights are multiplied as they are read. A
//! result is 16 sums, one a lane, over the columns in their order, folded at the end:
//! the same whatever else is computed beside it.

use super::packed::Finish;
use super::tile;
use crate::pool::SharedMut;
use crate::simd::{self, Kernel, LANES, Simd};
use crate::{DType, Pool, Tier, scratch};

/// Rows of weights that are multiplied at once.
const ROWS: usize = 4;
/// Rows of weights in a tile.
const TILE_ROWS: usize = 2 * ROWS;
/// Columns of a tile.
const TILE_COLS: usize = 512;
/// The distance of a tile's rows: not a power of two, or they would all fall on the same lines of the cache.
const TILE_STRIDE: usize = TILE_COLS + LANES;
/// Tokens for which weights are not written to a tile first.
const FEW: usize = 2;
/// Bytes that a row of weights is called into the cache ahead of its product.
const AHEAD_BYTES: usize = 1024;
/// Tokens whose sums are kept while a tile passes.
const TOKENS: usize = 48;

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
    /// To be stored or added.
    pub finish: Finish<'a>,
}

impl FloatProduct<'_> {
    /// Computes the product; `out` is `[tokens, rows]`.
    pub(super) fn run(&self, tier: Tier, pool: &Pool, out: &mut [f32]) {
        assert!(self.weights.len() == self.rows * self.row_bytes());
        assert!(self.x.len() == self.tokens * self.stride);
        assert!(self.stride >= self.cols.next_multiple_of(LANES));
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
            let sums_len = TOKENS * TILE_ROWS * LANES;
            scratch::with(sums_len + TILE_ROWS * TILE_STRIDE, |scratch| {
                simd::run(
                    tier,
                    Rows {
                        product: self,
                        first,
                        end,
                        scratch,
                        out: &out,
                    },
                );
            });
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
    /// Room for the tile and the sums of all tokens.
    scratch: &'a mut [f32],
    out: &'a SharedMut<f32>,
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let FloatProduct {
            rows,
            tokens,
            finish,
            ..
        } = *self.product;
        let (bias, add) = match finish {
            Finish::Store(bias) => (bias, false),
            Finish::Add(bias) => (bias, true),
            Finish::Gate(_) => unreachable!("gates are packed; this is a bug"),
        };
        let (tile, sums) = self.scratch.split_at_mut(TILE_ROWS * TILE_STRIDE);
        let sums = sums.as_chunks_mut::<LANES>().0.as_chunks_mut::<ROWS>().0;
        for token in (0..tokens).step_by(TOKENS) {
            let token_count = TOKENS.min(tokens - token);
            for row in (self.first..self.end).step_by(TILE_ROWS) {
                let count = TILE_ROWS.min(self.end - row);
                let sums = &mut sums[..token_count * TILE_ROWS / ROWS];
                tile_product(s, self.product, row, count, token, tile, sums);
                for (quarter, sums) in sums.chunks_exact(token_count).enumerate() {
                    let first = quarter * ROWS;
                    let count = count.saturating_sub(first).min(ROWS);
                    if count == 0 {
                        break;
                    }
                    for (t, sums) in sums.iter().enumerate() {
                        // SAFETY: these rows belong to this task alone.
                        let out =
                            unsafe { self.out.range((token + t) * rows + row + first, count) };
                        let bias = bias.map(|bias| &bias[row + first..]);
                        for (i, (out, sum)) in out.iter_mut().zip(sums).enumerate() {
                            let mut sum = s.sum(s.load(sum));
                            if let Some(bias) = bias {
                                sum += bias[i];
                            }
                            *out = if add { *out + sum } else { sum };
                        }
                    }
                }
            }
        }
    }
}

/// The lanes' sums of `count` rows from `row` for the tokens from `token`: those of the first [`ROWS`] rows for all
/// tokens, then those of the next.
#[inline(always)]
fn tile_product<S: Simd>(
    s: S,
    product: &FloatProduct,
    row: usize,
    count: usize,
    token: usize,
    tile: &mut [f32],
    sums: &mut [[[f32; LANES]; ROWS]],
) {
    let tokens = sums.len() / (TILE_ROWS / ROWS);
    if tokens <= FEW {
        match product.dtype {
            DType::F32 => return direct::<S, F32>(s, product, row, count, token, sums),
            DType::F16 => return direct::<S, F16>(s, product, row, count, token, sums),
            DType::BF16 => return direct::<S, BF16>(s, product, row, count, token, sums),
            _ => {}
        }
    }
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
        for (r, out) in tile.chunks_exact_mut(TILE_STRIDE).enumerate() {
            if r < count {
                let bytes = &weights[(row + r) * row_bytes..][..row_bytes][range.clone()];
                tile::fill(s, dtype, bytes, &mut out[..len]);
                out[len..padded].fill(0.0);
            } else {
                out[..padded].fill(0.0);
            }
        }
        for (tile, sums) in tile
            .chunks_exact(ROWS * TILE_STRIDE)
            .zip(sums.chunks_exact_mut(tokens))
        {
            let mut t = 0;
            while t < tokens {
                let x = &x[(token + t) * stride + col..];
                let sums = &mut sums[t..];
                t += match (sums.len(), S::WIDE) {
                    (6.., true) => accumulate::<S, 6>(s, tile, x, stride, padded, sums),
                    (3.., true) => accumulate::<S, 3>(s, tile, x, stride, padded, sums),
                    _ => accumulate::<S, 1>(s, tile, x, stride, padded, sums),
                };
            }
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
    sums: &mut [[[f32; LANES]; ROWS]],
) -> usize {
    assert!(len <= TILE_COLS && len.is_multiple_of(LANES) && tile.len() == ROWS * TILE_STRIDE);
    assert!(x.len() >= (N - 1) * stride + len && sums.len() >= N);
    let mut acc = [[s.splat(0.0); ROWS]; N];
    for (acc, sums) in acc.iter_mut().zip(&*sums) {
        for (acc, sum) in acc.iter_mut().zip(sums) {
            *acc = s.load(sum);
        }
    }
    let mut i = 0;
    while i < len {
        let mut w = [s.splat(0.0); ROWS];
        for (r, w) in w.iter_mut().enumerate() {
            // SAFETY: `i` is at most `len - LANES` and `r` below ROWS, so by the checks above all 16 values lie
            // within the tile.
            *w = s.load(unsafe {
                &*tile
                    .as_ptr()
                    .add(r * TILE_STRIDE + i)
                    .cast::<[f32; LANES]>()
            });
        }
        for (t, acc) in acc.iter_mut().enumerate() {
            // SAFETY: as above; `t` is below N.
            let x = s.load(unsafe { &*x.as_ptr().add(t * stride + i).cast::<[f32; LANES]>() });
            for (acc, w) in acc.iter_mut().zip(&w) {
                *acc = s.fma(*w, x, *acc);
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

/// A stored type of one value.
trait Stored {
    const BYTES: usize;
    /// 16 values.
    fn load<S: Simd>(s: S, bytes: &[u8]) -> S::F;
}

/// The bytes of a vector.
#[inline(always)]
fn whole<const N: usize>(bytes: &[u8]) -> &[u8; N] {
    bytes
        .first_chunk()
        .expect("bytes of 16 values; this is a bug")
}

struct F32;
struct F16;
struct BF16;

impl Stored for F32 {
    const BYTES: usize = 4;
    #[inline(always)]
    fn load<S: Simd>(s: S, bytes: &[u8]) -> S::F {
        s.of_bits(s.load_bytes(whole(bytes)))
    }
}

impl Stored for F16 {
    const BYTES: usize = 2;
    #[inline(always)]
    fn load<S: Simd>(s: S, bytes: &[u8]) -> S::F {
        s.load_f16(whole(bytes))
    }
}

impl Stored for BF16 {
    const BYTES: usize = 2;
    #[inline(always)]
    fn load<S: Simd>(s: S, bytes: &[u8]) -> S::F {
        s.load_bf16(whole(bytes))
    }
}

/// As [`tile_product`], of plain weights with at most [`FEW`] tokens.
#[inline(always)]
fn direct<S: Simd, E: Stored>(
    s: S,
    product: &FloatProduct,
    row: usize,
    count: usize,
    token: usize,
    sums: &mut [[[f32; LANES]; ROWS]],
) {
    let row_bytes = product.row_bytes();
    let tokens = sums.len() / (TILE_ROWS / ROWS);
    for (quarter, sums) in sums.chunks_exact_mut(tokens).enumerate() {
        let first = quarter * ROWS;
        if first >= count {
            break;
        }
        let mut weights = [&product.weights[..0]; ROWS];
        for (r, weights) in weights.iter_mut().enumerate() {
            // Where rows are missing, the last stands in: its sums are not looked at.
            let row = row + (first + r).min(count - 1);
            *weights = &product.weights[row * row_bytes..][..row_bytes];
        }
        let x = &product.x[token * product.stride..];
        match tokens {
            2 => accumulate_stored::<S, E, 2>(s, &weights, x, product, sums),
            _ => accumulate_stored::<S, E, 1>(s, &weights, x, product, sums),
        }
    }
}

/// The lanes' sums of four stored rows with `N` rows of `x`.
#[inline(always)]
fn accumulate_stored<S: Simd, E: Stored, const N: usize>(
    s: S,
    weights: &[&[u8]; ROWS],
    x: &[f32],
    product: &FloatProduct,
    sums: &mut [[[f32; LANES]; ROWS]],
) {
    let (cols, stride, step) = (product.cols, product.stride, LANES * E::BYTES);
    let mut acc = [[s.splat(0.0); ROWS]; N];
    for i in 0..cols / LANES {
        let mut w = [s.splat(0.0); ROWS];
        for (w, bytes) in w.iter_mut().zip(weights) {
            let bytes = &bytes[i * step..][..step];
            s.prefetch(bytes.as_ptr().wrapping_add(AHEAD_BYTES).cast());
            *w = E::load(s, bytes);
        }
        add_products::<S, N>(s, &w, &x[i * LANES..], stride, &mut acc);
    }
    let at = cols / LANES * LANES;
    if at < cols {
        let mut w = [s.splat(0.0); ROWS];
        for (w, bytes) in w.iter_mut().zip(weights) {
            let rest = &bytes[at * E::BYTES..];
            let mut padded = [0; 4 * LANES];
            padded[..rest.len()].copy_from_slice(rest);
            *w = E::load(s, &padded);
        }
        add_products::<S, N>(s, &w, &x[at..], stride, &mut acc);
    }
    for (acc, sums) in acc.iter().zip(sums) {
        for (acc, sum) in acc.iter().zip(sums) {
            s.store(*acc, sum);
        }
    }
}

#[inline(always)]
fn add_products<S: Simd, const N: usize>(
    s: S,
    w: &[S::F; ROWS],
    x: &[f32],
    stride: usize,
    acc: &mut [[S::F; ROWS]; N],
) {
    for (t, acc) in acc.iter_mut().enumerate() {
        let x = x[t * stride..].first_chunk();
        let x = s.load(x.expect("rows are padded to whole vectors; this is a bug"));
        for (acc, w) in acc.iter_mut().zip(w) {
            *acc = s.fma(*w, x, *acc);
        }
    }
}
