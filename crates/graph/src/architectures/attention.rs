//! Self-attention: "Attention Is All You Need", <https://arxiv.org/abs/1706.03762>, section 3.2.

use super::builder::{Net, Rows};
use crate::Result;
use crate::lower::builder::{int, ints};

/// The layers that make queries, keys and values, and the one behind the heads.
pub(super) struct Projections {
    pub(super) query: String,
    pub(super) key: String,
    pub(super) value: String,
    pub(super) output: String,
    /// Whether the first three have biases.
    pub(super) bias: bool,
}

/// The hidden size and the number of heads that share it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heads {
    pub(super) hidden: usize,
    pub(super) heads: usize,
}

/// Every position looks at all others: `(B, L, hidden)` → `(B, L, hidden)`. `mask` is added to the scores, `(B, heads, L, L)`.
pub(super) fn attend(
    net: &mut Net<'_>,
    names: &Projections,
    x: &str,
    Heads { hidden, heads }: Heads,
    mask: Option<&str>,
) -> Result<String> {
    let head_dim = hidden / heads.max(1);
    // Zeros stand for the sizes of batch and sequence.
    let apart = net.ints(&[0, 0, heads as i64, head_dim as i64])?;
    let together = net.ints(&[0, 0, hidden as i64])?;
    // (B, L, hidden) -> (B, heads, L, D); keys -> (B, heads, D, L).
    let mut split = |layer: &str, perm: [i64; 4]| -> Result<String> {
        let y = match names.bias {
            true => net.linear(layer, x, (hidden, hidden), Rows::Many)?,
            false => {
                let weight = net.weight(&format!("{layer}.weight"), &[hidden, hidden])?;
                net.product(layer, x, &weight, None, Rows::Many)
            }
        };
        let y = net.node(layer, "Reshape", &[&y, &apart], vec![]);
        Ok(net.node(layer, "Transpose", &[&y], vec![ints("perm", perm)]))
    };
    let q = split(&names.query, [0, 2, 1, 3])?;
    let k = split(&names.key, [0, 2, 3, 1])?;
    let v = split(&names.value, [0, 2, 1, 3])?;
    let scale = net.number(1.0 / (head_dim as f64).sqrt())?;
    let q = net.node(&names.query, "Mul", &[&q, &scale], vec![]);
    let mut scores = net.node(&names.query, "MatMul", &[&q, &k], vec![]);
    if let Some(mask) = mask {
        scores = net.node(&names.query, "Add", &[&scores, mask], vec![]);
    }
    let weights = net.node(&names.query, "Softmax", &[&scores], vec![int("axis", -1)]);
    let y = net.node(&names.value, "MatMul", &[&weights, &v], vec![]);
    let y = net.node(
        &names.output,
        "Transpose",
        &[&y],
        vec![ints("perm", [0, 2, 1, 3])],
    );
    let y = net.node(&names.output, "Reshape", &[&y, &together], vec![]);
    net.linear(&names.output, &y, (hidden, hidden), Rows::Many)
}
