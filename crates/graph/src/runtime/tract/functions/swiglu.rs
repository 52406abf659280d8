//! SwiGLU: a gate through Swish, times what it lets through (Shazeer, "GLU Variants Improve Transformer", 2020).

use super::body::Body;

pub(super) fn swiglu(body: &mut Body) -> Option<()> {
    let (gate, up) = (body.input(0)?, body.input(1)?);
    let alpha = body.setting("alpha").map_or(1.0, |a| a.f);
    let alpha = body.number(alpha, gate);
    let scaled = body.add("Mul", &[gate, &alpha], vec![]);
    let part = body.add("Sigmoid", &[&scaled], vec![]);
    let swish = body.add("Mul", &[gate, &part], vec![]);
    let out = body.add("Mul", &[&swish, up], vec![]);
    body.give(0, &out);
    Some(())
}
