//! A sequence as the scheduler sees it: tokens, blocks, a place in the order.

use std::time::Duration;

use super::blocks::Chain;
use super::draft::Drafter;
use super::request::MAX_PRIORITY;

/// The order in which sequences are served, the lowest first: by the time of arrival, put off by
/// a fixed time for each level below the highest priority.
///
/// So a higher priority is served first unless the lower one has waited long enough, and as the
/// order of two sequences never changes, the first of them always gets on: nobody starves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Rank {
    /// Since the engine started.
    due: Duration,
    /// Tells equal times apart.
    id: u64,
}

impl Rank {
    /// `arrival` counts from the engine's start.
    pub fn new(arrival: Duration, priority: u8, step: Duration, id: u64) -> Self {
        let levels = u32::from(MAX_PRIORITY.saturating_sub(priority));
        let due = arrival.saturating_add(step.saturating_mul(levels));
        Self { due, id }
    }
}

/// A sequence with its place in the cache. `W` is what its caller does with it.
#[derive(Debug)]
pub(super) struct Sequence<W> {
    pub rank: Rank,
    pub priority: u8,
    /// The prompt and all that was generated.
    pub tokens: Vec<u32>,
    /// How many of them have their keys and values in the cache.
    pub computed: usize,
    /// Blocks for `computed` tokens and those of the step under way.
    pub table: Vec<u32>,
    /// The identities of the full blocks among the computed ones.
    pub chain: Vec<Chain>,
    /// How many tokens may come from the prefix cache; fewer than all where outputs of the model
    /// are still wanted at the positions behind.
    pub match_limit: usize,
    /// Whether a part of its prefix is being read from disk; it waits for that.
    pub loading: bool,
    /// Guesses at the tokens to come, to be tried in the next step.
    pub drafts: Vec<u32>,
    pub drafter: Drafter,
    pub work: W,
}

impl<W> Sequence<W> {
    pub fn new(rank: Rank, priority: u8, tokens: Vec<u32>, work: W) -> Self {
        Self {
            rank,
            priority,
            tokens,
            computed: 0,
            table: Vec::new(),
            chain: Vec::new(),
            match_limit: usize::MAX,
            loading: false,
            drafts: Vec::new(),
            drafter: Drafter::default(),
            work,
        }
    }

    /// Tokens that the model has not seen.
    pub fn pending(&self) -> usize {
        self.tokens.len() - self.computed
    }

    /// The token at `position`, a guess behind the last one.
    pub fn token(&self, position: usize) -> u32 {
        match self.tokens.get(position) {
            Some(&token) => token,
            None => self.drafts[position - self.tokens.len()],
        }
    }

    /// Whether only the newest token is missing, as ever after the prompt.
    pub fn decoding(&self) -> bool {
        self.pending() == 1
    }
}
