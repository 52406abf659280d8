//! Dynamic sizes at run time: expressions of symbols as ONNX nodes.

use std::collections::HashMap;

use super::Step;
use super::builder::{Builder, int};
use super::expr::Expr;
use super::value::Tensor;

/// Where symbols come from, and the sizes that are computed already.
#[derive(Default)]
pub(crate) struct Sizes {
    /// For each symbol an input's name, an axis, and what the dimension is a multiple of the symbol by.
    sources: HashMap<String, (String, usize, i64)>,
    /// The name of a vector of one element, for each size so far.
    computed: HashMap<Expr, String>,
}

impl Sizes {
    /// Learns where symbols can be read from an input's dimensions.
    pub(crate) fn learn(&mut self, input: &Tensor) {
        for (axis, dim) in input.dims.iter().enumerate() {
            let (symbol, times) = match dim {
                Expr::Symbol(s) => (s, 1),
                Expr::Product(factors) => match factors.as_slice() {
                    [Expr::Int(n), Expr::Symbol(s)] if *n > 0 => (s, *n),
                    _ => continue,
                },
                _ => continue,
            };
            let known = self.sources.get(&**symbol);
            if known.is_none_or(|(_, _, by)| *by > times) {
                self.sources
                    .insert(symbol.to_string(), (input.name.clone(), axis, times));
            }
        }
    }

    /// A size as a vector of one 64-bit integer.
    pub(crate) fn one(&mut self, b: &mut Builder, size: &Expr) -> Step<String> {
        if let Expr::Int(n) = size {
            return b.ints(&[*n]);
        }
        if let Some(name) = self.computed.get(size) {
            return Ok(name.clone());
        }
        let name = match size {
            Expr::Int(n) => b.ints(&[*n])?,
            Expr::Symbol(symbol) => {
                let Some((input, axis, times)) = self.sources.get(&**symbol).cloned() else {
                    return Err(format!(
                        "the size {symbol} depends on data, or is no dimension of an input"
                    ));
                };
                let axis = axis as i64;
                let dim = b.emit(
                    "Shape",
                    &[&input],
                    vec![int("start", axis), int("end", axis + 1)],
                );
                if times == 1 {
                    dim
                } else {
                    let by = b.ints(&[times])?;
                    b.emit("Div", &[&dim, &by], vec![])
                }
            }
            Expr::Sum(list) => self.fold(b, "Add", list)?,
            Expr::Product(list) => self.fold(b, "Mul", list)?,
            Expr::Max(list) => self.fold(b, "Max", list)?,
            Expr::Min(list) => self.fold(b, "Min", list)?,
            // Sizes are not negative, so that rounding down and to zero are one.
            Expr::Quotient(x, y) => {
                let (x, y) = (self.one(b, x)?, self.one(b, y)?);
                b.emit("Div", &[&x, &y], vec![])
            }
            Expr::Remainder(x, y) => {
                let (x, y) = (self.one(b, x)?, self.one(b, y)?);
                b.emit("Mod", &[&x, &y], vec![])
            }
        };
        self.computed.insert(size.clone(), name.clone());
        Ok(name)
    }

    fn fold(&mut self, b: &mut Builder, op: &'static str, list: &[Expr]) -> Step<String> {
        let mut out = self.one(b, &list[0])?;
        for item in &list[1..] {
            let next = self.one(b, item)?;
            out = b.emit(op, &[&out, &next], vec![]);
        }
        Ok(out)
    }

    /// Sizes as a vector of 64-bit integers.
    pub(crate) fn vector(&mut self, b: &mut Builder, sizes: &[Expr]) -> Step<String> {
        if let Some(fixed) = sizes.iter().map(Expr::int).collect::<Option<Vec<i64>>>() {
            return b.ints(&fixed);
        }
        let mut parts = Vec::new();
        for size in sizes {
            parts.push(self.one(b, size)?);
        }
        if parts.len() == 1 {
            return Ok(parts.remove(0));
        }
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        Ok(b.emit("Concat", &parts, vec![int("axis", 0)]))
    }

    /// A size as a 64-bit integer without dimensions.
    pub(crate) fn scalar(&mut self, b: &mut Builder, size: &Expr) -> Step<String> {
        if let Expr::Int(n) = size {
            return b.long(*n);
        }
        let one = self.one(b, size)?;
        let none = b.ints(&[])?;
        Ok(b.emit("Reshape", &[&one, &none], vec![]))
    }

    /// What `Reshape` takes to give a tensor other dimensions, with as little computed as can be: a dimension that stays
    /// in its place is 0, and one dynamic one is -1.
    pub(crate) fn reshape_to(
        &mut self,
        b: &mut Builder,
        from: &[Expr],
        to: &[Expr],
    ) -> Step<String> {
        let mut shape = Vec::with_capacity(to.len());
        let mut open = false;
        for (i, dim) in to.iter().enumerate() {
            shape.push(match dim {
                Expr::Int(n) if *n > 0 => *n,
                // In place of a zero `Reshape` copies a dimension; -1 can't be worked out beside one.
                Expr::Int(_) => return self.vector(b, to),
                dim if from.get(i) == Some(dim) => 0,
                _ if !open => {
                    open = true;
                    -1
                }
                _ => return self.vector(b, to),
            });
        }
        b.ints(&shape)
    }
}
