//! AffineGrid: the places that an affine map sends the points of a grid to.

use tract_onnx::tract_hir::internal::*;

use super::*;

#[derive(Debug)]
struct AffineGrid {
    is_corner_aligned: bool,
}

pub(super) fn read(_: &ParsingContext, node: &NodeProto) -> TractResult<Arc<dyn Operator>> {
    let is_corner_aligned = node.get_attr_opt::<i64>("align_corners")? == Some(1);
    Ok(Arc::new(AffineGrid { is_corner_aligned }))
}

/// Height and width, or depth, height and width, of an image's size with batch and channels.
fn extent(size: &[i64]) -> TractResult<Vec<usize>> {
    ensure!(
        matches!(size.len(), 4 | 5),
        "a size of {} dimensions",
        size.len()
    );
    size[2..].iter().map(|n| super::size(*n)).collect()
}

impl Operator for AffineGrid {
    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let theta = input(inputs, 0)?;
        ensure!(theta.rank() == 3, "AffineGrid takes matrices");
        let extent = extent(&known(inputs, 1)?)?;
        let mut shape = tvec![theta.shape[0].clone()];
        shape.extend(extent.iter().map(|n| n.to_dim()));
        shape.push(extent.len().to_dim());
        Ok(tvec!(theta.datum_type.fact(shape)))
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let theta = input(inputs, 0)?;
        let extent = extent(&integers(input(inputs, 1)?)?)?;
        let rank = extent.len();
        let &[batch, rows, columns] = theta.shape() else {
            bail!("AffineGrid takes matrices");
        };
        ensure!(
            rows == rank && columns == rank + 1,
            "matrices of {rows} x {columns}"
        );
        let shape: Vec<usize> = [&[batch], &extent[..], &[rank]].concat();
        let mut out = Vec::with_capacity(volume(&shape)?);
        let points: usize = extent.iter().product();
        // From -1 to 1, at the pixels' centers or from corner to corner.
        let place = |i: usize, n: usize| match self.is_corner_aligned {
            true if n > 1 => 2.0 * i as f64 / (n - 1) as f64 - 1.0,
            true => -1.0,
            false => (2 * i + 1) as f64 / n as f64 - 1.0,
        };
        for matrix in numbers(theta)?.chunks_exact(rows * columns) {
            for point in 0..points {
                // The last dimension is the first coordinate.
                let mut rest = point;
                let mut at = Vec::with_capacity(rank + 1);
                for &n in extent.iter().rev() {
                    at.push(place(rest % n, n));
                    rest /= n;
                }
                at.push(1.0);
                for row in matrix.chunks_exact(columns) {
                    out.push(row.iter().zip(&at).map(|(a, b)| a * b).sum());
                }
            }
        }
        Ok(tvec!(tensor(theta.datum_type(), &shape, &out)?))
    }
}
