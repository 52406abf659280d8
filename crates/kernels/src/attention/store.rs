//! How keys and values lie in a cache.

use super::cache::Shape;
use super::heads::{CHUNK, Heads};
use crate::Tier;
use crate::simd::Simd;

/// All blocks of a layer in one type. A tile is one head's part of a block, `block * kv_heads + head`.
pub(super) trait Store: Sized + Send + Sync {
    /// Blocks of zeros, or `None` where there is no memory.
    fn new(shape: Shape) -> Option<Self>;

    /// The memory, in parts that each consist of one piece a tile.
    fn parts(&self) -> [&[u8]; 4];
    fn parts_mut(&mut self) -> [&mut [u8]; 4];

    /// Writes a token's key and value of `D` values.
    fn write<S: Simd>(
        &mut self,
        s: S,
        shape: Shape,
        tile: usize,
        offset: usize,
        k: &[f32],
        v: &[f32],
    );

    /// Where the chunk ends that begins at `start`: the same positions whatever the size of blocks, so that nothing
    /// depends on it.
    fn chunk_end(_shape: Shape, start: usize) -> usize {
        start + CHUNK
    }

    /// Computes and writes the outputs of a task's queries.
    fn attend(heads: &Heads<Self>, tier: Tier);
}

/// Blocks whose keys and values are made f32 before they are multiplied.
///
/// Keys are kept transposed, `[D, key_stride]` a tile, so that one vector holds the same dimension of 16 tokens; values
/// stay rows of a token, `[block_size, value_stride]`, as they are summed.
pub(super) trait Widen: Store {
    /// Writes 16 tokens' keys from token `at`, a multiple of 16 that lies in the block, to the first 16 of every `stride`
    /// values of `out`, one row a dimension. Tokens that lie past the block may be anything.
    fn read_keys<S: Simd>(
        &self,
        s: S,
        shape: Shape,
        tile: usize,
        at: usize,
        out: &mut [f32],
        stride: usize,
    );

    /// Writes the values of the tokens from `offset` on to the rows of `value_stride` values of `out`.
    fn read_values<S: Simd>(&self, s: S, shape: Shape, tile: usize, offset: usize, out: &mut [f32]);
}
