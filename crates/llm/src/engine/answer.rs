//! What becomes of a sequence's tokens: text, scores, an end, events for the caller.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc::UnboundedSender;

use super::event::{Event, FinishReason, Timings, TokenLogprobs, Usage};
use super::request::GenerateRequest;
use super::stop::StopMatcher;
use super::{EngineError, Permit};
use crate::sampling::Sampler;
use crate::tokenizer::{TextStream, Tokenizer};

/// How an answer ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum End {
    Finished(FinishReason),
    Failed(EngineError),
    /// Nobody listens any more.
    Cancelled,
}

/// A request under way, beside its place in the cache.
pub(super) struct Answer {
    events: UnboundedSender<Event>,
    /// The request's place among those admitted.
    permit: Option<Permit>,
    tokenizer: Arc<Tokenizer>,
    text: TextStream,
    stop: StopMatcher,
    pub sampler: Sampler,
    /// Alternatives to report per token, where scores are asked for.
    pub logprobs: Option<usize>,
    pub prompt_logprobs: Option<usize>,
    /// Scores of the prompt's tokens so far, the first token's included.
    prompt_scores: Vec<TokenLogprobs>,
    prompt_tokens: usize,
    /// Tokens that are generated at most, the context's end considered.
    max_tokens: usize,
    ignore_eos: bool,
    deadline: Option<Instant>,
    /// Tokens whose text is held back, with the place in the answer where it begins.
    held: VecDeque<(usize, TokenLogprobs)>,
    /// Bytes of text that the tokens so far have, and that were sent.
    produced: usize,
    sent: usize,
    completion_tokens: usize,
    cached_tokens: usize,
    submitted: Instant,
    started: Option<Instant>,
    prefilled: Option<Instant>,
    first_token: Option<Instant>,
    end: Option<End>,
}

impl Answer {
    /// For a valid `request`, its seed drawn.
    pub fn new(
        request: &mut GenerateRequest,
        seed: u64,
        context_length: usize,
        tokenizer: &Arc<Tokenizer>,
        events: UnboundedSender<Event>,
        permit: Permit,
        submitted: Instant,
    ) -> Self {
        let room = context_length.saturating_sub(request.prompt.len());
        let sampling = std::mem::take(&mut request.sampling);
        Self {
            events,
            permit: Some(permit),
            tokenizer: Arc::clone(tokenizer),
            text: tokenizer.stream_after(&request.prompt),
            stop: StopMatcher::new(std::mem::take(&mut request.stop)),
            sampler: Sampler::new(sampling, seed, &request.prompt),
            logprobs: request.logprobs,
            prompt_logprobs: request.prompt_logprobs,
            prompt_scores: Vec::new(),
            prompt_tokens: request.prompt.len(),
            max_tokens: request.max_tokens.min(room),
            ignore_eos: request.ignore_eos,
            deadline: request.deadline,
            held: VecDeque::new(),
            produced: 0,
            sent: 0,
            completion_tokens: 0,
            cached_tokens: 0,
            submitted,
            started: None,
            prefilled: None,
            first_token: None,
            end: None,
        }
    }

    /// Whether nothing more is to be computed for it.
    pub fn ended(&self) -> bool {
        self.end.is_some()
    }

    pub fn prompt_tokens(&self) -> usize {
        self.prompt_tokens
    }

    /// Tokens generated so far; the index of the next one.
    pub fn completion_tokens(&self) -> usize {
        self.completion_tokens
    }

    /// Tokens that are wanted yet, at most.
    pub fn tokens_left(&self) -> usize {
        self.max_tokens.saturating_sub(self.completion_tokens)
    }

    /// Whether the token after the prompt is wanted.
    pub fn wants_tokens(&self) -> bool {
        self.max_tokens > 0
    }

    /// The first position whose output is wanted to score the prompt token behind it.
    pub fn next_score(&self) -> Option<usize> {
        self.prompt_logprobs?;
        let next = self.prompt_scores.len().saturating_sub(1);
        (next + 1 < self.prompt_tokens).then_some(next)
    }

    /// Ends it where its caller went away or its deadline passed.
    pub fn check(&mut self, now: Instant) {
        if self.events.is_closed() {
            self.end = Some(End::Cancelled);
        } else if self.deadline.is_some_and(|deadline| deadline <= now) {
            match self.completion_tokens {
                0 => self.fail(EngineError::Deadline),
                _ => self.finish(FinishReason::Deadline),
            }
        }
    }

    /// The first step carries a part of it, `cached` tokens having been found.
    pub fn start(&mut self, cached: usize, now: Instant) -> bool {
        let first = self.started.is_none();
        if first {
            self.started = Some(now);
            self.cached_tokens = cached.min(self.prompt_tokens);
        }
        first
    }

