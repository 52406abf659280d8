//! The graph of a network under construction: the layers of PyTorch as ONNX nodes, with the checkpoint's tensors.
//!
//! A layer is named as in the checkpoint, `layer1.0.conv1`, and so are its nodes and weights. Shapes are those of PyTorch.

use std::collections::HashSet;

use hearth_formats::torch::ScalarType;
use hearth_formats::{Config, NetworkCheckpoint};
use hearth_kernels::{Bytes, DType};

use crate::lower::OPSET;
use crate::lower::builder::{Builder, float, int, ints};
use crate::onnx::{Attribute, DataType, Dim, Model, Tensor, ValueInfo};
use crate::runtime::DEFAULT_KEY;
use crate::{Error, Result};

/// The graph so far.
pub(super) struct Net<'a> {
    checkpoint: &'a NetworkCheckpoint,
    graph: Builder,
    used: HashSet<String>,
    metadata: Vec<(String, String)>,
    unused: Vec<&'static str>,
}

/// A convolution's sizes; it is square, as all here are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Conv {
    pub(super) channels: usize,
    pub(super) filters: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) padding: usize,
    pub(super) groups: usize,
    pub(super) bias: bool,
}

/// The number of dimensions that a linear layer sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rows {
    /// One vector for each sample.
    Single,
    /// More, such as one for each token.
    Many,
}

impl<'a> Net<'a> {
    pub(super) fn new(checkpoint: &'a NetworkCheckpoint) -> Net<'a> {
        Net {
            checkpoint,
            graph: Builder::default(),
            used: HashSet::new(),
            metadata: Vec::new(),
            unused: Vec::new(),
        }
    }

    /// `config.json`.
    pub(super) fn config(&self) -> &'a Config {
        self.checkpoint.config()
    }

