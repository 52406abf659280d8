//! Inputs that may be left out: of those a model says which number all elements are.
//!
//! ONNX knows defaults for inputs of one shape only. Here the model's metadata holds the number, under [`KEY`] and the input's
//! name, and the shape follows from the symbols that it shares with the inputs that are given.

use std::collections::HashMap;

use super::HostTensor;
use crate::onnx::{DataType, Dim, ValueInfo};

/// What the names of metadata begin with that say a default; the input's name follows.
pub(crate) const KEY: &str = "hearth.default.";

/// Most elements of an input that is filled in.
const MOST_ELEMENTS: usize = 1 << 28;

/// For each input the number that its elements are where it is left out, from a model's metadata.
pub(super) fn of_metadata<'a>(
    inputs: &[ValueInfo],
    metadata: impl Iterator<Item = (&'a str, &'a str)>,
) -> Vec<Option<f64>> {
    let said: HashMap<&str, f64> = metadata
        .filter_map(|(key, value)| Some((key.strip_prefix(KEY)?, value.parse().ok()?)))
        .collect();
    let each = inputs
        .iter()
        .map(|input| said.get(input.name.as_str()).copied());
    each.collect()
}

/// All inputs in order, those that were left out filled in.
///
/// # Errors
/// The place of the first that has to be given: it has no default, or its shape does not follow from the others'.
pub fn fill(
    takes: &[ValueInfo],
    defaults: &[Option<f64>],
    given: Vec<Option<HostTensor>>,
) -> Result<Vec<HostTensor>, usize> {
    let mut sizes: HashMap<&str, usize> = HashMap::new();
    for (input, tensor) in takes.iter().zip(&given) {
        let shape = tensor.iter().flat_map(|tensor| tensor.shape());
        for (dim, &size) in input.dims.iter().zip(shape) {
            if let Dim::Symbol(name) = dim {
                sizes.entry(name).or_insert(size);
            }
        }
    }
    let each = takes.iter().zip(given).enumerate();
    let each = each.map(|(at, (input, tensor))| {
        tensor
            .or_else(|| full(input, defaults.get(at).copied().flatten()?, &sizes))
            .ok_or(at)
    });
    each.collect()
}

/// A tensor for an input, all of whose elements are `value`.
fn full(input: &ValueInfo, value: f64, sizes: &HashMap<&str, usize>) -> Option<HostTensor> {
    let shape = input.dims.iter().map(|dim| match dim {
        Dim::Fixed(n) => usize::try_from(*n).ok(),
        Dim::Symbol(name) => sizes.get(name.as_str()).copied(),
        Dim::Unknown => None,
    });
    let shape: Vec<usize> = shape.collect::<Option<_>>()?;
    let count = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))?;
    let element = match input.dtype {
        DataType::Int64 => (value as i64).to_le_bytes().to_vec(),
        DataType::Int32 => (value as i32).to_le_bytes().to_vec(),
        DataType::Float => (value as f32).to_le_bytes().to_vec(),
        _ => return None,
    };
    let bytes = (count <= MOST_ELEMENTS).then(|| element.repeat(count))?;
    HostTensor::new(input.dtype, shape, bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(name: &str, dims: &[&str]) -> ValueInfo {
        ValueInfo {
            name: name.into(),
            dtype: DataType::Int64,
            dims: dims.iter().map(|d| Dim::Symbol((*d).into())).collect(),
        }
    }

    #[test]
    fn what_is_left_out_has_the_shape_of_the_others() {
        let takes = [input("ids", &["b", "l"]), input("mask", &["b", "l"])];
        let metadata = [
            ("hearth.default.mask", "1"),
            ("hearth.default.ids", "x"),
            ("other", "2"),
        ];
        let defaults = of_metadata(&takes, metadata.into_iter());
        assert_eq!(defaults, [None, Some(1.0)]);
        let ids = HostTensor::from_i64(vec![1, 3], &[7, 8, 9]).unwrap();
        let mask = HostTensor::from_i64(vec![1, 3], &[1, 1, 0]).unwrap();
        let ones = HostTensor::from_i64(vec![1, 3], &[1, 1, 1]).unwrap();
        let filled = fill(&takes, &defaults, vec![Some(ids.clone()), None]);
        assert_eq!(filled, Ok(vec![ids.clone(), ones]));
        let all = fill(
            &takes,
            &defaults,
            vec![Some(ids.clone()), Some(mask.clone())],
        );
        assert_eq!(all, Ok(vec![ids.clone(), mask.clone()]));
        assert_eq!(fill(&takes, &defaults, vec![None, Some(mask)]), Err(0));
        assert_eq!(fill(&takes, &[], vec![Some(ids.clone()), None]), Err(1));
        let other = [input("ids", &["b", "l"]), input("mask", &["b", "other"])];
        assert_eq!(fill(&other, &defaults, vec![Some(ids), None]), Err(1));
    }
}
