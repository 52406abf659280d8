//! Reading a checkpoint: metadata that must make sense, tensors that must have their shapes, and no tensor left over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hearth_formats::checkpoint::MAX_SEQ_LENGTH_KEY;
use hearth_formats::quant::quantize;
use hearth_formats::{Checkpoint, Tensor};
use hearth_kernels::{
    Activations, Bytes, DType, KernelError, Matrix, Pool, Product, dequantize, matmul_add,
    matmul_each, matmul_silu_mul, silu_mul,
};

use super::scratch::sized;
use crate::error::{Error, Result};
use crate::load::{LoadObserver, LoadOptions};
use crate::model::{EmbeddingInfo, ModelInfo};

/// Sizes beyond this are mistakes or malice: no tensor dimension and no context comes near it, and products of two of
/// them cannot overflow.
const MAX_SIZE: u32 = 1 << 28;

/// A checkpoint on its way to a model. It remembers which tensors were taken.
pub(crate) struct Reader<'a> {
    checkpoint: &'a Checkpoint,
    architecture: &'a str,
    pool: Arc<Pool>,
    options: LoadOptions,
    observer: &'a dyn LoadObserver,
    taken: BTreeSet<String>,
    /// Bytes of the tensors taken, by type.
    bytes_by_dtype: BTreeMap<&'static str, u64>,
    /// Bytes of the tensors taken, all but the one at hand.
    loaded: u64,
    /// Bytes that what was made of them takes.
    memory: u64,
}

/// The sizes that every transformer has.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sizes {
    pub hidden_size: usize,
    pub num_layers: usize,
    pub num_heads: usize,
    pub num_kv_heads: usize,
    pub head_dim: usize,
    pub intermediate_size: usize,
    pub context_length: usize,
}

