//! How tokens are chosen.

use crate::engine::EngineError;

/// Settings of the sampler. The default draws from the model's own distribution.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplingParams {
    /// Divides the logits; 0 always takes the most likely token. Not negative. Default 1.
    pub temperature: f32,
    /// Draw from the k most likely tokens; at least 1. Default: from all.
    pub top_k: Option<usize>,
    /// Draw from the most likely tokens that together have this probability; in (0, 1].
    /// Default 1: from all.
    pub top_p: f32,
    /// Draw from the tokens with at least this share of the most likely one's probability; in
    /// [0, 1]. Default 0: from all.
    pub min_p: f32,
    /// Divides positive logits, and multiplies negative ones, of tokens in the prompt or the
    /// answer; above 0. Default 1: no penalty.
    pub repetition_penalty: f32,
    /// Subtracted from the logits of tokens in the answer. Default 0.
    pub presence_penalty: f32,
    /// Subtracted from the logits of tokens in the answer, for each time they appear. Default 0.
    pub frequency_penalty: f32,
    /// Added to the logits of these tokens; negative infinity bans one. Default: none.
    pub logit_bias: Vec<(u32, f32)>,
    /// Seed of the draws; the same seed gives the same text. Default: a random one, which
    /// [`Generation::seed`](crate::engine::Generation::seed) tells.
    pub seed: Option<u64>,
}

impl Default for SamplingParams {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: None,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: Vec::new(),
            seed: None,
        }
    }
}

impl SamplingParams {
    /// Always the most likely token.
    pub fn greedy() -> Self {
        Self {
            temperature: 0.0,
            ..Self::default()
        }
    }

    /// Whether penalties need to know which tokens appeared.
    pub(crate) fn has_penalties(&self) -> bool {
        self.repetition_penalty != 1.0
            || self.presence_penalty != 0.0
            || self.frequency_penalty != 0.0
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`EngineError::InvalidParameter`] with the field's name.
    pub fn validate(&self, vocab_size: usize) -> Result<(), EngineError> {
        let check = |param: &'static str, valid: bool, value: f32, wanted: &str| {
            if valid {
                return Ok(());
            }
            Err(EngineError::InvalidParameter {
                param,
                message: format!("{value} is not {wanted}"),
            })
        };
        let t = self.temperature;
        check(
            "temperature",
            t.is_finite() && t >= 0.0,
            t,
            "a number from 0",
        )?;
        if self.top_k == Some(0) {
            check("top_k", false, 0.0, "at least 1")?;
        }
        let p = self.top_p;
        check("top_p", p > 0.0 && p <= 1.0, p, "in (0, 1]")?;
        let p = self.min_p;
        check("min_p", (0.0..=1.0).contains(&p), p, "in [0, 1]")?;
        let p = self.repetition_penalty;
        check(
            "repetition_penalty",
            p.is_finite() && p > 0.0,
            p,
            "a number above 0",
        )?;
        let p = self.presence_penalty;
        check("presence_penalty", p.is_finite(), p, "a number")?;
        let p = self.frequency_penalty;
        check("frequency_penalty", p.is_finite(), p, "a number")?;
        for &(token, bias) in &self.logit_bias {
            let valid = bias.is_finite() || bias == f32::NEG_INFINITY;
            check("logit_bias", valid, bias, "a number or -infinity")?;
            if token as usize >= vocab_size {
                return Err(EngineError::InvalidParameter {
                    param: "logit_bias",
                    message: format!("token {token} is outside the vocabulary of {vocab_size}"),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_checked_and_named() {
        type Change = fn(&mut SamplingParams);
        let cases: [(&str, Change); 13] = [
            ("temperature", |p| p.temperature = f32::NAN),
            ("temperature", |p| p.temperature = f32::INFINITY),
            ("top_k", |p| p.top_k = Some(0)),
            ("top_p", |p| p.top_p = 0.0),
            ("top_p", |p| p.top_p = 1.5),
            ("min_p", |p| p.min_p = -0.1),
            ("min_p", |p| p.min_p = f32::NAN),
            ("repetition_penalty", |p| p.repetition_penalty = 0.0),
            ("presence_penalty", |p| p.presence_penalty = f32::NAN),
            ("frequency_penalty", |p| p.frequency_penalty = f32::INFINITY),
            ("logit_bias", |p| p.logit_bias = vec![(1, f32::NAN)]),
            ("logit_bias", |p| p.logit_bias = vec![(1, f32::INFINITY)]),
            ("logit_bias", |p| p.logit_bias = vec![(100, 1.0)]),
        ];
        for (name, change) in cases {
            let mut params = SamplingParams::default();
            params.validate(100).unwrap();
            change(&mut params);
            match params.validate(100) {
                Err(EngineError::InvalidParameter { param, .. }) => assert_eq!(param, name),
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}
