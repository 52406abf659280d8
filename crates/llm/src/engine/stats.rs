//! The engine's counters.

/// What the engine is doing, and has done since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineStats {
    /// Sequences that hold blocks of the cache now.
    pub running: usize,
    /// Requests that wait for their first step, or for their next after a preemption.
    pub waiting: usize,
    /// Blocks that sequences hold.
    pub blocks_used: usize,
    /// Blocks that no sequence holds, but whose contents are kept for prompts to come.
    pub blocks_cached: usize,
    /// Blocks of the KV cache.
    pub blocks_total: usize,
    /// Prompt tokens taken in, whether computed or found in the prefix cache.
    pub tokens_in: u64,
    /// Tokens generated.
    pub tokens_out: u64,
    /// Tokens whose keys and values were found in the prefix cache, or came into it from disk.
    pub prefix_hit_tokens: u64,
    /// Times that a request found a part of its tokens in the prefix cache.
    pub prefix_hits: u64,
    /// Times that a request looked for its tokens in the prefix cache.
    pub prefix_lookups: u64,
    /// Cached blocks given up for new contents.
    pub evictions: u64,
    /// Blocks that came from the [pages](crate::pages) on disk.
    pub blocks_read: u64,
    /// Blocks kept there when the engine ended, those that were there already included.
    pub blocks_written: u64,
    /// Sequences whose blocks were taken away and which had to be computed again.
    pub preemptions: u64,
    /// Steps of the model.
    pub steps: u64,
    /// Tokens that went through the model.
    pub tokens_computed: u64,
    /// Tokens that were tried ahead because the text suggested them.
    pub drafted: u64,
    /// Those of them that became part of an answer.
    pub accepted: u64,
    /// Requests that ended with [`Event::Finished`](super::Event::Finished).
    pub finished: u64,
    /// Requests that ended with [`Event::Failed`](super::Event::Failed).
    pub failed: u64,
    /// Requests whose caller went away.
    pub cancelled: u64,
}