impl<'a> Reader<'a> {
    pub fn new(
        checkpoint: &'a Checkpoint,
        pool: Arc<Pool>,
        options: LoadOptions,
        observer: &'a dyn LoadObserver,
    ) -> Reader<'a> {
        Reader {
            checkpoint,
            architecture: checkpoint.architecture(),
            pool,
            options,
            observer,
            taken: BTreeSet::new(),
            bytes_by_dtype: BTreeMap::new(),
            loaded: 0,
            memory: 0,
        }
    }

    pub fn checkpoint(&self) -> &Checkpoint {
        self.checkpoint
    }

    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// The full name of one of the architecture's keys.
    pub fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    /// A string of the architecture's.
    pub fn str(&self, name: &str) -> Result<Option<&'a str>> {
        Ok(self.checkpoint.metadata().get_str(&self.key(name))?)
    }

    /// A truth value of the architecture's.
    pub fn bool(&self, name: &str) -> Result<Option<bool>> {
        Ok(self.checkpoint.metadata().get_bool(&self.key(name))?)
    }

    /// A finite number of the architecture's.
    pub fn f32(&self, name: &str) -> Result<Option<f32>> {
        let key = self.key(name);
        match self.checkpoint.metadata().get_f32(&key)? {
            Some(value) if !value.is_finite() => Err(invalid(key, value, "a finite number")),
            value => Ok(value),
        }
    }

    /// A number above zero, for example a norm's epsilon.
    pub fn positive(&self, name: &str) -> Result<Option<f32>> {
        match self.f32(name)? {
            Some(value) if value <= 0.0 => Err(invalid(self.key(name), value, "a number above 0")),
            value => Ok(value),
        }
    }

    /// As [`Reader::positive`], and it must be there.
    pub fn require_positive(&self, name: &str) -> Result<f32> {
        self.positive(name)?.ok_or_else(|| Error::MissingKey {
            key: self.key(name),
        })
    }

    /// A size: above zero and not absurd.
    pub fn size(&self, name: &str) -> Result<Option<usize>> {
        let key = self.key(name);
        match self.checkpoint.metadata().get_u32(&key)? {
            Some(value) if value == 0 || value > MAX_SIZE => {
                Err(invalid(key, value, format!("1 to {MAX_SIZE}")))
            }
            value => Ok(value.map(|v| v as usize)),
        }
    }

    /// As [`Reader::size`], and it must be there.
    pub fn require_size(&self, name: &str) -> Result<usize> {
        self.size(name)?.ok_or_else(|| Error::MissingKey {
            key: self.key(name),
        })
    }

    /// Refuses a checkpoint in which the count under `name` is there and not zero.
    pub fn refuse_count(&self, name: &str, feature: &'static str) -> Result<()> {
        let key = self.key(name);
        match self.checkpoint.metadata().get_u32(&key)? {
            None | Some(0) => Ok(()),
            Some(found) => Err(Error::Unsupported {
                key,
                found: found.to_string(),
                feature,
            }),
        }
    }

    /// The sizes, from the keys that all architectures share.
    pub fn sizes(&self) -> Result<Sizes> {
        let hidden_size = self.require_size("embedding_length")?;
        let num_heads = self.require_size("attention.head_count")?;
        let num_kv_heads = self.size("attention.head_count_kv")?.unwrap_or(num_heads);
        if !num_heads.is_multiple_of(num_kv_heads) {
            return Err(invalid(
                self.key("attention.head_count_kv"),
                num_kv_heads,
                format!("a divisor of the {num_heads} query heads"),
            ));
        }
        let head_dim = match self.size("attention.key_length")? {
            Some(head_dim) => head_dim,
            None if hidden_size.is_multiple_of(num_heads) => hidden_size / num_heads,
            None => {
                return Err(invalid(
                    self.key("attention.head_count"),
                    num_heads,
                    format!("a divisor of the width {hidden_size}"),
                ));
            }
        };
        if let Some(value_length) = self.size("attention.value_length")?
            && value_length != head_dim
        {
            return Err(Error::Unsupported {
                key: self.key("attention.value_length"),
                found: value_length.to_string(),
                feature: "values of another width than keys",
            });
        }
        Ok(Sizes {
            hidden_size,
            num_layers: self.require_size("block_count")?,
            num_heads,
            num_kv_heads,
            head_dim,
            intermediate_size: self.require_size("feed_forward_length")?,
            context_length: self.require_size("context_length")?,
        })
    }

    /// As [`Reader::sizes`], of a model with as many heads of keys and values as of queries, which together are as wide as
    /// the stream.
    pub fn ungrouped_sizes(&self) -> Result<Sizes> {
        let sizes = self.sizes()?;
        if sizes.num_kv_heads != sizes.num_heads {
            return Err(invalid(
                self.key("attention.head_count_kv"),
                sizes.num_kv_heads,
                "as many as query heads",
            ));
        }
        if sizes.num_heads * sizes.head_dim != sizes.hidden_size {
            let expected = format!(
                "the width {} over {} heads",
                sizes.hidden_size, sizes.num_heads
            );
            return Err(invalid(
                self.key("attention.key_length"),
                sizes.head_dim,
                expected,
            ));
        }
        Ok(sizes)
    }

    /// A tensor of the given shape, rows first.
    fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<Tensor> {
        self.optional_tensor(name, shape)?
            .map_or_else(|| Ok(self.checkpoint.require(name)?), Ok)
    }

    fn optional_tensor(&mut self, name: &str, shape: &[usize]) -> Result<Option<Tensor>> {
        // The tensor before has been put into its place.
        self.tell_observer()?;
        let Some(tensor) = self.checkpoint.tensor(name)? else {
            return Ok(None);
        };
        if tensor.shape != shape {
            return Err(Error::Shape {
                tensor: name.to_owned(),
                expected: shape.to_vec(),
                found: tensor.shape,
            });
        }
        if self.taken.insert(name.to_owned()) {
            *self.bytes_by_dtype.entry(tensor.dtype.name()).or_default() +=
                tensor.bytes.len() as u64;
        }
        Ok(Some(tensor))
    }

    /// Tells the observer what has been put into memory.
    fn tell_observer(&mut self) -> Result<()> {
        let loaded = self.bytes_by_dtype.values().sum();
        if loaded > self.loaded {
            self.loaded = loaded;
            if !self.observer.loaded(loaded) {
                return Err(Error::Cancelled);
            }
        }
        Ok(())
    }

    /// A vector of `len` values in single precision.
    pub fn vector(&mut self, name: &str, len: usize) -> Result<Vec<f32>> {
        let vector = self.tensor(name, &[len])?.to_f32();
        self.memory += size_of_val(&vector[..]) as u64;
        Ok(vector)
    }

    /// As [`Reader::vector`], where the checkpoint may do without.
    pub fn optional_vector(&mut self, name: &str, len: usize) -> Result<Option<Vec<f32>>> {
        let vector = self.optional_tensor(name, &[len])?.map(|t| t.to_f32());
        self.memory += vector.as_ref().map_or(0, |v| size_of_val(&v[..])) as u64;
        Ok(vector)
    }

    /// A weight matrix `[rows, cols]`, that is `[outputs, inputs]`.
    pub fn matrix(&mut self, name: &str, rows: usize, cols: usize) -> Result<Matrix> {
        self.matrix_of(name, rows, cols, false)
    }

    fn matrix_of(&mut self, name: &str, rows: usize, cols: usize, is_head: bool) -> Result<Matrix> {
        let Tensor { dtype, bytes, .. } = self.tensor(name, &[rows, cols])?;
        let quantize = self.options.quantize;
        let (dtype, bytes) = match quantize.and_then(|q| q.target(dtype, cols, is_head)) {
            Some(target) => (target, requantize(&self.pool, dtype, &bytes, cols, target)?),
            None => (dtype, bytes),
        };
        let matrix = Matrix::new(&self.pool, dtype, rows, cols, bytes, self.options.precision)?;
        self.memory += matrix.memory_bytes() as u64;
        Ok(matrix)
    }

    /// The affine map `{name}.weight` `[outputs, inputs]`, with `{name}.bias` where there is one.
    pub fn linear(&mut self, name: &str, outputs: usize, inputs: usize) -> Result<Linear> {
        Ok(Linear {
            weight: self.matrix(&format!("{name}.weight"), outputs, inputs)?,
            bias: self.optional_vector(&format!("{name}.bias"), outputs)?,
        })
    }

    /// As [`Reader::linear`], and the bias must be there.
    pub fn linear_with_bias(
        &mut self,
        name: &str,
        outputs: usize,
        inputs: usize,
    ) -> Result<Linear> {
        Ok(Linear {
            weight: self.matrix(&format!("{name}.weight"), outputs, inputs)?,
            bias: Some(self.vector(&format!("{name}.bias"), outputs)?),
        })
    }

    /// The embeddings `[count, width]` under `name`, `count` being whatever the tensor says.
    pub fn embedding(&mut self, name: &str, width: usize) -> Result<Embedding> {
        let found = self.checkpoint.require(name)?.shape;
        let count = match found[..] {
            [count, w] if w == width && count > 0 && count <= MAX_SIZE as usize => count,
            _ => {
                let expected = vec![
                    found.first().map_or(1, |&n| n.clamp(1, MAX_SIZE as usize)),
                    width,
                ];
                return Err(Error::Shape {
                    tensor: name.to_owned(),
                    expected,
                    found,
                });
            }
        };
        self.table(name, count, width)
    }

    /// The embeddings `[count, width]` under `name`.
    pub fn table(&mut self, name: &str, count: usize, width: usize) -> Result<Embedding> {
        let Tensor { dtype, bytes, .. } = self.tensor(name, &[count, width])?;
        self.memory += bytes.len() as u64;
        Ok(Embedding {
            dtype,
            bytes,
            count,
            width,
        })
    }

    /// The LayerNorm under `name`: `{name}.weight` and `{name}.bias`, `[width]` each.
    pub fn norm(&mut self, name: &str, width: usize) -> Result<Norm> {
        Ok(Norm {
            weight: self.vector(&format!("{name}.weight"), width)?,
            bias: self.vector(&format!("{name}.bias"), width)?,
        })
    }

    /// The projection onto the vocabulary: `output.weight`, or the embeddings again where that is not there.
    pub fn head(&mut self, embedding: &Embedding) -> Result<Matrix> {
        let (vocab_size, hidden_size) = (embedding.count, embedding.width);
        let name = match self.checkpoint.layout("output.weight") {
            Some(_) => "output.weight",
            None => "token_embd.weight",
        };
        self.matrix_of(name, vocab_size, hidden_size, true)
    }

    /// Closes the checkpoint and describes the model.
    ///
    /// # Errors
    /// Where a tensor was not taken: the model would compute something else than its makers meant.
    pub fn finish(
        mut self,
        sizes: &Sizes,
        vocab_size: usize,
        embedding: Option<EmbeddingInfo>,
    ) -> Result<ModelInfo> {
        self.tell_observer()?;
        let taken = &self.taken;
        if let Some(name) = self
            .checkpoint
            .tensor_names()
            .find(|&name| !taken.contains(name))
        {
            return Err(Error::UnusedTensor {
                tensor: name.to_owned(),
                architecture: self.architecture.to_owned(),
            });
        }
        let quantization = self
            .bytes_by_dtype
            .iter()
            .max_by_key(|(_, bytes)| **bytes)
            .map_or("", |(name, _)| name);
        let metadata = self.checkpoint.metadata();
        // Embedding models are trained on shorter texts than their positions allow.
        let limit = match embedding {
            Some(_) => metadata.get_u32(MAX_SEQ_LENGTH_KEY)?,
            None => None,
        };
        if limit == Some(0) {
            return Err(invalid(MAX_SEQ_LENGTH_KEY.to_owned(), 0, "1 or more"));
        }
        Ok(ModelInfo {
            architecture: self.architecture.to_owned(),
            name: metadata.get_str("general.name")?.map(str::to_owned),
            context_length: limit.map_or(sizes.context_length, |limit| {
                sizes.context_length.min(limit as usize)
            }),
            vocab_size,
            hidden_size: sizes.hidden_size,
            num_layers: sizes.num_layers,
            num_heads: sizes.num_heads,
            num_kv_heads: sizes.num_kv_heads,
            head_dim: sizes.head_dim,
            parameters: self.checkpoint.parameters(),
            weight_bytes: self.checkpoint.weight_bytes(),
            memory_bytes: self.memory,
            quantization: quantization.to_owned(),
            embedding,
        })
    }
}

