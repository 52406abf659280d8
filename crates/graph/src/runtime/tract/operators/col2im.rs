//! Col2Im: blocks of an image, a column each, added up to the image.

use tract_onnx::tract_hir::internal::*;

use super::*;

#[derive(Debug)]
struct Col2Im {
    dilations: Option<Vec<i64>>,
    strides: Option<Vec<i64>>,
    pads: Option<Vec<i64>>,
}

pub(super) fn read(_: &ParsingContext, node: &NodeProto) -> TractResult<Arc<dyn Operator>> {
    Ok(Arc::new(Col2Im {
        dilations: node.get_attr_opt_vec("dilations")?,
        strides: node.get_attr_opt_vec("strides")?,
        pads: node.get_attr_opt_vec("pads")?,
    }))
}

/// Where blocks lie in one dimension.
struct Line {
    image: usize,
    block: usize,
    dilation: usize,
    stride: usize,
    pad: usize,
    /// How many blocks there are.
    count: usize,
}

impl Col2Im {
    fn lines(&self, image: &[i64], block: &[i64]) -> TractResult<Vec<Line>> {
        let rank = image.len();
        let list = |list: &Option<Vec<i64>>, len: usize, default: i64| -> TractResult<Vec<usize>> {
            let list = list.clone().unwrap_or_else(|| vec![default; len]);
            ensure!(
                list.len() == len,
                "{} numbers for {rank} dimensions",
                list.len()
            );
            list.into_iter().map(size).collect()
        };
        let (dilations, strides) = (
            list(&self.dilations, rank, 1)?,
            list(&self.strides, rank, 1)?,
        );
        let pads = list(&self.pads, 2 * rank, 0)?;
        ensure!(
            block.len() == rank,
            "blocks and image are of different ranks"
        );
        (0..rank)
            .map(|i| {
                let (image, block) = (size(image[i])?, size(block[i])?);
                ensure!(block > 0 && strides[i] > 0, "a block or a stride is 0");
                let extent = dilations[i]
                    .checked_mul(block - 1)
                    .context("a block is too large")?;
                let room = (image + pads[i] + pads[i + rank]).checked_sub(extent + 1);
                Ok(Line {
                    image,
                    block,
                    dilation: dilations[i],
                    stride: strides[i],
                    pad: pads[i],
                    count: room.context("a block is larger than the image")? / strides[i] + 1,
                })
            })
            .collect()
    }
}

/// The place in a line of numbers that count up like the digits of a number, the last the fastest.
fn digits(mut n: usize, bases: impl DoubleEndedIterator<Item = usize>) -> Vec<usize> {
    let mut digits: Vec<usize> = bases
        .rev()
        .map(|base| {
            let digit = n % base;
            n /= base;
            digit
        })
        .collect();
    digits.reverse();
    digits
}

impl Operator for Col2Im {
    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let x = input(inputs, 0)?;
        ensure!(x.rank() == 3, "Col2Im takes three dimensions");
        let lines = self.lines(&known(inputs, 1)?, &known(inputs, 2)?)?;
        let block: usize = lines.iter().map(|line| line.block).product();
        let mut shape = tvec![x.shape[0].clone(), x.shape[1].clone() / block];
        shape.extend(lines.iter().map(|line| line.image.to_dim()));
        Ok(tvec!(x.datum_type.fact(shape)))
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let x = input(inputs, 0)?;
        let lines = self.lines(&integers(input(inputs, 1)?)?, &integers(input(inputs, 2)?)?)?;
        let block: usize = lines.iter().map(|line| line.block).product();
        let count: usize = lines.iter().map(|line| line.count).product();
        let &[batch, rows, columns] = x.shape() else {
            bail!("Col2Im takes three dimensions");
        };
        ensure!(
            rows % block == 0 && columns == count,
            "{rows} x {columns} are not {count} blocks of {block}"
        );
        let mut shape = vec![batch, rows / block];
        shape.extend(lines.iter().map(|line| line.image));
        let mut y = vec![0.0; volume(&shape)?];
        let image: usize = shape[2..].iter().product();
        let values = numbers(x)?;
        for (row, column) in (0..block).flat_map(|r| (0..count).map(move |c| (r, c))) {
            let inside = digits(row, lines.iter().map(|line| line.block));
            let corner = digits(column, lines.iter().map(|line| line.count));
            let mut at = Some(0);
            for ((line, i), c) in lines.iter().zip(inside).zip(corner) {
                let place = (c * line.stride + i * line.dilation).checked_sub(line.pad);
                let place = place.filter(|place| *place < line.image);
                at = at.zip(place).map(|(at, place)| at * line.image + place);
            }
            let Some(at) = at else { continue };
            for plane in 0..batch * (rows / block) {
                y[plane * image + at] += values[(plane * block + row) * columns + column];
            }
        }
        Ok(tvec!(tensor(x.datum_type(), &shape, &y)?))
    }
}
