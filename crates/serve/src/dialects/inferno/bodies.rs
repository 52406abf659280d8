//! Bodies of requests, as the description of the API tells them. Requests themselves are read field by
//! field, since a wrong one is to be named; a test holds the two together.
#![allow(dead_code, reason = "these describe what is read elsewhere")]

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::stops::Stop;

/// A chat to go on from.
#[derive(Debug, ToSchema)]
#[schema(as = inferno::ChatRequest)]
pub struct ChatBody {
    /// The model.
    #[schema(min_length = 1, example = "ember")]
    pub model: String,
    /// The conversation so far, at least one message.
    #[schema(min_items = 1)]
    pub messages: Vec<MessageBody>,
    /// Tokens to generate at most.
    #[schema(default = 2048, minimum = 1, maximum = 32768, example = 50)]
    pub max_tokens: Option<u32>,
    /// The same under its newer name.
    #[schema(minimum = 1, maximum = 32768)]
    pub max_completion_tokens: Option<u32>,
    /// How freely tokens are chosen; 0 takes the likeliest.
    #[schema(default = 0.7, minimum = 0, maximum = 2)]
    pub temperature: Option<f64>,
    /// The share of likelihood that tokens are chosen from.
    #[schema(default = 1.0, minimum = 0, maximum = 1)]
    pub top_p: Option<f64>,
    /// How many of the likeliest tokens are chosen from; 0 and -1 mean all.
    #[schema(minimum = -1)]
    pub top_k: Option<i64>,
    /// Least likelihood of a token, as a share of the likeliest one's.
    #[schema(minimum = 0, maximum = 1)]
    pub min_p: Option<f64>,
    /// Divides the scores of tokens that were there before.
    #[schema(minimum = 0.01, maximum = 10)]
    pub repetition_penalty: Option<f64>,
    /// Taken from the scores of tokens that were there before.
    #[schema(default = 0.0, minimum = -2, maximum = 2)]
    pub presence_penalty: Option<f64>,
    /// The same, for each time that they were there.
    #[schema(default = 0.0, minimum = -2, maximum = 2)]
    pub frequency_penalty: Option<f64>,
    /// Added to the scores of tokens, by their ids.
    pub logit_bias: Option<BTreeMap<String, f64>>,
    /// The same seed gives the same answer.
    pub seed: Option<i64>,
    /// How many answers to give.
    #[schema(default = 1, minimum = 1, maximum = 16)]
    pub n: Option<u32>,
    /// Whether to answer as server-sent events.
    #[schema(default = false)]
    pub stream: Option<bool>,
    /// What a stream tells besides.
    pub stream_options: Option<StreamOptions>,
    /// A text that ends the generation, or several.
    pub stop: Option<Stop>,
    /// Whether to tell the log-probabilities of tokens.
    #[schema(default = false)]
    pub logprobs: Option<bool>,
    /// Of how many alternatives to tell them.
    #[schema(minimum = 0, maximum = 20)]
    pub top_logprobs: Option<u32>,
    /// Go on past the model's own end.
    #[schema(default = false)]
    pub ignore_eos: Option<bool>,
    /// Who is served first, 0 to 10.
    #[schema(default = 5, minimum = 0, maximum = 10)]
    pub priority: Option<u8>,
    /// Time to answer in, in seconds.
    #[schema(minimum = 0.001, maximum = 86400)]
    pub timeout: Option<f64>,
    /// A label for the caller's own use.
    pub user: Option<String>,
}

/// A message of a chat.
#[derive(Debug, ToSchema)]
#[schema(as = inferno::Message)]
pub struct MessageBody {
    /// Who says it.
    pub role: Role,
    /// The text, or a list of parts of type `text`.
    #[schema(example = "Hello!")]
    pub content: Content,
    /// Who is speaking.
    pub name: Option<String>,
}

/// Who says a message.
#[derive(Debug, ToSchema)]
#[schema(as = inferno::Role, rename_all = "lowercase")]
pub enum Role {
    /// Whoever set the model up.
    System,
    /// The newer word for it.
    Developer,
    /// Whom the model answers.
    User,
    /// The model.
    Assistant,
    /// What the model called.
    Tool,
}

/// A text, or its parts.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = inferno::Content)]
pub enum Content {
    /// The text.
    Text(String),
    /// Its parts, at least one.
    Parts(Vec<Part>),
}

/// A part of a text.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = inferno::Part)]
pub struct Part {
    /// What it is.
    pub r#type: PartType,
    /// The text.
    pub text: String,
}

/// What a part of a text is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = inferno::PartType, rename_all = "lowercase")]
pub enum PartType {
    /// Text; there are no others.
    Text,
}

/// An event of a stream, without a name.
#[derive(Debug, ToSchema)]
#[schema(as = inferno::StreamEvent)]
pub struct StreamEvent {
    /// A part of the answer as JSON, with `choices` of what is new; or an error's envelope. After the last
    /// part it is `[DONE]`.
    pub data: String,
}

/// What a stream tells besides.
#[derive(Debug, ToSchema)]
#[schema(as = inferno::StreamOptions)]
pub struct StreamOptions {
    /// End with the tokens in and out.
    pub include_usage: Option<bool>,
}

