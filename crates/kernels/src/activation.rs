//! Activation functions.

use crate::Pool;

/// `gate[i] = silu(gate[i]) * up[i]` with `silu(x) = x / (1 + exp(-x))`.
///
/// # Panics
/// If the lengths differ.
pub fn silu_mul(_pool: &Pool, gate: &mut [f32], up: &[f32]) {
    assert_eq!(gate.len(), up.len(), "silu_mul: lengths differ");
    for (g, u) in gate.iter_mut().zip(up) {
        *g = *g / (1.0 + (-*g).exp()) * u;
    }
}

/// `x / 2 (1 + erf(x / sqrt 2))`, the exact GELU.
pub fn gelu(_pool: &Pool, x: &mut [f32]) {
    for v in x {
        let a = f64::from(*v);
        // Abramowitz and Stegun 7.1.26.
        let z = a.abs() * std::f64::consts::FRAC_1_SQRT_2;
        let t = 1.0 / (1.0 + 0.3275911 * z);
        let poly = t
            * (0.254829592
                + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
        let erf = (1.0 - poly * (-z * z).exp()).copysign(a);
        *v = (a / 2.0 * (1.0 + erf)) as f32;
    }
}

/// `x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`, the approximation that GPT-2 was trained with.
pub fn gelu_tanh(_pool: &Pool, x: &mut [f32]) {
    for v in x {
        let inner = 0.797_884_6 * (*v + 0.044_715 * *v * *v * *v);
        *v = *v / 2.0 * (1.0 + inner.tanh());
    }
}
