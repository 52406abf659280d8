//! One sequence's sampler, and the scores that are reported beside it.

use std::cell::RefCell;
use std::collections::HashMap;

use super::params::SamplingParams;
use super::philox::uniform;
use super::select::{Candidate, keep_mass, top_k};

thread_local! {
    /// Room to select in, so that no step allocates: one a thread, as rows are sampled in parallel.
    static CANDIDATES: RefCell<Vec<Candidate>> = const { RefCell::new(Vec::new()) };
}

/// Chooses the tokens of one sequence.
#[derive(Debug)]
pub(crate) struct Sampler {
    params: SamplingParams,
    seed: u64,
    /// How often each token appeared in the answer; 0 for those of the prompt alone. Empty where
    /// there are no penalties.
    seen: HashMap<u32, u32>,
}

impl Sampler {
    /// `seed` counts, not the one in `params`, which may be none.
    pub fn new(params: SamplingParams, seed: u64, prompt: &[u32]) -> Self {
        let seen = match params.has_penalties() {
            true => prompt.iter().map(|&token| (token, 0)).collect(),
            false => HashMap::new(),
        };
        Self { params, seed, seen }
    }

    /// Notes a token of the answer.
    pub fn accept(&mut self, token: u32) {
        if self.params.has_penalties() {
            *self.seen.entry(token).or_insert(0) += 1;
        }
    }

    /// The token at `index` of the answer, given its `logits` `[V]`, which are overwritten.
    ///
    /// `None` where a logit is NaN or positive infinity, or none is above negative infinity.
    pub fn sample(&self, logits: &mut [f32], index: u64) -> Option<u32> {
        let params = &self.params;
        for &(token, bias) in &params.logit_bias {
            logits[token as usize] += bias;
        }
        self.apply_penalties(logits);
        let max = finite_max(logits)?;
        if params.temperature == 0.0 {
            let best = logits.iter().position(|&logit| logit == max)?;
            return u32::try_from(best).ok();
        }
        let random = uniform(self.seed, index);
        CANDIDATES.with_borrow_mut(|candidates| match params.top_k {
            Some(k) if k < logits.len() => {
                top_k(logits, k, candidates);
                for candidate in candidates.iter_mut() {
                    candidate.value = ((candidate.value - max) / params.temperature).exp();
                }
                if params.top_p < 1.0 {
                    let total: f64 = candidates.iter().map(|c| f64::from(c.value)).sum();
                    keep_mass(candidates, f64::from(params.top_p) * total);
                }
                draw_sorted(candidates, params.min_p, random)
            }
            _ => {
                for logit in logits.iter_mut() {
                    *logit = (*logit - max) / params.temperature;
                }
                hearth_kernels::softmax(logits);
                if params.top_p < 1.0 {
                    nucleus(logits, params.top_p, candidates);
                    draw_sorted(candidates, params.min_p, random)
                } else {
                    draw_any(logits, params.min_p, random)
                }
            }
        })
    }

    /// Repetition first, then frequency and presence, as vLLM does.
    fn apply_penalties(&self, logits: &mut [f32]) {
        let params = &self.params;
        for (&token, &count) in &self.seen {
            let logit = &mut logits[token as usize];
            if *logit > 0.0 {
                *logit /= params.repetition_penalty;
            } else {
                *logit *= params.repetition_penalty;
            }
            if count > 0 {
                *logit -= count as f32 * params.frequency_penalty + params.presence_penalty;
            }
        }
    }
}

/// The log-probability of `token` and the `k` likeliest alternatives with theirs, by log-softmax
/// over `logits` `[V]`.
///
/// `None` as for [`Sampler::sample`].
pub(crate) fn score(logits: &[f32], token: u32, k: usize) -> Option<(f32, Vec<(u32, f32)>)> {
    let max = finite_max(logits)?;
    let sum: f64 = logits.iter().map(|l| f64::from((l - max).exp())).sum();
    let logprob = |logit: f32| (f64::from(logit) - f64::from(max) - sum.ln()) as f32;
    let top = CANDIDATES.with_borrow_mut(|candidates| {
        top_k(logits, k, candidates);
        let top = candidates.iter().map(|c| (c.token, logprob(c.value)));
        top.collect()
    });
    Some((logprob(logits[token as usize]), top))
}

/// The largest logit, where all are below infinity and one is above negative infinity.
pub(crate) fn finite_max(logits: &[f32]) -> Option<f32> {
    let mut max = f32::NEG_INFINITY;
    let mut valid = true;
    for &logit in logits {
        // False for NaN too.
        valid &= logit < f32::INFINITY;
        max = if logit > max { logit } else { max };
    }
    (valid && max > f32::NEG_INFINITY).then_some(max)
}

/// The most likely tokens with together `top_p` of the probability, in order.
fn nucleus(probabilities: &[f32], top_p: f32, candidates: &mut Vec<Candidate>) {
    // Tokens below (1 - p) / V have less than 1 - p together, so the others reach p without them.
    // Half of that leaves room for the rounding of sums.
    let cutoff = (1.0 - top_p) / (2.0 * probabilities.len() as f32);
    candidates.clear();
    for (token, &value) in (0u32..).zip(probabilities) {
        if value >= cutoff && value > 0.0 {
            candidates.push(Candidate { value, token });
        }
    }
    let total: f64 = probabilities.iter().map(|&p| f64::from(p)).sum();
    keep_mass(candidates, f64::from(top_p) * total);
}

/// Draws from candidates in order; those below `min_p` of the first are no candidates.
fn draw_sorted(candidates: &[Candidate], min_p: f32, random: f64) -> Option<u32> {
    let least = min_p * candidates.first()?.value;
    let end = candidates.partition_point(|c| c.value >= least);
    let weighted = candidates[..end].iter().map(|c| (c.token, c.value));
    draw(weighted, random)
}

/// Draws from all tokens but those below `min_p` of the most likely one.
fn draw_any(probabilities: &[f32], min_p: f32, random: f64) -> Option<u32> {
    let least = min_p * finite_max(probabilities)?;
    let weighted = (0u32..).zip(probabilities.iter().copied());
    draw(weighted.filter(|&(_, p)| p >= least), random)
}

/// The token at `random`, in [0, 1), of the way through the weights.
fn draw(weighted: impl Iterator<Item = (u32, f32)> + Clone, random: f64) -> Option<u32> {
    let total: f64 = weighted.clone().map(|(_, weight)| f64::from(weight)).sum();
    let target = random * total;
    let mut passed = 0.0;
    let mut last = None;
    for (token, weight) in weighted.filter(|&(_, weight)| weight > 0.0) {
        passed += f64::from(weight);
        if passed > target {
            return Some(token);
        }
        // Where rounding leaves the target at the very end.
        last = Some(token);
    }
    last
}

#[cfg(test)]
mod tests;
