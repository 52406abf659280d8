//! The paged key-value cache: one [`KvLayer`] of blocks per layer, addressed by slots.
//!
//! A slot is `block * block_size + offset`. The cache knows nothing of sequences: which block belongs to whom, and in
//! which order, is the scheduler's block tables.

use hearth_kernels::{KvDType, KvLayer};

use crate::error::Result;

/// Keys and values of all layers of one model.
pub struct KvCache {
    layers: Vec<KvLayer>,
    /// True where all layers use `layers[0]` in turn.
    one_pass: bool,
    blocks: usize,
    block_size: usize,
}

impl KvCache {
    /// Allocates `blocks` blocks of `block_size` tokens for each of `num_layers` layers.
    ///
    /// # Errors
    /// Where memory does not suffice or a size is zero.
    pub fn new(
        num_layers: usize,
        blocks: usize,
        block_size: usize,
        num_kv_heads: usize,
        head_dim: usize,
        dtype: KvDType,
    ) -> Result<KvCache> {
        let layers = (0..num_layers)
            .map(|_| KvLayer::new(blocks, block_size, num_kv_heads, head_dim, dtype))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        Ok(KvCache {
            layers,
            one_pass: false,
            blocks,
            block_size,
        })
    }

    /// Allocates a cache for passes that see each sequence whole: a layer's keys and values are of no use once the layer
    /// is done, so all layers share the same memory.
    ///
    /// # Errors
    /// As [`KvCache::new`].
    pub fn for_one_pass(
        blocks: usize,
        block_size: usize,
        num_kv_heads: usize,
        head_dim: usize,
        dtype: KvDType,
    ) -> Result<KvCache> {
        let cache = KvCache::new(1, blocks, block_size, num_kv_heads, head_dim, dtype)?;
        Ok(KvCache {
            one_pass: true,
            ..cache
        })
    }

    /// How many blocks there are.
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// How many tokens a block holds.
    pub fn block_size(&self) -> usize {
        self.block_size
    }

    /// The bytes that all layers take.
    pub fn memory_bytes(&self) -> usize {
        self.layers.iter().map(KvLayer::memory_bytes).sum()
    }

    /// The bytes that one block has in all layers.
    pub fn block_bytes(&self) -> usize {
        self.layers.iter().map(KvLayer::block_bytes).sum()
    }

    /// Overwrites `bytes` with the [`block_bytes`](Self::block_bytes) of a block, layer by layer as they lie in memory.
    ///
    /// # Panics
    /// Where the block does not exist.
    pub fn export_block(&self, block: u32, bytes: &mut Vec<u8>) {
        bytes.clear();
        for layer in &self.layers {
            layer.export_block(block, bytes);
        }
    }

    /// Overwrites a block with what [`export_block`](Self::export_block) made of one in a cache of the same model, type
    /// and block size.
    ///
    /// # Panics
    /// Where the block does not exist, or the number of bytes is not that of one.
    pub fn import_block(&mut self, block: u32, bytes: &[u8]) {
        assert_eq!(bytes.len(), self.block_bytes(), "bytes of a block");
        let mut rest = bytes;
        for layer in &mut self.layers {
            let (part, behind) = rest.split_at(layer.block_bytes());
            layer.import_block(block, part);
            rest = behind;
        }
    }

    /// Copies one block's keys and values to another block, in all layers.
    ///
    /// # Panics
    /// Where a block does not exist.
    pub fn copy_block(&mut self, from: u32, to: u32) {
        for layer in &mut self.layers {
            layer.copy_block(from, to);
        }
    }

    /// The keys and values of layer `index`.
    ///
    /// # Panics
    /// Where the cache has no such layer.
    pub fn layer_mut(&mut self, index: usize) -> &mut KvLayer {
        &mut self.layers[if self.one_pass { 0 } else { index }]
    }
}
