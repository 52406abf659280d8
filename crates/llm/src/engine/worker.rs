//! The engine's thread: takes requests in, computes steps, hands tokens out.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hearth_kernels::AttentionSpan;

use super::answer::{Answer, End};
use super::event::TokenLogprobs;
use super::resume::Resume;
use super::scheduler::{Scheduler, Step};
use super::sequence::{Rank, Sequence};
use super::thread::Work;
use super::{EngineError, EngineStats, Gate};
use crate::cache::KvCache;
use crate::model::{Batch, TextModel};
use crate::models::Scratch;
use crate::sampling::{Sampler, score};

/// Rows whose logits are computed at a time; bounds their memory where a prompt is scored.
const LOGITS_ROWS: usize = 32;

/// An admitted request.
pub(super) struct Submission {
    pub prompt: Vec<u32>,
    pub priority: u8,
    pub submitted: Instant,
    pub answer: Answer,
}

/// What is wanted of a row's logits.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    /// The next token.
    Token,
    /// The score of this prompt token, with so many alternatives.
    Score { token: u32, alternatives: usize },
}

/// A row of the step's output.
#[derive(Clone, Copy, Debug)]
struct Output {
    sequence: usize,
    position: usize,
    wanted: Wanted,
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

pub(super) struct Worker {
    model: Arc<dyn TextModel>,
    gate: Arc<Gate>,
    scheduler: Scheduler<Answer>,
    cache: KvCache,
    priority_step: Duration,
    /// The pages on disk, where there are any.
    resume: Option<Resume>,
    /// Ranks count from here.
    origin: Instant,
    admitted: u64,
    stats: EngineStats,
    published: Arc<Mutex<EngineStats>>,
    scratch: Scratch,
    rows: Rows,
    hidden: Vec<f32>,
    logits: Vec<f32>,
}

/// A batch's arrays, kept from step to step.
#[derive(Default)]
struct Rows {
    tokens: Vec<u32>,
    positions: Vec<u32>,
    slots: Vec<u32>,
    outputs: Vec<u32>,
    wanted: Vec<Output>,
}

impl Worker {
    pub fn new(
        model: Arc<dyn TextModel>,
        gate: Arc<Gate>,
        scheduler: Scheduler<Answer>,
        cache: KvCache,
        priority_step: Duration,
        resume: Option<Resume>,
        published: Arc<Mutex<EngineStats>>,
    ) -> Self {
        let mut worker = Self {
            model,
            gate,
            scheduler,
            cache,
            priority_step,
            resume,
            origin: Instant::now(),
            admitted: 0,
            stats: EngineStats::default(),
            published,
            scratch: Scratch::default(),
            rows: Rows::default(),
            hidden: Vec::new(),
            logits: Vec::new(),
        };
        worker.publish();
        worker
    }

    /// Drops those whose caller went away or whose deadline passed.
    fn end_checked(&mut self) {
        let now = Instant::now();
        let ended = self.scheduler.remove(|sequence| {
            sequence.work.check(now);
            sequence.work.ended()
        });
        self.close(ended, now);
    }

    fn close(&mut self, ended: Vec<Sequence<Answer>>, now: Instant) {
        if ended.is_empty() {
            return;
        }
        for sequence in &ended {
            match sequence.work.end() {
                End::Finished(_) => self.stats.finished += 1,
                End::Failed(_) => self.stats.failed += 1,
                End::Cancelled => self.stats.cancelled += 1,
            }
            self.gate.note_end(now);
        }
        // First, so that a caller that has the answer finds it counted.
        self.publish();
        for sequence in ended {
            sequence.work.close(now);
        }
    }

    /// Computes one step and deals out what comes of it.
    fn compute(&mut self) {
        let step = self.scheduler.schedule();
        let now = Instant::now();
        for slice in &step.slices {
            let sequence = &mut self.scheduler.running_mut()[slice.sequence];
            if sequence.work.start(slice.positions.start, now) {
                self.stats.tokens_in += sequence.work.prompt_tokens() as u64;
            }
        }
        for &(from, to) in &step.copies {
            self.cache.copy_block(from, to);
        }
        self.forward(&step);
        self.scheduler.computed(&step);
        self.stats.steps += 1;
        self.stats.tokens_computed += self.rows.tokens.len() as u64;
        self.deal_out();

        let now = Instant::now();
        for slice in &step.slices {
            let sequence = &mut self.scheduler.running_mut()[slice.sequence];
            if slice.positions.end >= sequence.work.prompt_tokens() {
                let first = sequence.tokens[0];
                sequence.work.prefilled(first, now);
            }
        }
        let ended = self.scheduler.remove(|sequence| sequence.work.ended());
        self.close(ended, now);
    }

    /// Runs the model over the step's slices; the wanted rows' states are in `hidden` afterwards.
    fn forward(&mut self, step: &Step) {
        let rows = &mut self.rows;
        rows.clear();
        let block_size = self.cache.block_size();
        let running = self.scheduler.running();
        let mut spans = Vec::with_capacity(step.slices.len());
        for slice in &step.slices {
            let sequence = &running[slice.sequence];
            let first_row = rows.tokens.len();
            for position in slice.positions.clone() {
                let block = sequence.table[position / block_size] as usize;
                rows.push(
                    sequence.tokens[position],
                    position,
                    block * block_size + position % block_size,
                );
                if let Some(wanted) = wanted(sequence, position) {
                    rows.want(Output {
                        sequence: slice.sequence,
                        position,
                        wanted,
                    });
                }
            }
            spans.push(AttentionSpan {
                rows: first_row..rows.tokens.len(),
                first_position: slice.positions.start,
                block_table: &sequence.table,
            });
        }
        let batch = Batch {
            tokens: &rows.tokens,
            positions: &rows.positions,
            slots: &rows.slots,
            spans: &spans,
            outputs: &rows.outputs,
        };
        self.model
            .forward(&batch, &mut self.cache, &mut self.scratch, &mut self.hidden);
    }

