//! ReverseSequence: the first elements of each sequence of a batch in reverse order.

use tract_onnx::tract_hir::internal::*;

use super::*;

#[derive(Debug)]
struct ReverseSequence {
    batch_axis: usize,
    time_axis: usize,
}

pub(super) fn read(_: &ParsingContext, node: &NodeProto) -> TractResult<Arc<dyn Operator>> {
    let batch_axis = node.get_attr_opt("batch_axis")?.unwrap_or(1);
    let time_axis = node.get_attr_opt("time_axis")?.unwrap_or(0);
    ensure!(
        batch_axis + time_axis == 1 && batch_axis <= 1,
        "batch and time are the first two dimensions"
    );
    Ok(Arc::new(ReverseSequence {
        batch_axis,
        time_axis,
    }))
}

impl Operator for ReverseSequence {
    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(
            input(inputs, 0)?.rank() >= 2,
            "sequences take two dimensions"
        );
        Ok(tvec!(input(inputs, 0)?.without_value()))
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let (x, lens) = (input(inputs, 0)?, integers(input(inputs, 1)?)?);
        let (shape, from) = (x.shape(), x.as_bytes());
        ensure!(shape.len() >= 2, "sequences take two dimensions");
        let (batch, time) = (shape[self.batch_axis], shape[self.time_axis]);
        ensure!(
            lens.len() == batch,
            "{} lengths for a batch of {batch}",
            lens.len()
        );
        let row = shape[2..].iter().product::<usize>() * x.datum_type().size_of();
        let at = |b: usize, t: usize| {
            let index = match self.batch_axis {
                0 => b * time + t,
                _ => t * batch + b,
            };
            index * row..(index + 1) * row
        };
        let mut y = Tensor::zero_dt(x.datum_type(), shape)?;
        let to = y.as_bytes_mut();
        for (b, len) in lens.iter().enumerate() {
            let len = usize::try_from(*len).ok().filter(|len| *len <= time);
            let len = len.with_context(|| format!("a sequence is longer than {time}"))?;
            for t in 0..time {
                let source = if t < len { len - 1 - t } else { t };
                to[at(b, t)].copy_from_slice(&from[at(b, source)]);
            }
        }
        Ok(tvec!(y))
    }
}
