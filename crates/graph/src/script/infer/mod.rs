//! Type and shape of what operators give: a file a group, as the table of lowerings has them.
//!
//! Exported programs say these of every value; TorchScript says them of none. An operator that is used on an input of
//! which nothing is known tells here what it takes.

mod create;
mod elementwise;
mod index;
mod layers;
mod reduce;
mod shape;

use hearth_formats::torch::ScalarType;

use super::dims;
use super::facts::{Facts, RANKS, Step};
use super::schema::Bound;
use super::value::Value;
use crate::lower::expr::Expr;
use crate::lower::value::{Meta, Scalar, axis_of};

/// A call whose results are worked out.
pub(super) struct Infer<'r> {
    pub(super) facts: &'r mut Facts,
    pub(super) bound: &'r Bound,
}

/// What a group of operators gives; `None` where the operator is not of the group.
type Group = fn(&mut Infer<'_>, &str) -> Step<Option<Vec<Meta>>>;

const GROUPS: [Group; 6] = [
    elementwise::results,
    layers::results,
    shape::results,
    index::results,
    reduce::results,
    create::results,
];

/// A dense tensor.
fn fresh(dtype: ScalarType, dims: Vec<Expr>) -> Meta {
    Meta {
        dtype,
        layout: dims::dense(&dims),
        dims,
    }
}

fn one(dtype: ScalarType, dims: Vec<Expr>) -> Step<Option<Vec<Meta>>> {
    Ok(Some(vec![fresh(dtype, dims)]))
}

impl Infer<'_> {
    /// Type and shape of each result of the operator `name`.
    pub(super) fn results(&mut self, name: &str) -> Step<Vec<Meta>> {
        for group in GROUPS {
            if let Some(results) = group(self, name)? {
                return Ok(results);
            }
        }
        Err(
            "what it gives is not worked out for TorchScript, only in programs of torch.export"
                .into(),
        )
    }

    fn has(&self, name: &str) -> bool {
        self.bound.get(name).is_some()
    }

    /// A tensor. The rank of an input that is not known is tried.
    fn tensor(&mut self, name: &str) -> Step<Meta> {
        self.tensor_of(name, &RANKS)
    }

    /// A tensor; of an input of which nothing is known, it is of one of these ranks.
    fn tensor_of(&mut self, name: &str, ranks: &[usize]) -> Step<Meta> {
        match self.bound.get(name) {
            Some(value @ Value::Tensor(_)) => {
                let value = value.clone();
                self.meta(&value, ranks)
            }
            Some(other) => Err(format!("{name} is {}, not a tensor", other.kind()).into()),
            None => Err(format!("{name} is missing").into()),
        }
    }

    fn meta(&mut self, value: &Value, ranks: &[usize]) -> Step<Meta> {
        let Value::Tensor(tensor) = value else {
            return Err(format!("{} among tensors", value.kind()).into());
        };
        match (&tensor.meta, tensor.input) {
            (Some(meta), _) => Ok(meta.as_ref().clone()),
            (None, Some(input)) => self.facts.unknown(input, ranks),
            (None, None) => Err("a tensor of which nothing is known".into()),
        }
    }

    /// A tensor that has to be of this type and, where it is an input of which nothing is known, of one of these ranks.
    fn typed(&mut self, name: &str, dtype: ScalarType, ranks: &[usize]) -> Step<Meta> {
        let (input, typed_by) = match self.bound.get(name) {
            Some(Value::Tensor(tensor)) => (tensor.input, tensor.typed_by),
            _ => (None, 0),
        };
        if let Some(input) = input
            && self.facts.inputs[input].dtype.is_none()
        {
            self.facts.inputs[input].dtype = Some(dtype);
        }
        let meta = self.tensor_of(name, ranks)?;
        if meta.dtype != dtype {
            self.facts.learn_dtype(typed_by, dtype)?;
        }
        Ok(meta)
    }

    /// An index: integers, which an input of which nothing is known then has.
    fn indices(&mut self, name: &str, ranks: &[usize]) -> Step<Meta> {
        let is_index = |dtype| matches!(dtype, ScalarType::Long | ScalarType::Int);
        let known = match self.bound.get(name) {
            Some(Value::Tensor(tensor)) => tensor.meta.as_ref().map(|meta| meta.dtype),
            _ => None,
        };
        match known {
            Some(dtype) if is_index(dtype) => self.tensor(name),
            _ => {
                let meta = self.typed(name, ScalarType::Long, ranks)?;
                if !is_index(meta.dtype) {
                    return Err(
                        format!("{name} is of {:?}, integers were expected", meta.dtype).into(),
                    );
                }
                Ok(meta)
            }
        }
    }

    fn tensors(&mut self, name: &str) -> Step<Vec<Meta>> {
        let items = self.bound.get(name).and_then(Value::items);
        let items = items.ok_or_else(|| format!("{name} is no list of tensors"))?;
        items.iter().map(|item| self.meta(item, &RANKS)).collect()
    }

    /// An integer that may depend on sizes.
    fn size(&self, name: &str) -> Step<Expr> {
        match self.bound.get(name) {
            Some(Value::Int(n)) => Ok(n.clone()),
            _ => Err(format!("{name} is no integer").into()),
        }
    }

    fn int_or(&self, name: &str, default: i64) -> Step<i64> {
        match self.bound.get(name) {
            None => Ok(default),
            Some(Value::Int(Expr::Int(n))) => Ok(*n),
            Some(_) => Err(format!("{name} is no number that is known").into()),
        }
    }

    fn bool_or(&self, name: &str, default: bool) -> bool {
        match self.bound.get(name) {
            Some(Value::Bool(b)) => *b,
            _ => default,
        }
    }

    /// A list of integers that may depend on sizes; one stands for a list of one.
    fn sizes(&self, name: &str) -> Step<Vec<Expr>> {
        let of = |value: &Value| match value {
            Value::Int(n) => Ok(n.clone()),
            other => Err(format!("{name} holds {}", other.kind()).into()),
        };
        match self.bound.get(name) {
            None => Ok(Vec::new()),
            Some(value @ Value::Int(_)) => Ok(vec![of(value)?]),
            Some(list) => {
                let items = list.items().ok_or_else(|| format!("{name} is no list"))?;
                // Sizes are multiplied, and each is looked for among others.
                self.facts.spend(items.len() * items.len() / 16)?;
                items.iter().map(of).collect()
            }
        }
    }

    fn ints(&self, name: &str) -> Step<Vec<i64>> {
        let sizes = self.sizes(name)?;
        let ints = sizes.iter().map(Expr::int).collect::<Option<Vec<i64>>>();
        let ints = ints.ok_or_else(|| format!("{name} depends on sizes"))?;
        // Kernels, strides and axes; a larger number than any of these is a mistake, and products of it overflow.
        match ints.iter().find(|n| i32::try_from(**n).is_err()) {
            Some(n) => Err(format!("{name} is {n}").into()),
            None => Ok(ints),
        }
    }

    /// As many integers as axes; one stands for all of them, and `default` where there are none.
    fn ints_for(&self, name: &str, count: usize, default: i64) -> Step<Vec<i64>> {
        let list = self.ints(name)?;
        match list.len() {
            0 => Ok(vec![default; count]),
            1 => Ok(vec![list[0]; count]),
            n if n == count => Ok(list),
            n => Err(format!("{name} has {n} members, {count} were expected").into()),
        }
    }

    /// The axes that a list names, or all; counted from the front.
    fn axes(&self, name: &str, rank: usize) -> Step<Vec<usize>> {
        let list = self.ints(name)?;
        if list.is_empty() {
            return Ok((0..rank).collect());
        }
        let axes = list.iter().map(|&axis| axis_of(axis, rank));
        Ok(axes.collect::<Result<_, String>>()?)
    }

    fn axis(&self, name: &str, default: i64, rank: usize) -> Step<usize> {
        Ok(axis_of(self.int_or(name, default)?, rank)?)
    }

    fn scalar(&self, name: &str) -> Option<Scalar> {
        self.bound.get(name).and_then(Value::scalar)
    }

    /// The type that the argument `dtype` asks for.
    fn dtype(&self) -> Step<Option<ScalarType>> {
        match self.bound.get("dtype") {
            None => Ok(None),
            Some(Value::Int(Expr::Int(code))) => {
                let dtype = ScalarType::of_code(*code);
                Ok(Some(
                    dtype.ok_or_else(|| format!("the type of number {code}"))?,
                ))
            }
            Some(_) => Err("a type that is no number".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::schema::overloads;

    /// Operators that TorchScript has no name for, or that become others before they are nodes.
    const NEVER: [&str; 7] = [
        "_to_copy",
        "dropout",
        "feature_dropout",
        "alpha_dropout",
        "native_dropout",
        "empty_permuted",
        "_prelu_kernel",
    ];

    #[test]
    fn each_operator_of_the_table_is_worked_out_or_said_not_to_be() {
        let mut names: Vec<String> = crate::lower::supported()
            .iter()
            .filter_map(|op| op.target.split('.').nth(1).map(str::to_owned))
            .collect();
        names.dedup();
        let mut missing = Vec::new();
        for name in names {
            let schema = &overloads(&name)[0];
            let bound = Bound {
                schema,
                values: schema.parameters.iter().map(|_| None).collect(),
                extras: Vec::new(),
            };
            let mut infer = Infer {
                facts: &mut Facts::default(),
                bound: &bound,
            };
            // Without arguments they all fail, but those that are not known fail by saying so.
            if let Err(crate::script::facts::Stop::Wrong { problem, .. }) = infer.results(&name)
                && problem.starts_with("what it gives")
                && !NEVER.contains(&name.as_str())
            {
                missing.push(name);
            }
        }
        assert!(missing.is_empty(), "{missing:?}");
    }
}
