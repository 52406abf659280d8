//! Tensors in memory, as they go into a network and come out of one.

use std::ops::Range;

use bytes::Bytes;

use super::elements::Element;
use crate::onnx::DataType;

/// A tensor: type, shape, and elements in row-major order, little-endian. Clones share the elements.
#[derive(Debug, Clone, PartialEq)]
pub struct HostTensor {
    dtype: DataType,
    shape: Vec<usize>,
    bytes: Bytes,
}

impl HostTensor {
    /// A tensor of these elements.
    ///
    /// # Errors
    /// A sentence: the bytes are more or fewer than the shape takes, or a boolean is neither 0 nor 1.
    pub fn new(
        dtype: DataType,
        shape: Vec<usize>,
        bytes: impl Into<Bytes>,
    ) -> Result<HostTensor, String> {
        let bytes = bytes.into();
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
        let bytes = vec![0u8; size(dtype, shape)?];
        HostTensor::new(dtype, shape.to_vec(), bytes)
    }

    /// A tensor of single-precision numbers.
    ///
    /// # Errors
    /// As of [`HostTensor::new`].
    pub fn from_f32(shape: Vec<usize>, values: &[f32]) -> Result<HostTensor, String> {
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        HostTensor::new(DataType::Float, shape, bytes)
    }

    /// A tensor of 64-bit integers.
    ///
    /// # Errors
    /// As of [`HostTensor::new`].
    pub fn from_i64(shape: Vec<usize>, values: &[i64]) -> Result<HostTensor, String> {
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        HostTensor::new(DataType::Int64, shape, bytes)
    }

