//! CenterCropPad: each dimension cut or filled with zeros on both sides.

use tract_onnx::tract_hir::internal::*;

use super::*;

#[derive(Debug)]
struct CenterCropPad {
    axes: Option<Vec<i64>>,
}

pub(super) fn read(_: &ParsingContext, node: &NodeProto) -> TractResult<Arc<dyn Operator>> {
    let axes = node.get_attr_opt_vec::<i64>("axes")?;
    Ok(Arc::new(CenterCropPad { axes }))
}

impl CenterCropPad {
    /// The dimensions and what they become.
    fn wanted(&self, rank: usize, sizes: &[i64]) -> TractResult<Vec<(usize, usize)>> {
        let axes = match &self.axes {
            Some(axes) => axes
                .iter()
                .map(|a| axis(*a, rank))
                .collect::<TractResult<_>>()?,
            None => (0..rank).collect::<Vec<_>>(),
        };
        ensure!(
            axes.len() == sizes.len(),
            "{} sizes for {} axes",
            sizes.len(),
            axes.len()
        );
        let sizes = sizes
            .iter()
            .map(|n| size(*n))
            .collect::<TractResult<Vec<_>>>()?;
        Ok(axes.into_iter().zip(sizes).collect())
    }
}

impl Operator for CenterCropPad {
    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let x = input(inputs, 0)?;
        let mut shape = x.shape.to_tvec();
        for (axis, size) in self.wanted(shape.len(), &known(inputs, 1)?)? {
            shape[axis] = size.into();
        }
        Ok(tvec!(x.datum_type.fact(shape)))
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let x = input(inputs, 0)?;
        let wanted = self.wanted(x.rank(), &integers(input(inputs, 1)?)?)?;
        let mut now = x.clone().into_tensor();
        for (axis, size) in wanted {
            let (mut shape, is) = (now.shape().to_vec(), now.shape()[axis]);
            shape[axis] = size;
            volume(&shape)?;
            let mut next = Tensor::zero_dt(now.datum_type(), &shape)?;
            let kept = is.min(size);
            let (from, to) = ((is - kept) / 2, (size - kept) / 2);
            next.assign_slice(to..to + kept, &now, from..from + kept, axis)?;
            now = next;
        }
        Ok(tvec!(now))
    }
}
