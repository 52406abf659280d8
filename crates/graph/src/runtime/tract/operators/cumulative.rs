//! CumSum and CumProd: sums and products of all elements up to each, along a dimension.
//!
//! tract has sums too, but none of numbers that it computes sizes with.

use tract_onnx::tract_hir::internal::*;

use super::*;

#[derive(Debug)]
struct Cumulative {
    is_product: bool,
    exclusive: bool,
    reverse: bool,
}

pub(super) fn read(_: &ParsingContext, node: &NodeProto) -> TractResult<Arc<dyn Operator>> {
    Ok(Arc::new(Cumulative {
        is_product: node.op_type == "CumProd",
        exclusive: node.get_attr_opt::<i64>("exclusive")? == Some(1),
        reverse: node.get_attr_opt::<i64>("reverse")? == Some(1),
    }))
}

impl Cumulative {
    fn run<T: Copy>(
        &self,
        x: &[T],
        (before, len, after): (usize, usize, usize),
        first: T,
        join: impl Fn(T, T) -> T,
    ) -> Vec<T> {
        let mut y = x.to_vec();
        for (i, j) in (0..before).flat_map(|i| (0..after).map(move |j| (i, j))) {
            let mut all = first;
            for k in 0..len {
                let k = if self.reverse { len - 1 - k } else { k };
                let at = (i * len + k) * after + j;
                let so_far = all;
                all = join(all, x[at]);
                y[at] = if self.exclusive { so_far } else { all };
            }
        }
        y
    }
}

impl Operator for Cumulative {
    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(input(inputs, 0)?.without_value()))
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let (x, along) = (input(inputs, 0)?, integers(input(inputs, 1)?)?);
        let along = along.first().context("the axis is missing")?;
        let parts = parts(x.shape(), axis(*along, x.rank())?);
        let dtype = x.datum_type();
        let y = if dtype.is_float() {
            let x = numbers(x)?;
            match self.is_product {
                true => self.run(&x, parts, 1.0, |a, b| a * b),
                false => self.run(&x, parts, 0.0, |a, b| a + b),
            }
        } else {
            let values = integers(x)?;
            let y = match self.is_product {
                true => self.run(&values, parts, 1, i64::wrapping_mul),
                false => self.run(&values, parts, 0, i64::wrapping_add),
            };
            let y = Tensor::from_shape(x.shape(), &y)?;
            return Ok(tvec!(y.cast_to_dt(dtype)?.into_owned()));
        };
        Ok(tvec!(tensor(dtype, x.shape(), &y)?))
    }
}