    /// A tensor of these numbers, in a type that holds them.
    ///
    /// # Errors
    /// As of [`HostTensor::new`]; besides, a number that the type does not hold.
    pub fn from_numbers(
        dtype: DataType,
        shape: Vec<usize>,
        values: &[f32],
    ) -> Result<HostTensor, String> {
        if dtype == DataType::Float {
            return HostTensor::from_f32(shape, values);
        }
        let mut bytes = Vec::with_capacity(values.len() * dtype.bytes());
        for value in values {
            let element = Element::Float(f64::from(*value));
            let written = element.write(dtype, &mut bytes);
            written.ok_or_else(|| format!("{value} is no {}", dtype.name()))?;
        }
        HostTensor::new(dtype, shape, bytes)
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

    /// The elements, shared.
    pub fn shared_bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    /// The size of the first dimension; `None` where there is none.
    pub fn rows(&self) -> Option<usize> {
        self.shape.first().copied()
    }

    /// The same elements as the one row of a tensor of one dimension more.
    pub fn into_row(mut self) -> HostTensor {
        self.shape.insert(0, 1);
        self
    }

    /// The elements of the one row; `None` where there are more, or none.
    pub fn into_only_row(mut self) -> Option<HostTensor> {
        if self.rows() != Some(1) {
            return None;
        }
        self.shape.remove(0);
        Some(self)
    }

    /// Some of the rows, sharing the elements; `None` where they are not there.
    pub fn slice_rows(&self, range: Range<usize>) -> Option<HostTensor> {
        let rows = self.rows().filter(|&rows| range.end <= rows)?;
        let size = self.bytes.len().checked_div(rows)?;
        let mut shape = self.shape.clone();
        shape[0] = range.len();
        Some(HostTensor {
            dtype: self.dtype,
            shape,
            bytes: self.bytes.slice(range.start * size..range.end * size),
        })
    }

    /// The tensor with a dimension made longer, filled up with `fill`, the bytes of an element; `None` where there is no such
    /// dimension, or it is longer already.
    pub fn lengthened(&self, dim: usize, size: usize, fill: &[u8]) -> Option<HostTensor> {
        let has = *self.shape.get(dim)?;
        if has == size {
            return Some(self.clone());
        }
        let missing = size
            .checked_sub(has)
            .filter(|_| fill.len() == self.dtype.bytes())?;
        let mut shape = self.shape.clone();
        shape[dim] = size;
        let inner = self.shape[dim + 1..].iter().product::<usize>();
        let missing = fill.repeat(missing * inner);
        let mut bytes = Vec::with_capacity(self::size(self.dtype, &shape).ok()?);
        let outer = self.shape[..dim].iter().product::<usize>();
        let length = has * inner * self.dtype.bytes();
        for at in 0..outer {
            bytes.extend_from_slice(&self.bytes[at * length..(at + 1) * length]);
            bytes.extend_from_slice(&missing);
        }
        Some(HostTensor {
            dtype: self.dtype,
            shape,
            bytes: bytes.into(),
        })
    }

    /// The first elements of a dimension; `None` where there are not so many.
    pub fn shortened(&self, dim: usize, size: usize) -> Option<HostTensor> {
        let has = *self.shape.get(dim)?;
        if has <= size {
            return (has == size).then(|| self.clone());
        }
        let mut shape = self.shape.clone();
        shape[dim] = size;
        let inner = self.shape[dim + 1..].iter().product::<usize>() * self.dtype.bytes();
        let mut bytes = Vec::with_capacity(self::size(self.dtype, &shape).ok()?);
        let outer = self.shape[..dim].iter().product::<usize>();
        for at in 0..outer {
            let start = at * has * inner;
            bytes.extend_from_slice(&self.bytes[start..start + size * inner]);
        }
        Some(HostTensor {
            dtype: self.dtype,
            shape,
            bytes: bytes.into(),
        })
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

/// The rows of all of `parts` as one tensor; `None` where there are no parts, or they differ in more than the number of
/// rows. Of one part alone the elements are shared.
pub fn join(parts: &[&HostTensor]) -> Option<HostTensor> {
    let first = parts.first()?;
    let row = first.shape.get(1..)?;
    let alike = |part: &&HostTensor| part.dtype == first.dtype && part.shape.get(1..) == Some(row);
    if !parts.iter().all(alike) {
        return None;
    }
    if let [part] = parts {
        return Some(HostTensor::clone(part));
    }
    let mut shape = first.shape.clone();
    shape[0] = parts.iter().map(|part| part.shape[0]).sum();
    let bytes: Vec<&[u8]> = parts.iter().map(|part| part.bytes()).collect();
    Some(HostTensor {
        dtype: first.dtype,
        shape,
        bytes: bytes.concat().into(),
    })
}

/// The parts that [`join`] has put together, by their numbers of rows, sharing the elements; `None` where these are not all
/// rows.
pub fn split(tensor: &HostTensor, rows: &[usize]) -> Option<Vec<HostTensor>> {
    if tensor.rows() != Some(rows.iter().sum()) {
        return None;
    }
    let mut start = 0;
    let parts = rows.iter().map(|&count| {
        let range = start..start + count;
        start = range.end;
        tensor.slice_rows(range)
    });
    parts.collect()
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
    fn joined_rows_come_apart_again() {
        let rows =
            |values: &[f32]| HostTensor::from_f32(vec![values.len() / 2, 2], values).unwrap();
        let (a, b) = (rows(&[1.0, 2.0]), rows(&[3.0, 4.0, 5.0, 6.0]));
        let both = join(&[&a, &b]).unwrap();
        assert_eq!(both, rows(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
        assert_eq!(split(&both, &[1, 2]), Some(vec![a.clone(), b.clone()]));
        assert_eq!(split(&both, &[1, 1]), None);
        assert_eq!(both.slice_rows(1..3), Some(b));
        assert_eq!(both.slice_rows(2..4), None);
        assert_eq!(join(&[]), None);
        let longer = HostTensor::zeros(DataType::Float, &[1, 3]).unwrap();
        assert_eq!(join(&[&a, &longer]), None);
        let number = HostTensor::from_i64(vec![], &[1]).unwrap();
        assert_eq!((join(&[&number]), split(&number, &[1])), (None, None));
        assert_eq!(number.clone().into_row().into_only_row(), Some(number));
        assert_eq!(both.into_only_row(), None);
        let none = HostTensor::zeros(DataType::Float, &[0, 2]).unwrap();
        assert_eq!(none.slice_rows(0..0), None);
    }

    #[test]
    fn dimensions_are_filled_up_and_cut_again() {
        let tensor = HostTensor::from_i64(vec![2, 2], &[1, 2, 3, 4]).unwrap();
        let nine = 9i64.to_le_bytes();
        let long = tensor.lengthened(1, 3, &nine).unwrap();
        assert_eq!(
            long,
            HostTensor::from_i64(vec![2, 3], &[1, 2, 9, 3, 4, 9]).unwrap()
        );
        assert_eq!(long.shortened(1, 2), Some(tensor.clone()));
        let high = tensor.lengthened(0, 3, &nine).unwrap();
        assert_eq!(
            high,
            HostTensor::from_i64(vec![3, 2], &[1, 2, 3, 4, 9, 9]).unwrap()
        );
        assert_eq!(
            high.shortened(0, 1),
            HostTensor::from_i64(vec![1, 2], &[1, 2]).ok()
        );
        assert_eq!(tensor.lengthened(1, 1, &nine), None);
        assert_eq!(tensor.lengthened(2, 3, &nine), None);
        assert_eq!(tensor.lengthened(1, 3, &nine[..4]), None);
        assert_eq!(tensor.shortened(1, 3), None);
    }

    #[test]
    fn numbers_become_elements_of_a_type() {
        let bytes = HostTensor::from_numbers(DataType::Uint8, vec![2], &[0.0, 255.0]).unwrap();
        assert_eq!(bytes.bytes(), [0, 255]);
        assert!(HostTensor::from_numbers(DataType::Uint8, vec![1], &[0.5]).is_err());
        let half = HostTensor::from_numbers(DataType::Float16, vec![1], &[0.5]).unwrap();
        assert_eq!(half.to_f64(), [0.5]);
    }

    #[test]
    fn tensors_have_the_bytes_of_their_shapes() {
        let bytes = |n: usize| vec![0u8; n];
        assert!(HostTensor::new(DataType::Float, vec![2, 3], bytes(24)).is_ok());
        assert!(HostTensor::new(DataType::Float, vec![2, 3], bytes(23)).is_err());
        assert!(HostTensor::new(DataType::Bool, vec![1], vec![2u8]).is_err());
        assert!(HostTensor::zeros(DataType::Double, &[usize::MAX, 2]).is_err());
    }
}
