//! What an engine says about itself.

use std::collections::BTreeMap;
use std::time::Duration;

use hearth_llm::embedder::EmbedderStats;
use hearth_llm::engine::EngineStats;
use serde::Serialize;

/// Counters of an engine since it was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Figures {
    /// Of a text model's.
    Text(EngineFigures),
    /// Of an embedding model's.
    Embedding(EmbedderFigures),
    /// Of an exported network's.
    Network(NetworkFigures),
}

impl Figures {
    /// Those of two engines of one kind together; of different kinds, the first.
    pub(crate) fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => Self::Text(EngineFigures {
                running_sequences: a.running_sequences + b.running_sequences,
                waiting_requests: a.waiting_requests + b.waiting_requests,
                cache_blocks_used: a.cache_blocks_used + b.cache_blocks_used,
                cache_blocks_cached: a.cache_blocks_cached + b.cache_blocks_cached,
                cache_blocks_total: a.cache_blocks_total + b.cache_blocks_total,
                tokens_in: a.tokens_in + b.tokens_in,
                tokens_out: a.tokens_out + b.tokens_out,
                prefix_hit_tokens: a.prefix_hit_tokens + b.prefix_hit_tokens,
                prefix_hits: a.prefix_hits + b.prefix_hits,
                prefix_lookups: a.prefix_lookups + b.prefix_lookups,
                cache_evictions: a.cache_evictions + b.cache_evictions,
                cache_blocks_read: a.cache_blocks_read + b.cache_blocks_read,
                tokens_drafted: a.tokens_drafted + b.tokens_drafted,
                tokens_accepted: a.tokens_accepted + b.tokens_accepted,
                cancelled: a.cancelled + b.cancelled,
                preemptions: a.preemptions + b.preemptions,
                steps: a.steps + b.steps,
                tokens_computed: a.tokens_computed + b.tokens_computed,
            }),
            (Self::Embedding(a), Self::Embedding(b)) => Self::Embedding(EmbedderFigures {
                waiting_requests: a.waiting_requests + b.waiting_requests,
                inputs: a.inputs + b.inputs,
                tokens_in: a.tokens_in + b.tokens_in,
                batches: a.batches + b.batches,
                cancelled: a.cancelled + b.cancelled,
            }),
            (Self::Network(a), Self::Network(b)) => Self::Network(a.plus(b)),
            (first, _) => first,
        }
    }
}

/// Counters of a text model's engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct EngineFigures {
    /// Sequences that run now.
    pub running_sequences: usize,
    /// Requests that wait.
    pub waiting_requests: usize,
    /// Blocks of the KV cache that sequences hold.
    pub cache_blocks_used: usize,
    /// Blocks that no sequence holds, kept for prompts to come.
    pub cache_blocks_cached: usize,
    /// All blocks of the KV cache.
    pub cache_blocks_total: usize,
    /// Prompt tokens taken in since the model was loaded.
    pub tokens_in: u64,
    /// Tokens generated since.
    pub tokens_out: u64,
    /// Prompt tokens whose keys and values were found in the cache.
    pub prefix_hit_tokens: u64,
    /// Times that a request found a part of its prompt in the cache.
    pub prefix_hits: u64,
    /// Times that a request looked for its prompt in the cache.
    pub prefix_lookups: u64,
    /// Cached blocks given up for new contents.
    pub cache_evictions: u64,
    /// Blocks that came from disk.
    pub cache_blocks_read: u64,
    /// Tokens that were tried ahead because the text suggested them.
    pub tokens_drafted: u64,
    /// Those of them that became part of an answer.
    pub tokens_accepted: u64,
    /// Requests whose clients went away.
    pub cancelled: u64,
    /// Sequences that had to give their blocks up for a while.
    pub preemptions: u64,
    /// Steps of the model.
    pub steps: u64,
    /// Tokens that went through the model; over `steps` it is the mean batch size.
    pub tokens_computed: u64,
}