    /// The score of the prompt's next token; `first` is its first token.
    pub fn prompt_score(&mut self, first: u32, score: TokenLogprobs) {
        if self.prompt_scores.is_empty() {
            self.prompt_scores.push(unscored(first));
        }
        self.prompt_scores.push(score);
    }

    /// The whole prompt is computed, for the first time or again. Says nothing where a score has
    /// failed.
    pub fn prefilled(&mut self, first: u32, now: Instant) {
        if self.prefilled.is_some() || self.ended() {
            return;
        }
        self.prefilled = Some(now);
        if self.prompt_logprobs.is_some() {
            if self.prompt_scores.is_empty() {
                self.prompt_scores.push(unscored(first));
            }
            let scores = std::mem::take(&mut self.prompt_scores);
            self.send(Event::Prompt(scores));
            self.prompt_logprobs = None;
        }
        if self.max_tokens == 0 {
            self.finish(FinishReason::Length);
        }
    }

    /// Takes the next token.
    pub fn token(&mut self, token: TokenLogprobs, now: Instant) {
        let id = token.token;
        self.completion_tokens += 1;
        self.first_token.get_or_insert(now);
        self.sampler.accept(id);
        if !self.ignore_eos && self.tokenizer.eos_ids().contains(&id) {
            self.finish(FinishReason::Stop);
            return;
        }
        let text = self.text.push(id).unwrap_or_default();
        self.held.push_back((self.produced, token));
        if self.emit(&text) {
            return;
        }
        if self.completion_tokens >= self.max_tokens {
            self.finish(FinishReason::Length);
        }
    }

    /// Sends what of the text is certain, with its tokens. True where a stop text ended it.
    fn emit(&mut self, text: &str) -> bool {
        self.produced += text.len();
        let (certain, stopped) = self.stop.push(text);
        self.sent += certain.len();
        if stopped {
            // Tokens whose text begins at the stop text or behind it are not part of the answer.
            self.held.retain(|&(start, _)| start < self.sent);
            self.flush(certain, true);
            self.end = Some(End::Finished(FinishReason::Stop));
        } else {
            self.flush(certain, self.sent == self.produced);
        }
        stopped
    }

    /// Sends text with the held tokens that begin in it, or with all of them.
    fn flush(&mut self, text: String, all: bool) {
        let count = match all {
            true => self.held.len(),
            false => self.held.partition_point(|&(start, _)| start < self.sent),
        };
        let tokens: Vec<_> = self.held.drain(..count).map(|(_, token)| token).collect();
        if !text.is_empty() || !tokens.is_empty() {
            self.send(Event::Token { text, tokens });
        }
    }

    /// Ends the answer with what was held back.
    fn finish(&mut self, reason: FinishReason) {
        let rest = self.text.finish().unwrap_or_default();
        if self.emit(&rest) {
            return;
        }
        let held = self.stop.finish();
        self.sent += held.len();
        self.flush(held, true);
        self.end = Some(End::Finished(reason));
    }

    /// Ends the answer without a result, unless it has ended.
    pub fn fail(&mut self, error: EngineError) {
        self.end.get_or_insert(End::Failed(error));
    }

    fn send(&self, event: Event) {
        // A caller that went away is noticed before the next step.
        let _ = self.events.send(event);
    }

    /// How it ended; as if cancelled where it has not.
    pub fn end(&self) -> &End {
        self.end.as_ref().unwrap_or(&End::Cancelled)
    }

    /// Sends the last event.
    pub fn close(mut self, now: Instant) {
        // First, as a caller that has the answer may ask again at once.
        self.permit = None;
        match self.end() {
            End::Finished(reason) => self.send(Event::Finished {
                reason: *reason,
                usage: Usage {
                    prompt_tokens: self.prompt_tokens,
                    completion_tokens: self.completion_tokens,
                    cached_tokens: self.cached_tokens,
                },
                timings: self.timings(now),
            }),
            End::Failed(error) => self.send(Event::Failed(error.clone())),
            End::Cancelled => {}
        }
    }

    fn timings(&self, now: Instant) -> Timings {
        let started = self.started.unwrap_or(now);
        let prefilled = self.prefilled.unwrap_or(now);
        Timings {
            queue: started - self.submitted,
            prefill: prefilled - started,
            decode: now - prefilled,
            time_to_first_token: self.first_token.map(|first| first - self.submitted),
        }
    }
}

fn unscored(token: u32) -> TokenLogprobs {
    TokenLogprobs {
        token,
        logprob: None,
        top: Vec::new(),
    }
}
