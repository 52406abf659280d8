//! Unique: the different elements, or the different slices along a dimension, and where they are.

use std::cmp::Ordering;

use tract_onnx::tract_hir::internal::*;

use super::*;

#[derive(Debug)]
struct Unique {
    axis: Option<i64>,
    is_sorted: bool,
    /// How many there are; known only when it runs.
    count: Symbol,
}

pub(super) fn read(context: &ParsingContext, node: &NodeProto) -> TractResult<Arc<dyn Operator>> {
    Ok(Arc::new(Unique {
        axis: node.get_attr_opt("axis")?,
        is_sorted: node.get_attr_opt::<i64>("sorted")? != Some(0),
        count: context.template.symbols.new_with_prefix("unique"),
    }))
}

/// The order of two rows of numbers; what is no number comes last and is the same as itself.
fn compare<T: PartialOrd>(a: &[T], b: &[T]) -> Ordering {
    let is_number = |x: &T| x.partial_cmp(x).is_some();
    let each = a.iter().zip(b).map(|(x, y)| {
        x.partial_cmp(y)
            .unwrap_or_else(|| is_number(y).cmp(&is_number(x)))
    });
    each.fold(Ordering::Equal, Ordering::then)
}

/// Places of rows that are alike, group by group.
fn groups<T: PartialOrd>(rows: &[Vec<T>], is_sorted: bool) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by(|&i, &j| compare(&rows[i], &rows[j]));
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for i in order {
        match groups.last_mut() {
            Some(group) if compare(&rows[group[0]], &rows[i]).is_eq() => group.push(i),
            _ => groups.push(vec![i]),
        }
    }
    if !is_sorted {
        groups.sort_by_key(|group| group[0]);
    }
    groups
}

/// The slices along a dimension, a row each.
fn rows<T: Copy>(x: &[T], (before, len, after): (usize, usize, usize)) -> Vec<Vec<T>> {
    let row = |k: usize| {
        let each = (0..before).flat_map(|i| (0..after).map(move |j| (i * len + k) * after + j));
        each.map(|at| x[at]).collect()
    };
    (0..len).map(row).collect()
}

impl Operator for Unique {
    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let x = input(inputs, 0)?;
        let count = self.count.to_dim();
        let shape = match self.axis {
            Some(at) => {
                let mut shape = x.shape.to_tvec();
                let at = axis(at, shape.len())?;
                shape[at] = count.clone();
                shape
            }
            None => tvec![count.clone()],
        };
        let all = match self.axis {
            Some(at) => x.shape[axis(at, x.rank())?].clone(),
            None => x.shape.volume(),
        };
        let places = |n: TDim| i64::fact([n]);
        Ok(tvec!(
            x.datum_type.fact(shape),
            places(count.clone()),
            places(all),
            places(count)
        ))
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let x = input(inputs, 0)?;
        let (flat, at);
        let x: &Tensor = match self.axis {
            Some(along) => {
                at = axis(along, x.rank())?;
                x
            }
            None => {
                at = 0;
                let mut tensor = x.clone().into_tensor();
                tensor.set_shape(&[x.len()])?;
                flat = tensor;
                &flat
            }
        };
        let parts = parts(x.shape(), at);
        let groups = match x.datum_type().is_integer() {
            true => groups(&rows(&integers(x)?, parts), self.is_sorted),
            false => groups(&rows(&numbers(x)?, parts), self.is_sorted),
        };
        let mut shape = x.shape().to_vec();
        shape[at] = groups.len();
        let mut y = Tensor::zero_dt(x.datum_type(), &shape)?;
        let mut inverse = vec![0i64; parts.1];
        for (n, group) in groups.iter().enumerate() {
            y.assign_slice(n..n + 1, x, group[0]..group[0] + 1, at)?;
            group.iter().for_each(|&i| inverse[i] = n as i64);
        }
        let firsts: Vec<i64> = groups.iter().map(|group| group[0] as i64).collect();
        let counts: Vec<i64> = groups.iter().map(|group| group.len() as i64).collect();
        Ok(tvec!(
            y,
            tensor1(&firsts),
            tensor1(&inverse),
            tensor1(&counts)
        ))
    }
}
