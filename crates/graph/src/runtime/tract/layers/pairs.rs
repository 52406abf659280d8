//! Products of two computed values, and attention, whose products become factors again, as a node of tract's.

use std::ops::Range;

use hearth_kernels::{Along, Pool, Products, products, products_of_products, softmax};
use tract_onnx::tract_hir::internal::*;

use super::memory::Memory;

/// A dimension's places in the factors and in what comes out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Axis {
    pub left: Option<usize>,
    pub right: Option<usize>,
    pub out: Option<usize>,
}

/// What is multiplied with what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Factors {
    /// All dimensions but those of the fields below.
    pub each: Vec<Axis>,
    /// The rows of the left factor, where it has such.
    pub rows: Option<Axis>,
    pub columns: Axis,
    pub terms: Axis,
}

/// The strides of a shape without gaps.
fn strides(shape: &[usize]) -> TVec<usize> {
    let mut strides: TVec<usize> = tvec!(1; shape.len());
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    strides
}

/// The step along a dimension that may be one for all.
fn step(shape: &[usize], strides: &[usize], at: Option<usize>) -> usize {
    at.map_or(0, |at| if shape[at] == 1 { 0 } else { strides[at] })
}

impl Factors {
    fn axes(&self) -> impl Iterator<Item = &Axis> {
        let rows = self.rows.iter();
        self.each
            .iter()
            .chain(rows)
            .chain([&self.columns, &self.terms])
    }

    fn out_shape<D: DimLike>(&self, left: &[D], right: &[D]) -> TractResult<TVec<D>> {
        let rank = self.axes().filter_map(|axis| axis.out).count();
        let mut shape: TVec<D> = tvec!(D::one(); rank);
        for axis in self.axes() {
            let size = size(axis, left, right)?;
            if let Some(out) = axis.out {
                shape[out] = size;
            }
        }
        Ok(shape)
    }

    /// All dimensions, those of the fields last.
    fn along(&self, left: &[usize], right: &[usize], out: &[usize]) -> TractResult<Shapes> {
        let of = [left, right, out].map(strides);
        let along = |axis: &Axis| {
            Ok(Along {
                size: size(axis, left, right)?,
                left: step(left, &of[0], axis.left),
                right: step(right, &of[1], axis.right),
                out: axis.out.map_or(0, |at| of[2][at]),
            })
        };
        let one = Along {
            size: 1,
            left: 0,
            right: 0,
            out: 0,
        };
        Ok(Shapes {
            each: self.each.iter().map(along).collect::<TractResult<_>>()?,
            rows: self.rows.as_ref().map_or(Ok(one), along)?,
            columns: Along {
                // One column is beside itself.
                out: 1,
                ..along(&self.columns)?
            },
            terms: along(&self.terms)?,
        })
    }
}

/// A dimension's size: a factor may have one for all.
fn size<D: DimLike>(axis: &Axis, left: &[D], right: &[D]) -> TractResult<D> {
    let of = |shape: &[D], at: Option<usize>| match at {
        Some(at) => shape.get(at).cloned().context("a dimension is missing"),
        None => Ok(D::one()),
    };
    let (left, right) = (of(left, axis.left)?, of(right, axis.right)?);
    match (left.is_one(), right.is_one()) {
        (true, _) => Ok(right),
        (_, true) => Ok(left),
        _ => {
            ensure!(left.compatible_with(&right), "{left} is not {right}");
            Ok(left)
        }
    }
}

struct Shapes {
    each: Vec<Along>,
    rows: Along,
    columns: Along,
    terms: Along,
}

impl Shapes {
    fn products(&self) -> Products<'_> {
        Products {
            each: &self.each,
            rows: self.rows,
            columns: self.columns,
            terms: self.terms,
        }
    }
}

/// What becomes of products before they are factors. Inputs are told by their numbers among the node's.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    Scale(f32),
    /// An input is added.
    Add(usize),
    /// Where an input says no, there is a number.
    Keep(usize, f32),
    Softmax,
}

/// Products that are factors.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Then {
    pub steps: Vec<Step>,
    /// The left factor is what became of the products.
    pub factors: Factors,
}

/// The first two inputs are multiplied; of several products, the third is the last right factor.
#[derive(Clone)]
pub(super) struct Pairs {
    pub first: Factors,
    pub then: Option<Then>,
    pub pool: Arc<Pool>,
    pub memory: Arc<Memory>,
}

impl std::fmt::Debug for Pairs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pairs({:?}, {:?})", self.first, self.then)
    }
}

impl PartialEq for Pairs {
    fn eq(&self, other: &Pairs) -> bool {
        self.first == other.first && self.then == other.then
    }
}

impl Eq for Pairs {}

impl Pairs {
    fn output_shape<D: DimLike>(&self, inputs: &[&[D]]) -> TractResult<TVec<D>> {
        let &[left, right, ref more @ ..] = inputs else {
            bail!("a factor is missing");
        };
        let shape = self.first.out_shape(left, right)?;
        match &self.then {
            Some(then) => {
                let right = more.first().context("a factor is missing")?;
                then.factors.out_shape(&shape, right)
            }
            None => Ok(shape),
        }
    }
}

/// What a step looks at.
enum Seen<'a> {
    Numbers(&'a [f32]),
    Kept(&'a [bool]),
}

/// An input of a step, with its steps along the dimensions of products.
struct Input<'a> {
    values: Seen<'a>,
    each: Vec<usize>,
    rows: usize,
    columns: usize,
}

