//! The measured runs: a model's own forward pass over its real paged cache, with greedy choice of the next token.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hearth_kernels::{AttentionSpan, KvDType};
use hearth_llm::{Batch, KvCache, Scratch, TextModel};

/// Tokens of a cache block, as the engine has them by default.
const BLOCK_SIZE: usize = 16;
/// Most tokens of one step of prefill, as the engine has it by default.
const STEP_TOKENS: usize = 512;
/// Each sequence starts from a prompt of this many tokens before decode is timed.
pub const DECODE_PROMPT: usize = 16;

/// A model with a cache for the largest run, and buffers that are kept between steps.
pub struct Bench {
    model: Arc<dyn TextModel>,
    cache: KvCache,
    /// Sequence `s` owns the blocks from `s * blocks_each`.
    blocks_each: usize,
    tables: Vec<Vec<u32>>,
    scratch: Scratch,
    hidden: Vec<f32>,
    logits: Vec<f32>,
}

impl Bench {
    /// Allocates a cache for `sequences` of `tokens` tokens each, of type `kv`.
    pub fn new(
        model: Arc<dyn TextModel>,
        sequences: usize,
        tokens: usize,
        kv: KvDType,
    ) -> Result<Bench> {
        let blocks_each = tokens.div_ceil(BLOCK_SIZE);
        let cache = model
            .new_cache(sequences * blocks_each, BLOCK_SIZE, kv)
            .with_context(|| {
                format!("no memory for the cache of {sequences} sequences of {tokens} tokens; try a smaller --batch")
            })?;
        let table = |s: usize| {
            (0..blocks_each)
                .map(|b| (s * blocks_each + b) as u32)
                .collect()
        };
        Ok(Bench {
            tables: (0..sequences).map(table).collect(),
            model,
            cache,
            blocks_each,
            scratch: Scratch::default(),
            hidden: Vec::new(),
            logits: Vec::new(),
        })
    }

    /// The bytes of the cache.
    pub fn cache_bytes(&self) -> usize {
        self.cache.memory_bytes()
    }

    /// The time to read a prompt of `tokens` tokens in steps as the engine makes them, up to the choice of the first
    /// token of an answer.
    pub fn prefill(&mut self, tokens: usize) -> Duration {
        let prompt = self.prompt(0, tokens);
        let begin = Instant::now();
        let mut done = 0;
        for step in prompt.chunks(STEP_TOKENS) {
            let last = done + step.len() == tokens;
            self.step(step, &[(0, done, step.len())], last);
            done += step.len();
        }
        self.choose(0);
        begin.elapsed()
    }

    /// The time of `steps` steps that each add one token to each of `sequences` sequences.
    pub fn decode(&mut self, sequences: usize, steps: usize) -> Duration {
        let mut next = Vec::with_capacity(sequences);
        for sequence in 0..sequences {
            let prompt = self.prompt(sequence, DECODE_PROMPT);
            self.step(&prompt, &[(sequence, 0, DECODE_PROMPT)], true);
            next.push(self.choose(0));
        }
        let begin = Instant::now();
        let mut rows = Vec::with_capacity(sequences);
        for step in 0..steps {
            rows.clear();
            rows.extend((0..sequences).map(|s| (s, DECODE_PROMPT + step, 1)));
            self.step(&next, &rows, true);
            for (sequence, token) in next.iter_mut().enumerate() {
                *token = self.choose(sequence);
            }
        }
        begin.elapsed()
    }

    /// Any tokens serve: the work does not depend on them.
    fn prompt(&self, sequence: usize, tokens: usize) -> Vec<u32> {
        let vocab = self.model.info().vocab_size;
        (0..tokens)
            .map(|i| ((sequence * 31 + i * 7919 + 3) % vocab) as u32)
            .collect()
    }

    /// One forward pass over the rows of some sequences, given as (sequence, first position, tokens), and the logits
    /// of each one's last row where they are wanted.
    fn step(&mut self, tokens: &[u32], sequences: &[(usize, usize, usize)], logits: bool) {
        let mut positions = Vec::with_capacity(tokens.len());
        let mut slots = Vec::with_capacity(tokens.len());
        let mut outputs = Vec::with_capacity(sequences.len());
        let mut spans = Vec::with_capacity(sequences.len());
        for &(sequence, first_position, len) in sequences {
            let rows = positions.len()..positions.len() + len;
            for position in first_position..first_position + len {
                positions.push(position as u32);
                // Blocks of a sequence are consecutive, so that its tokens are.
                slots.push((sequence * self.blocks_each * BLOCK_SIZE + position) as u32);
            }
            if logits {
                outputs.push(rows.end as u32 - 1);
            }
            spans.push(AttentionSpan {
                rows,
                first_position,
                block_table: &self.tables[sequence],
            });
        }
        let batch = Batch {
            tokens,
            positions: &positions,
            slots: &slots,
            spans: &spans,
            outputs: &outputs,
        };
        self.model
            .forward(&batch, &mut self.cache, &mut self.scratch, &mut self.hidden);
        if logits {
            self.model
                .logits(&self.hidden, &mut self.scratch, &mut self.logits);
        }
    }

    /// The most likely token of output row `row`.
    fn choose(&self, row: usize) -> u32 {
        let vocab = self.model.info().vocab_size;
        let scores = &self.logits[row * vocab..][..vocab];
        // Lanes of their own, which a compiler turns into vectors.
        let mut lanes = [f32::NEG_INFINITY; 16];
        let (chunks, rest) = scores.as_chunks::<16>();
        for chunk in chunks {
            for (lane, &score) in lanes.iter_mut().zip(chunk) {
                *lane = if score > *lane { score } else { *lane };
            }
        }
        let best = lanes
            .iter()
            .chain(rest)
            .copied()
            .fold(f32::NEG_INFINITY, f32::max);
        scores.iter().position(|&score| score == best).unwrap_or(0) as u32
    }
}

/// The middle one of several times.
pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
