//! Functions of one element at a time: activations, and mathematics of one argument.

use hearth_formats::torch::ScalarType;

use super::{Op, op};
use crate::lower::Step;
use crate::lower::builder::{float, int};
use crate::lower::call::Call;
use crate::lower::value::Tensor;

pub(super) const OPS: &[Op] = &[
    op("aten::relu(Tensor self) -> Tensor", "Relu", |c| {
        unary(c, "Relu")
    }),
    op("aten::sigmoid(Tensor self) -> Tensor", "Sigmoid", |c| {
        unary_float(c, "Sigmoid")
    }),
    op("aten::tanh(Tensor self) -> Tensor", "Tanh", |c| {
        unary_float(c, "Tanh")
    }),
    op("aten::exp(Tensor self) -> Tensor", "Exp", |c| {
        unary_float(c, "Exp")
    }),
    op("aten::log(Tensor self) -> Tensor", "Log", |c| {
        unary_float(c, "Log")
    }),
    op("aten::sqrt(Tensor self) -> Tensor", "Sqrt", |c| {
        unary_float(c, "Sqrt")
    }),
    op("aten::erf(Tensor self) -> Tensor", "Erf", |c| {
        unary_float(c, "Erf")
    }),
    op(
        "aten::reciprocal(Tensor self) -> Tensor",
        "Reciprocal",
        |c| unary_float(c, "Reciprocal"),
    ),
    op("aten::sin(Tensor self) -> Tensor", "Sin", |c| {
        unary_float(c, "Sin")
    }),
    op("aten::cos(Tensor self) -> Tensor", "Cos", |c| {
        unary_float(c, "Cos")
    }),
    op("aten::tan(Tensor self) -> Tensor", "Tan", |c| {
        unary_float(c, "Tan")
    }),
    op("aten::asin(Tensor self) -> Tensor", "Asin", |c| {
        unary_float(c, "Asin")
    }),
    op("aten::acos(Tensor self) -> Tensor", "Acos", |c| {
        unary_float(c, "Acos")
    }),
    op("aten::atan(Tensor self) -> Tensor", "Atan", |c| {
        unary_float(c, "Atan")
    }),
    op("aten::sinh(Tensor self) -> Tensor", "Sinh", |c| {
        unary_float(c, "Sinh")
    }),
    op("aten::cosh(Tensor self) -> Tensor", "Cosh", |c| {
        unary_float(c, "Cosh")
    }),
    op("aten::abs(Tensor self) -> Tensor", "Abs", |c| {
        unary(c, "Abs")
    }),
    op("aten::neg(Tensor self) -> Tensor", "Neg", |c| {
        unary(c, "Neg")
    }),
    op("aten::sign(Tensor self) -> Tensor", "Sign", |c| {
        unary(c, "Sign")
    }),
    op("aten::floor(Tensor self) -> Tensor", "Floor", |c| {
        rounded(c, "Floor")
    }),
    op("aten::ceil(Tensor self) -> Tensor", "Ceil", |c| {
        rounded(c, "Ceil")
    }),
    op("aten::round(Tensor self) -> Tensor", "Round", |c| {
        rounded(c, "Round")
    }),
    op(
        "aten::trunc(Tensor self) -> Tensor",
        "Sign, Abs, Floor, Mul",
        |c| {
            let x = c.tensor("self")?;
            let (sign, size) = (
                c.emit("Sign", &[&x.name], vec![]),
                c.emit("Abs", &[&x.name], vec![]),
            );
            let down = c.emit("Floor", &[&size], vec![]);
            c.finish("Mul", &[&sign, &down], vec![])
        },
    ),
    op(
        "aten::rsqrt(Tensor self) -> Tensor",
        "Sqrt, Reciprocal",
        |c| {
            let x = float_input(c, "self")?;
            let root = c.emit("Sqrt", &[&x.name], vec![]);
            c.finish("Reciprocal", &[&root], vec![])
        },
    ),
    op("aten::log1p(Tensor self) -> Tensor", "Add, Log", |c| {
        let x = float_input(c, "self")?;
        let one = c.b.number(x.dtype, 1.0)?;
        let sum = c.emit("Add", &[&x.name, &one], vec![]);
        c.finish("Log", &[&sum], vec![])
    }),
    op("aten::expm1(Tensor self) -> Tensor", "Exp, Sub", |c| {
        let x = float_input(c, "self")?;
        let one = c.b.number(x.dtype, 1.0)?;
        let e = c.emit("Exp", &[&x.name], vec![]);
        c.finish("Sub", &[&e, &one], vec![])
    }),
    op("aten::log2(Tensor self) -> Tensor", "Log, Div", |c| {
        log_of_base(c, 2.0)
    }),
    op("aten::log10(Tensor self) -> Tensor", "Log, Div", |c| {
        log_of_base(c, 10.0)
    }),
    op("aten::exp2(Tensor self) -> Tensor", "Pow", |c| {
        let x = float_input(c, "self")?;
        let two = c.b.number(x.dtype, 2.0)?;
        c.finish("Pow", &[&two, &x.name], vec![])
    }),
    op("aten::square(Tensor self) -> Tensor", "Mul", |c| {
        let x = c.tensor("self")?;
        c.finish("Mul", &[&x.name, &x.name], vec![])
    }),
    op("aten::relu6(Tensor self) -> Tensor", "Clip", |c| {
        let x = c.tensor("self")?;
        clip(c, &x, Some(0.0), Some(6.0))
    }),
    op(
        "aten::hardtanh(Tensor self, Scalar min_val=-1, Scalar max_val=1) -> Tensor",
        "Clip",
        |c| {
            let x = c.tensor("self")?;
            let (low, high) = (c.float_or("min_val", -1.0)?, c.float_or("max_val", 1.0)?);
            clip(c, &x, Some(low), Some(high))
        },
    ),
    op("aten::silu(Tensor self) -> Tensor", "Sigmoid, Mul", |c| {
        let x = c.tensor("self")?;
        let gate = c.emit("Sigmoid", &[&x.name], vec![]);
        c.finish("Mul", &[&x.name, &gate], vec![])
    }),
    op(
        "aten::gelu(Tensor self, *, str approximate='none') -> Tensor",
        "Div, Erf, Add, Mul; or Mul, Tanh, Add",
        gelu,
    ),
    op(
        "aten::mish(Tensor self) -> Tensor",
        "Softplus, Tanh, Mul",
        |c| {
            let x = c.tensor("self")?;
            let soft = c.emit("Softplus", &[&x.name], vec![]);
            let gate = c.emit("Tanh", &[&soft], vec![]);
            c.finish("Mul", &[&x.name, &gate], vec![])
        },
    ),
    op("aten::hardswish(Tensor self) -> Tensor", "HardSwish", |c| {
        unary(c, "HardSwish")
    }),
    op(
        "aten::hardsigmoid(Tensor self) -> Tensor",
        "HardSigmoid",
        |c| {
            let x = c.tensor("self")?;
            c.finish(
                "HardSigmoid",
                &[&x.name],
                vec![float("alpha", 1.0 / 6.0), float("beta", 0.5)],
            )
        },
    ),
    op(
        "aten::leaky_relu(Tensor self, Scalar negative_slope=0.01) -> Tensor",
        "LeakyRelu",
        |c| {
            let x = c.tensor("self")?;
            let slope = c.float_or("negative_slope", 0.01)?;
            c.finish("LeakyRelu", &[&x.name], vec![float("alpha", slope)])
        },
    ),
    op(
        "aten::elu(Tensor self, Scalar alpha=1, Scalar scale=1, Scalar input_scale=1) -> Tensor",
        "Elu",
        |c| {
            let x = c.tensor("self")?;
            if c.float_or("scale", 1.0)? != 1.0 || c.float_or("input_scale", 1.0)? != 1.0 {
                return Err("a scale other than 1".into());
            }
            let alpha = c.float_or("alpha", 1.0)?;
            c.finish("Elu", &[&x.name], vec![float("alpha", alpha)])
        },
    ),
    op(
        "aten::celu(Tensor self, Scalar alpha=1.0) -> Tensor",
        "Celu",
        |c| {
            let x = c.tensor("self")?;
            let alpha = c.float_or("alpha", 1.0)?;
            c.finish("Celu", &[&x.name], vec![float("alpha", alpha)])
        },
    ),
    op("aten::selu(Tensor self) -> Tensor", "Selu", |c| {
        unary(c, "Selu")
    }),
    op(
        "aten::softplus(Tensor self, Scalar beta=1, Scalar threshold=20) -> Tensor",
        "Softplus",
        |c| {
            // Above the threshold PyTorch gives the argument itself, which softplus then equals in single precision.
            let x = c.tensor("self")?;
            let beta = c.float_or("beta", 1.0)?;
            if beta == 1.0 {
                return c.finish("Softplus", &[&x.name], vec![]);
            }
            let beta = c.b.number(x.dtype, beta)?;
            let scaled = c.emit("Mul", &[&x.name, &beta], vec![]);
            let soft = c.emit("Softplus", &[&scaled], vec![]);
            c.finish("Div", &[&soft, &beta], vec![])
        },
    ),
    op("aten::softsign(Tensor self) -> Tensor", "Softsign", |c| {
        unary(c, "Softsign")
    }),
    op(
        "aten::log_sigmoid(Tensor self) -> Tensor",
        "Sigmoid, Log",
        |c| {
            let x = c.tensor("self")?;
            let s = c.emit("Sigmoid", &[&x.name], vec![]);
            c.finish("Log", &[&s], vec![])
        },
    ),
    op(
        "aten::prelu(Tensor self, Tensor weight) -> Tensor",
        "PRelu",
        |c| prelu(c, "weight"),
    ),
    op(
        "aten::_prelu_kernel(Tensor self, Tensor weight) -> Tensor",
        "PRelu",
        |c| {
            let (x, w) = (c.tensor("self")?, c.tensor("weight")?);
            c.finish("PRelu", &[&x.name, &w.name], vec![])
        },
    ),
    op(
        "aten::glu(Tensor self, int dim=-1) -> Tensor",
        "Split, Sigmoid, Mul",
        |c| {
            let x = c.tensor("self")?;
            let axis = x.axis(c.int_or("dim", -1)?)?;
            let half = x.fixed(axis)? / 2;
            let sizes = c.b.ints(&[half, half])?;
            let parts = c.b.emit_many(
                "Split",
                &[&x.name, &sizes],
                vec![int("axis", axis as i64)],
                2,
            );
            let gate = c.emit("Sigmoid", &[&parts[1]], vec![]);
            c.finish("Mul", &[&parts[0], &gate], vec![])
        },
    ),
    op(
        "aten::clamp(Tensor self, Scalar? min=None, Scalar? max=None) -> Tensor",
        "Clip; or Max, Min",
        |c| clamp(c, "min", "max"),
    ),
    op(
        "aten::clamp_min(Tensor self, Scalar min) -> Tensor",
        "Clip; or Max",
        |c| clamp(c, "min", ""),
    ),
    op(
        "aten::clamp_max(Tensor self, Scalar max) -> Tensor",
        "Clip; or Min",
        |c| clamp(c, "", "max"),
    ),
    op(
        "aten::clamp.Tensor(Tensor self, Tensor? min=None, Tensor? max=None) -> Tensor",
        "Max, Min",
        |c| clamp(c, "min", "max"),
    ),
    op(
        "aten::softmax.int(Tensor self, int dim, ScalarType? dtype=None) -> Tensor",
        "Softmax",
        |c| softmax(c, "Softmax"),
    ),
    op(
        "aten::_softmax(Tensor self, int dim, bool half_to_float) -> Tensor",
        "Softmax",
        |c| softmax(c, "Softmax"),
    ),
    op(
        "aten::_safe_softmax(Tensor self, int dim, ScalarType? dtype=None) -> Tensor",
        "Softmax, IsNaN, Where",
        |c| {
            let x = c.operand("self", c.out_dtype()?)?;
            let axis = x.axis(c.int("dim")?)? as i64;
            let p = c.emit("Softmax", &[&x.name], vec![int("axis", axis)]);
            let bad = c.emit("IsNaN", &[&p], vec![]);
            let zero = c.b.number(x.dtype, 0.0)?;
            c.finish("Where", &[&bad, &zero, &p], vec![])
        },
    ),
    op(
        "aten::log_softmax.int(Tensor self, int dim, ScalarType? dtype=None) -> Tensor",
        "LogSoftmax",
        |c| softmax(c, "LogSoftmax"),
    ),
    op(
        "aten::_log_softmax(Tensor self, int dim, bool half_to_float) -> Tensor",
        "LogSoftmax",
        |c| softmax(c, "LogSoftmax"),
    ),
];

