//! Products of matrices.

use super::{Op, op};
use crate::lower::Step;
use crate::lower::builder::{float, int, string};
use crate::lower::call::Call;
use crate::lower::value::Tensor;

pub(super) const OPS: &[Op] = &[
    op(
        "aten::linear(Tensor input, Tensor weight, Tensor? bias=None) -> Tensor",
        "Gemm; or Transpose, MatMul, Add",
        |c| {
            let (x, w) = (c.tensor("input")?, c.tensor("weight")?);
            let bias = c.tensor_opt("bias")?;
            if let (2, 2, Some(bias)) = (x.rank(), w.rank(), &bias) {
                return c.finish(
                    "Gemm",
                    &[&x.name, &w.name, &bias.name],
                    vec![int("transB", 1)],
                );
            }
            let w = if w.rank() == 2 {
                c.transpose(&w, &[1, 0])
            } else {
                w
            };
            let y = c.emit("MatMul", &[&x.name, &w.name], vec![]);
            match bias {
                Some(bias) => c.finish("Add", &[&y, &bias.name], vec![]),
                None => c.done(y),
            }
        },
    ),
    op(
        "aten::addmm(Tensor self, Tensor mat1, Tensor mat2, *, Scalar beta=1, Scalar alpha=1) -> Tensor",
        "Gemm",
        |c| {
            let (bias, a, b) = (c.tensor("self")?, c.tensor("mat1")?, c.tensor("mat2")?);
            let (alpha, beta) = (c.float_or("alpha", 1.0)?, c.float_or("beta", 1.0)?);
            let mut attributes = Vec::new();
            if alpha != 1.0 {
                attributes.push(float("alpha", alpha));
            }
            if beta != 1.0 {
                attributes.push(float("beta", beta));
            }
            c.finish("Gemm", &[&a.name, &b.name, &bias.name], attributes)
        },
    ),
    op(
        "aten::mm(Tensor self, Tensor mat2) -> Tensor",
        "MatMul",
        |c| product(c, "mat2"),
    ),
    op(
        "aten::bmm(Tensor self, Tensor mat2) -> Tensor",
        "MatMul",
        |c| product(c, "mat2"),
    ),
    op(
        "aten::matmul(Tensor self, Tensor other) -> Tensor",
        "MatMul",
        |c| product(c, "other"),
    ),
    op(
        "aten::mv(Tensor self, Tensor vec) -> Tensor",
        "MatMul",
        |c| product(c, "vec"),
    ),
    op(
        "aten::dot(Tensor self, Tensor tensor) -> Tensor",
        "MatMul",
        |c| product(c, "tensor"),
    ),
    op(
        "aten::baddbmm(Tensor self, Tensor batch1, Tensor batch2, *, Scalar beta=1, Scalar alpha=1) -> Tensor",
        "MatMul, Mul, Add",
        |c| {
            let (bias, a, b) = (c.tensor("self")?, c.tensor("batch1")?, c.tensor("batch2")?);
            let product = c.emit("MatMul", &[&a.name, &b.name], vec![]);
            let (alpha, beta) = (c.float_or("alpha", 1.0)?, c.float_or("beta", 1.0)?);
            let product = times(c, product, alpha, &a)?;
            if beta == 0.0 {
                return c.done(product);
            }
            let bias = times(c, bias.name.clone(), beta, &bias)?;
            c.finish("Add", &[&bias, &product], vec![])
        },
    ),
    op(
        "aten::outer(Tensor self, Tensor vec2) -> Tensor",
        "Unsqueeze, Mul",
        |c| {
            let dtype = c.out_dtype()?;
            let (a, b) = (c.operand("self", dtype)?, c.operand("vec2", dtype)?);
            let axes = c.b.ints(&[1])?;
            let column = c.emit("Unsqueeze", &[&a.name, &axes], vec![]);
            c.finish("Mul", &[&column, &b.name], vec![])
        },
    ),
    op(
        "aten::einsum(str equation, Tensor[] tensors, *, int[]? path=None) -> Tensor",
        "Einsum",
        |c| {
            let equation = c.str_or("equation", "")?.replace(' ', "");
            let tensors = c.tensors("tensors")?;
            let names: Vec<&str> = tensors.iter().map(|t| t.name.as_str()).collect();
            c.finish("Einsum", &names, vec![string("equation", equation)])
        },
    ),
];

fn product(c: &mut Call<'_>, other: &str) -> Step {
    let (a, b) = (c.tensor("self")?, c.tensor(other)?);
    c.finish("MatMul", &[&a.name, &b.name], vec![])
}

/// A tensor times a number, where that is not 1.
pub(super) fn times(c: &mut Call<'_>, name: String, by: f64, like: &Tensor) -> Step<String> {
    if by == 1.0 {
        return Ok(name);
    }
    let by = c.b.number(like.dtype, by)?;
    Ok(c.emit("Mul", &[&name, &by], vec![]))
}
