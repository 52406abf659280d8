//! From a step's hidden states to tokens and scores.

use std::time::Instant;

use super::EngineError;
use super::answer::Answer;
use super::event::TokenLogprobs;
use super::sequence::Sequence;
use super::worker::Rows;
use crate::model::TextModel;
use crate::models::Scratch;
use crate::sampling::{Sampler, score};

/// Rows whose logits are computed at a time; bounds their memory where a prompt is scored.
const LOGITS_ROWS: usize = 32;

/// What is wanted of a row's logits.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted {
    /// The next token.
    Token,
    /// The score of this prompt token, with so many alternatives.
    Score { token: u32, alternatives: usize },
}

/// A row of the step's output.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    pub sequence: usize,
    pub position: usize,
    pub wanted: Wanted,
}

/// What the logits after `position` are wanted for.
pub(super) fn wanted(sequence: &Sequence<Answer>, position: usize) -> Option<Wanted> {
    let answer = &sequence.work;
    if position + 1 >= sequence.tokens.len() {
        return answer.wants_tokens().then_some(Wanted::Token);
    }
    let next = answer.next_score()?;
    if position < next || position + 1 >= answer.prompt_tokens() {
        return None;
    }
    Some(Wanted::Score {
        token: sequence.tokens[position + 1],
        alternatives: answer.prompt_logprobs.unwrap_or(0),
    })
}

/// A row's logits on the way to a result.
struct Job<'a> {
    output: Output,
    sampler: &'a Sampler,
    /// Index of the wanted token in the answer.
    index: u64,
    /// Alternatives to report beside the wanted token, where it is to be scored.
    alternatives: Option<usize>,
    logits: &'a mut [f32],
    /// `None` where the logits are broken.
    result: Option<TokenLogprobs>,
}

/// Draws tokens; keeps its memory from step to step.
#[derive(Default)]
pub(super) struct Deal {
    logits: Vec<f32>,
    jobs: Vec<Job<'static>>,
    results: Vec<(Output, Option<TokenLogprobs>)>,
}

impl Deal {
    /// Turns the wanted `rows`, whose final states are `hidden`, into tokens and scores of the `running` sequences.
    /// Answers how many tokens were drawn.
    ///
    /// A sequence's rows are drawn from in turn: the row of a guess counts only where the token drawn before it is that
    /// guess, and the penalties for that token apply to it.
    pub fn out(
        &mut self,
        model: &dyn TextModel,
        rows: &Rows,
        hidden: &[f32],
        scratch: &mut Scratch,
        running: &mut [Sequence<Answer>],
    ) -> u64 {
        let (hidden_size, vocab_size) = (model.info().hidden_size, model.info().vocab_size);
        let mut drawn = 0;
        let mut done = 0;
        while done < rows.wanted.len() {
            let outputs = done..rows.wanted.len().min(done + LOGITS_ROWS);
            model.logits(
                &hidden[outputs.start * hidden_size..outputs.end * hidden_size],
                scratch,
                &mut self.logits,
            );
            for round in 0.. {
                let mut jobs = recycle(std::mem::take(&mut self.jobs));
                let logits = self.logits.chunks_exact_mut(vocab_size);
                let wanted = rows.wanted[outputs.clone()].iter();
                let fed = rows.outputs[outputs.clone()].iter();
                for ((&output, &row), logits) in wanted.zip(fed).zip(logits) {
                    let sequence = &running[output.sequence];
                    if is_due(sequence, output, rows.tokens[row as usize], round) {
                        let answer = &sequence.work;
                        jobs.push(Job {
                            output,
                            sampler: &answer.sampler,
                            index: answer.completion_tokens() as u64,
                            alternatives: answer.logprobs,
                            logits,
                            result: None,
                        });
                    }
                }
                if jobs.is_empty() {
                    self.jobs = recycle(jobs);
                    break;
                }
                let pool = model.pool();
                pool.for_each_chunk(&mut jobs, 1, |_, jobs| jobs.iter_mut().for_each(Job::run));
                let results = jobs.drain(..).map(|job| (job.output, job.result));
                self.results.extend(results);
                self.jobs = recycle(jobs);
                for (output, result) in self.results.drain(..) {
                    let sequence = &mut running[output.sequence];
                    let before = sequence.tokens.len();
                    apply(sequence, output, result);
                    drawn += (sequence.tokens.len() - before) as u64;
                }
            }
            done = outputs.end;
        }
        drawn
    }
}

/// Whether a row is to be looked at in this round: scores in the first one, a token once all before it are drawn and
/// the model was `fed` with the last of them.
fn is_due(sequence: &Sequence<Answer>, output: Output, fed: u32, round: usize) -> bool {
    match output.wanted {
        Wanted::Score { .. } => round == 0,
        Wanted::Token => {
            sequence.tokens.len() == output.position + 1
                && sequence.tokens.last() == Some(&fed)
                && !sequence.work.ended()
        }
    }
}

fn apply(sequence: &mut Sequence<Answer>, output: Output, result: Option<TokenLogprobs>) {
    let now = Instant::now();
    let first = sequence.tokens[0];
    let Some(result) = result else {
        let position = output.position;
        sequence.work.fail(EngineError::NotFinite { position });
        return;
    };
    if sequence.work.ended() {
        return;
    }
    match output.wanted {
        Wanted::Score { .. } => {
            sequence.work.prompt_score(first, result);
            sequence.match_limit = sequence.work.next_score().unwrap_or(usize::MAX);
        }
        Wanted::Token => {
            // The prompt's scores come before the first token.
            sequence.work.prefilled(first, now);
            sequence.tokens.push(result.token);
            sequence.work.token(result, now);
        }
    }
}

impl Job<'_> {
    fn run(&mut self) {
        self.result = match self.output.wanted {
            Wanted::Score {
                token,
                alternatives,
            } => scored(self.logits, token, alternatives),
            Wanted::Token => self.sample(),
        };
    }

    fn sample(&mut self) -> Option<TokenLogprobs> {
        let Some(alternatives) = self.alternatives else {
            let token = self.sampler.sample(self.logits, self.index)?;
            return Some(TokenLogprobs {
                token,
                logprob: None,
                top: Vec::new(),
            });
        };
        // Sampling overwrites the logits, and whose score is wanted is known after it.
        let raw = self.logits.to_vec();
        let token = self.sampler.sample(self.logits, self.index)?;
        scored(&raw, token, alternatives)
    }
}

fn scored(logits: &[f32], token: u32, alternatives: usize) -> Option<TokenLogprobs> {
    let (logprob, top) = score(logits, token, alternatives)?;
    Some(TokenLogprobs {
        token,
        logprob: Some(logprob),
        top,
    })
}

/// An empty list with the memory of another one, whose elements borrow something else.
fn recycle<'a, 'b>(mut jobs: Vec<Job<'a>>) -> Vec<Job<'b>> {
    jobs.clear();
    // Collecting reuses the memory, as an element needs as much as before.
    jobs.into_iter().map_while(|_| None).collect()
}
