//! RMSNorm and LayerNorm over rows.

use crate::Pool;

/// `out = x / sqrt(mean(x^2) + eps) * weight` for every row of `x` (`[T, n]`, `n = weight.len()`).
///
/// # Panics
/// If the lengths do not fit.
pub fn rms_norm(_pool: &Pool, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    assert_eq!(x.len(), out.len(), "rms_norm: lengths differ");
    if x.is_empty() {
        return;
    }
    let n = weight.len();
    assert!(n > 0 && x.len().is_multiple_of(n), "rms_norm: ragged rows");
    for (x, out) in x.chunks_exact(n).zip(out.chunks_exact_mut(n)) {
        let mean = x.iter().map(|v| v * v).sum::<f32>() / n as f32;
        let scale = 1.0 / (mean + eps).sqrt();
        for i in 0..n {
            out[i] = x[i] * scale * weight[i];
        }
    }
}

/// `out = (x - mean) / sqrt(variance + eps) * weight + bias` for every row of `x` (`[T, n]`, `n = weight.len()`).
///
/// # Panics
/// If the lengths do not fit.
pub fn layer_norm(
    _pool: &Pool,
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    eps: f32,
    out: &mut [f32],
) {
    assert_eq!(x.len(), out.len(), "layer_norm: lengths differ");
    assert_eq!(weight.len(), bias.len(), "layer_norm: lengths differ");
    if x.is_empty() {
        return;
    }
    let n = weight.len();
    assert!(
        n > 0 && x.len().is_multiple_of(n),
        "layer_norm: ragged rows"
    );
    for (x, out) in x.chunks_exact(n).zip(out.chunks_exact_mut(n)) {
        let mean = x.iter().sum::<f32>() / n as f32;
        let variance = x.iter().map(|v| (v - mean) * (v - mean)).sum::<f32>() / n as f32;
        let scale = 1.0 / (variance + eps).sqrt();
        for i in 0..n {
            out[i] = (x[i] - mean) * scale * weight[i] + bias[i];
        }
    }
}