impl Op for Pairs {
    fn name(&self) -> StaticName {
        "Pairs".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Pairs {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let shapes: TVec<&[usize]> = inputs.iter().map(|input| input.shape()).collect();
        let shape = self.output_shape(&shapes)?;
        let mut out = self.memory.take(&shape)?;
        let views = inputs.iter().map(|input| input.try_as_plain_ram());
        let views = views.collect::<TractResult<TVec<_>>>()?;
        let numbers = |at: usize| {
            views
                .get(at)
                .context("a factor is missing")?
                .as_slice::<f32>()
        };
        let (left, right) = (numbers(0)?, numbers(1)?);
        let between = self.first.out_shape(shapes[0], shapes[1])?;
        let first = self.first.along(shapes[0], shapes[1], &between)?;
        {
            let mut out = out.try_as_plain_ram_mut()?;
            let out = out.as_slice_mut::<f32>()?;
            let has_terms = |shapes: &Shapes| shapes.terms.size > 0;
            match &self.then {
                None if has_terms(&first) => {
                    products(&self.pool, &first.products(), left, right, out);
                }
                Some(then) if has_terms(&first) && first.columns.size > 0 => {
                    let second = then.factors.along(&between, shapes[2], &shape)?;
                    let seen = then.steps.iter().map(|step| match step {
                        Step::Add(at) => {
                            let values = Seen::Numbers(numbers(*at)?);
                            self.input(shapes[*at], &between, values).map(Some)
                        }
                        Step::Keep(at, _) => {
                            let kept = views.get(*at).context("an input is missing")?;
                            let values = Seen::Kept(kept.as_slice::<bool>()?);
                            self.input(shapes[*at], &between, values).map(Some)
                        }
                        _ => Ok(None),
                    });
                    let seen = seen.collect::<TractResult<Vec<_>>>()?;
                    let each = first.each.as_slice();
                    let then_do = |product: usize, rows: Range<usize>, values: &mut [f32]| {
                        for (step, input) in then.steps.iter().zip(&seen) {
                            step.run(each, product, rows.clone(), input.as_ref(), values);
                        }
                    };
                    products_of_products(
                        &self.pool,
                        &first.products(),
                        [left, right],
                        &then_do,
                        &second.products(),
                        numbers(2)?,
                        out,
                    );
                }
                // Sums of nothing.
                _ => out.fill(0.0),
            }
        }
        Ok(tvec!(self.memory.lend(out)))
    }
}

impl Pairs {
    /// An input of a step, for products of a shape.
    fn input<'a>(
        &self,
        shape: &[usize],
        products: &[usize],
        values: Seen<'a>,
    ) -> TractResult<Input<'a>> {
        ensure!(shape.len() == products.len(), "an input of another rank");
        let fits = |(size, of): (&usize, &usize)| *size == 1 || size == of;
        ensure!(
            shape.iter().zip(products).all(fits),
            "an input of {shape:?} beside {products:?}"
        );
        let strides = strides(shape);
        let along = |axis: &Axis| step(shape, &strides, axis.out);
        Ok(Input {
            values,
            each: self.first.each.iter().map(along).collect(),
            rows: self.first.rows.as_ref().map_or(0, along),
            columns: along(&self.first.columns),
        })
    }
}

impl Step {
    /// Does it to rows of a product.
    fn run(
        &self,
        each: &[Along],
        product: usize,
        rows: Range<usize>,
        input: Option<&Input>,
        values: &mut [f32],
    ) {
        let columns = values.len() / rows.len().max(1);
        let start = input.map_or(0, |input| {
            let mut rest = product;
            let mut start = 0;
            for (along, step) in each.iter().zip(&input.each).rev() {
                start += rest % along.size * step;
                rest /= along.size;
            }
            start
        });
        for (row, values) in rows.zip(values.chunks_exact_mut(columns.max(1))) {
            let at = |input: &Input| start + row * input.rows;
            match (self, input) {
                (Step::Scale(scale), _) => values.iter_mut().for_each(|x| *x *= scale),
                (Step::Softmax, _) => softmax(values),
                (Step::Add(_), Some(input)) => {
                    let Seen::Numbers(numbers) = input.values else {
                        continue;
                    };
                    let numbers = &numbers[at(input)..];
                    match input.columns {
                        1 => values.iter_mut().zip(numbers).for_each(|(x, y)| *x += y),
                        _ => values.iter_mut().for_each(|x| *x += numbers[0]),
                    }
                }
                (Step::Keep(_, otherwise), Some(input)) => {
                    let Seen::Kept(kept) = input.values else {
                        continue;
                    };
                    let kept = &kept[at(input)..];
                    match input.columns {
                        1 => values
                            .iter_mut()
                            .zip(kept)
                            .for_each(|(x, kept)| *x = if *kept { *x } else { *otherwise }),
                        _ if kept[0] => {}
                        _ => values.fill(*otherwise),
                    }
                }
                _ => {}
            }
        }
    }
}

impl TypedOp for Pairs {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let shapes: TVec<&[TDim]> = inputs.iter().map(|input| &*input.shape).collect();
        Ok(tvec!(f32::fact(self.output_shape(&shapes)?)))
    }

    as_op!();
}