    /// The checkpoint.
    pub(super) fn checkpoint(&self) -> &'a NetworkCheckpoint {
        self.checkpoint
    }

    /// Whether the checkpoint has a tensor.
    pub(super) fn has(&self, name: &str) -> bool {
        self.checkpoint.weights().shape(name).is_some()
    }

    /// The shape of a tensor that has to be there.
    pub(super) fn shape_of(&self, name: &str) -> Result<&'a [usize]> {
        let shape = self.checkpoint.weights().shape(name);
        shape.ok_or_else(|| self.missing(name))
    }

    fn missing(&self, name: &str) -> Error {
        let mut files = self.checkpoint.weights().labels();
        let file = files.next().unwrap_or_default().to_owned();
        let name = name.to_owned();
        hearth_formats::Error::MissingTensor { file, name }.into()
    }

    /// Tensors whose names begin or end so may be there and take no part, such as counters of training.
    pub(super) fn leave_out(&mut self, names: &[&'static str]) {
        self.unused.extend(names);
    }

    /// A tensor of the checkpoint, in single precision; its name.
    ///
    /// # Errors
    /// It is missing, of another shape, or of a type that is no floating-point number.
    pub(super) fn weight(&mut self, name: &str, shape: &[usize]) -> Result<String> {
        let weights = self.checkpoint.weights();
        let wrong = |problem: String| {
            let file = weights.label_of(name).unwrap_or_default();
            Error::from(hearth_formats::Error::tensor(file, name, problem))
        };
        let found = self.shape_of(name)?;
        if found != shape {
            return Err(wrong(format!(
                "its shape is {found:?}, and the settings ask for {shape:?}"
            )));
        }
        if !self.used.insert(name.to_owned()) {
            return Ok(name.to_owned());
        }
        let tensor = weights.tensor(name)?.ok_or_else(|| self.missing(name))?;
        let bytes = match tensor.dtype {
            DType::F32 => tensor.bytes,
            _ => {
                let values = tensor.to_f32();
                Bytes::from(
                    values
                        .iter()
                        .flat_map(|v| v.to_le_bytes())
                        .collect::<Vec<u8>>(),
                )
            }
        };
        let dims = shape.iter().map(|&d| i64::try_from(d));
        let dims: Result<Vec<i64>, _> = dims.collect();
        self.graph.reserve(name);
        self.graph.graph.initializers.push(Tensor {
            name: name.to_owned(),
            dtype: DataType::Float,
            dims: dims.map_err(|_| wrong(format!("the shape {shape:?} is too large")))?,
            bytes,
        });
        Ok(name.to_owned())
    }

    /// An input.
    pub(super) fn input(&mut self, name: &str, dtype: DataType, dims: Vec<Dim>) -> String {
        self.graph.reserve(name);
        self.graph.graph.inputs.push(ValueInfo {
            name: name.to_owned(),
            dtype,
            dims,
        });
        name.to_owned()
    }

    /// An input that may be left out: all of its elements are `default` then.
    pub(super) fn optional_input(
        &mut self,
        name: &str,
        dtype: DataType,
        dims: Vec<Dim>,
        default: i64,
    ) -> String {
        let entry = (format!("{DEFAULT_KEY}{name}"), default.to_string());
        self.metadata.push(entry);
        self.input(name, dtype, dims)
    }

    /// An output, the value `from`.
    pub(super) fn output(&mut self, name: &str, from: &str, dims: Vec<Dim>) {
        self.graph.reserve(name);
        let node = crate::onnx::Node {
            name: name.to_owned(),
            op_type: "Identity",
            inputs: vec![from.to_owned()],
            outputs: vec![name.to_owned()],
            attributes: vec![],
        };
        self.graph.graph.nodes.push(node);
        self.graph.graph.outputs.push(ValueInfo {
            name: name.to_owned(),
            dtype: DataType::Float,
            dims,
        });
    }

    /// A node with one result; the result's name.
    pub(super) fn node(
        &mut self,
        layer: &str,
        op: &'static str,
        inputs: &[&str],
        attributes: Vec<Attribute>,
    ) -> String {
        self.graph.prefix = layer.to_owned();
        self.graph.emit(op, inputs, attributes)
    }

    /// A single-precision number.
    pub(super) fn number(&mut self, value: f64) -> Result<String> {
        let made = self.graph.number(ScalarType::Float, value);
        made.map_err(|problem| self.broken(problem))
    }

    /// A vector of integers.
    pub(super) fn ints(&mut self, values: &[i64]) -> Result<String> {
        let made = self.graph.ints(values);
        made.map_err(|problem| self.broken(problem))
    }

    /// An integer without dimensions.
    pub(super) fn long(&mut self, value: i64) -> Result<String> {
        let made = self.graph.long(value);
        made.map_err(|problem| self.broken(problem))
    }

    /// A constant can't be made.
    fn broken(&self, problem: String) -> Error {
        Error::Program {
            file: self.config().label().to_owned(),
            problem,
        }
    }

    /// `Conv2d`.
    pub(super) fn conv(&mut self, layer: &str, x: &str, conv: Conv) -> Result<String> {
        let Conv {
            channels,
            filters,
            kernel,
            stride,
            padding,
            groups,
            bias,
        } = conv;
        let shape = [filters, channels / groups.max(1), kernel, kernel];
        let weight = self.weight(&format!("{layer}.weight"), &shape)?;
        let bias = match bias {
            true => Some(self.weight(&format!("{layer}.bias"), &[filters])?),
            false => None,
        };
        let mut inputs = vec![x, &weight];
        inputs.extend(bias.as_deref());
        let two = |n: usize| vec![n as i64; 2];
        let attributes = vec![
            ints("kernel_shape", two(kernel)),
            ints("strides", two(stride)),
            ints("pads", vec![padding as i64; 4]),
            int("group", groups as i64),
        ];
        Ok(self.node(layer, "Conv", &inputs, attributes))
    }

    /// `BatchNorm2d` by the statistics of training.
    pub(super) fn batch_norm(
        &mut self,
        layer: &str,
        x: &str,
        channels: usize,
        eps: f64,
    ) -> Result<String> {
        let mut inputs = vec![x.to_owned()];
        for part in ["weight", "bias", "running_mean", "running_var"] {
            inputs.push(self.weight(&format!("{layer}.{part}"), &[channels])?);
        }
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        Ok(self.node(
            layer,
            "BatchNormalization",
            &inputs,
            vec![float("epsilon", eps)],
        ))
    }

    /// `LayerNorm` over the last dimension. Older checkpoints call its parameters gamma and beta.
    pub(super) fn layer_norm(
        &mut self,
        layer: &str,
        x: &str,
        size: usize,
        eps: f64,
    ) -> Result<String> {
        let names = match self.has(&format!("{layer}.gamma")) {
            true => ["gamma", "beta"],
            false => ["weight", "bias"],
        };
        let scale = self.weight(&format!("{layer}.{}", names[0]), &[size])?;
        let bias = self.weight(&format!("{layer}.{}", names[1]), &[size])?;
        let attributes = vec![int("axis", -1), float("epsilon", eps)];
        Ok(self.node(layer, "LayerNormalization", &[x, &scale, &bias], attributes))
    }

    /// `Linear`: `(..., from)` → `(..., to)`.
    pub(super) fn linear(
        &mut self,
        layer: &str,
        x: &str,
        (from, to): (usize, usize),
        rows: Rows,
    ) -> Result<String> {
        let weight = self.weight(&format!("{layer}.weight"), &[to, from])?;
        let bias = self.weight(&format!("{layer}.bias"), &[to])?;
        Ok(self.product(layer, x, &weight, Some(&bias), rows))
    }

    /// `x · weightᵀ + bias`.
    pub(super) fn product(
        &mut self,
        layer: &str,
        x: &str,
        weight: &str,
        bias: Option<&str>,
        rows: Rows,
    ) -> String {
        if let (Rows::Single, Some(bias)) = (rows, bias) {
            return self.node(layer, "Gemm", &[x, weight, bias], vec![int("transB", 1)]);
        }
        let turned = self.node(layer, "Transpose", &[weight], vec![ints("perm", [1, 0])]);
        let product = self.node(layer, "MatMul", &[x, &turned], vec![]);
        match bias {
            Some(bias) => self.node(layer, "Add", &[&product, bias], vec![]),
            None => product,
        }
    }

    /// A function by its name in transformers' `ACT2FN`.
    ///
    /// # Errors
    /// It is none of those that are known here; the error names the setting `key`.
    pub(super) fn activation(
        &mut self,
        layer: &str,
        x: &str,
        key: &str,
        name: &str,
    ) -> Result<String> {
        let op = match name {
            "relu" => "Relu",
            "tanh" => "Tanh",
            "sigmoid" => "Sigmoid",
            "linear" => return Ok(x.to_owned()),
            "gelu" | "gelu_python" => return self.gelu(layer, x),
            "gelu_new" | "gelu_pytorch_tanh" => return self.gelu_tanh(layer, x),
            "silu" | "swish" => {
                let gate = self.node(layer, "Sigmoid", &[x], vec![]);
                return Ok(self.node(layer, "Mul", &[x, &gate], vec![]));
            }
            "relu6" => {
                let (low, high) = (self.number(0.0)?, self.number(6.0)?);
                return Ok(self.node(layer, "Clip", &[x, &low, &high], vec![]));
            }
            other => {
                return Err(self
                    .config()
                    .unsupported(format!(
                        "{key} {other:?}; supported: gelu, gelu_new, gelu_pytorch_tanh, linear, relu, relu6, sigmoid, silu, swish, tanh"
                    ))
                    .into());
            }
        };
        Ok(self.node(layer, op, &[x], vec![]))
    }

    /// `x · (1 + erf(x / √2)) / 2`, in the order in which runtimes know it again as one operator.
    fn gelu(&mut self, layer: &str, x: &str) -> Result<String> {
        let root = self.number(std::f64::consts::SQRT_2)?;
        let scaled = self.node(layer, "Div", &[x, &root], vec![]);
        let erf = self.node(layer, "Erf", &[&scaled], vec![]);
        self.half_gated(layer, x, &erf)
    }

    /// Its approximation by `tanh(√(2/π) · (x + 0.044715 x³))`.
    fn gelu_tanh(&mut self, layer: &str, x: &str) -> Result<String> {
        let (cubic, root) = (
            self.number(0.044715)?,
            self.number((2.0 / std::f64::consts::PI).sqrt())?,
        );
        let square = self.node(layer, "Mul", &[x, x], vec![]);
        let cube = self.node(layer, "Mul", &[&square, x], vec![]);
        let scaled = self.node(layer, "Mul", &[&cube, &cubic], vec![]);
        let sum = self.node(layer, "Add", &[x, &scaled], vec![]);
        let argument = self.node(layer, "Mul", &[&sum, &root], vec![]);
        let tanh = self.node(layer, "Tanh", &[&argument], vec![]);
        self.half_gated(layer, x, &tanh)
    }

    fn half_gated(&mut self, layer: &str, x: &str, inner: &str) -> Result<String> {
        let (half, one) = (self.number(0.5)?, self.number(1.0)?);
        let gate = self.node(layer, "Add", &[inner, &one], vec![]);
        let product = self.node(layer, "Mul", &[x, &gate], vec![]);
        Ok(self.node(layer, "Mul", &[&product, &half], vec![]))
    }

    /// `MaxPool2d`.
    pub(super) fn max_pool(
        &mut self,
        layer: &str,
        x: &str,
        (kernel, stride, padding): (i64, i64, i64),
    ) -> String {
        let attributes = vec![
            ints("kernel_shape", [kernel; 2]),
            ints("strides", [stride; 2]),
            ints("pads", [padding; 4]),
        ];
        self.node(layer, "MaxPool", &[x], attributes)
    }

    /// The mean over the last two dimensions: `(B, C, H, W)` → `(B, C)`.
    pub(super) fn mean_of_pixels(&mut self, layer: &str, x: &str) -> Result<String> {
        let axes = self.ints(&[2, 3])?;
        Ok(self.node(layer, "ReduceMean", &[x, &axes], vec![int("keepdims", 0)]))
    }

    /// The model, if no tensor is left but those that may be.
    pub(super) fn finish(self) -> Result<Model> {
        let weights = self.checkpoint.weights();
        let is_unused = |name: &&str| {
            !self.used.contains(*name)
                && !self
                    .unused
                    .iter()
                    .any(|u| name.starts_with(u) || name.ends_with(u))
        };
        if let Some(name) = weights.names().find(is_unused) {
            let file = weights.label_of(name).unwrap_or_default();
            let problem = format!(
                "{} with these settings has no such tensor; its shape is {:?}",
                self.checkpoint.class(),
                weights.shape(name).unwrap_or_default()
            );
            return Err(hearth_formats::Error::tensor(file, name, problem).into());
        }
        let mut graph = self.graph.graph;
        graph.name = self.checkpoint.class().to_owned();
        Ok(Model {
            opset: OPSET,
            graph,
            metadata: self.metadata,
        })
    }
}

/// A dimension of any size.
pub(super) fn any(name: &str) -> Dim {
    Dim::Symbol(name.to_owned())
}

/// A dimension of this size.
pub(super) fn fixed(size: usize) -> Dim {
    Dim::Fixed(size as i64)
}
