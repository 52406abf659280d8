//! A convolution, or a product of rows with a matrix, as a node of tract's.

use hearth_kernels::{Activation, Convolution, Depthwise, Images, Pool, Window};
use tract_onnx::tract_core::ops::cnn::PoolSpec;
use tract_onnx::tract_hir::internal::*;

use super::memory::Memory;
use super::recognise::Rows;

/// The weights, packed.
pub(super) enum Weights {
    Convolution(Convolution),
    Depthwise(Depthwise),
}

/// The first input's last dimension is its channels; a second input, of the output's shape, is added.
#[derive(Clone)]
pub(super) struct Layer {
    pub weights: Arc<Weights>,
    pub outputs: usize,
    /// How its window moves, over images with their channels last; `None` where each row of channels is by itself.
    pub window: Option<PoolSpec>,
    pub rows: Rows,
    pub activation: Activation,
    pub pool: Arc<Pool>,
    pub memory: Arc<Memory>,
}

impl std::fmt::Debug for Layer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Layer {
            outputs,
            window,
            activation,
            ..
        } = self;
        write!(f, "Layer({outputs}, {window:?}, {activation:?})")
    }
}

impl PartialEq for Layer {
    fn eq(&self, other: &Layer) -> bool {
        Arc::ptr_eq(&self.weights, &other.weights)
            && self.window == other.window
            && self.rows == other.rows
            && self.activation == other.activation
    }
}

impl Eq for Layer {}

impl Layer {
    fn output_shape<D: DimLike>(&self, input: &[D]) -> TractResult<TVec<D>> {
        match &self.window {
            Some(window) => Ok(window.output_shape(input)?.shape),
            None => {
                let mut shape: TVec<D> = self.rows(input)?.into();
                for axis in self.rows.removed.iter().rev() {
                    ensure!(*axis < shape.len(), "a dimension is missing");
                    shape.remove(*axis);
                }
                for axis in &self.rows.added {
                    ensure!(*axis <= shape.len(), "a dimension is missing");
                    shape.insert(*axis, D::one());
                }
                shape.push(self.outputs.into());
                Ok(shape)
            }
        }
    }

    /// The dimensions that are not channels.
    fn rows<'a, D>(&self, input: &'a [D]) -> TractResult<&'a [D]> {
        let rows = input.len().checked_sub(1 + self.rows.more_channels);
        let rows = rows.context("a number has no channels")?;
        Ok(&input[..rows])
    }

    /// How many images there are, and the way over one.
    fn window(&self, input: &[usize]) -> TractResult<(usize, Window)> {
        let Some(spec) = &self.window else {
            return Ok((1, Window::rows(self.rows(input)?.iter().product())));
        };
        let shape = spec.data_format.shape(input)?;
        // A row of pixels is an image of one row.
        let pair = |sizes: &[usize], one: usize| match *sizes {
            [columns] => Ok([one, columns]),
            [rows, columns] => Ok([rows, columns]),
            _ => bail!("a window of {} dimensions", sizes.len()),
        };
        let dims = spec.computed_padding(shape.hw_dims());
        let before: TVec<usize> = dims.iter().map(|dim| dim.pad_before).collect();
        let output: TVec<usize> = dims.iter().map(|dim| dim.convoluted).collect();
        let window = Window {
            input: pair(shape.hw_dims(), 1)?,
            output: pair(&output, 1)?,
            kernel: pair(&spec.kernel_shape, 1)?,
            stride: pair(&spec.strides(), 1)?,
            dilation: pair(&spec.dilations(), 1)?,
            padding: pair(&before, 0)?,
        };
        Ok((*shape.n().unwrap_or(&1), window))
    }
}

impl Op for Layer {
    fn name(&self) -> StaticName {
        "Layer".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Layer {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = inputs.first().context("an input is missing")?;
        let (count, window) = self.window(input.shape())?;
        let mut out = self.memory.take(&self.output_shape(input.shape())?)?;
        {
            let x = input.try_as_plain_ram()?;
            let x = x.as_slice::<f32>()?;
            let add = match inputs.get(1) {
                Some(add) => {
                    ensure!(
                        add.shape() == out.shape(),
                        "what is added has another shape"
                    );
                    Some(add.try_as_plain_ram()?)
                }
                None => None,
            };
            let add = match &add {
                Some(add) => Some(add.as_slice::<f32>()?),
                None => None,
            };
            let mut out = out.try_as_plain_ram_mut()?;
            let out = out.as_slice_mut::<f32>()?;
            let images = Images {
                window: &window,
                count,
                x,
                add,
                activation: self.activation,
            };
            match &*self.weights {
                Weights::Convolution(it) => it.run(&self.pool, &images, out),
                Weights::Depthwise(it) => it.run(&self.pool, &images, out),
            }
        }
        Ok(tvec!(self.memory.lend(out)))
    }
}

impl TypedOp for Layer {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let input = inputs.first().context("an input is missing")?;
        Ok(tvec!(f32::fact(self.output_shape(&input.shape)?)))
    }

    as_op!();
}