/// An operator of one tensor that keeps its type.
pub(super) fn unary(c: &mut Call<'_>, op: &'static str) -> Step {
    let x = c.tensor("self")?;
    c.finish(op, &[&x.name], vec![])
}

/// The first tensor in the result's type: integers become floating point.
fn float_input(c: &mut Call<'_>, name: &str) -> Step<Tensor> {
    let dtype = c.out_dtype()?;
    c.operand(name, dtype)
}

fn unary_float(c: &mut Call<'_>, op: &'static str) -> Step {
    let x = float_input(c, "self")?;
    c.finish(op, &[&x.name], vec![])
}

/// Rounding, which leaves integers as they are.
fn rounded(c: &mut Call<'_>, op: &'static str) -> Step {
    let x = c.tensor("self")?;
    if x.dtype.is_float() {
        return c.finish(op, &[&x.name], vec![]);
    }
    c.set_tensor(0, x)
}

fn log_of_base(c: &mut Call<'_>, base: f64) -> Step {
    let x = float_input(c, "self")?;
    let log = c.emit("Log", &[&x.name], vec![]);
    let by = c.b.number(x.dtype, base.ln())?;
    c.finish("Div", &[&log, &by], vec![])
}

fn clip(c: &mut Call<'_>, x: &Tensor, low: Option<f64>, high: Option<f64>) -> Step {
    let mut bound = |value: Option<f64>| match value {
        Some(value) => c.b.number(x.dtype, value),
        None => Ok(String::new()),
    };
    let (low, high) = (bound(low)?, bound(high)?);
    let inputs: &[&str] = if high.is_empty() {
        &[&x.name, &low]
    } else {
        &[&x.name, &low, &high]
    };
    c.finish("Clip", inputs, vec![])
}

