//! `POST /v1/chat/completions`.

use std::time::Instant;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use hearth_runtime::{ChatPrompt, Generation, Lease, TextService, TokenLogprobs};
use serde_json::{Map, Value};

use super::bodies::{ChatBody, StreamEvent};
use super::error::{ApiError, Errors};
use super::logprobs::ChatLogprobs;
use super::messages;
use super::params::{Endpoint, Fixed, LABELS, Params};
use super::remote::{Admitted, admit_or_pass_on};
use super::stream::{Streamed, Wording};
use super::types::{ChatChoice, ChatDelta, Completion, Delta, Head, Message, Usage};
use crate::answer::{Answer, before};
use crate::caller::Caller;
use crate::fields::{FieldError, Fields};
use crate::metrics::Measure;
use crate::problem::Problem;
use crate::remote::{KeyHeaders, Keys};
use crate::state::App;
use crate::waiting;

const ENDPOINT: Endpoint = Endpoint {
    temperature: 0.7,
    least_max_tokens: 1,
};

/// Most alternatives that a request can ask for with each token.
const MOST_ALTERNATIVES: usize = 20;

/// What OpenAI defines for chat and this server cannot do, with the values that ask for nothing.
const FIXED: &[Fixed] = &[
    Fixed {
        name: "response_format",
        expected: "an object of type \"text\"",
        takes: |value| value.get("type").is_some_and(|kind| kind == "text"),
    },
    Fixed {
        name: "tools",
        expected: "no tools",
        takes: is_empty,
    },
    Fixed {
        name: "functions",
        expected: "no functions",
        takes: is_empty,
    },
    Fixed {
        name: "tool_choice",
        expected: "\"none\" or \"auto\"",
        takes: is_none_or_auto,
    },
    Fixed {
        name: "function_call",
        expected: "\"none\" or \"auto\"",
        takes: is_none_or_auto,
    },
    // Without tools there are no calls that could be parallel.
    Fixed {
        name: "parallel_tool_calls",
        expected: "true or false",
        takes: Value::is_boolean,
    },
    Fixed {
        name: "modalities",
        expected: "[\"text\"]",
        takes: |value| {
            value
                .as_array()
                .is_some_and(|kinds| kinds.iter().all(|kind| kind == "text"))
        },
    },
    Fixed {
        name: "audio",
        expected: "null",
        takes: Value::is_null,
    },
    Fixed {
        name: "prediction",
        expected: "null",
        takes: Value::is_null,
    },
    Fixed {
        name: "reasoning_effort",
        expected: "null",
        takes: Value::is_null,
    },
    Fixed {
        name: "verbosity",
        expected: "\"medium\"",
        takes: |value| value == "medium",
    },
    Fixed {
        name: "web_search_options",
        expected: "null",
        takes: Value::is_null,
    },
    Fixed {
        name: "moderation",
        expected: "null",
        takes: Value::is_null,
    },
    Fixed {
        name: "prompt_cache_options",
        expected: "an object of mode \"implicit\"",
        takes: |value| {
            let mode = value.get("mode").is_none_or(|mode| mode == "implicit");
            mode && value.get("ttl").is_none_or(Value::is_null)
        },
    },
    // The longest time that a prompt may be kept: it is kept in memory, and never longer than the process runs.
    Fixed {
        name: "prompt_cache_retention",
        expected: "\"in_memory\" or \"24h\"",
        takes: |value| value == "in_memory" || value == "24h",
    },
];

fn is_empty(value: &Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty)
}

fn is_none_or_auto(value: &Value) -> bool {
    value == "none" || value == "auto"
}

/// A request, checked as far as it can be without its model.
#[derive(Debug)]
pub struct ChatRequest {
    /// The model.
    pub model: String,
    messages: Vec<Value>,
    /// Alternatives to report with each token's log-probability; `None` reports neither.
    pub logprobs: Option<usize>,
    template_options: Map<String, Value>,
    /// What chat and completions have in common.
    pub params: Params,
}

impl ChatRequest {
    /// Reads a request.
    ///
    /// # Errors
    /// The first field that is missing, wrong or not supported.
    pub fn read(mut fields: Fields) -> Result<Self, FieldError> {
        Fixed::check(FIXED, &fields)?;
        Fixed::check(LABELS, &fields)?;
        Ok(Self {
            model: fields.required_string("model")?.to_owned(),
            messages: messages::read(&mut fields)?,
            logprobs: logprobs(&fields)?,
            template_options: fields
                .object("chat_template_kwargs")?
                .cloned()
                .unwrap_or_default(),
            params: Params::read(&fields, ENDPOINT)?,
        })
    }
}