/// The rows of a matrix, `[rows, cols]`, as blocks of another type; the stored ones are released.
fn requantize(pool: &Pool, from: DType, stored: &Bytes, cols: usize, to: DType) -> Result<Bytes> {
    let row_bytes = |dtype: DType| dtype.bytes_for(cols).filter(|&bytes| bytes > 0);
    let (Some(old), Some(new)) = (row_bytes(from), row_bytes(to)) else {
        // The matrix will say what is wrong with its rows.
        return Ok(stored.clone());
    };
    let bytes = stored.len() / old * new;
    let mut blocks = Vec::new();
    blocks
        .try_reserve_exact(bytes)
        .map_err(|_| KernelError::OutOfMemory {
            what: format!("a matrix quantized to {to}"),
            bytes,
        })?;
    blocks.resize(bytes, 0);
    pool.for_each_chunk(&mut blocks, new, |row, blocks| {
        let mut values = vec![0.0; cols];
        dequantize(from, &stored[row * old..][..old], &mut values);
        quantize(to, &values, blocks);
    });
    stored.release();
    Ok(Bytes::from(blocks))
}

/// A value that makes no sense under its key.
pub(super) fn invalid(key: String, found: impl ToString, expected: impl Into<String>) -> Error {
    Error::InvalidKey {
        key,
        found: found.to_string(),
        expected: expected.into(),
    }
}

