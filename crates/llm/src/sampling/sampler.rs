//! One sequence's sampler, and the scores that are reported beside it.

use std::cell::RefCell;
use std::collections::HashMap;

use super::params::SamplingParams;
use super::philox::uniform;
use super::scan::{CHUNK, finite_max, position_of_max, sum_at_least};
use super::select::{Candidate, nucleus, top_k};

/// Room to select and to score in, so that no step allocates.
#[derive(Default)]
struct Room {
    candidates: Vec<Candidate>,
    /// As many as there are tokens, once they were needed.
    likely: Vec<Candidate>,
    probabilities: Vec<f32>,
    /// Of each chunk of the vocabulary.
    masses: Vec<f64>,
}

thread_local! {
    /// One a thread, as rows are sampled in parallel.
    static ROOM: RefCell<Room> = RefCell::default();
}

/// Chooses the tokens of one sequence.
#[derive(Debug)]
pub struct Sampler {
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
            return u32::try_from(position_of_max(logits, max)?).ok();
        }
        let random = uniform(self.seed, index);
        ROOM.with_borrow_mut(|room| match params.top_k {
            Some(k) if k < logits.len() => {
                top_k(logits, k, &mut room.candidates);
                draw_best(&mut room.candidates, params, random)
            }
            _ => {
                for logit in logits.iter_mut() {
                    *logit = (*logit - max) / params.temperature;
                }
                hearth_kernels::softmax(logits);
                draw_any(logits, params, room, random)
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
    ROOM.with_borrow_mut(|room| {
        room.probabilities.clear();
        room.probabilities.extend_from_slice(logits);
        hearth_kernels::softmax(&mut room.probabilities);
        // exp(max - max) over the sum of all.
        let log_sum = -f64::from(finite_max(&room.probabilities)?).ln();
        let logprob = |logit: f32| (f64::from(logit) - f64::from(max) - log_sum) as f32;
        top_k(logits, k, &mut room.candidates);
        let top = room.candidates.iter().map(|c| (c.token, logprob(c.value)));
        Some((logprob(logits[token as usize]), top.collect()))
    })
}

/// Draws from the logits of the `top_k` best, which are in order.
fn draw_best(best: &mut [Candidate], params: &SamplingParams, random: f64) -> Option<u32> {
    let max = best.first()?.value;
    for candidate in best.iter_mut() {
        candidate.value = ((candidate.value - max) / params.temperature).exp();
    }
    let mut kept = best.len();
    if params.top_p < 1.0 {
        let total: f64 = best.iter().map(|c| f64::from(c.value)).sum();
        let target = f64::from(params.top_p) * total;
        let mut mass = 0.0;
        let reaches = |c: &Candidate| {
            mass += f64::from(c.value);
            mass >= target
        };
        kept = best.iter().position(reaches).map_or(kept, |last| last + 1);
    }
    // The first one's value is 1.
    let likely = best[..kept].partition_point(|c| c.value >= params.min_p);
    let likely = &best[..likely];
    let total: f64 = likely.iter().map(|c| f64::from(c.value)).sum();
    let weights = likely.iter().map(|c| (c.token, f64::from(c.value)));
    pick(weights, random * total).map(|(token, _)| token)
}

/// Draws from all tokens, but those outside of the nucleus of `top_p` and those below `min_p` of the most likely one.
fn draw_any(
    probabilities: &[f32],
    params: &SamplingParams,
    room: &mut Room,
    random: f64,
) -> Option<u32> {
    let mut least = f32::MIN_POSITIVE;
    if params.min_p > 0.0 {
        least = (params.min_p * finite_max(probabilities)?).max(least);
    }
    if params.top_p < 1.0 {
        let (likely, around) = (&mut room.likely, &mut room.candidates);
        let kept = nucleus(probabilities, params.top_p, likely, around);
        let weight = |c: &Candidate| f64::from(if c.value >= least { c.value } else { 0.0 });
        let total: f64 = kept.iter().map(weight).sum();
        let weights = kept.iter().map(|c| (c.token, weight(c)));
        return pick(weights, random * total).map(|(token, _)| token);
    }
    // First the chunk, then the token in it.
    room.masses.clear();
    let masses = probabilities
        .chunks(CHUNK)
        .map(|chunk| sum_at_least(chunk, least));
    room.masses.extend(masses);
    let target = random * room.masses.iter().sum::<f64>();
    let (index, rest) = pick(room.masses.iter().copied().enumerate(), target)?;
    let first = index * CHUNK;
    let chunk = probabilities[first..].iter().take(CHUNK);
    let likely = (first..).zip(chunk).filter(|&(_, &p)| p >= least);
    let weights = likely.map(|(token, &p)| (token, f64::from(p)));
    let (token, _) = pick(weights, rest)?;
    u32::try_from(token).ok()
}

/// The one among `weights` in which `target` lies when they are laid end to end, and how far within. The last one where
/// rounding leaves the target at the very end; `None` where all weigh nothing.
fn pick<T>(weights: impl Iterator<Item = (T, f64)>, target: f64) -> Option<(T, f64)> {
    let mut passed = 0.0;
    let mut last = None;
    for (item, weight) in weights.filter(|&(_, weight)| weight > 0.0) {
        last = Some((item, target - passed));
        passed += weight;
        if passed > target {
            break;
        }
    }
    last
}

#[cfg(test)]
mod tests;
