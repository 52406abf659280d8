//! Puts drafts into the next step, and learns from what became of them.

use super::Speculation;
use super::answer::Answer;
use super::draft::{Drafter, allot};
use super::pace::Pace;
use super::scheduler::{Scheduler, Slice};

/// Sequences that decode at once above which nobody looks for drafts: rows are dear there, and looking takes time.
const MOST_SEQUENCES: usize = 16;

/// Drafts for the sequences of one engine.
#[derive(Debug)]
pub(super) struct Speculator {
    when: Speculation,
    rates: Vec<f64>,
    most: Vec<usize>,
    counts: Vec<usize>,
    drafted: u64,
    accepted: u64,
}

impl Speculator {
    pub fn new(when: Speculation) -> Self {
        Self {
            when,
            rates: Vec::new(),
            most: Vec::new(),
            counts: Vec::new(),
            drafted: 0,
            accepted: 0,
        }
    }

    /// Tokens that were guessed, and those of them that were right.
    pub fn counts(&self) -> (u64, u64) {
        (self.drafted, self.accepted)
    }

    /// Gives the running sequences drafts; none where one has its prompt still to compute.
    pub fn propose(&mut self, scheduler: &mut Scheduler<Answer>, pace: &Pace) {
        let running = scheduler.running_mut();
        for sequence in &mut *running {
            sequence.drafts.clear();
            sequence.drafter.forget();
        }
        let decoding = running.iter().all(|s| s.decoding());
        if !decoding || running.is_empty() || running.len() > MOST_SEQUENCES {
            return;
        }
        let cost = match self.when {
            Speculation::Off => return,
            // As if a row more cost nothing.
            Speculation::Always => (1.0, 0.0),
            Speculation::WherePays => match pace.decode_cost(running.len()) {
                Some(cost) => cost,
                None => return,
            },
        };
        self.rates.clear();
        self.most.clear();
        for sequence in &mut *running {
            // The last token that is wanted is no draft.
            let most = sequence.work.tokens_left().saturating_sub(1);
            let (tokens, drafts) = (&sequence.tokens, &mut sequence.drafts);
            sequence.drafter.guess(tokens, most, drafts);
            self.rates.push(sequence.drafter.rate());
            self.most.push(drafts.len());
        }
        allot(&self.rates, &self.most, cost, &mut self.counts);
        for (sequence, &count) in running.iter_mut().zip(&self.counts) {
            sequence.drafts.truncate(count);
        }
    }

    /// Learns from a slice whose tokens have been drawn.
    pub fn learn(&mut self, slice: &Slice, tokens: &[u32], drafter: &mut Drafter, ended: bool) {
        let drawn = tokens.len().saturating_sub(slice.first_draft());
        let Some(accepted) = drawn.checked_sub(1) else {
            return;
        };
        let accepted = accepted.min(slice.drafts);
        self.drafted += slice.drafts as u64;
        self.accepted += accepted as u64;
        // Of one that has ended, the guesses behind the end were neither right nor wrong.
        let drafted = match ended {
            true => accepted,
            false => slice.drafts,
        };
        drafter.learn(drafted, accepted, tokens[slice.first_draft()]);
    }
}