    /// Turns the wanted rows into tokens and scores.
    fn deal_out(&mut self) {
        let hidden_size = self.model.info().hidden_size;
        let vocab_size = self.model.info().vocab_size;
        let mut done = 0;
        while done < self.rows.wanted.len() {
            let outputs = done..self.rows.wanted.len().min(done + LOGITS_ROWS);
            self.model.logits(
                &self.hidden[outputs.start * hidden_size..outputs.end * hidden_size],
                &mut self.scratch,
                &mut self.logits,
            );
            let running = self.scheduler.running();
            let mut jobs: Vec<Job> = self.rows.wanted[outputs.clone()]
                .iter()
                .zip(self.logits.chunks_exact_mut(vocab_size))
                .map(|(&output, logits)| {
                    let answer = &running[output.sequence].work;
                    Job {
                        output,
                        sampler: &answer.sampler,
                        index: answer.completion_tokens() as u64,
                        alternatives: answer.logprobs,
                        logits,
                        result: None,
                    }
                })
                .collect();
            self.model
                .pool()
                .for_each_chunk(&mut jobs, 1, |_, jobs| jobs.iter_mut().for_each(Job::run));
            let results: Vec<_> = jobs
                .into_iter()
                .map(|job| (job.output, job.result))
                .collect();
            for (output, result) in results {
                self.apply(output, result);
            }
            done = outputs.end;
        }
    }

    fn apply(&mut self, output: Output, result: Option<TokenLogprobs>) {
        let sequence = &mut self.scheduler.running_mut()[output.sequence];
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
                self.stats.tokens_out += 1;
                sequence.work.token(result, now);
            }
        }
    }

    fn publish(&mut self) {
        let blocks = self.scheduler.blocks.counts();
        let counts = self.scheduler.counts();
        let pages = self.resume.as_ref().map(Resume::counts).unwrap_or_default();
        self.stats = EngineStats {
            running: self.scheduler.running().len(),
            waiting: self.scheduler.waiting_len(),
            blocks_used: blocks.used,
            blocks_cached: blocks.cached,
            blocks_total: blocks.total,
            prefix_hit_tokens: counts.prefix_hit_tokens,
            prefix_hits: counts.prefix_hits,
            prefix_lookups: counts.prefix_lookups,
            evictions: blocks.evictions,
            preemptions: counts.preemptions,
            blocks_read: pages.blocks_read,
            blocks_written: pages.blocks_written,
            ..self.stats
        };
        *self
            .published
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = self.stats;
    }
}

impl Work for Worker {
    type Request = Box<Submission>;

    fn take_in(&mut self, submission: Box<Submission>) {
        let arrival = submission.submitted.saturating_duration_since(self.origin);
        let rank = Rank::new(
            arrival,
            submission.priority,
            self.priority_step,
            self.admitted,
        );
        self.admitted += 1;
        let mut sequence = Sequence::new(
            rank,
            submission.priority,
            submission.prompt,
            submission.answer,
        );
        if let Some(position) = sequence.work.next_score() {
            sequence.match_limit = position;
        }
        self.scheduler.add(sequence);
        if let Some(resume) = &mut self.resume {
            resume.look(rank, &mut self.scheduler);
        }
    }

    fn is_idle(&self) -> bool {
        self.scheduler.is_idle()
    }

    fn step(&mut self) {
        self.end_checked();
        if let Some(resume) = &mut self.resume {
            resume.step(&mut self.scheduler, &mut self.cache);
        }
        if !self.scheduler.is_stalled() {
            self.compute();
        }
        self.publish();
    }

    fn end(&mut self, error: &EngineError) {
        let ended = self.scheduler.remove(|sequence| {
            sequence.work.fail(error.clone());
            true
        });
        self.close(ended, Instant::now());
        if let Some(resume) = &mut self.resume
            // What a panic left behind is not to be trusted.
            && !matches!(error, EngineError::Unhealthy { .. })
        {
            resume.keep(&self.scheduler, &self.cache);
        }
        self.publish();
    }
}

impl Rows {
    fn clear(&mut self) {
        self.tokens.clear();
        self.positions.clear();
        self.slots.clear();
        self.outputs.clear();
        self.wanted.clear();
    }

    /// Positions and slots are below the cache's size, which is counted in u32.
    fn push(&mut self, token: u32, position: usize, slot: usize) {
        self.tokens.push(token);
        self.positions.push(position as u32);
        self.slots.push(slot as u32);
    }

    /// Wants the row pushed last.
    fn want(&mut self, output: Output) {
        self.outputs.push(self.tokens.len() as u32 - 1);
        self.wanted.push(output);
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

/// What the logits after `position` are wanted for.
fn wanted(sequence: &Sequence<Answer>, position: usize) -> Option<Wanted> {
    let answer = &sequence.work;
    if position + 1 == sequence.tokens.len() {
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
