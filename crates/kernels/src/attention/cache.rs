//! One layer's keys and values in blocks.

use crate::KernelError;

/// The type that keys and values are kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    keys: Vec<f32>,
    values: Vec<f32>,
    block_size: usize,
    kv_heads: usize,
    head_dim: usize,
    dtype: KvDType,
}

impl KvLayer {
    /// An empty layer.
    ///
    /// # Errors
    /// If a size is 0, overflows or cannot be allocated.
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
        if blocks * block_size * kv_heads * head_dim == 0 {
            return Err(KernelError::Empty { what: what() });
        }
        let len = blocks
            .checked_mul(block_size)
            .and_then(|n| n.checked_mul(kv_heads)?.checked_mul(head_dim))
            .ok_or_else(|| KernelError::TooLarge { what: what() })?;
        Ok(KvLayer {
            keys: vec![0.0; len],
            values: vec![0.0; len],
            block_size,
            kv_heads,
            head_dim,
            dtype,
        })
    }

    /// Stores keys and values (`[T, K, D]`) of tokens in their slots, `block * block_size + offset`.
    ///
    /// # Panics
    /// If the shapes do not fit or there is no such slot.
    pub fn write(&mut self, slots: &[u32], k: &[f32], v: &[f32]) {
        let n = self.kv_heads * self.head_dim;
        assert!(
            k.len() == slots.len() * n && v.len() == k.len(),
            "kv write: wrong lengths"
        );
        let round = |x: f32| match self.dtype {
            KvDType::F32 => x,
            KvDType::F16 => half::f16::from_f32(x).to_f32(),
        };
        for (i, &slot) in slots.iter().enumerate() {
            let at = slot as usize * n;
            for j in 0..n {
                self.keys[at + j] = round(k[i * n + j]);
                self.values[at + j] = round(v[i * n + j]);
            }
        }
    }

    /// Copies all tokens of a block to another block.
    ///
    /// # Panics
    /// If there is no such block.
    pub fn copy_block(&mut self, from: u32, to: u32) {
        let n = self.block_size * self.kv_heads * self.head_dim;
        for data in [&mut self.keys, &mut self.values] {
            data.copy_within(from as usize * n..(from as usize + 1) * n, to as usize * n);
        }
    }

    /// The bytes that the layer takes.
    pub fn memory_bytes(&self) -> usize {
        (self.keys.len() + self.values.len()) * self.dtype.bytes()
    }

    /// Tokens per block.
    pub fn block_size(&self) -> usize {
        self.block_size
    }

    /// Heads of keys and values.
    pub fn kv_heads(&self) -> usize {
        self.kv_heads
    }

    /// Values per head.
    pub fn head_dim(&self) -> usize {
        self.head_dim
    }

    pub(super) fn key(&self, slot: usize, head: usize) -> Vec<f32> {
        self.keys[(slot * self.kv_heads + head) * self.head_dim..][..self.head_dim].to_vec()
    }

    pub(super) fn value(&self, slot: usize, head: usize) -> Vec<f32> {
        self.values[(slot * self.kv_heads + head) * self.head_dim..][..self.head_dim].to_vec()
    }
}
