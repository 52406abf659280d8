//! One layer's keys and values in blocks.
//!
//! A block keeps, head by head, its keys transposed and its values as rows of a token, both padded to whole vectors; see
//! [`Store`].

use super::int8::{GROUP, Int8Blocks};
use super::int16::Int16Blocks;
use super::plain::{Half, PlainBlocks};
use super::store::Store;
use crate::simd::{self, Kernel, LANES, Simd};
use crate::{KernelError, cpu_tier};

/// The type that keys and values are kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(non_camel_case_types)]
pub enum KvDType {
    /// Single precision.
    F32,
    /// Half precision.
    F16,
    /// Whole numbers of 14 bits, and a scale for each token and head: a value is off by at most 1/16382 of the largest of
    /// its head, or a 256th part more.
    Q16,
    /// 8 bits, and a scale in half precision for each 32 dimensions: a value is off by at most 1/254 of the largest of
    /// its 32, and half a step of the scale.
    Q8_0,
}

impl KvDType {
    /// All types, the widest first.
    pub const ALL: [KvDType; 4] = [KvDType::F32, KvDType::F16, KvDType::Q16, KvDType::Q8_0];

    /// The bytes that one head's key, or value, of `head_dim` values takes.
    pub const fn bytes_for(self, head_dim: usize) -> usize {
        match self {
            KvDType::F32 => 4 * head_dim,
            KvDType::F16 => 2 * head_dim,
            KvDType::Q16 => 2 * head_dim + 2,
            KvDType::Q8_0 => head_dim + 2 * head_dim.div_ceil(GROUP),
        }
    }

    /// The name as options write it, for example `q8_0`.
    pub const fn name(self) -> &'static str {
        match self {
            KvDType::F32 => "f32",
            KvDType::F16 => "f16",
            KvDType::Q16 => "q16",
            KvDType::Q8_0 => "q8_0",
        }
    }
}

impl std::fmt::Display for KvDType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no type of keys and values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown cache type {0:?}; known: f32, f16, q16, q8_0")]
pub struct UnknownKvDType(String);

impl std::str::FromStr for KvDType {
    type Err = UnknownKvDType;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        KvDType::ALL
            .into_iter()
            .find(|t| t.name().eq_ignore_ascii_case(s))
            .ok_or_else(|| UnknownKvDType(s.to_owned()))
    }
}

/// Keys and values of one layer: `blocks` blocks of `block_size` tokens.
pub struct KvLayer {
    shape: Shape,
    data: Data,
}

pub(super) enum Data {
    F32(PlainBlocks<f32>),
    F16(PlainBlocks<Half>),
    Q16(Int16Blocks),
    Q8_0(Int8Blocks),
}

/// Does the same with the blocks of any type.
macro_rules! with_blocks {
    ($data:expr, $blocks:ident => $body:expr) => {
        match $data {
            Data::F32($blocks) => $body,
            Data::F16($blocks) => $body,
            Data::Q16($blocks) => $body,
            Data::Q8_0($blocks) => $body,
        }
    };
}
pub(super) use with_blocks;

/// The sizes of a cache.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) blocks: usize,
    pub(super) block_size: usize,
    pub(super) kv_heads: usize,
    pub(super) head_dim: usize,
}

impl Shape {
    /// The tokens of a block, padded to whole vectors.
    pub(super) fn key_stride(self) -> usize {
        self.block_size.next_multiple_of(LANES)
    }

    /// The values of a head, padded to whole vectors.
    pub(super) fn value_stride(self) -> usize {
        self.head_dim.next_multiple_of(LANES)
    }

    /// The keys of one head in one block.
    pub(super) fn keys_len(self) -> usize {
        self.head_dim * self.key_stride()
    }

    /// The values of one head in one block.
    pub(super) fn values_len(self) -> usize {
        self.block_size * self.value_stride()
    }

    /// As [`Shape::key_stride`], or `None` where that overflows.
    pub(super) fn padded_block(self) -> Option<usize> {
        self.block_size.checked_next_multiple_of(LANES)
    }

    /// As [`Shape::keys_len`], or `None` where that overflows.
    pub(super) fn keys(self) -> Option<usize> {
        self.head_dim.checked_mul(self.padded_block()?)
    }

    /// As [`Shape::values_len`], or `None` where that overflows.
    pub(super) fn values(self) -> Option<usize> {
        self.head_dim
            .checked_next_multiple_of(LANES)?
            .checked_mul(self.block_size)
    }

    /// `n` for every head of every block, or `None` where that overflows.
    pub(super) fn of_all_tiles(self, n: usize) -> Option<usize> {
        self.blocks.checked_mul(self.kv_heads)?.checked_mul(n)
    }
}

impl KvLayer {
    /// An empty layer.
    ///
    /// # Errors
    /// If a size is 0 or there is no memory for it.
    pub fn new(
        blocks: usize,
        block_size: usize,
        kv_heads: usize,
        head_dim: usize,
        dtype: KvDType,
    ) -> Result<KvLayer, KernelError> {
        let what = || {
            format!(
                "a KV cache of {blocks} blocks of {block_size} tokens, {kv_heads} heads of {head_dim}"
            )
        };
        let sizes = [blocks, block_size, kv_heads, head_dim];
        if sizes.contains(&0) {
            return Err(KernelError::Empty { what: what() });
        }
        // No type takes more than 4 bytes a value, and there are two values.
        if sizes
            .iter()
            .try_fold(8, |n: usize, size| n.checked_mul(*size))
            .is_none()
        {
            return Err(KernelError::TooLarge { what: what() });
        }
        let bytes = blocks * block_size * kv_heads * 2 * dtype.bytes_for(head_dim);
        let shape = Shape {
            blocks,
            block_size,
            kv_heads,
            head_dim,
        };
        let data = match dtype {
            KvDType::F32 => PlainBlocks::new(shape).map(Data::F32),
            KvDType::F16 => PlainBlocks::new(shape).map(Data::F16),
            KvDType::Q16 => Int16Blocks::new(shape).map(Data::Q16),
            KvDType::Q8_0 => Int8Blocks::new(shape).map(Data::Q8_0),
        };
        let data = data.ok_or_else(|| KernelError::OutOfMemory {
            what: what(),
            bytes,
        })?;
        Ok(KvLayer { shape, data })
    }

