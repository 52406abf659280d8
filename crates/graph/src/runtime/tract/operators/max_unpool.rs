//! MaxUnpool: values put back to where a MaxPool took them from, zeros elsewhere.

use tract_onnx::tract_hir::internal::*;

use super::*;

#[derive(Debug)]
struct MaxUnpool {
    kernel: Vec<i64>,
    strides: Vec<i64>,
    /// Before each dimension, and after each.
    pads: Vec<i64>,
}

pub(super) fn read(_: &ParsingContext, node: &NodeProto) -> TractResult<Arc<dyn Operator>> {
    let kernel = node.get_attr_vec::<i64>("kernel_shape")?;
    let rank = kernel.len();
    let list = |name: &str, len: usize, default: i64| -> TractResult<Vec<i64>> {
        let list = node
            .get_attr_opt_vec(name)?
            .unwrap_or_else(|| vec![default; len]);
        ensure!(
            list.len() == len,
            "{} {name} for {rank} dimensions",
            list.len()
        );
        Ok(list)
    };
    Ok(Arc::new(MaxUnpool {
        strides: list("strides", rank, 1)?,
        pads: list("pads", 2 * rank, 0)?,
        kernel,
    }))
}

impl MaxUnpool {
    /// The shape that the pooled one came from, by the settings: what places are counted in.
    fn counted(&self, shape: &[usize]) -> TractResult<Vec<usize>> {
        let rank = self.kernel.len();
        ensure!(
            shape.len() == rank + 2,
            "a kernel of {rank} dimensions for {shape:?}"
        );
        let mut counted = shape[..2].to_vec();
        for i in 0..rank {
            let n = (shape[2 + i] as i64 - 1).checked_mul(self.strides[i]);
            let n = n.and_then(|n| n.checked_add(self.kernel[i]));
            let n = n.and_then(|n| n.checked_sub(self.pads[i].checked_add(self.pads[i + rank])?));
            counted.push(size(n.context("the sizes overflow")?)?);
        }
        Ok(counted)
    }
}

fn sizes(shape: &[i64]) -> TractResult<Vec<usize>> {
    shape.iter().map(|n| size(*n)).collect()
}

impl Operator for MaxUnpool {
    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let x = input(inputs, 0)?;
        let shape = x.shape.as_concrete().context("a shape has to be known")?;
        let shape = match inputs.len() {
            3 => sizes(&known(inputs, 2)?)?,
            _ => self.counted(shape)?,
        };
        Ok(tvec!(x.datum_type.fact(shape)))
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let (x, places) = (input(inputs, 0)?, integers(input(inputs, 1)?)?);
        let counted = self.counted(x.shape())?;
        let shape = match inputs.get(2) {
            Some(shape) => sizes(&integers(shape)?)?,
            None => counted.clone(),
        };
        ensure!(
            places.len() == x.len(),
            "{} places for {} values",
            places.len(),
            x.len()
        );
        ensure!(
            shape.len() == counted.len(),
            "the shape {shape:?} is of another rank"
        );
        let mut y = vec![0.0; volume(&shape)?];
        for (value, place) in numbers(x)?.into_iter().zip(places) {
            let mut rest = usize::try_from(place).context("a place is negative")?;
            let (mut at, mut step) = (0, 1);
            for (n, m) in counted.iter().zip(&shape).rev() {
                let i = rest.checked_rem(*n).unwrap_or(0);
                ensure!(i < *m, "the place {place} is outside");
                rest = rest.checked_div(*n).unwrap_or(0);
                at += i * step;
                step *= m;
            }
            ensure!(rest == 0, "the place {place} is outside");
            y[at] = value;
        }
        Ok(tvec!(tensor(x.datum_type(), &shape, &y)?))
    }
}
