//! Who computes what in the next step.
//!
//! Batching is continuous (Yu et al. 2022, "Orca", OSDI) with prompts in slices (Agrawal et al.
//! 2023, arXiv:2308.16369): a step carries the next token of every sequence that has its prompt
//! behind it, and slices of prompts for what is left of the budget, in the order of
//! [`Rank`]. A running sequence without a block for its next token takes one from
//! the last in that order, whose sequence then waits and is computed again later. The first in the
//! order can take from all others, and alone it fits by the engine's admission, so each step brings
//! it on; once it is done there is a new first.

use std::collections::BTreeMap;
use std::ops::Range;

use super::blocks::{BlockManager, Chain, Writable};
use super::sequence::{Rank, Sequence};

/// A part of one sequence's tokens in a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slice {
    /// Index into [`Scheduler::running`].
    pub sequence: usize,
    /// Positions of the tokens.
    pub positions: Range<usize>,
    /// How many of them, at the end, are guesses.
    pub drafts: usize,
}

impl Slice {
    /// Position of the first guess, or behind the last token where there is none.
    pub fn first_draft(&self) -> usize {
        self.positions.end - self.drafts
    }
}

/// The work of a step.
#[derive(Debug, Default)]
pub(super) struct Step {
    pub slices: Vec<Slice>,
    /// Blocks to copy before anything is written, in this order: from, to.
    pub copies: Vec<(u32, u32)>,
}

impl Step {
    /// Whether it carries more than running sequences' next tokens and guesses.
    pub fn has_prompts(&self) -> bool {
        let mut slices = self.slices.iter();
        slices.any(|slice| slice.positions.len() > 1 + slice.drafts)
    }
}

/// Counters of the scheduler.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub prefix_lookups: u64,
    pub prefix_hits: u64,
    pub prefix_hit_tokens: u64,
    pub preemptions: u64,
}

/// All admitted sequences.
#[derive(Debug)]
pub(super) struct Scheduler<W> {
    pub blocks: BlockManager,
    block_size: usize,
    max_sequences: usize,
    max_batch_tokens: usize,
    /// Tokens of prompts in the next step.
    prompt_tokens: usize,
    /// Those that hold blocks, in order.
    running: Vec<Sequence<W>>,
    waiting: BTreeMap<Rank, Sequence<W>>,
    counts: Counts,
}

impl<W> Scheduler<W> {
    pub fn new(
        blocks: usize,
        block_size: usize,
        max_sequences: usize,
        max_batch_tokens: usize,
    ) -> Self {
        assert!(
            max_sequences <= max_batch_tokens,
            "a step must hold a token of each sequence, this is a bug"
        );
        Self {
            blocks: BlockManager::new(blocks),
            block_size,
            max_sequences,
            max_batch_tokens,
            prompt_tokens: max_batch_tokens,
            running: Vec::with_capacity(max_sequences),
            waiting: BTreeMap::new(),
            counts: Counts::default(),
        }
    }

    /// Takes a sequence in. It must fit the cache alone.
    pub fn add(&mut self, sequence: Sequence<W>) {
        self.waiting.insert(sequence.rank, sequence);
    }

    pub fn is_idle(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty()
    }

    /// Whether nothing can be computed now: there is nothing, or all waits for a part of its prefix.
    pub fn is_stalled(&self) -> bool {
        self.running.is_empty() && self.waiting.values().all(|s| s.loading)
    }

    /// A sequence that waits.
    pub fn waiting_mut(&mut self, rank: Rank) -> Option<&mut Sequence<W>> {
        self.waiting.get_mut(&rank)
    }

    pub fn running(&self) -> &[Sequence<W>] {
        &self.running
    }

    pub fn running_mut(&mut self) -> &mut [Sequence<W>] {
        &mut self.running
    }

