//! The table of operators: a file a group, an entry an overload.

mod activation;
mod arithmetic;
mod attention;
mod compare;
mod conv;
mod copy;
mod create;
pub(super) mod index;
mod matmul;
mod norm;
mod pool;
mod recurrent;
mod reduce;
mod resize;
mod shape;

use std::collections::HashMap;
use std::sync::OnceLock;

use super::Step;
use super::call::Call;

/// An operator's entry in the table.
pub(crate) struct Op {
    /// Its signature, as `native_functions.yaml` of PyTorch has it, without what a lowering does not look at.
    schema: &'static str,
    /// The ONNX operators that it becomes.
    onnx: &'static str,
    /// Adds those to the graph.
    pub(super) lower: fn(&mut Call<'_>) -> Step,
}

const fn op(schema: &'static str, onnx: &'static str, lower: fn(&mut Call<'_>) -> Step) -> Op {
    Op {
        schema,
        onnx,
        lower,
    }
}

impl Op {
    /// The name in programs: `aten.relu.default` for `aten::relu(Tensor self) -> Tensor`.
    fn target(&self) -> String {
        let name = self.schema.split('(').next().unwrap_or(self.schema);
        let name = name.replace("::", ".");
        // A namespace and a name: without an overload it is the default one.
        if name.matches('.').count() == 1 {
            name + ".default"
        } else {
            name
        }
    }
}

fn all() -> impl Iterator<Item = &'static Op> {
    [
        activation::OPS,
        arithmetic::OPS,
        attention::OPS,
        compare::OPS,
        conv::OPS,
        copy::OPS,
        create::OPS,
        index::OPS,
        matmul::OPS,
        norm::OPS,
        pool::OPS,
        recurrent::OPS,
        reduce::OPS,
        resize::OPS,
        shape::OPS,
    ]
    .into_iter()
    .flatten()
}

/// The operator of a name, and whether the name is that of its in-place variant (`aten.relu_.default`).
pub(super) fn find(target: &str) -> Option<(&'static Op, bool)> {
    static TABLE: OnceLock<HashMap<String, &'static Op>> = OnceLock::new();
    let table = TABLE.get_or_init(|| all().map(|op| (op.target(), op)).collect());
    if let Some(op) = table.get(target) {
        return Some((op, false));
    }
    let (name, overload) = target.rsplit_once('.')?;
    let name = name.strip_suffix('_')?;
    let op = table.get(&format!("{name}.{overload}"))?;
    Some((op, true))
}

/// The names of all operators in programs, with their schemas.
pub(crate) fn schemas() -> impl Iterator<Item = (String, &'static str)> {
    all().map(|op| (op.target(), op.schema))
}

/// An operator that has a lowering.
#[derive(Debug, Clone)]
pub struct SupportedOperator {
    /// The name in programs, such as `aten.relu.default`.
    pub target: String,
    /// The ATen schema.
    pub schema: &'static str,
    /// The ONNX operators that it becomes.
    pub onnx: &'static str,
}

/// All operators with a lowering, by name. Those that have an in-place variant (`aten.relu_.default`) take it too.
pub fn supported() -> Vec<SupportedOperator> {
    let mut list: Vec<SupportedOperator> = all()
        .map(|op| SupportedOperator {
            target: op.target(),
            schema: op.schema,
            onnx: op.onnx,
        })
        .collect();
    list.sort_by(|a, b| a.target.cmp(&b.target));
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operator_has_one_entry() {
        let list = supported();
        for pair in list.windows(2) {
            assert_ne!(pair[0].target, pair[1].target);
        }
        for op in &list {
            assert!(
                op.schema.contains("self") || op.schema.contains('('),
                "{}",
                op.schema
            );
            assert!(op.target.matches('.').count() == 2, "{}", op.target);
        }
    }

    #[test]
    fn in_place_variants_are_found() {
        assert!(!find("aten.relu.default").unwrap().1);
        assert!(find("aten.relu_.default").unwrap().1);
        assert!(find("aten.add_.Tensor").unwrap().1);
        assert!(!find("aten.__and__.Tensor").unwrap().1);
        assert!(find("aten.no_such_thing.default").is_none());
        assert!(find("relu").is_none());
    }
}
