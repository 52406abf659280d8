//! The buffers of a forward pass, kept from one to the next so that a warm decode loop allocates nothing.

use hearth_kernels::Activations;

/// Reusable buffers of a forward pass. One scratch may serve several models in turn, one pass at a time.
#[derive(Default)]
pub struct Scratch {
    /// The residual stream, `[T, hidden_size]`.
    pub(super) x: Vec<f32>,
    /// A normalized copy of the stream, or what a block adds to it, `[T, hidden_size]`.
    pub(super) y: Vec<f32>,
    /// The input of matrix products.
    pub(super) activations: Activations,
    /// Queries, `[T, H, D]`.
    pub(super) q: Vec<f32>,
    /// Keys, `[T, K, D]`.
    pub(super) k: Vec<f32>,
    /// Values, `[T, K, D]`.
    pub(super) v: Vec<f32>,
    /// Queries, keys and values in one product, `[T, 3, H, D]`, or heads on their way through a norm.
    pub(super) qkv: Vec<f32>,
    /// Attention's answer, `[T, H, D]`.
    pub(super) attended: Vec<f32>,
    /// The MLP's inner values, `[T, intermediate_size]`.
    pub(super) gate: Vec<f32>,
    /// The gated MLP's other half, `[T, intermediate_size]`.
    pub(super) up: Vec<f32>,
}

/// `buffer` with `len` values, whatever they are; it allocates only when it has never been so long.
pub(super) fn sized(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    buffer.resize(len, 0.0);
    buffer
}

impl Scratch {
    /// Keeps only `rows` of the stream, `[T, width]`, and of attention's answer, `[T, attended_width]`, in their order.
    pub(super) fn keep_rows(&mut self, rows: &[u32], width: usize, attended_width: usize) {
        for (buffer, spare, width) in [
            (&mut self.x, &mut self.y, width),
            (&mut self.attended, &mut self.q, attended_width),
        ] {
            spare.clear();
            for &row in rows {
                let start = row as usize * width;
                spare.extend_from_slice(&buffer[start..start + width]);
            }
            std::mem::swap(buffer, spare);
        }
    }
}