    /// Stores keys and values (`[T, K, D]`) of tokens in their slots, `block * block_size + offset`.
    ///
    /// # Panics
    /// If the shapes do not fit or there is no such slot.
    pub fn write(&mut self, slots: &[u32], k: &[f32], v: &[f32]) {
        let Shape {
            blocks,
            block_size,
            kv_heads,
            head_dim,
        } = self.shape;
        let row = kv_heads * head_dim;
        assert!(
            k.len() == slots.len() * row && v.len() == k.len(),
            "kv write: {} slots of {row} values, got {} and {}",
            slots.len(),
            k.len(),
            v.len()
        );
        for &slot in slots {
            assert!(
                (slot as usize) < blocks * block_size,
                "kv write: no slot {slot}"
            );
        }
        let shape = self.shape;
        with_blocks!(&mut self.data, blocks => simd::run(
            cpu_tier(),
            Write {
                blocks,
                shape,
                slots,
                k,
                v,
            },
        ));
    }

    /// Copies all tokens of a block to another block.
    ///
    /// # Panics
    /// If there is no such block.
    pub fn copy_block(&mut self, from: u32, to: u32) {
        let (from, to) = (from as usize, to as usize);
        assert!(
            from.max(to) < self.shape.blocks,
            "copy_block: {from} to {to} of {}",
            self.shape.blocks
        );
        let blocks = self.shape.blocks;
        for part in self.parts_mut() {
            let n = part.len() / blocks;
            part.copy_within(from * n..(from + 1) * n, to * n);
        }
    }

    /// The bytes of one block.
    pub fn block_bytes(&self) -> usize {
        self.memory_bytes() / self.shape.blocks
    }

    /// Appends a block's [`block_bytes`](Self::block_bytes) to `out`, as they lie in memory: only a layer of the same
    /// sizes and type on a machine of the same byte order understands them.
    ///
    /// # Panics
    /// If there is no such block.
    pub fn export_block(&self, block: u32, out: &mut Vec<u8>) {
        self.check_block(block);
        for part in self.parts() {
            let n = part.len() / self.shape.blocks;
            out.extend_from_slice(&part[block as usize * n..][..n]);
        }
    }

    /// Overwrites a block with what [`export_block`](Self::export_block) made of one.
    ///
    /// # Panics
    /// If there is no such block or the number of bytes is not that of one.
    pub fn import_block(&mut self, block: u32, bytes: &[u8]) {
        self.check_block(block);
        assert_eq!(
            bytes.len(),
            self.block_bytes(),
            "import_block: bytes of a block"
        );
        let blocks = self.shape.blocks;
        let mut rest = bytes;
        for part in self.parts_mut() {
            let n = part.len() / blocks;
            let (bytes, behind) = rest.split_at(n);
            part[block as usize * n..][..n].copy_from_slice(bytes);
            rest = behind;
        }
    }

    fn check_block(&self, block: u32) {
        assert!(
            (block as usize) < self.shape.blocks,
            "no block {block} of {}",
            self.shape.blocks
        );
    }

    /// The bytes that the layer takes.
    pub fn memory_bytes(&self) -> usize {
        self.parts().iter().map(|part| part.len()).sum()
    }

    /// Blocks.
    pub fn blocks(&self) -> usize {
        self.shape.blocks
    }

    /// Tokens per block.
    pub fn block_size(&self) -> usize {
        self.shape.block_size
    }

    /// Heads of keys and values.
    pub fn kv_heads(&self) -> usize {
        self.shape.kv_heads
    }

    /// Values per head.
    pub fn head_dim(&self) -> usize {
        self.shape.head_dim
    }

    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    pub(super) fn data(&self) -> &Data {
        &self.data
    }

    fn parts(&self) -> [&[u8]; 4] {
        with_blocks!(&self.data, blocks => blocks.parts())
    }

    fn parts_mut(&mut self) -> [&mut [u8]; 4] {
        with_blocks!(&mut self.data, blocks => blocks.parts_mut())
    }
}

struct Write<'a, B: Store> {
    blocks: &'a mut B,
    shape: Shape,
    slots: &'a [u32],
    k: &'a [f32],
    v: &'a [f32],
}

impl<B: Store> Kernel for Write<'_, B> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let shape = self.shape;
        let Shape {
            block_size,
            kv_heads,
            head_dim,
            ..
        } = shape;
        let heads = self
            .k
            .chunks_exact(head_dim)
            .zip(self.v.chunks_exact(head_dim));
        for (i, (k, v)) in heads.enumerate() {
            let slot = self.slots[i / kv_heads] as usize;
            let tile = slot / block_size * kv_heads + i % kv_heads;
            self.blocks.write(s, shape, tile, slot % block_size, k, v);
        }
    }
}
