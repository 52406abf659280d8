//! A tensor's bytes with their type and shape.

use hearth_kernels::{Bytes, DType};

/// A tensor of a checkpoint.
#[derive(Debug, Clone)]
pub struct Tensor {
    /// The type of the elements.
    pub dtype: DType,
    /// The dimensions, slowest first: `[rows, cols]` for a matrix.
    pub shape: Vec<usize>,
    /// The elements, row after row; shared with the mapped file where possible.
    pub bytes: Bytes,
}

impl Tensor {
    /// The number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// All elements as single-precision numbers.
    pub fn to_f32(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.elements()];
        hearth_kernels::dequantize(self.dtype, &self.bytes, &mut out);
        out
    }
}