/// A text to go on from.
#[derive(Debug, ToSchema)]
#[schema(as = inferno::CompletionRequest)]
pub struct CompletionBody {
    /// The model.
    #[schema(min_length = 1, example = "ember")]
    pub model: String,
    /// A text, texts, token ids, or lists of token ids.
    pub prompt: Prompt,
    /// Tokens to generate at most.
    #[schema(default = 2048, minimum = 0, maximum = 32768, example = 50)]
    pub max_tokens: Option<u32>,
    /// How freely tokens are chosen; 0 takes the likeliest.
    #[schema(default = 1.0, minimum = 0, maximum = 2)]
    pub temperature: Option<f64>,
    /// The share of likelihood that tokens are chosen from.
    #[schema(default = 1.0, minimum = 0, maximum = 1)]
    pub top_p: Option<f64>,
    /// Choices for each prompt.
    #[schema(default = 1, minimum = 1, maximum = 16)]
    pub n: Option<u32>,
    /// Candidates for each prompt, of which the best `n` are given.
    #[schema(default = 1, minimum = 1, maximum = 16)]
    pub best_of: Option<u32>,
    /// Whether to answer as server-sent events.
    #[schema(default = false)]
    pub stream: Option<bool>,
    /// What a stream tells besides.
    pub stream_options: Option<StreamOptions>,
    /// Of how many alternatives to tell the log-probabilities.
    #[schema(minimum = 0, maximum = 5)]
    pub logprobs: Option<u32>,
    /// Whether to begin with the prompt.
    #[schema(default = false)]
    pub echo: Option<bool>,
    /// A text that ends the generation, or several.
    pub stop: Option<Stop>,
    /// Taken from the scores of tokens that were there before.
    #[schema(default = 0.0, minimum = -2, maximum = 2)]
    pub presence_penalty: Option<f64>,
    /// The same, for each time that they were there.
    #[schema(default = 0.0, minimum = -2, maximum = 2)]
    pub frequency_penalty: Option<f64>,
    /// Added to the scores of tokens, by their ids.
    pub logit_bias: Option<BTreeMap<String, f64>>,
    /// The same seed gives the same answer.
    pub seed: Option<i64>,
    /// Who is served first, 0 to 10.
    #[schema(default = 5, minimum = 0, maximum = 10)]
    pub priority: Option<u8>,
    /// Time to answer in, in seconds.
    #[schema(minimum = 0.001, maximum = 86400)]
    pub timeout: Option<f64>,
    /// A label for the caller's own use.
    pub user: Option<String>,
}

/// A text, texts, token ids, or lists of token ids.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = inferno::Prompt)]
pub enum Prompt {
    /// A text.
    Text(String),
    /// Texts.
    Texts(Vec<String>),
    /// Token ids.
    Tokens(Vec<u32>),
    /// Lists of token ids.
    Lists(Vec<Vec<u32>>),
}

/// Texts to turn into vectors.
#[derive(Debug, ToSchema)]
#[schema(as = inferno::EmbeddingRequest)]
pub struct EmbeddingBody {
    /// The model.
    #[schema(min_length = 1, example = "ember-embed")]
    pub model: String,
    /// A text, texts, token ids, or lists of token ids.
    pub input: Prompt,
    /// `float`, the default, or `base64` for the bytes of little-endian f32.
    #[schema(inline)]
    pub encoding_format: Option<EncodingFormat>,
    /// Numbers of each vector, at most the model's.
    #[schema(minimum = 1)]
    pub dimensions: Option<u32>,
    /// A label for the caller's own use.
    pub user: Option<String>,
}

/// How vectors are written.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum EncodingFormat {
    /// As numbers.
    Float,
    /// As the bytes of little-endian f32, in base64.
    Base64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    use super::super::chat::ChatRequest;
    use super::super::completions::CompletionRequest;
    use super::super::embeddings::EmbeddingRequest;
    use crate::fields::Fields;

    /// The fields of a description, each with a value of a type that none of them takes.
    fn wrong<T: ToSchema>(good: Value) -> Vec<(String, Fields)> {
        let schema = serde_json::to_value(T::schema()).expect("serializable");
        let names = schema["properties"].as_object().expect("an object").keys();
        let body = |name: &String| {
            let Value::Object(mut body) = good.clone() else {
                panic!("not an object")
            };
            if name == "stream_options" {
                body.insert("stream".into(), json!(true));
            }
            if name == "top_logprobs" {
                body.insert("logprobs".into(), json!(true));
            }
            body.insert(name.clone(), json!([[{"no": "such"}]]));
            (name.clone(), Fields::new(body))
        };
        names.map(body).collect()
    }

    #[test]
    fn every_described_field_is_read() {
        let chat = json!({"model": "m", "messages": [{"role": "user", "content": "Hello!"}]});
        for (name, body) in wrong::<ChatBody>(chat) {
            let error = ChatRequest::read(body).expect_err(&name);
            assert!(error.field.starts_with(&name), "{name}: {error}");
        }
        for (name, body) in wrong::<CompletionBody>(json!({"model": "m", "prompt": "a"})) {
            let error = CompletionRequest::read(body).expect_err(&name);
            assert!(error.field.starts_with(&name), "{name}: {error}");
        }
        for (name, body) in wrong::<EmbeddingBody>(json!({"model": "m", "input": "a"})) {
            let error = EmbeddingRequest::read(body).expect_err(&name);
            assert!(error.field.starts_with(&name), "{name}: {error}");
        }
    }
}
