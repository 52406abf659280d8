//! A tensor as a view on a storage.

use hearth_kernels::Bytes;

use super::{MAX_DIMENSIONS, ScalarType};

/// A view: sizes and strides over a storage, checked to lie inside it.
#[derive(Debug, Clone)]
pub struct StridedTensor {
    dtype: ScalarType,
    sizes: Vec<usize>,
    strides: Vec<usize>,
    /// In elements, as the strides are.
    offset: usize,
    storage: Bytes,
}

impl StridedTensor {
    /// A view on `storage`; strides and offset count elements.
    ///
    /// # Errors
    /// A sentence that says what is wrong: a negative or absurd number, or elements outside of the storage.
    pub fn new(
        dtype: ScalarType,
        sizes: &[i64],
        strides: &[i64],
        offset: i64,
        storage: Bytes,
    ) -> Result<StridedTensor, String> {
        if sizes.len() != strides.len() {
            return Err(format!(
                "{} sizes, but {} strides",
                sizes.len(),
                strides.len()
            ));
        }
        if sizes.len() > MAX_DIMENSIONS {
            return Err(format!(
                "{} dimensions are more than {MAX_DIMENSIONS}",
                sizes.len()
            ));
        }
        let natural = |what: &str, list: &[i64]| {
            list.iter()
                .map(|&n| usize::try_from(n).map_err(|_| format!("{n} is no {what}")))
                .collect::<Result<Vec<usize>, String>>()
        };
        let sizes = natural("size", sizes)?;
        let strides = natural("stride", strides)?;
        let offset = natural("offset", &[offset])?[0];
        // The size in bytes must be a number even where a zero among the sizes hides an absurd one.
        sizes
            .iter()
            .filter(|&&d| d > 0)
            .try_fold(dtype.bytes(), |n, &d| n.checked_mul(d))
            .ok_or_else(|| format!("the size of shape {sizes:?} overflows"))?;
        if !sizes.contains(&0) {
            let last = sizes
                .iter()
                .zip(&strides)
                .try_fold(offset, |at, (&size, &stride)| {
                    at.checked_add((size - 1).checked_mul(stride)?)
                });
            let held = storage.len() / dtype.bytes();
            if last.is_none_or(|last| last >= held) {
                return Err(format!(
                    "shape {sizes:?} with strides {strides:?} from element {offset} reaches past the {held} elements stored"
                ));
            }
        }
        Ok(StridedTensor {
            dtype,
            sizes,
            strides,
            offset,
            storage,
        })
    }

    /// The type of the elements.
    pub fn dtype(&self) -> ScalarType {
        self.dtype
    }

    /// The dimensions, slowest first; empty for a scalar.
    pub fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// The size of the elements laid out densely, in bytes.
    pub fn dense_bytes(&self) -> usize {
        self.sizes.iter().product::<usize>() * self.dtype.bytes()
    }

    /// Whether the elements lie in the storage as row-major order has them, so that nothing need be copied.
    pub fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.sizes
            .iter()
            .zip(&self.strides)
            .rev()
            .all(|(&size, &stride)| {
                let fits = size == 1 || stride == expected;
                expected *= size;
                fits
            })
            || self.sizes.contains(&0)
    }

    /// The elements in row-major order, little-endian: a part of the storage where it has them so, else a copy.
    pub fn dense(&self) -> Bytes {
        let item = self.dtype.bytes();
        let len = self.dense_bytes();
        if len == 0 {
            return Bytes::from(Vec::new());
        }
        if self.is_contiguous() {
            let start = self.offset * item;
            return self.storage.slice(start..start + len);
        }
        let mut out = Vec::with_capacity(len);
        let mut index = vec![0usize; self.sizes.len()];
        let mut at = self.offset;
        while out.len() < len {
            out.extend_from_slice(&self.storage[at * item..(at + 1) * item]);
            // The next index in row-major order, and its place.
            for d in (0..index.len()).rev() {
                index[d] += 1;
                at += self.strides[d];
                if index[d] < self.sizes[d] {
                    break;
                }
                at -= self.strides[d] * self.sizes[d];
                index[d] = 0;
            }
        }
        Bytes::from(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(n: u8) -> Bytes {
        Bytes::from((0..n).collect::<Vec<u8>>())
    }

    fn view(sizes: &[i64], strides: &[i64], offset: i64) -> Result<StridedTensor, String> {
        StridedTensor::new(ScalarType::Byte, sizes, strides, offset, bytes(12))
    }

    #[test]
    fn views_are_laid_out_densely() {
        let rows = view(&[3, 4], &[4, 1], 0).unwrap();
        assert!(rows.is_contiguous());
        assert_eq!(&*rows.dense(), &*bytes(12));
        let columns = view(&[4, 3], &[1, 4], 0).unwrap();
        assert!(!columns.is_contiguous());
        assert_eq!(&*columns.dense(), &[0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]);
        let row = view(&[1, 2], &[99, 1], 5).unwrap();
        assert_eq!(&*row.dense(), &[5, 6]);
        let repeated = view(&[2, 2], &[0, 1], 3).unwrap();
        assert_eq!(&*repeated.dense(), &[3, 4, 3, 4]);
        assert_eq!(&*view(&[], &[], 7).unwrap().dense(), &[7]);
        assert_eq!(view(&[0, 5], &[5, 1], 99).unwrap().dense().len(), 0);
    }

    #[test]
    fn views_outside_of_the_storage_are_refused() {
        assert!(
            view(&[13], &[1], 0)
                .unwrap_err()
                .contains("reaches past the 12")
        );
        assert!(view(&[2], &[1], 11).is_err());
        assert!(view(&[2], &[i64::MAX], 0).is_err());
        assert!(
            view(&[i64::MAX, 3], &[0, 0], 0)
                .unwrap_err()
                .contains("overflows")
        );
        assert!(
            view(&[i64::MAX, i64::MAX, 0], &[0, 0, 0], 0)
                .unwrap_err()
                .contains("overflows")
        );
        assert!(view(&[-1], &[1], 0).unwrap_err().contains("-1 is no size"));
        assert!(
            view(&[1], &[], 0)
                .unwrap_err()
                .contains("1 sizes, but 0 strides")
        );
        assert!(
            view(&[1; 65], &[1; 65], 0)
                .unwrap_err()
                .contains("dimensions")
        );
    }
}
