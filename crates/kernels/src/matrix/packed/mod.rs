//! Block types rearranged for integer products.

mod format;
mod layout;
mod product;

use super::quantized::{Quantized, TILE};
use crate::memory::Buffer;
use crate::pool::SharedMut;
use crate::simd::{self, LANES};
use crate::{DType, KernelError, Pool, Tier, dequantize, scratch};
use layout::{Layout, Line, ROWS};
use product::Rows;

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

    /// Writes the product with `tokens` rows of activations to `out` (`[tokens, rows]`).
    pub(super) fn product(
        &self,
        tier: Tier,
        pool: &Pool,
        x: &Quantized,
        tokens: usize,
        out: &mut [f32],
    ) {
        assert!(out.len() == tokens * self.rows);
        let group_lines = self.layout.lines(self.blocks);
        if out.is_empty() {
            return;
        }
        if group_lines == 0 {
            out.fill(0.0);
            return;
        }
        let groups = self.rows.div_ceil(ROWS);
        let group_bytes = group_lines * size_of::<Line>();
        let per_task = super::tiles_per_task(groups, pool.threads(), group_bytes, tokens > TILE);
        let out = SharedMut::new(out);
        pool.run(groups.div_ceil(per_task), |task| {
            let (first, end) = (task * per_task, groups.min((task + 1) * per_task));
            scratch::with((end - first) * TILE * LANES, |sums| {
                let rows = Rows {
                    dtype: self.dtype,
                    lines: &self.lines[first * group_lines..end * group_lines],
                    group_lines,
                    blocks: self.blocks,
                    x,
                    first: first * ROWS,
                    rows: self.rows,
                    sums: sums.as_chunks_mut::<LANES>().0.as_chunks_mut::<TILE>().0,
                    out: &out,
                };
                simd::run(tier, rows);
            });
        });
    }
}
