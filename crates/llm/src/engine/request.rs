//! A request for text.

use std::time::Instant;

use super::EngineError;
use crate::sampling::SamplingParams;

/// Highest priority of a request.
pub const MAX_PRIORITY: u8 = 10;
/// Priority of a request that names none.
pub const DEFAULT_PRIORITY: u8 = 5;
/// Most alternatives that are reported per token.
pub const MAX_LOGPROBS: usize = 1000;

/// A prompt and how to go on from it.
///
/// Several candidates for one prompt are several requests, with seeds from
/// [`derive_seed`](crate::sampling::derive_seed); the prefix cache lets them share the prompt's
/// blocks and its computation.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerateRequest {
    /// The prompt's tokens, a leading bos among them where the model wants one. Not empty.
    pub prompt: Vec<u32>,
    /// How tokens are chosen.
    pub sampling: SamplingParams,
    /// Tokens to generate at most; 0 only reads the prompt (see `prompt_logprobs`). Where the
    /// context is full before, the text ends there with
    /// [`FinishReason::Length`](super::FinishReason::Length); `usize::MAX` asks for just that.
    pub max_tokens: usize,
    /// Texts that end the generation; none of them is part of the answer. None may be empty.
    pub stop: Vec<String>,
    /// Report each token's log-probability and those of this many most likely alternatives.
    pub logprobs: Option<usize>,
    /// Report the same for every prompt token, as [`Event::Prompt`](super::Event::Prompt). Such a
    /// request computes its whole prompt, whatever the prefix cache holds.
    pub prompt_logprobs: Option<usize>,
    /// Take end-of-sequence tokens for ordinary ones and go on.
    pub ignore_eos: bool,
    /// 0 to [`MAX_PRIORITY`], higher is served first, up to a point: a level is worth
    /// [`EngineConfig::priority_step`](super::EngineConfig::priority_step) of waiting.
    pub priority: u8,
    /// When to give up. A request without a token by then fails with [`EngineError::Deadline`];
    /// one that has some ends with [`FinishReason::Deadline`](super::FinishReason::Deadline).
    pub deadline: Option<Instant>,
}

impl GenerateRequest {
    /// A request with default sampling that goes on until the model ends or the context is full.
    pub fn new(prompt: Vec<u32>) -> Self {
        Self {
            prompt,
            sampling: SamplingParams::default(),
            max_tokens: usize::MAX,
            stop: Vec::new(),
            logprobs: None,
            prompt_logprobs: None,
            ignore_eos: false,
            priority: DEFAULT_PRIORITY,
            deadline: None,
        }
    }

    /// Checks everything that can be said before any work is done.
    ///
    /// # Errors
    /// [`EngineError::InvalidParameter`] naming the field, [`EngineError::ContextLength`].
    pub fn validate(&self, vocab_size: usize, context_length: usize) -> Result<(), EngineError> {
        let invalid = |param, message| Err(EngineError::InvalidParameter { param, message });
        if self.prompt.is_empty() {
            return invalid("prompt", "has no tokens".into());
        }
        if self.prompt.len().saturating_add(self.max_tokens.min(1)) > context_length {
            return Err(EngineError::ContextLength {
                prompt_tokens: self.prompt.len(),
                max_tokens: self.max_tokens,
                context_length,
            });
        }
        if let Some(token) = self.prompt.iter().find(|&&t| t as usize >= vocab_size) {
            return invalid(
                "prompt",
                format!("token {token} is outside the vocabulary of {vocab_size}"),
            );
        }
        if self.stop.iter().any(String::is_empty) {
            return invalid("stop", "a stop text is empty".into());
        }
        for (param, k) in [
            ("logprobs", self.logprobs),
            ("prompt_logprobs", self.prompt_logprobs),
        ] {
            if let Some(k) = k.filter(|&k| k > MAX_LOGPROBS) {
                return invalid(param, format!("{k} is above {MAX_LOGPROBS}"));
            }
        }
        if self.priority > MAX_PRIORITY {
            return invalid(
                "priority",
                format!("{} is above {MAX_PRIORITY}", self.priority),
            );
        }
        self.sampling.validate(vocab_size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut GenerateRequest)) -> &'static str {
        let mut request = GenerateRequest::new(vec![1, 2, 3]);
        change(&mut request);
        match request.validate(10, 8) {
            Err(EngineError::InvalidParameter { param, .. }) => param,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_plain_request_is_valid() {
        GenerateRequest::new(vec![1, 2, 3]).validate(10, 8).unwrap();
    }

    #[test]
    fn bad_fields_are_named() {
        assert_eq!(refused(|r| r.prompt.clear()), "prompt");
        assert_eq!(refused(|r| r.prompt.push(10)), "prompt");
        assert_eq!(refused(|r| r.stop.push(String::new())), "stop");
        assert_eq!(refused(|r| r.logprobs = Some(1001)), "logprobs");
        assert_eq!(
            refused(|r| r.prompt_logprobs = Some(1001)),
            "prompt_logprobs"
        );
        assert_eq!(refused(|r| r.priority = 11), "priority");
        assert_eq!(refused(|r| r.sampling.temperature = -1.0), "temperature");
    }

    #[test]
    fn the_prompt_and_one_token_must_fit_the_context() {
        let mut request = GenerateRequest::new(vec![1; 8]);
        assert_eq!(
            request.validate(10, 8),
            Err(EngineError::ContextLength {
                prompt_tokens: 8,
                max_tokens: usize::MAX,
                context_length: 8
            })
        );
        request.max_tokens = 0;
        request.validate(10, 8).unwrap();
        request.prompt.push(1);
        assert!(matches!(
            request.validate(10, 8),
            Err(EngineError::ContextLength {
                prompt_tokens: 9,
                max_tokens: 0,
                ..
            })
        ));
    }
}
