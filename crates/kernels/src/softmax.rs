//! The softmax of one row.

/// Replaces `x` by `exp(x - max) / sum`.
pub fn softmax(x: &mut [f32]) {
    let max = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for v in x.iter_mut() {
        *v = (*v - max).exp();
        sum += *v;
    }
    let scale = 1.0 / sum;
    x.iter_mut().for_each(|v| *v *= scale);
}
