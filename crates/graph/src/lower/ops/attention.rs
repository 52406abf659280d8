//! Scaled dot-product attention.

use hearth_formats::torch::ScalarType;

use super::create::count_to;
use super::shape::repeat_each;
use super::{Op, op};
use crate::lower::Step;
use crate::lower::builder::int;
use crate::lower::call::Call;
use crate::lower::expr::Expr;
use crate::lower::value::Tensor;

pub(super) const OPS: &[Op] = &[
    op(
        "aten::scaled_dot_product_attention(Tensor query, Tensor key, Tensor value, Tensor? attn_mask=None, float dropout_p=0.0, bool is_causal=False, *, float? scale=None, bool enable_gqa=False) -> Tensor",
        "Mul, Transpose, MatMul, Add, Softmax, Where",
        attention,
    ),
    op(
        "aten::_scaled_dot_product_flash_attention_for_cpu(Tensor query, Tensor key, Tensor value, float dropout_p=0.0, bool is_causal=False, *, Tensor? attn_mask=None, float? scale=None) -> (Tensor, Tensor)",
        "Mul, Transpose, MatMul, Add, Softmax, Where",
        attention,
    ),
];

/// `softmax(query · keyᵀ · scale + mask) · value`, over (..., L, E) and (..., S, E).
///
/// A boolean mask says where to look. A query that may look nowhere gets zeros, as PyTorch has it: so what is masked is
/// first made too small to matter, and set to zero after the softmax.
/// Source: `torch.nn.functional.scaled_dot_product_attention`.
fn attention(c: &mut Call<'_>) -> Step {
    if c.float_or("dropout_p", 0.0)? != 0.0 {
        return Err(
            "it drops elements at random, as in training; export the model after model.eval()"
                .into(),
        );
    }
    let (q, mut k, mut v) = (c.tensor("query")?, c.tensor("key")?, c.tensor("value")?);
    let rank = q.rank();
    if rank < 2 || k.rank() != rank || v.rank() != rank {
        return Err(format!(
            "a query of {rank} dimensions, a key of {}",
            k.rank()
        ));
    }
    if c.bool_or("enable_gqa", false)? && rank >= 3 {
        // Each head of keys and values serves as many heads of queries in a row.
        let heads = rank - 3;
        let (of_q, of_k) = (q.fixed(heads)?, k.fixed(heads)?);
        if of_k <= 0 || of_q % of_k != 0 {
            return Err(format!("{of_q} heads of queries for {of_k} of keys"));
        }
        if of_q != of_k {
            let times = Expr::Int(of_q / of_k);
            k = repeat_each(c, &k, heads, &times)?;
            v = repeat_each(c, &v, heads, &times)?;
        }
    }
    let scale = match c.scalar_opt("scale")? {
        Some(scale) => scale.number().ok_or("a scale that depends on sizes")?,
        None => 1.0 / (q.fixed(rank - 1)? as f64).sqrt(),
    };
    let scale = c.b.number(q.dtype, scale)?;
    let scaled = c.emit("Mul", &[&q.name, &scale], vec![]);
    let mut perm: Vec<usize> = (0..rank).collect();
    perm.swap(rank - 2, rank - 1);
    let kt = c.transpose(&k, &perm);
    let mut scores = c.emit("MatMul", &[&scaled, &kt.name], vec![]);

    let mut allowed: Option<Tensor> = None;
    if c.bool_or("is_causal", false)? {
        allowed = Some(causal(c, &q.dims[rank - 2], &k.dims[rank - 2])?);
    } else if let Some(mask) = c.tensor_opt("attn_mask")? {
        if mask.dtype == ScalarType::Bool {
            allowed = Some(mask);
        } else {
            let mask = c.b.cast(&mask, q.dtype)?;
            scores = c.emit("Add", &[&scores, &mask.name], vec![]);
        }
    }
    if let Some(allowed) = &allowed {
        let lowest = match q.dtype {
            ScalarType::Half => -65504.0,
            _ => f64::from(f32::MIN) / 2.0,
        };
        let lowest = c.b.number(q.dtype, lowest)?;
        scores = c.emit("Where", &[&allowed.name, &scores, &lowest], vec![]);
    }
    let mut weights = c.emit("Softmax", &[&scores], vec![int("axis", -1)]);
    if let Some(allowed) = &allowed {
        let zero = c.b.number(q.dtype, 0.0)?;
        weights = c.emit("Where", &[&allowed.name, &weights, &zero], vec![]);
    }
    c.finish("MatMul", &[&weights, &v.name], vec![])
}

/// Where a query may look: at keys up to its own place. Of shape (L, S).
fn causal(c: &mut Call<'_>, queries: &Expr, keys: &Expr) -> Step<Tensor> {
    let rows = count_to(c, queries)?;
    let columns = count_to(c, keys)?;
    let axes = c.b.ints(&[1])?;
    let rows = c.emit("Unsqueeze", &[&rows.name, &axes], vec![]);
    Ok(c.b.tensor(
        "GreaterOrEqual",
        &[&rows, &columns.name],
        vec![],
        ScalarType::Bool,
        vec![queries.clone(), keys.clone()],
    ))
}
