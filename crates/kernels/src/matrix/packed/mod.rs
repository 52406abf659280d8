//! Block types rearranged for integer products.

mod format;
mod held;
mod layout;
mod product;

use std::ops::Range;

use super::quantized::{Quantized, Scales, TILE, Tile};
use crate::activation::silu_times;
use crate::memory::Buffer;
use crate::pool::SharedMut;
use crate::simd::{self, Kernel, LANES, Simd, load_part, store_part};
use crate::{DType, KernelError, Pool, Tier, dequantize, scratch};
use layout::{Layout, Line, ROWS};
use product::{PAIR, Sums, TileProduct};

/// A matrix of a block type, packed.
pub(super) struct Packed {
    dtype: DType,
    rows: usize,
    /// Blocks of a row.
    blocks: usize,
    layout: Layout,
    lines: Buffer<Line>,
}

impl Packed {
    /// Packs stored rows, or gives `None` for a type that is not multiplied in integers.
    pub(super) fn new(
        pool: &Pool,
        dtype: DType,
        rows: usize,
        cols: usize,
        stored: &[u8],
    ) -> Option<Result<Packed, KernelError>> {
        let layout = Layout::of(dtype)?;
        let blocks = cols / dtype.block_len();
        let row_bytes = blocks * dtype.block_bytes();
        assert!(stored.len() == rows * row_bytes);
        let group_lines = layout.lines(blocks);
        let groups = rows.div_ceil(ROWS);
        let Some(mut lines) = Buffer::<Line>::zeroed(groups * group_lines) else {
            let bytes = (groups * group_lines).saturating_mul(size_of::<Line>());
            let what = format!("a {dtype} matrix of {rows} x {cols}");
            return Some(Err(KernelError::OutOfMemory { what, bytes }));
        };
        if row_bytes > 0 {
            pool.for_each_chunk(&mut lines, group_lines, |group, lines| {
                let first = group * ROWS;
                let stored = &stored[first * row_bytes..rows.min(first + ROWS) * row_bytes];
                let mut rows = [&stored[..0]; ROWS];
                let mut count = 0;
                for (row, stored) in rows.iter_mut().zip(stored.chunks_exact(row_bytes)) {
                    *row = stored;
                    count += 1;
                }
                layout.pack(&rows[..count], dtype.block_bytes(), lines);
            });
        }
        Some(Ok(Packed {
            dtype,
            rows,
            blocks,
            layout,
            lines,
        }))
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.lines.len() * size_of::<Line>()
    }

    /// The values of a row.
    pub(super) fn read_row(&self, row: usize, out: &mut [f32]) {
        let group_lines = self.layout.lines(self.blocks);
        let lines = &self.lines[row / ROWS * group_lines..][..group_lines];
        let mut stored = vec![0; self.dtype.block_bytes()];
        for (b, out) in out.chunks_exact_mut(self.dtype.block_len()).enumerate() {
            self.layout
                .unpack(lines, self.blocks, b, row % ROWS, &mut stored);
            dequantize(self.dtype, &stored, out);
        }
    }

    /// The scales of activations that the product takes.
    pub(super) fn scales(&self) -> Scales {
        match self.dtype.block_len() {
            256 => Scales::Superblocks,
            _ => Scales::Blocks,
        }
    }

    /// The number of groups of rows that are multiplied together.
    fn groups(&self) -> usize {
        self.rows.div_ceil(ROWS)
    }

    /// The sums of some groups of rows with a tile of tokens.
    fn tile(&self, tier: Tier, groups: Range<usize>, tile: Tile, sums: &mut [Sums]) {
        let group_lines = self.layout.lines(self.blocks);
        if group_lines == 0 {
            let sums = sums.as_flattened_mut().as_flattened_mut();
            sums.fill([0.0; LANES]);
            return;
        }
        let product = TileProduct {
            lines: &self.lines[groups.start * group_lines..groups.end * group_lines],
            group_lines,
            blocks: self.blocks,
            tile,
            sums,
        };
        product.run(tier, self.dtype);
    }
}

/// One of the products of a call.
pub(super) struct PackedProduct<'a> {
    pub weight: &'a Packed,
    pub finish: Finish<'a>,
    /// `[tokens, rows]`
    pub out: SharedMut<f32>,
}