/// Bounds that are numbers, tensors or missing; an empty name is one that the operator does not have.
fn clamp(c: &mut Call<'_>, min: &str, max: &str) -> Step {
    let dtype = c.out_dtype()?;
    let x = c.operand("self", dtype)?;
    let number = |c: &Call<'_>, name: &str| match c.scalar_opt(name) {
        Ok(bound) => Some(bound.and_then(|b| b.number())),
        Err(_) => None,
    };
    if dtype == ScalarType::Float
        && let (Some(low), Some(high)) = (number(c, min), number(c, max))
        && c.has(min) == low.is_some()
        && c.has(max) == high.is_some()
    {
        return clip(c, &x, low, high);
    }
    let mut name = x.name;
    for (bound, op) in [(min, "Max"), (max, "Min")] {
        if c.has(bound) {
            let bound = c.operand(bound, dtype)?;
            name = c.emit(op, &[&name, &bound.name], vec![]);
        }
    }
    c.done(name)
}

/// As its authors define it, by the error function; or the approximation by tanh.
/// Source: <https://arxiv.org/abs/1606.08415>.
fn gelu(c: &mut Call<'_>) -> Step {
    let x = c.tensor("self")?;
    let number = |c: &mut Call<'_>, value: f64| c.b.number(x.dtype, value);
    let (half, one) = (number(c, 0.5)?, number(c, 1.0)?);
    let inner = match c.str_or("approximate", "none")?.as_str() {
        "none" => {
            let root = number(c, std::f64::consts::SQRT_2)?;
            let scaled = c.emit("Div", &[&x.name, &root], vec![]);
            c.emit("Erf", &[&scaled], vec![])
        }
        "tanh" => {
            let (cubic, root) = (
                number(c, 0.044715)?,
                number(c, (2.0 / std::f64::consts::PI).sqrt())?,
            );
            let square = c.emit("Mul", &[&x.name, &x.name], vec![]);
            let cube = c.emit("Mul", &[&square, &x.name], vec![]);
            let scaled = c.emit("Mul", &[&cube, &cubic], vec![]);
            let sum = c.emit("Add", &[&x.name, &scaled], vec![]);
            let argument = c.emit("Mul", &[&sum, &root], vec![]);
            c.emit("Tanh", &[&argument], vec![])
        }
        other => return Err(format!("the approximation {other:?}")),
    };
    // In this order runtimes know it again as one operator.
    let gate = c.emit("Add", &[&inner, &one], vec![]);
    let product = c.emit("Mul", &[&x.name, &gate], vec![]);
    c.finish("Mul", &[&product, &half], vec![])
}

