//! Tensors in memory, as they go into a network and come out of one.

use crate::onnx::DataType;

/// A tensor: type, shape, and elements in row-major order, little-endian.
#[derive(Debug, Clone, PartialEq)]
pub struct HostTensor {
    dtype: DataType,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl HostTensor {
    /// A tensor of these elements.
    ///
    /// # Errors
    /// A sentence: the bytes are more or fewer than the shape takes, or a boolean is neither 0 nor 1.
    pub fn new(dtype: DataType, shape: Vec<usize>, bytes: Vec<u8>) -> Result<HostTensor, String> {
        let takes = size(dtype, &shape)?;
        if takes != bytes.len() {
            return Err(format!(
                "{:?} of {dtype:?} takes {takes} bytes, {} were given",
                shape,
                bytes.len()
            ));
        }
        if dtype == DataType::Bool && bytes.iter().any(|&b| b > 1) {
            return Err("a boolean that is neither 0 nor 1".into());
        }
        Ok(HostTensor {
            dtype,
            shape,
            bytes,
        })
    }

    /// A tensor of zeros.
    ///
    /// # Errors
    /// A sentence: its size overflows.
    pub fn zeros(dtype: DataType, shape: &[usize]) -> Result<HostTensor, String> {
        let bytes = vec![0; size(dtype, shape)?];
        HostTensor::new(dtype, shape.to_vec(), bytes)
    }

    /// A tensor of single-precision numbers.
    ///
    /// # Errors
    /// As of [`HostTensor::new`].
    pub fn from_f32(shape: Vec<usize>, values: &[f32]) -> Result<HostTensor, String> {
        let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        HostTensor::new(DataType::Float, shape, bytes)
    }

    /// A tensor of 64-bit integers.
    ///
    /// # Errors
    /// As of [`HostTensor::new`].
    pub fn from_i64(shape: Vec<usize>, values: &[i64]) -> Result<HostTensor, String> {
        let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        HostTensor::new(DataType::Int64, shape, bytes)
    }

    /// The type of the elements.
    pub fn dtype(&self) -> DataType {
        self.dtype
    }

    /// The dimensions, slowest first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The elements as numbers of double precision, which holds all but large 64-bit integers exactly.
    pub fn to_f64(&self) -> Vec<f64> {
        macro_rules! each {
            ($t:ty) => {
                self.bytes
                    .chunks_exact(size_of::<$t>())
                    .map(|b| {
                        let mut raw = [0; size_of::<$t>()];
                        raw.copy_from_slice(b);
                        <$t>::from_le_bytes(raw) as f64
                    })
                    .collect()
            };
        }
        let halves = || {
            self.bytes
                .chunks_exact(2)
                .map(|b| u16::from_le_bytes([b[0], b[1]]))
        };
        match self.dtype {
            DataType::Float => each!(f32),
            DataType::Double => each!(f64),
            DataType::Int8 => each!(i8),
            DataType::Int16 => each!(i16),
            DataType::Int32 => each!(i32),
            DataType::Int64 => each!(i64),
            DataType::Uint8 | DataType::Bool => each!(u8),
            DataType::Uint16 => each!(u16),
            DataType::Uint32 => each!(u32),
            DataType::Uint64 => each!(u64),
            DataType::Float16 => halves().map(|b| half::f16::from_bits(b).to_f64()).collect(),
            DataType::Bfloat16 => halves()
                .map(|b| half::bf16::from_bits(b).to_f64())
                .collect(),
        }
    }
}

/// Samples of one type and shape as one tensor, with a dimension before theirs that counts them; `None` where there are none
/// or they differ.
pub fn stack(samples: &[&HostTensor]) -> Option<HostTensor> {
    let first = samples.first()?;
    let alike = |sample: &&HostTensor| sample.dtype == first.dtype && sample.shape == first.shape;
    if !samples.iter().all(alike) {
        return None;
    }
    let mut shape = vec![samples.len()];
    shape.extend(&first.shape);
    let parts: Vec<&[u8]> = samples.iter().map(|sample| sample.bytes()).collect();
    Some(HostTensor {
        dtype: first.dtype,
        shape,
        bytes: parts.concat(),
    })
}

/// The samples that [`stack`] has put together; `None` where there are not `count` of them.
pub fn unstack(tensor: &HostTensor, count: usize) -> Option<Vec<HostTensor>> {
    let (&samples, shape) = tensor.shape.split_first()?;
    if samples != count || count == 0 {
        return None;
    }
    let size = tensor.bytes.len() / count;
    let sample = |i: usize| HostTensor {
        dtype: tensor.dtype,
        shape: shape.to_vec(),
        bytes: tensor.bytes[i * size..(i + 1) * size].to_vec(),
    };
    Some((0..count).map(sample).collect())
}

/// The size of a tensor in bytes.
fn size(dtype: DataType, shape: &[usize]) -> Result<usize, String> {
    shape
        .iter()
        .try_fold(dtype.bytes(), |n, &d| n.checked_mul(d))
        .ok_or_else(|| format!("the size of shape {shape:?} overflows"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacked_samples_come_apart_again() {
        let row = |values: &[f32]| HostTensor::from_f32(vec![2], values).unwrap();
        let (a, b) = (row(&[1.0, 2.0]), row(&[3.0, 4.0]));
        let both = stack(&[&a, &b]).unwrap();
        assert_eq!(both.shape(), [2, 2]);
        assert_eq!(unstack(&both, 2), Some(vec![a.clone(), b]));
        assert_eq!(unstack(&both, 3), None);
        assert_eq!(stack(&[]), None);
        let longer = HostTensor::zeros(DataType::Float, &[3]).unwrap();
        assert_eq!(stack(&[&a, &longer]), None);
        assert_eq!(
            unstack(&HostTensor::from_i64(vec![], &[1]).unwrap(), 1),
            None
        );
    }

    #[test]
    fn tensors_have_the_bytes_of_their_shapes() {
        let bytes = |n: usize| vec![0; n];
        assert!(HostTensor::new(DataType::Float, vec![2, 3], bytes(24)).is_ok());
        assert!(HostTensor::new(DataType::Float, vec![2, 3], bytes(23)).is_err());
        assert!(HostTensor::new(DataType::Bool, vec![1], vec![2]).is_err());
        assert!(HostTensor::zeros(DataType::Double, &[usize::MAX, 2]).is_err());
    }
}