/// Counters of an embedding model's engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct EmbedderFigures {
    /// Requests that are not yet answered.
    pub waiting_requests: usize,
    /// Inputs computed.
    pub inputs: u64,
    /// Their tokens.
    pub tokens_in: u64,
    /// Batches that they were computed in.
    pub batches: u64,
    /// Requests whose clients went away.
    pub cancelled: u64,
}

/// Counters of an exported network's instance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NetworkFigures {
    /// Requests, or pieces of large ones, that wait.
    pub waiting_requests: usize,
    /// Inputs that ran.
    pub inputs: u64,
    /// Runs of the network.
    pub batches: u64,
    /// Requests, or pieces of large ones, that have waited.
    #[serde(skip)]
    pub queued: u64,
    /// The time that they waited until a run took them.
    #[serde(skip)]
    pub queue_time: Duration,
    /// The runs, by how many inputs they had.
    #[serde(skip)]
    pub sizes: BTreeMap<usize, RunFigures>,
}

/// Runs with so many inputs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunFigures {
    /// How many there were.
    pub count: u64,
    /// The time in which inputs were put together.
    pub join_time: Duration,
    /// The time that the engine took.
    pub run_time: Duration,
    /// The time in which outputs were taken apart.
    pub split_time: Duration,
}

impl NetworkFigures {
    /// A run takes `count` that have waited so long together.
    pub(crate) fn began(&mut self, count: usize, waited: Duration) {
        self.queued += count as u64;
        self.queue_time += waited;
    }

    /// A run with so many inputs took these times to join, run and split.
    pub(crate) fn ran(&mut self, inputs: usize, [join, run, split]: [Duration; 3]) {
        self.inputs += inputs as u64;
        self.batches += 1;
        let runs = RunFigures {
            count: 1,
            join_time: join,
            run_time: run,
            split_time: split,
        };
        self.sizes.entry(inputs).or_default().add(runs);
    }

    fn plus(mut self, other: Self) -> Self {
        self.waiting_requests += other.waiting_requests;
        self.inputs += other.inputs;
        self.batches += other.batches;
        self.queued += other.queued;
        self.queue_time += other.queue_time;
        for (size, runs) in other.sizes {
            self.sizes.entry(size).or_default().add(runs);
        }
        self
    }
}

impl RunFigures {
    /// Adds other runs.
    pub fn add(&mut self, other: Self) {
        self.count += other.count;
        self.join_time += other.join_time;
        self.run_time += other.run_time;
        self.split_time += other.split_time;
    }
}

impl From<EngineStats> for Figures {
    fn from(stats: EngineStats) -> Self {
        Self::Text(EngineFigures {
            running_sequences: stats.running,
            waiting_requests: stats.waiting,
            cache_blocks_used: stats.blocks_used,
            cache_blocks_cached: stats.blocks_cached,
            cache_blocks_total: stats.blocks_total,
            tokens_in: stats.tokens_in,
            tokens_out: stats.tokens_out,
            prefix_hit_tokens: stats.prefix_hit_tokens,
            prefix_hits: stats.prefix_hits,
            prefix_lookups: stats.prefix_lookups,
            cache_evictions: stats.evictions,
            cache_blocks_read: stats.blocks_read,
            tokens_drafted: stats.drafted,
            tokens_accepted: stats.accepted,
            cancelled: stats.cancelled,
            preemptions: stats.preemptions,
            steps: stats.steps,
            tokens_computed: stats.tokens_computed,
        })
    }
}

impl From<EmbedderStats> for Figures {
    fn from(stats: EmbedderStats) -> Self {
        Self::Embedding(EmbedderFigures {
            waiting_requests: stats.waiting,
            inputs: stats.inputs,
            tokens_in: stats.tokens,
            batches: stats.batches,
            cancelled: stats.cancelled,
        })
    }
}
