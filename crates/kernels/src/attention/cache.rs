//! One layer's keys and values in blocks.
//!
//! A block keeps, head by head, its keys transposed, so that one vector holds the same dimension of 16 tokens and a
//! query meets 16 keys at once; its values stay rows of a token, as they are summed. Both are padded to whole vectors.

use super::element::{Element, Half};
use crate::memory::{Buffer, bytes_of, bytes_of_mut};
use crate::simd::{self, Kernel, LANES, Simd, load_part};
use crate::{KernelError, cpu_tier};

/// The type that keys and values are kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KvDType {
    /// Single precision.
    F32,
    /// Half precision.
    F16,
}

impl KvDType {
    /// The bytes of one value.
    pub const fn bytes(self) -> usize {
        match self {
            KvDType::F32 => 4,
            KvDType::F16 => 2,
        }
    }
}

/// Keys and values of one layer: `blocks` blocks of `block_size` tokens.
pub struct KvLayer {
    shape: Shape,
    data: Data,
}

pub(super) enum Data {
    F32(Blocks<f32>),
    F16(Blocks<Half>),
}

/// All blocks of a layer.
pub(super) struct Blocks<E: Element> {
    /// `[blocks, K, D, key_stride]`
    pub(super) keys: Buffer<E>,
    /// `[blocks, K, block_size, value_stride]`
    pub(super) values: Buffer<E>,
}

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
}

impl<E: Element> Blocks<E> {
    /// Blocks of zeros, or `None` where there is no memory.
    pub(super) fn new(shape: Shape) -> Option<Blocks<E>> {
        let heads = shape.blocks.checked_mul(shape.kv_heads)?;
        let stride = |n: usize| n.checked_next_multiple_of(LANES);
        let keys = shape.head_dim.checked_mul(stride(shape.block_size)?)?;
        let values = shape.block_size.checked_mul(stride(shape.head_dim)?)?;
        Some(Blocks {
            keys: Buffer::zeroed(heads.checked_mul(keys)?)?,
            values: Buffer::zeroed(heads.checked_mul(values)?)?,
        })
    }

    fn copy_block(&mut self, shape: Shape, from: usize, to: usize) {
        let copy = |data: &mut [E], n: usize| data.copy_within(from * n..(from + 1) * n, to * n);
        copy(&mut self.keys, shape.kv_heads * shape.keys_len());
        copy(&mut self.values, shape.kv_heads * shape.values_len());
    }

    fn export_block(&self, shape: Shape, block: usize, out: &mut Vec<u8>) {
        let mut append = |data: &[E], n: usize| {
            out.extend_from_slice(bytes_of(&data[block * n..(block + 1) * n]));
        };
        append(&self.keys, shape.kv_heads * shape.keys_len());
        append(&self.values, shape.kv_heads * shape.values_len());
    }

    fn import_block(&mut self, shape: Shape, block: usize, bytes: &[u8]) {
        let (keys, values) = (
            shape.kv_heads * shape.keys_len(),
            shape.kv_heads * shape.values_len(),
        );
        let (key_bytes, value_bytes) = bytes.split_at(keys * size_of::<E>());
        bytes_of_mut(&mut self.keys[block * keys..][..keys]).copy_from_slice(key_bytes);
        bytes_of_mut(&mut self.values[block * values..][..values]).copy_from_slice(value_bytes);
    }

    fn bytes(&self) -> usize {
        (self.keys.len() + self.values.len()) * size_of::<E>()
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
        let bytes = sizes
            .iter()
            .try_fold(2 * dtype.bytes(), |n, size| n.checked_mul(*size))
            .ok_or_else(|| KernelError::TooLarge { what: what() })?;
        let shape = Shape {
            blocks,
            block_size,
            kv_heads,
            head_dim,
        };
        let data = match dtype {
            KvDType::F32 => Blocks::new(shape).map(Data::F32),
            KvDType::F16 => Blocks::new(shape).map(Data::F16),
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
        match &mut self.data {
            Data::F32(blocks) => simd::run(
                cpu_tier(),
                Write {
                    blocks,
                    shape,
                    slots,
                    k,
                    v,
                },
            ),
            Data::F16(blocks) => simd::run(
                cpu_tier(),
                Write {
                    blocks,
                    shape,
                    slots,
                    k,
                    v,
                },
            ),
        }
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
        match &mut self.data {
            Data::F32(blocks) => blocks.copy_block(self.shape, from, to),
            Data::F16(blocks) => blocks.copy_block(self.shape, from, to),
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
        match &self.data {
            Data::F32(blocks) => blocks.export_block(self.shape, block as usize, out),
            Data::F16(blocks) => blocks.export_block(self.shape, block as usize, out),
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
        match &mut self.data {
            Data::F32(blocks) => blocks.import_block(self.shape, block as usize, bytes),
            Data::F16(blocks) => blocks.import_block(self.shape, block as usize, bytes),
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
        match &self.data {
            Data::F32(blocks) => blocks.bytes(),
            Data::F16(blocks) => blocks.bytes(),
        }
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
}

struct Write<'a, E: Element> {
    blocks: &'a mut Blocks<E>,
    shape: Shape,
    slots: &'a [u32],
    k: &'a [f32],
    v: &'a [f32],
}

impl<E: Element> Kernel for Write<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Write {
            blocks,
            shape,
            slots,
            k,
            v,
        } = self;
        let Shape {
            block_size,
            kv_heads,
            head_dim,
            ..
        } = shape;
        let heads = k.chunks_exact(head_dim).zip(v.chunks_exact(head_dim));
        for (i, (k, v)) in heads.enumerate() {
            let slot = slots[i / kv_heads] as usize;
            let tile = slot / block_size * kv_heads + i % kv_heads;
            let offset = slot % block_size;
            let keys = &mut blocks.keys[tile * shape.keys_len()..][..shape.keys_len()];
            write_key(s, k, keys, shape.key_stride(), offset);
            let stride = shape.value_stride();
            let values =
                &mut blocks.values[tile * shape.values_len() + offset * stride..][..stride];
            write_value(s, v, values);
        }
    }
}

/// Writes a key to column `offset` of a transposed tile.
#[inline(always)]
pub(super) fn write_key<S: Simd, E: Element>(
    s: S,
    k: &[f32],
    tile: &mut [E],
    stride: usize,
    offset: usize,
) {
    for (k, rows) in k.chunks(LANES).zip(tile.chunks_mut(stride * LANES)) {
        let mut lanes = [E::zeroed(); LANES];
        E::store(s, load_part(s, k, 0.0), &mut lanes);
        for (row, lane) in rows.chunks_exact_mut(stride).zip(lanes) {
            row[offset] = lane;
        }
    }
}

/// Writes a value to its row of whole vectors.
#[inline(always)]
pub(super) fn write_value<S: Simd, E: Element>(s: S, v: &[f32], row: &mut [E]) {
    for (v, out) in v.chunks(LANES).zip(row.as_chunks_mut().0) {
        E::store(s, load_part(s, v, 0.0), out);
    }
}
