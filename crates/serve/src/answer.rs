//! What every dialect does with a generation: wait for it within a deadline, gather its events, word its end.

use std::future::Future;
use std::time::Instant;

use futures_util::future::try_join_all;
use hearth_runtime::{Error, Event, FinishReason, Generation, TokenLogprobs, Usage};

use crate::metrics::Measure;

/// A finished candidate.
#[derive(Debug)]
pub struct Answer {
    /// The text.
    pub text: String,
    /// Its tokens.
    pub tokens: Vec<TokenLogprobs>,
    /// The prompt's tokens, where their log-probabilities were asked for.
    pub prompt: Vec<TokenLogprobs>,
    /// `stop` or `length`.
    pub finish_reason: &'static str,
    /// Tokens in and out.
    pub usage: Usage,
}

impl Answer {
    /// Waits for all candidates; the first failure ends the others.
    pub async fn gather(
        candidates: Vec<Generation>,
        measure: &Measure,
    ) -> Result<Vec<Self>, Error> {
        let answers = candidates
            .into_iter()
            .map(|candidate| Self::of(candidate, measure));
        try_join_all(answers).await
    }

    /// Waits for one candidate.
    pub async fn of(mut generation: Generation, measure: &Measure) -> Result<Self, Error> {
        let (mut text, mut tokens, mut prompt) = (String::new(), Vec::new(), Vec::new());
        while let Some(event) = generation.next().await {
            match event {
                Event::Prompt(scored) => prompt = scored,
                Event::Token {
                    text: more,
                    tokens: new,
                } => {
                    measure.first_token();
                    text.push_str(&more);
                    tokens.extend(new);
                }
                Event::Finished { reason, usage, .. } => {
                    let finish_reason = finish_reason(reason)?;
                    return Ok(Self {
                        text,
                        tokens,
                        prompt,
                        finish_reason,
                        usage,
                    });
                }
                Event::Failed(error) => return Err(error),
            }
        }
        Err(ended_early())
    }

    /// Mean log-probability of the tokens, by which `best_of` chooses; an empty text comes last.
    pub fn mean_logprob(&self) -> f32 {
        if self.tokens.is_empty() {
            return f32::NEG_INFINITY;
        }
        let sum: f32 = self.tokens.iter().filter_map(|entry| entry.logprob).sum();
        sum / self.tokens.len() as f32
    }
}

/// The dialect's word for why a text ended. A deadline is no such reason but a failure.
pub fn finish_reason(reason: FinishReason) -> Result<&'static str, Error> {
    match reason {
        FinishReason::Stop => Ok("stop"),
        FinishReason::Length => Ok("length"),
        FinishReason::Deadline => Err(Error::Deadline),
        other => Err(Error::Internal {
            message: format!("no word for the end {other:?}"),
        }),
    }
}

/// The failure of an engine that vanished in the middle of a generation.
pub fn ended_early() -> Error {
    Error::Internal {
        message: "the engine ended before the answer did".into(),
    }
}

/// Awaits `work`, but not past `deadline`.
pub async fn before<T>(
    deadline: Option<Instant>,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match deadline {
        None => work.await,
        Some(deadline) => tokio::time::timeout_at(deadline.into(), work)
            .await
            .unwrap_or(Err(Error::Deadline)),
    }
}