    pub fn waiting_len(&self) -> usize {
        self.waiting.len()
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Takes out all sequences for which `gone` holds and frees their blocks.
    pub fn remove(&mut self, mut gone: impl FnMut(&mut Sequence<W>) -> bool) -> Vec<Sequence<W>> {
        let mut removed: Vec<_> = self.running.extract_if(.., |s| gone(s)).collect();
        for sequence in &mut removed {
            self.blocks.release_table(&mut sequence.table);
        }
        // Collected in two steps, as a map of this compiler version has no `extract_if`.
        let ranks: Vec<Rank> = self
            .waiting
            .iter_mut()
            .filter_map(|(&rank, sequence)| gone(sequence).then_some(rank))
            .collect();
        removed.extend(ranks.iter().filter_map(|rank| self.waiting.remove(rank)));
        removed
    }

    /// How many running sequences only want their next token.
    pub fn decoding_len(&self) -> usize {
        self.running.iter().filter(|s| s.decoding()).count()
    }

    /// Plans a step with at most `prompt_tokens` tokens of prompts. Empty only where nothing is running or waiting.
    pub fn schedule(&mut self, prompt_tokens: usize, step: &mut Step) {
        step.slices.clear();
        step.copies.clear();
        self.prompt_tokens = prompt_tokens;
        self.admit(step);
        self.plan(step);
        self.add_drafts(step);
    }

    /// Notes that a step's slices are in the cache, and makes the full blocks findable. The tokens that were drawn have
    /// been added by then, so that a guess is told from a token: what was computed for a wrong one counts as not there.
    pub fn computed(&mut self, step: &Step) {
        for slice in &step.slices {
            let sequence = &mut self.running[slice.sequence];
            // The last of the tokens is new, or it equals a guess that was computed but whose output was not wanted.
            let drawn = sequence.tokens.len() - 1;
            sequence.computed = drawn.clamp(slice.first_draft(), slice.positions.end);
            for i in sequence.chain.len()..sequence.computed / self.block_size {
                let tokens = &sequence.tokens[i * self.block_size..][..self.block_size];
                let before = *sequence.chain.last().unwrap_or(&Chain::ROOT);
                let own = sequence.table[i];
                let cached = self.blocks.register(own, before, tokens);
                if cached.block != own {
                    // Another sequence computed the same in the meantime: one copy will do.
                    self.blocks.retain(cached.block);
                    self.blocks.release(own);
                    sequence.table[i] = cached.block;
                }
                sequence.chain.push(cached.chain);
            }
        }
    }

    /// Lets waiting sequences run while there are places, blocks and budget.
    fn admit(&mut self, step: &mut Step) {
        let mut from = None;
        while let Some(rank) = self.next_waiting(from) {
            from = Some(rank);
            let decoding = self.decoding_len();
            let pending: usize = self.running.iter().map(Sequence::pending).sum();
            let enough = pending - decoding >= self.prompt_budget(decoding);
            if enough && !self.outranks_prompts(rank) {
                return;
            }
            let sequence = &self.waiting[&rank];
            let matched = self.find_prefix(sequence);
            if self.computing_more_of(sequence, matched.len()) {
                continue;
            }
            if !self.make_room(rank, &matched) {
                return;
            }
            self.start(rank, &matched, step);
        }
    }

    /// Tokens that prompts have in the step beside `decoding` sequences.
    fn prompt_budget(&self, decoding: usize) -> usize {
        self.prompt_tokens.min(self.max_batch_tokens - decoding)
    }

    /// Whether a waiting sequence comes before a running one whose prompt is under way, so that a
    /// part of the budget is rather its own.
    fn outranks_prompts(&self, rank: Rank) -> bool {
        self.running.iter().any(|s| !s.decoding() && s.rank > rank)
    }

    fn next_waiting(&self, after: Option<Rank>) -> Option<Rank> {
        use std::ops::Bound::{Excluded, Unbounded};
        let start = after.map_or(Unbounded, Excluded);
        self.waiting
            .range((start, Unbounded))
            .find(|(_, sequence)| !sequence.loading)
            .map(|(&rank, _)| rank)
    }

    /// How many blocks of the beginning of a waiting sequence's tokens are cached.
    pub fn cached_blocks(&self, rank: Rank) -> usize {
        let sequence = self.waiting.get(&rank);
        sequence.map_or(0, |sequence| self.find_prefix(sequence).len())
    }

    /// Takes blocks of a waiting sequence's tokens into the cache that come from elsewhere: `count` of them from block
    /// `first` on, unless those before are cached no more, or there is no room. `fill` writes the `i`-th of them into the
    /// block that it is given; what is cached already is left out. Answers how many blocks of the sequence are cached now.
    pub fn insert_blocks(
        &mut self,
        rank: Rank,
        first: usize,
        count: usize,
        mut fill: impl FnMut(u32, usize),
    ) -> usize {
        let Some(sequence) = self.waiting.get(&rank) else {
            return 0;
        };
        let mut held = self.find_prefix(sequence);
        if held.len() < first {
            return held.len();
        }
        // The blocks before are held for a moment, so that none of them makes room for those behind, and count as used
        // after them.
        for &(block, _) in &held {
            self.blocks.retain(block);
        }
        let blocks = sequence.tokens.chunks_exact(self.block_size);
        for tokens in blocks.take(first + count).skip(held.len()) {
            let Some(block) = self.blocks.allocate() else {
                break;
            };
            fill(block, held.len() - first);
            let before = held.last().map_or(Chain::ROOT, |&(_, chain)| chain);
            held.push((block, self.blocks.register(block, before, tokens).chain));
        }
        for &(block, _) in held.iter().rev() {
            self.blocks.release(block);
        }
        held.len()
    }

    /// The cached blocks that hold the beginning of a sequence's tokens.
    fn find_prefix(&self, sequence: &Sequence<W>) -> Vec<(u32, Chain)> {
        let limit = sequence.tokens.len().min(sequence.match_limit);
        let mut chain = Chain::ROOT;
        let mut matched = Vec::new();
        for tokens in sequence.tokens[..limit].chunks_exact(self.block_size) {
            let Some(cached) = self.blocks.find(chain, tokens) else {
                break;
            };
            chain = cached.chain;
            matched.push((cached.block, chain));
        }
        matched
    }

    /// Whether a sequence that comes before is computing more full blocks of this one's tokens
    /// than the `matched` ones. Then this one waits for them rather than compute them as well.
    fn computing_more_of(&self, sequence: &Sequence<W>, matched: usize) -> bool {
        let limit = sequence.tokens.len().min(sequence.match_limit);
        self.running
            .iter()
            .filter(|other| !other.decoding() && other.rank < sequence.rank)
            .any(|other| {
                let same = other.tokens.iter().zip(&sequence.tokens[..limit]);
                let common = same.take_while(|(a, b)| a == b).count();
                let common = common / self.block_size;
                common > matched && common > other.computed / self.block_size
            })
    }

    /// Whether a waiting sequence has, or can be given, a place and the blocks for all its tokens,
    /// beside what the running ones are going to need soon. Sequences of lower priority that come
    /// after it are preempted for that.
    fn make_room(&mut self, rank: Rank, matched: &[(u32, Chain)]) -> bool {
        loop {
            let sequence = &self.waiting[&rank];
            let unheld = matched.iter().filter(|(id, _)| !self.blocks.held(*id));
            // The last matched block may have to be copied.
            let copied = usize::from(matched.len() * self.block_size == sequence.tokens.len());
            let new = self.blocks_for(sequence.tokens.len()) - matched.len() + copied;
            let promised: usize = self
                .running
                .iter()
                .map(|s| {
                    self.blocks_for(s.tokens.len() + 1)
                        .saturating_sub(s.table.len())
                })
                .sum();
            let fits = self.running.is_empty()
                || self.blocks.available() >= unheld.count() + new + promised;
            if fits && self.running.len() < self.max_sequences {
                return true;
            }
            let priority = sequence.priority;
            match self.running.last() {
                Some(last) if last.rank > rank && last.priority < priority => self.preempt_last(),
                _ => return false,
            }
        }
    }

    fn blocks_for(&self, tokens: usize) -> usize {
        tokens.div_ceil(self.block_size)
    }

    /// Moves a waiting sequence to the running ones, with the blocks that hold its prefix.
    fn start(&mut self, rank: Rank, matched: &[(u32, Chain)], step: &mut Step) {
        let mut sequence = self
            .waiting
            .remove(&rank)
            .expect("the caller found it waiting, else this is a bug");
        for &(block, chain) in matched {
            self.blocks.retain(block);
            sequence.table.push(block);
            sequence.chain.push(chain);
        }
        sequence.computed = matched.len() * self.block_size;
        if sequence.computed == sequence.tokens.len() {
            self.uncover_last(&mut sequence, step);
        }
        self.counts.prefix_lookups += 1;
        self.counts.prefix_hits += u64::from(sequence.computed > 0);
        self.counts.prefix_hit_tokens += sequence.computed as u64;
        let place = self.running.partition_point(|s| s.rank < rank);
        self.running.insert(place, sequence);
    }

    /// Of a sequence that is cached whole, the last token is computed again, as its output is
    /// wanted. It is written into a copy of its block, which others hold or may find.
    fn uncover_last(&mut self, sequence: &mut Sequence<W>, step: &mut Step) {
        let last = sequence.table.len() - 1;
        let from = sequence.table[last];
        sequence.chain.pop();
        match self.blocks.make_writable(from) {
            Some(Writable::Copy { to }) => {
                sequence.table[last] = to;
                sequence.computed -= 1;
                step.copies.push((from, to));
            }
            // A registered block is never written in place.
            Some(Writable::Own) => unreachable!("a matched block is registered, this is a bug"),
            // The cache is as large as this sequence: compute the block again in place of it.
            None => {
                sequence.table.pop();
                self.blocks.release(from);
                sequence.computed -= self.block_size;
            }
        }
    }

    /// Cuts the step's slices, sequences in order.
    fn plan(&mut self, step: &mut Step) {
        let mut prompt_budget = self.prompt_budget(self.decoding_len());
        let mut index = 0;
        while index < self.running.len() {
            let sequence = &self.running[index];
            let wanted = match sequence.pending() {
                1 => 1,
                pending => pending.min(prompt_budget),
            };
            let start = sequence.computed;
            let end = self.provide(index, start + wanted);
            if end > start {
                if !self.running[index].decoding() {
                    prompt_budget -= end - start;
                }
                step.slices.push(Slice {
                    sequence: index,
                    positions: start..end,
                    drafts: 0,
                });
            }
            index += 1;
        }
    }

    /// Extends the slices by the sequences' guesses, in a step without prompts, as far as there is room that nobody else
    /// is going to need.
    fn add_drafts(&mut self, step: &mut Step) {
        let mut budget = self.max_batch_tokens - step.slices.len().min(self.max_batch_tokens);
        if step.has_prompts() {
            budget = 0;
        }
        let spare = self.running.len();
        for slice in &mut step.slices {
            let sequence = &mut self.running[slice.sequence];
            if sequence.drafts.is_empty() || slice.positions.end != sequence.tokens.len() {
                continue;
            }
            let wanted = slice.positions.end + sequence.drafts.len().min(budget);
            while sequence.table.len() * self.block_size < wanted
                && self.blocks.available() > spare
                && let Some(block) = self.blocks.allocate()
            {
                sequence.table.push(block);
            }
            let end = wanted.min(sequence.table.len() * self.block_size);
            slice.drafts = end - slice.positions.end;
            slice.positions.end = end;
            budget -= slice.drafts;
            sequence.drafts.truncate(slice.drafts);
        }
    }

    /// Gives the sequence at `index` blocks for its first `tokens` tokens, or for as many as
    /// there are blocks for, preempting sequences that come after it. Answers how many tokens have
    /// blocks, at most `tokens`.
    ///
    /// A sequence that gets none keeps what it has and waits for the next step.
    fn provide(&mut self, index: usize, tokens: usize) -> usize {
        while self.running[index].table.len() < self.blocks_for(tokens) {
            match self.blocks.allocate() {
                Some(block) => self.running[index].table.push(block),
                None if self.running.len() > index + 1 => self.preempt_last(),
                None => break,
            }
        }
        tokens.min(self.running[index].table.len() * self.block_size)
    }

    /// Takes the blocks of the last running sequence. What it computed stays findable until the
    /// blocks are needed.
    fn preempt_last(&mut self) {
        let mut sequence = self
            .running
            .pop()
            .expect("the caller saw a last sequence, else this is a bug");
        self.blocks.release_table(&mut sequence.table);
        sequence.chain.clear();
        sequence.computed = 0;
        sequence.drafts.clear();
        self.counts.preemptions += 1;
        self.waiting.insert(sequence.rank, sequence);
    }
}

#[cfg(test)]
mod tests;