/// An affine map.
pub(crate) struct Linear {
    weight: Matrix,
    bias: Option<Vec<f32>>,
}

impl Linear {
    /// The matrix.
    pub fn weight(&self) -> &Matrix {
        &self.weight
    }

    /// The product `out = x W^T + b` for `rows` rows of `x`, to be computed with others; `out` gets the right length.
    pub fn product<'a>(&'a self, rows: usize, out: &'a mut Vec<f32>) -> Product<'a> {
        Product {
            weight: &self.weight,
            bias: self.bias.as_deref(),
            out: sized(out, rows * self.weight.rows()),
        }
    }

    /// `out += x W^T + b`, `[T, inputs] -> [T, outputs]`.
    pub fn add(&self, pool: &Pool, x: &Activations, out: &mut [f32]) {
        matmul_add(pool, &self.weight, self.bias.as_deref(), x, out);
    }

    /// `out = silu(gate(x)) * up(x)`; `out` gets the right length, `spare` is room that may be used.
    pub fn silu_mul(
        [gate, up]: [&Linear; 2],
        pool: &Pool,
        x: &Activations,
        out: &mut Vec<f32>,
        spare: &mut Vec<f32>,
    ) {
        let rows = x.rows();
        if gate.bias.is_none() && up.bias.is_none() {
            let out = sized(out, rows * gate.weight.rows());
            matmul_silu_mul(pool, &gate.weight, &up.weight, x, out, spare);
        } else {
            matmul_each(pool, x, [gate.product(rows, out), up.product(rows, spare)]);
            silu_mul(pool, out, spare);
        }
    }

    /// `out = x W^T + b`, `[T, inputs] -> [T, outputs]`; `out` gets the right length. `T` is taken from `rows`.
    pub fn forward(&self, pool: &Pool, x: &Activations, rows: usize, out: &mut Vec<f32>) {
        matmul_each(pool, x, [self.product(rows, out)]);
    }
}

/// A LayerNorm's weights.
pub(crate) struct Norm {
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
}

/// A table of vectors, as stored; rows are dequantized when they are looked up.
pub(crate) struct Embedding {
    dtype: DType,
    bytes: Bytes,
    count: usize,
    width: usize,
}

impl Embedding {
    /// How many vectors there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Looks up `ids`: `[T] -> [T, width]`; `out` gets the right length.
    ///
    /// # Panics
    /// Where an id is not below the number of vectors.
    pub fn lookup(&self, ids: &[u32], out: &mut Vec<f32>) {
        let row_bytes = self.bytes.len() / self.count;
        let out = sized(out, ids.len() * self.width);
        for (&id, row) in ids.iter().zip(out.chunks_exact_mut(self.width)) {
            let id = id as usize;
            assert!(id < self.count, "token {id} of {}", self.count);
            dequantize(
                self.dtype,
                &self.bytes[id * row_bytes..(id + 1) * row_bytes],
                row,
            );
        }
    }
}
