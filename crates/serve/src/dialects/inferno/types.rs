//! The answers' shapes, as OpenAI's API reference gives them.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use utoipa::ToSchema;

use crate::metrics::Measure;

use super::logprobs::{ChatLogprobs, TextLogprobs};

/// The version that `system_fingerprint` tells: the program's. Which weights answered, `model` tells.
const FINGERPRINT: &str = concat!("hearth-", env!("CARGO_PKG_VERSION"));

/// What all parts of one answer have in common.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = inferno::Head)]
pub struct Head {
    /// `chatcmpl-…` or `cmpl-…`.
    pub id: String,
    /// The kind of object this is.
    pub object: &'static str,
    /// Unix time in seconds at which the answer was begun.
    pub created: u64,
    /// The model, by the name that the request used.
    pub model: String,
    /// What computed the answer.
    pub system_fingerprint: &'static str,
}

impl Head {
    /// The head of a new answer by `model`, with an id that begins with `prefix`.
    pub fn new(prefix: &str, object: &'static str, model: String) -> Self {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            id: format!("{prefix}{}", uuid::Uuid::new_v4().simple()),
            object,
            created: now.as_secs(),
            model,
            system_fingerprint: FINGERPRINT,
        }
    }
}

/// Tokens in and out of a whole answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = inferno::Usage)]
pub struct Usage {
    /// Tokens of the prompts, each prompt counted once however many choices it has.
    pub prompt_tokens: usize,
    /// Tokens generated, in every candidate.
    pub completion_tokens: usize,
    /// The sum of both.
    pub total_tokens: usize,
    /// What is known of the prompts' tokens.
    pub prompt_tokens_details: PromptTokensDetails,
}

/// What is known of the prompts' tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = inferno::PromptTokensDetails)]
pub struct PromptTokensDetails {
    /// Prompt tokens that need not be computed again.
    pub cached_tokens: usize,
}

impl Usage {
    /// Adds one candidate; its prompt counts if it is the prompt's first.
    pub fn add(&mut self, candidate: hearth_runtime::Usage, first_of_prompt: bool) {
        if first_of_prompt {
            self.prompt_tokens += candidate.prompt_tokens;
            self.prompt_tokens_details.cached_tokens += candidate.cached_tokens;
        }
        self.completion_tokens += candidate.completion_tokens;
        self.total_tokens = self.prompt_tokens + self.completion_tokens;
    }

    /// Counts the tokens in the request's measure.
    pub fn count(&self, measure: &Measure) {
        measure.tokens(self.prompt_tokens as u64, self.completion_tokens as u64);
    }
}

/// The whole answer of chat (`C` is [`ChatChoice`]) or completions (`C` is [`TextChoice`]).
#[derive(Debug, Serialize, ToSchema)]
pub struct Completion<C> {
    /// Id, model and so on.
    #[serde(flatten)]
    pub head: Head,
    /// The choices, in the order of their index.
    pub choices: Vec<C>,
    /// Tokens in and out.
    pub usage: Usage,
}

/// A part of a streamed answer.
#[derive(Debug, Serialize)]
pub struct Chunk<'a, C> {
    /// Id, model and so on.
    #[serde(flatten)]
    pub head: &'a Head,
    /// What is new; empty in the part that tells the usage.
    pub choices: Vec<C>,
    /// Absent unless the usage was asked for; then null in every part but the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Option<Usage>>,
}

/// A choice of a chat answer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = inferno::ChatChoice)]
pub struct ChatChoice {
    /// Number of the choice.
    pub index: usize,
    /// What the model said.
    pub message: Message,
    /// What the model thought of each token, where asked for.
    pub logprobs: Option<ChatLogprobs>,
    /// `stop` or `length`.
    pub finish_reason: &'static str,
}

/// A message of the model.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = inferno::AnswerMessage)]
pub struct Message {
    /// Always `assistant`.
    pub role: &'static str,
    /// The text.
    pub content: String,
    /// Always null: no model here tells refusals apart from its other words.
    pub refusal: Option<String>,
}

/// A choice in a part of a streamed chat answer.
#[derive(Debug, Serialize)]
pub struct ChatDelta {
    /// Number of the choice.
    pub index: usize,
    /// What is new.
    pub delta: Delta,
    /// What the model thought of the new tokens, where asked for.
    pub logprobs: Option<ChatLogprobs>,
    /// `stop` or `length` in the last part, null before.
    pub finish_reason: Option<&'static str>,
}

/// What is new in a message.
#[derive(Debug, Default, Serialize)]
pub struct Delta {
    /// `assistant`, in the first part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    /// More text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
}

/// A choice of a completion, or of a part of a streamed one.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = inferno::TextChoice)]
pub struct TextChoice {
    /// The text, or what is new of it.
    pub text: String,
    /// Number of the choice, counted over all prompts.
    pub index: usize,
    /// What the model thought of each token, where asked for.
    pub logprobs: Option<TextLogprobs>,
    /// `stop` or `length`; null in all parts of a stream but a choice's last.
    pub finish_reason: Option<&'static str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_counts_once_and_every_candidate_does() {
        let mut usage = Usage::default();
        let candidate = hearth_runtime::Usage {
            prompt_tokens: 10,
            completion_tokens: 3,
            cached_tokens: 8,
        };
        usage.add(candidate, true);
        usage.add(candidate, false);
        let prompt_tokens_details = PromptTokensDetails { cached_tokens: 8 };
        let sum = Usage {
            prompt_tokens: 10,
            completion_tokens: 6,
            total_tokens: 16,
            prompt_tokens_details,
        };
        assert_eq!(usage, sum);
    }

    #[test]
    fn usage_is_absent_null_or_there() {
        let head = Head::new("cmpl-", "text_completion", "m".into());
        let text = |usage| {
            let chunk = Chunk::<TextChoice> {
                head: &head,
                choices: vec![],
                usage,
            };
            serde_json::to_value(&chunk).expect("serializable")
        };
        assert_eq!(text(None).get("usage"), None);
        assert!(text(Some(None))["usage"].is_null());
        assert_eq!(
            text(Some(Some(Usage::default())))["usage"]["total_tokens"],
            0
        );
    }
}
