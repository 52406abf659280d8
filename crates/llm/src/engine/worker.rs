//! The engine's thread: takes requests in, computes steps, hands tokens out.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hearth_kernels::AttentionSpan;

use super::answer::{Answer, End};
use super::deal::{Deal, Output, wanted};
use super::pace::Pace;
use super::resume::Resume;
use super::scheduler::{Scheduler, Step};
use super::sequence::{Rank, Sequence};
use super::speculate::Speculator;
use super::thread::Work;
use super::{EngineConfig, EngineError, EngineStats, Gate};
use crate::cache::KvCache;
use crate::model::{Batch, TextModel};
use crate::models::Scratch;

/// An admitted request.
pub(super) struct Submission {
    pub prompt: Vec<u32>,
    pub priority: u8,
    pub submitted: Instant,
    pub answer: Answer,
}

pub(super) struct Worker {
    model: Arc<dyn TextModel>,
    gate: Arc<Gate>,
    scheduler: Scheduler<Answer>,
    cache: KvCache,
    priority_step: Duration,
    max_batch_tokens: usize,
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
    deal: Deal,
    /// The last step's plan and spans; only their memory counts.
    plan: Step,
    spans: Vec<AttentionSpan<'static>>,
    pace: Pace,
    speculator: Speculator,
}

/// A batch's arrays, kept from step to step.
#[derive(Default)]
pub(super) struct Rows {
    pub tokens: Vec<u32>,
    positions: Vec<u32>,
    slots: Vec<u32>,
    /// The rows whose output is wanted, and what for.
    pub outputs: Vec<u32>,
    pub wanted: Vec<Output>,
}

impl Worker {
    pub fn new(
        model: Arc<dyn TextModel>,
        gate: Arc<Gate>,
        cache: KvCache,
        config: &EngineConfig,
        resume: Option<Resume>,
        published: Arc<Mutex<EngineStats>>,
    ) -> Self {
        let scheduler = Scheduler::new(
            cache.blocks(),
            cache.block_size(),
            config.max_sequences,
            config.max_batch_tokens,
        );
        let mut worker = Self {
            model,
            gate,
            scheduler,
            cache,
            priority_step: config.priority_step,
            max_batch_tokens: config.max_batch_tokens,
            resume,
            origin: Instant::now(),
            admitted: 0,
            stats: EngineStats::default(),
            published,
            scratch: Scratch::default(),
            rows: Rows::default(),
            hidden: Vec::new(),
            deal: Deal::default(),
            plan: Step::default(),
            spans: Vec::new(),
            pace: Pace::new(config.step_time),
            speculator: Speculator::new(config.speculation),
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
        let began = Instant::now();
        let mut step = std::mem::take(&mut self.plan);
        self.plan_step(&mut step);
        for slice in &step.slices {
            let sequence = &mut self.scheduler.running_mut()[slice.sequence];
            if sequence.work.start(slice.positions.start, began) {
                self.stats.tokens_in += sequence.work.prompt_tokens() as u64;
            }
        }
        for &(from, to) in &step.copies {
            self.cache.copy_block(from, to);
        }
        self.forward(&step);
        self.stats.steps += 1;
        self.stats.tokens_computed += self.rows.tokens.len() as u64;
        self.stats.tokens_out += self.deal.out(
            &*self.model,
            &self.rows,
            &self.hidden,
            &mut self.scratch,
            self.scheduler.running_mut(),
        );
        self.scheduler.computed(&step);

        let now = Instant::now();
        for slice in &step.slices {
            let sequence = &mut self.scheduler.running_mut()[slice.sequence];
            if slice.positions.end >= sequence.work.prompt_tokens() {
                let first = sequence.tokens[0];
                sequence.work.prefilled(first, now);
            }
            let ended = sequence.work.ended();
            self.speculator
                .learn(slice, &sequence.tokens, &mut sequence.drafter, ended);
        }
        let rows = self.rows.tokens.len();
        self.pace.note(rows, step.has_prompts(), now - began);
        self.plan = step;
        let ended = self.scheduler.remove(|sequence| sequence.work.ended());
        self.close(ended, now);
    }

    /// Decides what the next step carries.
    fn plan_step(&mut self, step: &mut Step) {
        self.speculator.propose(&mut self.scheduler, &self.pace);
        let decoding = self.scheduler.decoding_len();
        let least = self.cache.block_size();
        let prompt_rows = self
            .pace
            .prompt_rows(decoding, least, self.max_batch_tokens);
        self.scheduler.schedule(prompt_rows, step);
    }

    /// Runs the model over the step's slices; the wanted rows' states are in `hidden` afterwards.
    fn forward(&mut self, step: &Step) {
        let rows = &mut self.rows;
        rows.clear();
        let block_size = self.cache.block_size();
        let running = self.scheduler.running();
        let mut spans = recycle(std::mem::take(&mut self.spans));
        for slice in &step.slices {
            let sequence = &running[slice.sequence];
            let first_row = rows.tokens.len();
            for position in slice.positions.clone() {
                let block = sequence.table[position / block_size] as usize;
                rows.push(
                    sequence.token(position),
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
        self.spans = recycle(spans);
    }

    fn publish(&mut self) {
        let blocks = self.scheduler.blocks.counts();
        let counts = self.scheduler.counts();
        let (drafted, accepted) = self.speculator.counts();
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
            drafted,
            accepted,
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

/// An empty list with the memory of another one, whose elements borrow something else.
fn recycle<'a, 'b>(mut spans: Vec<AttentionSpan<'a>>) -> Vec<AttentionSpan<'b>> {
    spans.clear();
    // Collecting reuses the memory, as an element needs as much as before.
    spans.into_iter().map_while(|_| None).collect()
}
