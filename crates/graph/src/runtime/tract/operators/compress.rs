//! Compress: the elements, or the slices along a dimension, that a mask says.

use tract_onnx::tract_hir::internal::*;

use super::*;

#[derive(Debug)]
struct Compress {
    axis: Option<i64>,
    /// How many there are; known only when it runs.
    count: Symbol,
}

pub(super) fn read(context: &ParsingContext, node: &NodeProto) -> TractResult<Arc<dyn Operator>> {
    Ok(Arc::new(Compress {
        axis: node.get_attr_opt("axis")?,
        count: context.template.symbols.new_with_prefix("compress"),
    }))
}

impl Operator for Compress {
    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let x = input(inputs, 0)?;
        let mut shape = match self.axis {
            Some(_) => x.shape.to_tvec(),
            None => tvec![x.shape.volume()],
        };
        let at = axis(self.axis.unwrap_or(0), shape.len())?;
        shape[at] = self.count.to_dim();
        Ok(tvec!(x.datum_type.fact(shape)))
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let mut x = input(inputs, 0)?.clone().into_tensor();
        if self.axis.is_none() {
            x.set_shape(&[x.len()])?;
        }
        let at = axis(self.axis.unwrap_or(0), x.rank())?;
        let mask = integers(input(inputs, 1)?)?;
        let kept: Vec<usize> = (0..mask.len()).filter(|i| mask[*i] != 0).collect();
        let mut shape = x.shape().to_vec();
        ensure!(
            mask.len() <= shape[at],
            "the mask is longer than {}",
            shape[at]
        );
        shape[at] = kept.len();
        let mut y = Tensor::zero_dt(x.datum_type(), &shape)?;
        for (to, from) in kept.into_iter().enumerate() {
            y.assign_slice(to..to + 1, &x, from..from + 1, at)?;
        }
        Ok(tvec!(y))
    }
}