/// What becomes of a product's sums.
#[derive(Clone, Copy)]
pub(super) enum Finish<'a> {
    /// They overwrite the output, the bias added if there is one.
    Store(Option<&'a [f32]>),
    /// They are added to the output, after the bias if there is one.
    Add(Option<&'a [f32]>),
    /// `silu` of them, times the product with another matrix of the same rows, overwrites the output.
    Gate(&'a Packed),
}

/// Computes all products with the same activations in one parallel section.
pub(super) fn products<const N: usize>(
    tier: Tier,
    pool: &Pool,
    x: &Quantized,
    products: &[PackedProduct; N],
) {
    let mut plans = [(0, 0); N];
    let mut total = 0;
    for (plan, product) in plans.iter_mut().zip(products) {
        let weight = product.weight;
        let mut group_bytes = weight.layout.lines(weight.blocks) * size_of::<Line>();
        if let Finish::Gate(up) = product.finish {
            assert_eq!(up.rows, weight.rows, "a gate of other rows; this is a bug");
            group_bytes += up.layout.lines(up.blocks) * size_of::<Line>();
        }
        let groups = weight.groups();
        let per_task = super::tiles_per_task(groups, pool.threads(), group_bytes);
        let per_task = per_task.next_multiple_of(PAIR);
        let tasks = groups.div_ceil(per_task);
        *plan = (per_task, tasks);
        total += tasks;
    }
    pool.run(total, |mut task| {
        for (product, (per_task, tasks)) in products.iter().zip(plans) {
            if task < tasks {
                let first = task * per_task;
                let groups = first..product.weight.groups().min(first + per_task);
                return product.run(tier, x, groups);
            }
            task -= tasks;
        }
    });
}

impl PackedProduct<'_> {
    /// Computes the outputs of some groups of rows.
    fn run(&self, tier: Tier, x: &Quantized, groups: Range<usize>) {
        let (weight, first) = (self.weight, groups.start * ROWS);
        let rows = weight.rows.min(groups.end * ROWS) - first;
        let pairs = groups.len().div_ceil(PAIR);
        let len = pairs * size_of::<Sums>() / size_of::<f32>();
        let double = usize::from(matches!(self.finish, Finish::Gate(_))) + 1;
        scratch::with(double * len, |sums| {
            let sums = sums.as_chunks_mut().0.as_chunks_mut().0;
            let (sums, others) = sums.as_chunks_mut::<TILE>().0.split_at_mut(pairs);
            for tile in x.tiles() {
                weight.tile(tier, groups.clone(), tile, sums);
                if let Finish::Gate(up) = self.finish {
                    up.tile(tier, groups.clone(), tile, others);
                }
                for t in 0..tile.tokens {
                    // SAFETY: this token's outputs of these rows belong to this task alone.
                    let out =
                        unsafe { self.out.range((tile.first + t) * weight.rows + first, rows) };
                    simd::run(
                        tier,
                        Finishing {
                            finish: self.finish,
                            first,
                            t,
                            sums,
                            others,
                            out,
                        },
                    );
                }
            }
        });
    }
}

/// Writes a token's outputs of some groups of rows.
struct Finishing<'a> {
    finish: Finish<'a>,
    /// The first row.
    first: usize,
    /// The token within its tile.
    t: usize,
    sums: &'a [Sums],
    /// The sums of the other matrix.
    others: &'a [Sums],
    out: &'a mut [f32],
}

impl Kernel for Finishing<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Finishing { first, t, .. } = self;
        for (i, out) in self.out.chunks_mut(ROWS).enumerate() {
            let (pair, of_pair) = (i / PAIR, i % PAIR);
            let mut sum = s.load(&self.sums[pair][t][of_pair]);
            let at = first + i * ROWS;
            match self.finish {
                Finish::Store(Some(bias)) | Finish::Add(Some(bias)) => {
                    sum = s.add(sum, load_part(s, &bias[at..at + out.len()], 0.0));
                }
                Finish::Gate(_) => {
                    sum = silu_times(s, sum, s.load(&self.others[pair][t][of_pair]));
                }
                Finish::Store(None) | Finish::Add(None) => {}
            }
            if let Finish::Add(_) = self.finish {
                sum = s.add(load_part(s, out, 0.0), sum);
            }
            store_part(s, sum, out);
        }
    }
}