fn logprobs(fields: &Fields) -> Result<Option<usize>, FieldError> {
    let wanted = fields.boolean("logprobs")?.unwrap_or(false);
    let alternatives = fields.count("top_logprobs", 0..=MOST_ALTERNATIVES)?;
    match (wanted, alternatives) {
        (true, alternatives) => Ok(Some(alternatives.unwrap_or(0))),
        (false, None | Some(0)) => Ok(None),
        (false, Some(_)) => {
            let got = fields
                .get("logprobs")
                .cloned()
                .unwrap_or(Value::Bool(false));
            Err(FieldError::invalid(
                "logprobs",
                "true where top_logprobs is given",
                &got,
            ))
        }
    }
}

/// Answers a chat.
///
/// With `stream`, the answer is a stream of `data` events, ended by `[DONE]`.
#[utoipa::path(
    post, path = "/v1/chat/completions", tag = "inferno", operation_id = "inferno_chat_completions",
    request_body(content = ChatBody, example = json!({
        "model": "ember", "messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 50
    })),
    params(KeyHeaders),
    responses(
        (status = 200, description = "What the model says", content(
            (Completion<ChatChoice> = "application/json"),
            (StreamEvent = "text/event-stream"),
        )),
        Errors
    )
)]
pub async fn create(
    State(app): State<App>,
    caller: Caller,
    measure: Measure,
    keys: Keys,
    request: Request,
) -> Result<Response, ApiError> {
    let path = "/chat/completions";
    let admitted = admit_or_pass_on(&app, &caller, &measure, &keys, request, path).await?;
    let (ticket, fields) = match admitted {
        Admitted::Here(ticket, fields) => (ticket, fields),
        Admitted::Elsewhere(response) => return Ok(response),
    };
    let request = ChatRequest::read(fields)?;
    let (model, entered) = (request.model.clone(), ticket.entered());
    if request.params.stream {
        let head = Head::new("chatcmpl-", "chat.completion.chunk", model);
        let streamed = Streamed::new(head, &request.params, ticket, measure.clone());
        let scored = request.logprobs.is_some();
        let waiting = app.clone();
        let begin = async move {
            let begun = begin(&waiting, &caller, &measure, request, entered).await?;
            let (service, choices) = begun;
            Ok((ChatWording { service, scored }, choices))
        };
        return Ok(streamed.respond(&app, begin).await?);
    }
    let head = Head::new("chatcmpl-", "chat.completion", model);
    let (choices, usage) = whole(&app, &caller, &measure, request, entered).await?;
    Ok(axum::Json(Completion {
        head,
        choices,
        usage,
    })
    .into_response())
}

/// Loads the model if need be and begins the choices of a chat that was admitted at `entered`.
pub async fn begin(
    app: &App,
    caller: &Caller,
    measure: &Measure,
    request: ChatRequest,
    entered: Instant,
) -> Result<(Lease<TextService>, Vec<Generation>), Problem> {
    let ChatRequest {
        model,
        messages,
        logprobs,
        template_options,
        params,
    } = request;
    let ask = params.ask(entered);
    let deadline = ask.deadline;
    let service = waiting::text(app, caller, measure, &model, ask).await?;
    let prompt = before(deadline, service.chat_prompt(messages, template_options)).await?;
    let ChatPrompt { tokens, stop } = prompt;
    let choices = (0..params.n).map(|candidate| {
        let mut request = params.request(tokens.clone(), candidate, entered);
        request.stop.extend(stop.iter().cloned());
        request.logprobs = logprobs;
        service.generate(request)
    });
    let choices = choices.collect::<Result<Vec<Generation>, _>>()?;
    Ok((service, choices))
}

/// A chat from beginning to end.
pub async fn whole(
    app: &App,
    caller: &Caller,
    measure: &Measure,
    request: ChatRequest,
    entered: Instant,
) -> Result<(Vec<ChatChoice>, Usage), Problem> {
    let scored = request.logprobs.is_some();
    let (service, choices) = begin(app, caller, measure, request, entered).await?;
    let mut usage = Usage::default();
    let answers = Answer::gather(choices, measure).await?;
    let answers = answers.into_iter().enumerate();
    let choices = answers.map(|(index, answer)| {
        usage.add(answer.usage, index == 0);
        ChatChoice {
            index,
            logprobs: scored.then(|| ChatLogprobs::new(&service, &answer.tokens)),
            message: Message {
                role: "assistant",
                content: answer.text,
                refusal: None,
            },
            finish_reason: answer.finish_reason,
        }
    });
    let choices = choices.collect();
    usage.count(measure);
    Ok((choices, usage))
}

