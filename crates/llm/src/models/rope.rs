//! Rotary position embeddings as checkpoints describe them: frequencies and their scaling to longer contexts.
//!
//! RoPE: Su et al. 2021, <https://arxiv.org/abs/2104.09864>. YaRN: Peng et al. 2023,
//! <https://arxiv.org/abs/2309.00071>. The numbers are those of transformers v4.57.0,
//! <https://github.com/huggingface/transformers/blob/v4.57.0/src/transformers/modeling_rope_utils.py>. Llama 3's
//! scaling comes as the tensor `rope_freqs.weight`, one divisor a frequency, as llama.cpp's converter computes it.

use std::f32::consts::PI;

use hearth_kernels::{Rope, RopeStyle};

use super::weights::{Reader, Sizes, invalid};
use crate::error::{Error, Result};

/// Reads a model's rotary embedding. `sizes` must already have been held against tensors, as the number of frequencies
/// follows from them.
pub(super) fn read(reader: &mut Reader, sizes: &Sizes, style: RopeStyle) -> Result<Rope> {
    let dim = reader
        .size("rope.dimension_count")?
        .unwrap_or(sizes.head_dim);
    if !dim.is_multiple_of(2) || dim > sizes.head_dim {
        return Err(invalid(
            reader.key("rope.dimension_count"),
            dim,
            format!("an even number up to the head's width {}", sizes.head_dim),
        ));
    }
    let base = reader.positive("rope.freq_base")?.unwrap_or(10000.0);
    let mut inv_freq = frequencies(base, dim);
    let mut scale = 1.0;
    match reader.str("rope.scaling.type")?.unwrap_or("none") {
        "none" => {}
        "linear" => {
            let factor = reader.require_positive("rope.scaling.factor")?;
            inv_freq.iter_mut().for_each(|f| *f /= factor);
        }
        "yarn" => {
            let yarn = Yarn::read(reader)?;
            yarn.apply(base, dim, &mut inv_freq);
            scale = yarn.attention_factor;
        }
        other => {
            return Err(Error::Unsupported {
                key: reader.key("rope.scaling.type"),
                found: format!("{other:?}"),
                feature: "this RoPE scaling",
            });
        }
    }
    if let Some(factors) = reader.optional_vector("rope_freqs.weight", dim / 2)? {
        if let Some(bad) = factors.iter().find(|f| !(f.is_finite() && **f > 0.0)) {
            return Err(invalid(
                "rope_freqs.weight".to_owned(),
                bad,
                "divisors above 0",
            ));
        }
        inv_freq
            .iter_mut()
            .zip(&factors)
            .for_each(|(f, factor)| *f /= factor);
    }
    Ok(Rope::new(inv_freq, scale, style))
}

/// `base^(-2i/dim)` for each pair i, `[dim / 2]`, in radians per position.
fn frequencies(base: f32, dim: usize) -> Vec<f32> {
    (0..dim)
        .step_by(2)
        .map(|i| 1.0 / base.powf(i as f32 / dim as f32))
        .collect()
}

/// YaRN: low frequencies are interpolated, high ones kept, and attention is sharpened a little.
struct Yarn {
    factor: f32,
    original_context_length: f32,
    /// Rotations over the original context above which a frequency is kept.
    beta_fast: f32,
    /// Rotations over the original context below which a frequency is interpolated in full.
    beta_slow: f32,
    /// What cosines and sines are multiplied with.
    attention_factor: f32,
}

impl Yarn {
    fn read(reader: &Reader) -> Result<Yarn> {
        let factor = reader.require_positive("rope.scaling.factor")?;
        Ok(Yarn {
            factor,
            original_context_length: reader.require_size("rope.scaling.original_context_length")?
                as f32,
            beta_fast: reader
                .positive("rope.scaling.yarn_beta_fast")?
                .unwrap_or(32.0),
            beta_slow: reader
                .positive("rope.scaling.yarn_beta_slow")?
                .unwrap_or(1.0),
            attention_factor: reader.positive("rope.scaling.attn_factor")?.unwrap_or(1.0)
                * if factor > 1.0 {
                    0.1 * factor.ln() + 1.0
                } else {
                    1.0
                },
        })
    }

    fn apply(&self, base: f32, dim: usize, inv_freq: &mut [f32]) {
        // The pair whose frequency makes so many rotations over the original context.
        let pair = |rotations: f32| {
            dim as f32 * (self.original_context_length / (rotations * 2.0 * PI)).ln()
                / (2.0 * base.ln())
        };
        let low = pair(self.beta_fast).floor().max(0.0);
        let mut high = pair(self.beta_slow).ceil().min(dim as f32 - 1.0);
        if low == high {
            high += 0.001; // As upstream: keeps the ramp's slope finite.
        }
        for (i, f) in inv_freq.iter_mut().enumerate() {
            let interpolated = ((i as f32 - low) / (high - low)).clamp(0.0, 1.0);
            *f = *f / self.factor * interpolated + *f * (1.0 - interpolated);
        }
    }
}
