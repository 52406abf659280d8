//! LayerNormalization (Ba et al., "Layer Normalization", 2016), which tract takes apart into a dozen passes over its input.

use hearth_kernels::layer_norm;
use tract_onnx::tract_hir::internal::*;

use super::*;

#[derive(Debug)]
struct LayerNormalization {
    axis: i64,
    epsilon: f32,
    /// Of the outputs, means and inverse deviations included.
    outputs: usize,
}

pub(super) fn read(_: &ParsingContext, node: &NodeProto) -> TractResult<Arc<dyn Operator>> {
    let stash: Option<i64> = node.get_attr_opt("stash_type")?;
    ensure!(
        stash.is_none_or(|stash| stash == 1),
        "it stores numbers of type {stash:?}"
    );
    Ok(Arc::new(LayerNormalization {
        axis: node.get_attr_opt("axis")?.unwrap_or(-1),
        epsilon: node.get_attr_opt("epsilon")?.unwrap_or(1e-5),
        outputs: node.output.len(),
    }))
}

impl Operator for LayerNormalization {
    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let x = input(inputs, 0)?;
        let axis = axis(self.axis, x.rank())?;
        let mut facts = tvec!(x.datum_type.fact(x.shape.clone()));
        let of_rows = x.shape.iter().enumerate();
        let of_rows: TVec<TDim> = of_rows
            .map(|(i, dim)| if i < axis { dim.clone() } else { 1.to_dim() })
            .collect();
        facts.extend((1..self.outputs).map(|_| f32::fact(of_rows.clone())));
        Ok(facts)
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        self.eval_on(&Pool::new(1), inputs)
    }

    fn eval_on(&self, pool: &Pool, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let x = input(inputs, 0)?;
        let axis = axis(self.axis, x.rank())?;
        let row: TVec<usize> = x.shape()[axis..].into();
        let len = volume(&row)?;
        ensure!(len > 0, "rows of {row:?} have no mean");
        let each = |at: usize, value: f32| -> TractResult<Vec<f32>> {
            let Some(tensor) = inputs.get(at) else {
                return Ok(vec![value; len]);
            };
            let tensor = tensor.cast_to::<f32>()?;
            let tensor = match tensor.shape() == row.as_slice() {
                true => tensor.into_owned(),
                false => tensor.broadcast_to_shape(&row)?,
            };
            Ok(tensor.try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
        };
        let (scale, bias) = (each(1, 1.0)?, each(2, 0.0)?);
        let values = x.cast_to::<f32>()?;
        let values = values.try_as_plain_ram()?;
        let values = values.as_slice::<f32>()?;
        let mut y = Tensor::zero::<f32>(x.shape())?;
        {
            let mut out = y.try_as_plain_ram_mut()?;
            let out = out.as_slice_mut::<f32>()?;
            layer_norm(pool, values, &scale, &bias, self.epsilon, out);
        }
        let y = match x.datum_type() {
            DatumType::F32 => y,
            other => y.cast_to_dt(other)?.into_owned(),
        };
        let mut outputs = tvec!(y);
        if self.outputs > 1 {
            let mut shape: TVec<usize> = x.shape().into();
            shape[axis..].fill(1);
            let rows = values.chunks_exact(len).map(|row| {
                let mean = row.iter().map(|x| f64::from(*x)).sum::<f64>() / len as f64;
                let squares = row.iter().map(|x| (f64::from(*x) - mean).powi(2));
                let variance = squares.sum::<f64>() / len as f64;
                (mean, 1.0 / (variance + f64::from(self.epsilon)).sqrt())
            });
            let (means, deviations): (Vec<f64>, Vec<f64>) = rows.unzip();
            let told = [means, deviations];
            for told in told.iter().take(self.outputs - 1) {
                outputs.push(tensor(f32::datum_type(), &shape, told)?);
            }
        }
        Ok(outputs)
    }

    fn keeps_shape(&self) -> bool {
        true
    }

    fn carries(&self, dim: usize, rank: usize) -> bool {
        axis(self.axis, rank).is_ok_and(|first| dim < first)
    }
}