fn prelu(c: &mut Call<'_>, weight: &str) -> Step {
    let (x, w) = (c.tensor("self")?, c.tensor(weight)?);
    if x.rank() <= 2 || w.numel().int() == Some(1) {
        return c.finish("PRelu", &[&x.name, &w.name], vec![]);
    }
    // A slope for each channel, which is the second dimension.
    let axes: Vec<i64> = (1..x.rank() as i64 - 1).collect();
    let axes = c.b.ints(&axes)?;
    let slope = c.emit("Unsqueeze", &[&w.name, &axes], vec![]);
    c.finish("PRelu", &[&x.name, &slope], vec![])
}

fn softmax(c: &mut Call<'_>, op: &'static str) -> Step {
    let dtype = c.out_dtype()?;
    let x = c.operand("self", dtype)?;
    if x.rank() == 0 {
        // A scalar is one class of one.
        let one = c.b.ints(&[1])?;
        let row = c.emit("Reshape", &[&x.name, &one], vec![]);
        let p = c.emit(op, &[&row], vec![int("axis", 0)]);
        let none = c.b.ints(&[])?;
        return c.finish("Reshape", &[&p, &none], vec![]);
    }
    let axis = x.axis(c.int("dim")?)? as i64;
    c.finish(op, &[&x.name], vec![int("axis", axis)])
}
