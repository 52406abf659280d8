//! TensorScatter: new entries written into a cache, at a place of each sequence's own.

use tract_onnx::tract_hir::internal::*;

use super::*;

#[derive(Debug)]
struct TensorScatter {
    axis: i64,
    is_circular: bool,
}

pub(super) fn read(_: &ParsingContext, node: &NodeProto) -> TractResult<Arc<dyn Operator>> {
    let is_circular = match node.get_attr_opt::<&str>("mode")? {
        None | Some("linear") => false,
        Some("circular") => true,
        Some(mode) => bail!("the mode {mode} is unknown"),
    };
    let axis = node.get_attr_opt("axis")?.unwrap_or(-2);
    Ok(Arc::new(TensorScatter { axis, is_circular }))
}

impl Operator for TensorScatter {
    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(
            input(inputs, 0)?.datum_type == input(inputs, 1)?.datum_type,
            "cache and entries are of different types"
        );
        Ok(tvec!(input(inputs, 0)?.without_value()))
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let (cache, new) = (input(inputs, 0)?, input(inputs, 1)?);
        let at = axis(self.axis, cache.rank())?;
        ensure!(at > 0, "the first dimension is the batch");
        let mut expected = cache.shape().to_vec();
        expected[at] = *new.shape().get(at).context("entries of another rank")?;
        ensure!(
            new.shape() == expected,
            "entries of {:?} don't fit",
            new.shape()
        );
        let batch = cache.shape()[0];
        let starts = match inputs.get(2) {
            Some(starts) => integers(starts)?,
            None => vec![0; batch],
        };
        ensure!(
            starts.len() == batch,
            "{} places for a batch of {batch}",
            starts.len()
        );
        let (before, len, after) = parts(cache.shape(), at);
        let count = new.shape()[at];
        ensure!(count <= len, "{count} entries for a cache of {len}");
        let row = after * cache.datum_type().size_of();
        let mut result = cache.clone().into_tensor();
        let (to, from) = (result.as_bytes_mut(), new.as_bytes());
        for i in 0..before {
            let start = starts[i / (before / batch)];
            for k in 0..count {
                let place = start.checked_add(k as i64).context("a place overflows")?;
                let place = match self.is_circular {
                    true => place.rem_euclid(len as i64) as usize,
                    false => usize::try_from(place).unwrap_or(len),
                };
                ensure!(place < len, "an entry is outside of the cache");
                let source = (i * count + k) * row;
                let target = (i * len + place) * row;
                to[target..target + row].copy_from_slice(&from[source..source + row]);
            }
        }
        Ok(tvec!(result))
    }
}
