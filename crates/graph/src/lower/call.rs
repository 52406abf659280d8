//! One operator's call: its arguments by name, its results, and what lowerings are written with.

use hearth_formats::pt2::{Argument, Node, SymArgument, SymFloatArgument};
use hearth_formats::torch::ScalarType;

use super::Step;
use super::builder::Builder;
use super::expr::Expr;
use super::program::Scope;
use super::sizes::Sizes;
use super::value::{Meta, Scalar, Tensor, Value};
use crate::onnx::Attribute;

/// A node that is being lowered.
pub(crate) struct Call<'a> {
    pub(crate) node: &'a Node,
    pub(crate) scope: &'a mut Scope,
    pub(crate) b: &'a mut Builder,
    pub(crate) sizes: &'a mut Sizes,
    /// The results' names, `None` where there is none.
    pub(crate) results: Vec<String>,
}

/// Whether an argument is there and not `None`.
fn given(arg: &Argument) -> bool {
    !matches!(arg, Argument::None)
}

impl Call<'_> {
    fn arg(&self, name: &str) -> Option<&Argument> {
        self.node
            .inputs
            .iter()
            .find(|input| input.name == name)
            .map(|input| &input.arg)
            .filter(|arg| given(arg))
    }

    fn need(&self, name: &str) -> Step<&Argument> {
        self.arg(name)
            .ok_or_else(|| format!("the argument {name} is missing"))
    }

    /// Whether an argument is there and not `None`.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.arg(name).is_some()
    }

    fn wrong<T>(name: &str, expected: &str, arg: &Argument) -> Step<T> {
        Err(format!("{name} should be {expected}, it is {arg:?}"))
    }

    /// A tensor.
    pub(crate) fn tensor(&self, name: &str) -> Step<Tensor> {
        match self.need(name)? {
            Argument::Tensor(value) => self.scope.tensor(value),
            other => Self::wrong(name, "a tensor", other),
        }
    }

    /// A tensor that may be missing.
    pub(crate) fn tensor_opt(&self, name: &str) -> Step<Option<Tensor>> {
        if !self.has(name) {
            return Ok(None);
        }
        self.tensor(name).map(Some)
    }

    /// A list of tensors.
    pub(crate) fn tensors(&self, name: &str) -> Step<Vec<Tensor>> {
        match self.need(name)? {
            Argument::Tensors(list) => list.iter().map(|value| self.scope.tensor(value)).collect(),
            other => Self::wrong(name, "a list of tensors", other),
        }
    }

    /// A list of tensors of which some may be missing.
    pub(crate) fn tensors_opt(&self, name: &str) -> Step<Vec<Option<Tensor>>> {
        match self.need(name)? {
            Argument::OptionalTensors(list) => list
                .iter()
                .map(|value| value.as_ref().map(|v| self.scope.tensor(v)).transpose())
                .collect(),
            _ => Ok(self.tensors(name)?.into_iter().map(Some).collect()),
        }
    }

    /// An integer, which may depend on sizes.
    pub(crate) fn size(&self, name: &str) -> Step<Expr> {
        match self.need(name)? {
            Argument::Int(n) => Ok(Expr::Int(*n)),
            Argument::SymInt(n) => self.sym(n),
            other => Self::wrong(name, "an integer", other),
        }
    }

    /// An integer, which may depend on sizes, or its default.
    pub(crate) fn size_or(&self, name: &str, default: i64) -> Step<Expr> {
        if self.has(name) {
            self.size(name)
        } else {
            Ok(Expr::Int(default))
        }
    }

    fn sym(&self, n: &SymArgument) -> Step<Expr> {
        match n {
            SymArgument::Int(n) => Ok(Expr::Int(*n)),
            SymArgument::Name(name) => match self.scope.get(name)? {
                Value::Int(expr) => Ok(expr),
                Value::Tensor(_) => Err(format!("{name} should be an integer, it is a tensor")),
            },
        }
    }

    /// A list of integers, which may depend on sizes.
    pub(crate) fn sizes(&self, name: &str) -> Step<Vec<Expr>> {
        match self.need(name)? {
            Argument::Ints(list) => Ok(list.iter().map(|&n| Expr::Int(n)).collect()),
            Argument::SymInts(list) => list.iter().map(|n| self.sym(n)).collect(),
            Argument::Int(n) => Ok(vec![Expr::Int(*n)]),
            // An empty list has no type of its own.
            Argument::Tensors(list) if list.is_empty() => Ok(Vec::new()),
            other => Self::wrong(name, "a list of integers", other),
        }
    }

    /// An integer.
    pub(crate) fn int(&self, name: &str) -> Step<i64> {
        let size = self.size(name)?;
        size.int()
            .ok_or_else(|| format!("{name} is dynamic ({size})"))
    }

    /// An integer, or its default.
    pub(crate) fn int_or(&self, name: &str, default: i64) -> Step<i64> {
        if self.has(name) {
            self.int(name)
        } else {
            Ok(default)
        }
    }

    /// A list of integers; empty where it is missing.
    pub(crate) fn ints(&self, name: &str) -> Step<Vec<i64>> {
        if !self.has(name) {
            return Ok(Vec::new());
        }
        self.sizes(name)?
            .iter()
            .map(|n| n.int().ok_or_else(|| format!("{name} is dynamic ({n})")))
            .collect()
    }

    /// A list of `count` integers; one stands for all, and `default` where it is missing or empty.
    pub(crate) fn ints_for(&self, name: &str, count: usize, default: &[i64]) -> Step<Vec<i64>> {
        let list = self.ints(name)?;
        match list.len() {
            0 => Ok(default.to_vec()),
            1 => Ok(vec![list[0]; count]),
            n if n == count => Ok(list),
            n => Err(format!("{name} has {n} members, {count} were expected")),
        }
    }

    /// A boolean, or its default.
    pub(crate) fn bool_or(&self, name: &str, default: bool) -> Step<bool> {
        match self.arg(name) {
            None => Ok(default),
            Some(Argument::Bool(b)) => Ok(*b),
            Some(other) => Self::wrong(name, "a boolean", other),
        }
    }

    /// A string, or its default.
    pub(crate) fn str_or(&self, name: &str, default: &str) -> Step<String> {
        match self.arg(name) {
            None => Ok(default.to_owned()),
            Some(Argument::String(s)) => Ok(s.clone()),
            Some(other) => Self::wrong(name, "a string", other),
        }
    }

    /// A number.
    pub(crate) fn scalar(&self, name: &str) -> Step<Scalar> {
        match self.need(name)? {
            Argument::Float(x) => Ok(Scalar::Float(*x)),
            Argument::Int(n) => Ok(Scalar::Int(Expr::Int(*n))),
            Argument::Bool(b) => Ok(Scalar::Bool(*b)),
            Argument::SymInt(n) => self.sym(n).map(Scalar::Int),
            Argument::SymFloat(SymFloatArgument::Float(x)) => Ok(Scalar::Float(*x)),
            other => Self::wrong(name, "a number", other),
        }
    }

    /// A number that may be missing.
    pub(crate) fn scalar_opt(&self, name: &str) -> Step<Option<Scalar>> {
        if !self.has(name) {
            return Ok(None);
        }
        self.scalar(name).map(Some)
    }

    /// A floating-point number, or its default.
    pub(crate) fn float_or(&self, name: &str, default: f64) -> Step<f64> {
        match self.scalar_opt(name)? {
            None => Ok(default),
            Some(scalar) => scalar
                .number()
                .ok_or_else(|| format!("{name} depends on sizes")),
        }
    }

    /// A list of floating-point numbers; empty where it is missing.
    pub(crate) fn floats(&self, name: &str) -> Step<Vec<f64>> {
        match self.arg(name) {
            None => Ok(Vec::new()),
            Some(Argument::Floats(list)) => Ok(list.clone()),
            Some(Argument::Ints(list)) => Ok(list.iter().map(|&n| n as f64).collect()),
            Some(other) => Self::wrong(name, "a list of numbers", other),
        }
    }

    /// A number as a tensor of a type, without dimensions.
    pub(crate) fn scalar_tensor(&mut self, scalar: &Scalar, dtype: ScalarType) -> Step<Tensor> {
        let splat = scalar.number();
        let (name, is) = match scalar {
            Scalar::Int(n) if n.int().is_none() => {
                (self.sizes.scalar(self.b, n)?, ScalarType::Long)
            }
            Scalar::Int(Expr::Int(n)) if dtype == ScalarType::Long => (self.b.long(*n)?, dtype),
            other => (
                self.b.number(dtype, other.number().unwrap_or(f64::NAN))?,
                dtype,
            ),
        };
        let tensor = Tensor {
            name,
            dtype: is,
            dims: Vec::new(),
            splat,
        };
        let out = self.b.cast(&tensor, dtype)?;
        Ok(Tensor { splat, ..out })
    }

    /// An argument that is a tensor or a number, as a tensor of a type.
    pub(crate) fn operand(&mut self, name: &str, dtype: ScalarType) -> Step<Tensor> {
        if let Argument::Tensor(_) = self.need(name)? {
            let tensor = self.tensor(name)?;
            return self.b.cast(&tensor, dtype);
        }
        let scalar = self.scalar(name)?;
        self.scalar_tensor(&scalar, dtype)
    }

    /// What the archive says of the result `i`.
    pub(crate) fn meta(&self, i: usize) -> Step<Meta> {
        let name = self
            .results
            .get(i)
            .ok_or_else(|| format!("there is no result {i}"))?;
        self.scope.meta(name)
    }

    /// The type of the first result.
    pub(crate) fn out_dtype(&self) -> Step<ScalarType> {
        Ok(self.meta(0)?.dtype)
    }

    /// The dimensions of the first result.
    pub(crate) fn out_dims(&self) -> Step<Vec<Expr>> {
        Ok(self.meta(0)?.dims)
    }

    /// Adds a node; the name of its one result.
    pub(crate) fn emit(
        &mut self,
        op: &'static str,
        inputs: &[&str],
        attributes: Vec<Attribute>,
    ) -> String {
        self.b.emit(op, inputs, attributes)
    }

    /// The first result is the tensor of this name.
    pub(crate) fn done(&mut self, name: String) -> Step {
        self.set(0, name)
    }

    /// The result `i` is the tensor of this name.
    pub(crate) fn set(&mut self, i: usize, name: String) -> Step {
        let meta = self.meta(i)?;
        let tensor = Tensor {
            name,
            dtype: meta.dtype,
            dims: meta.dims,
            splat: None,
        };
        self.set_tensor(i, tensor)
    }

    /// The result `i` is this tensor, which is cast where the archive says another type.
    pub(crate) fn set_tensor(&mut self, i: usize, tensor: Tensor) -> Step {
        let meta = self.meta(i)?;
        let splat = tensor.splat;
        let mut tensor = self.b.cast(&tensor, meta.dtype)?;
        tensor.dims = meta.dims;
        tensor.splat = splat;
        let name = self.results[i].clone();
        self.scope.set(name, Value::Tensor(tensor));
        Ok(())
    }

    /// The result `i` is this tensor, whatever the archive says of it.
    pub(crate) fn set_known(&mut self, i: usize, tensor: Tensor) -> Step {
        let name = self
            .results
            .get(i)
            .ok_or_else(|| format!("there is no result {i}"))?;
        self.scope.set(name.clone(), Value::Tensor(tensor));
        Ok(())
    }

    /// Adds a node whose result is the call's first.
    pub(crate) fn finish(
        &mut self,
        op: &'static str,
        inputs: &[&str],
        attributes: Vec<Attribute>,
    ) -> Step {
        let name = self.emit(op, inputs, attributes);
        self.done(name)
    }

    /// A tensor with other dimensions.
    pub(crate) fn reshape(&mut self, tensor: &Tensor, dims: &[Expr]) -> Step<Tensor> {
        if tensor.dims == dims {
            return Ok(tensor.clone());
        }
        let shape = self.sizes.reshape_to(self.b, &tensor.dims, dims)?;
        let mut out = self.b.tensor(
            "Reshape",
            &[&tensor.name, &shape],
            vec![],
            tensor.dtype,
            dims.to_vec(),
        );
        out.splat = tensor.splat;
        Ok(out)
    }

    /// A tensor with its axes in another order.
    pub(crate) fn transpose(&mut self, tensor: &Tensor, perm: &[usize]) -> Tensor {
        if perm.iter().enumerate().all(|(i, &p)| i == p) {
            return tensor.clone();
        }
        let axes: Vec<i64> = perm.iter().map(|&p| p as i64).collect();
        let dims = perm.iter().map(|&p| tensor.dims[p].clone()).collect();
        self.b.tensor(
            "Transpose",
            &[&tensor.name],
            vec![super::builder::ints("perm", axes)],
            tensor.dtype,
            dims,
        )
    }

    /// A tensor repeated to larger dimensions, as `Expand` does.
    pub(crate) fn expand(&mut self, tensor: &Tensor, dims: &[Expr]) -> Step<Tensor> {
        if tensor.dims == dims {
            return Ok(tensor.clone());
        }
        // A dimension that stays needs no size: 1 leaves it as it is.
        let lead = dims.len().saturating_sub(tensor.rank());
        let wanted: Vec<Expr> = dims
            .iter()
            .enumerate()
            .map(
                |(i, dim)| match i.checked_sub(lead).map(|j| &tensor.dims[j]) {
                    Some(have) if have == dim => Expr::Int(1),
                    _ => dim.clone(),
                },
            )
            .collect();
        let shape = self.sizes.vector(self.b, &wanted)?;
        let mut out = self.b.tensor(
            "Expand",
            &[&tensor.name, &shape],
            vec![],
            tensor.dtype,
            dims.to_vec(),
        );
        out.splat = tensor.splat;
        Ok(out)
    }
}
