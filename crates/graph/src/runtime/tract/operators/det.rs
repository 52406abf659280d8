//! Det: the determinants of matrices.

use tract_onnx::tract_hir::internal::*;

use super::*;

#[derive(Debug)]
struct Det;

pub(super) fn read(_: &ParsingContext, _: &NodeProto) -> TractResult<Arc<dyn Operator>> {
    Ok(Arc::new(Det))
}

impl Operator for Det {
    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let x = input(inputs, 0)?;
        let batch = x.rank().checked_sub(2).context("Det takes matrices")?;
        Ok(tvec!(x.datum_type.fact(&x.shape[..batch])))
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let x = input(inputs, 0)?;
        let [batch @ .., rows, n] = x.shape() else {
            bail!("Det takes matrices");
        };
        ensure!(rows == n, "matrices of {rows} x {n} have no determinant");
        let mut values = numbers(x)?;
        let determinants: Vec<f64> = match n * n {
            0 => vec![1.0; batch.iter().product()],
            size => values
                .chunks_exact_mut(size)
                .map(|a| determinant(a, *n))
                .collect(),
        };
        Ok(tvec!(tensor(x.datum_type(), batch, &determinants)?))
    }
}

/// By elimination, with the largest of each column as its pivot.
fn determinant(a: &mut [f64], n: usize) -> f64 {
    let mut product = 1.0;
    for k in 0..n {
        let column = k..n;
        let largest = column.max_by(|i, j| a[i * n + k].abs().total_cmp(&a[j * n + k].abs()));
        let pivot = largest.unwrap_or(k);
        if a[pivot * n + k] == 0.0 {
            return 0.0;
        }
        if pivot != k {
            (0..n).for_each(|j| a.swap(k * n + j, pivot * n + j));
            product = -product;
        }
        product *= a[k * n + k];
        for i in k + 1..n {
            let factor = a[i * n + k] / a[k * n + k];
            (k..n).for_each(|j| a[i * n + j] -= factor * a[k * n + j]);
        }
    }
    product
}
