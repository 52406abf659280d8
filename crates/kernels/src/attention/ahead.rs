//! Calling keys and values into the cache before they are needed.

use super::cache::Shape;
use super::heads::CHUNK;
use super::store::Store;
use crate::simd::Lanes;

const LINE: usize = 64;
/// How often a tile of queries asks for lines.
const TIMES: usize = 3;

/// The blocks of the next piece, which are called while the one before is computed, some lines at a time: a processor keeps
/// only so many requests, and waits where there are more.
pub(super) struct Ahead<'a> {
    /// The memory of all blocks.
    parts: [&'a [u8]; 4],
    /// Bytes of a tile in each part.
    sizes: [usize; 4],
    kv_heads: usize,
    head: usize,
    blocks: &'a [u32],
    /// The part of the first block that is next, and the line in it.
    part: usize,
    line: usize,
    /// Lines each time.
    quota: usize,
}

impl<'a> Ahead<'a> {
    /// Nothing yet, of head `head` of some blocks.
    pub(super) fn new<B: Store>(blocks: &'a B, shape: Shape, head: usize) -> Ahead<'a> {
        let parts = blocks.parts();
        let mut sizes = [0; 4];
        for (size, part) in sizes.iter_mut().zip(parts) {
            *size = part.len() / (shape.blocks * shape.kv_heads);
        }
        Ahead {
            parts,
            sizes,
            kv_heads: shape.kv_heads,
            head,
            blocks: &[],
            part: 0,
            line: 0,
            quota: 0,
        }
    }

    /// From now on `blocks`, of `block_size` tokens, while `tiles` tiles of queries are computed.
    pub(super) fn aim(&mut self, blocks: &'a [u32], block_size: usize, tiles: usize) {
        // Larger blocks are read as streams.
        if block_size > CHUNK {
            return;
        }
        let mut lines = 0;
        for size in self.sizes {
            lines += size.div_ceil(LINE);
        }
        self.quota = (lines * blocks.len()).div_ceil(TIMES * tiles.max(1));
        (self.blocks, self.part, self.line) = (blocks, 0, 0);
    }

    /// Asks for some lines. It has no vectors, so it need not be compiled with a kernel's instructions.
    pub(super) fn some<S: Lanes>(&mut self, s: S) {
        let mut left = self.quota;
        while left > 0
            && let Some((&block, rest)) = self.blocks.split_first()
        {
            let size = self.sizes[self.part];
            let tile = block as usize * self.kv_heads + self.head;
            let start = self.parts[self.part].as_ptr().wrapping_add(tile * size);
            let end = size.div_ceil(LINE).min(self.line + left);
            left -= end - self.line;
            for line in self.line..end {
                s.prefetch(start.wrapping_add(line * LINE).cast());
            }
            self.line = end;
            if end == size.div_ceil(LINE) {
                self.line = 0;
                self.part += 1;
            }
            if self.part == self.parts.len() {
                self.part = 0;
                self.blocks = rest;
            }
        }
    }
}
