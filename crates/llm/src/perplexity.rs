//! How well a model foresees a text: the yardstick for what a faster or smaller computation costs.

use hearth_kernels::{AttentionSpan, KvDType};

use crate::error::Result;
use crate::model::{Batch, TextModel};
use crate::models::Scratch;

/// Rows whose logits are computed at once.
const ROWS: usize = 64;

/// A text's perplexity under a model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Perplexity {
    /// The exponential of the mean negative log-likelihood of the tokens that were foreseen.
    pub value: f64,
    /// How many tokens that were: all but the first of each window.
    pub tokens: usize,
}

/// The perplexity of `tokens` in windows of `window` tokens that follow one another and do not see each other, as the text
/// of a model with `window` positions; keys and values are kept as `kv_dtype`. `None` where no window has two tokens.
///
/// # Errors
/// Where there is no memory for the cache of a window.
///
/// # Panics
/// Where `window` is 0 or longer than the model's context, or a token is not the model's.
pub fn perplexity(
    model: &dyn TextModel,
    tokens: &[u32],
    window: usize,
    kv_dtype: KvDType,
) -> Result<Option<Perplexity>> {
    const BLOCK: usize = 16;
    let vocab_size = model.info().vocab_size;
    let hidden_size = model.info().hidden_size;
    let blocks = window.div_ceil(BLOCK);
    let mut cache = model.new_cache(blocks, BLOCK, kv_dtype)?;
    let table: Vec<u32> = (0..blocks as u32).collect();
    let numbers: Vec<u32> = (0..window as u32).collect();
    let (mut scratch, mut hidden, mut logits) = (Scratch::default(), Vec::new(), Vec::new());
    let (mut sum, mut count) = (0.0, 0);
    for window in tokens.chunks(window) {
        let numbers = &numbers[..window.len()];
        let spans = [AttentionSpan {
            rows: 0..window.len(),
            first_position: 0,
            block_table: &table,
        }];
        let batch = Batch {
            tokens: window,
            positions: numbers,
            slots: numbers,
            spans: &spans,
            // The last row foresees what is not there.
            outputs: &numbers[..window.len() - 1],
        };
        model.forward(&batch, &mut cache, &mut scratch, &mut hidden);
        let foreseen = window[1..].chunks(ROWS);
        for (hidden, next) in hidden.chunks(ROWS * hidden_size).zip(foreseen) {
            model.logits(hidden, &mut scratch, &mut logits);
            for (logits, &token) in logits.chunks_exact(vocab_size).zip(next) {
                sum += surprise(logits, token as usize);
                count += 1;
            }
        }
    }
    Ok((count > 0).then(|| Perplexity {
        value: (sum / count as f64).exp(),
        tokens: count,
    }))
}

/// The negative log-likelihood of a token.
fn surprise(logits: &[f32], token: usize) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|x| f64::from(x - max).exp()).sum();
    sum.ln() - f64::from(logits[token] - max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_as_likely_as_the_others_surprises_by_the_log_of_their_number() {
        assert!((surprise(&[700.0; 8], 3) - 8f64.ln()).abs() < 1e-12);
        assert!(surprise(&[0.0, 50.0], 1) < 1e-9);
        assert!((surprise(&[0.0, 50.0], 0) - 50.0).abs() < 1e-9);
    }
}