/// How chat words the parts of a stream.
struct ChatWording {
    service: Lease<TextService>,
    scored: bool,
}

impl Wording for ChatWording {
    type Choice = ChatDelta;

    fn first(&mut self, index: usize) -> Option<ChatDelta> {
        let delta = Delta {
            role: Some("assistant"),
            content: Some(String::new()),
        };
        Some(ChatDelta {
            index,
            delta,
            logprobs: None,
            finish_reason: None,
        })
    }

    fn prompt(&mut self, _index: usize, _tokens: &[TokenLogprobs]) -> Option<ChatDelta> {
        None
    }

    fn more(&mut self, index: usize, text: String, tokens: &[TokenLogprobs]) -> Option<ChatDelta> {
        let logprobs = self
            .scored
            .then(|| ChatLogprobs::new(&self.service, tokens));
        if text.is_empty() && (tokens.is_empty() || logprobs.is_none()) {
            return None;
        }
        let delta = Delta {
            role: None,
            content: Some(text),
        };
        Some(ChatDelta {
            index,
            delta,
            logprobs,
            finish_reason: None,
        })
    }

    fn last(&mut self, index: usize, finish_reason: &'static str) -> ChatDelta {
        let finish_reason = Some(finish_reason);
        ChatDelta {
            index,
            delta: Delta::default(),
            logprobs: None,
            finish_reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(change: Value) -> Result<ChatRequest, FieldError> {
        let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "Hello!"}]});
        let (Value::Object(body), Value::Object(change)) = (body.take(), change) else {
            panic!("not objects")
        };
        ChatRequest::read(Fields::new(body.into_iter().chain(change).collect()))
    }

    #[test]
    fn what_openai_defines_is_obeyed_or_refused() {
        for (change, field) in [
            (json!({"model": null}), "model"),
            (json!({"model": ""}), "model"),
            (
                json!({"response_format": {"type": "json_object"}}),
                "response_format",
            ),
            (
                json!({"response_format": {"type": "json_schema", "json_schema": {}}}),
                "response_format",
            ),
            (json!({"tools": [{"type": "function"}]}), "tools"),
            (json!({"functions": [{"name": "f"}]}), "functions"),
            (json!({"tool_choice": "required"}), "tool_choice"),
            (json!({"function_call": {"name": "f"}}), "function_call"),
            (json!({"modalities": ["text", "audio"]}), "modalities"),
            (json!({"audio": {"voice": "alloy"}}), "audio"),
            (json!({"prediction": {"type": "content"}}), "prediction"),
            (json!({"reasoning_effort": "high"}), "reasoning_effort"),
            (json!({"verbosity": "low"}), "verbosity"),
            (json!({"web_search_options": {}}), "web_search_options"),
            (
                json!({"prompt_cache_retention": "7d"}),
                "prompt_cache_retention",
            ),
            (
                json!({"prompt_cache_options": {"mode": "explicit"}}),
                "prompt_cache_options",
            ),
            (json!({"moderation": {"model": "m"}}), "moderation"),
            (json!({"store": true}), "store"),
            (json!({"logprobs": 5}), "logprobs"),
            (json!({"top_logprobs": 5}), "logprobs"),
            (
                json!({"logprobs": true, "top_logprobs": 21}),
                "top_logprobs",
            ),
            (json!({"chat_template_kwargs": 1}), "chat_template_kwargs"),
        ] {
            assert_eq!(
                read(change.clone()).expect_err(&change.to_string()).field,
                field
            );
        }
    }

    #[test]
    fn values_that_ask_for_nothing_are_taken() {
        let request = read(json!({
            "response_format": {"type": "text"}, "tools": [], "tool_choice": "auto", "modalities": ["text"],
            "audio": null, "parallel_tool_calls": true, "verbosity": "medium", "user": "u", "unknown": {"a": 1},
            "chat_template_kwargs": {"enable_thinking": false},
        }));
        let request = request.expect("nothing is asked for");
        assert_eq!(
            request.template_options.get("enable_thinking"),
            Some(&json!(false))
        );
    }

    #[test]
    fn log_probabilities() {
        let logprobs = |change| read(change).expect("all right").logprobs;
        assert_eq!(logprobs(json!({})), None);
        assert_eq!(
            logprobs(json!({"logprobs": false, "top_logprobs": 0})),
            None
        );
        assert_eq!(logprobs(json!({"logprobs": true})), Some(0));
        assert_eq!(
            logprobs(json!({"logprobs": true, "top_logprobs": 20})),
            Some(20)
        );
    }
}
