//! `POST /v1/chat/completions`.

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use hearth_runtime::{ChatPrompt, Error, Generation, Lease, TextService, TokenLogprobs};
use serde_json::{Map, Value};

use super::error::ApiError;
use super::logprobs::ChatLogprobs;
use super::params::{Endpoint, Fixed, LABELS, Params};
use super::stream::{Streamed, Wording};
use super::types::{ChatChoice, ChatDelta, Completion, Delta, Head, Message, Usage};
use super::{messages, stream};
use crate::admission::Ticket;
use crate::answer::{Answer, before};
use crate::caller::Caller;
use crate::extract::admit;
use crate::fields::{FieldError, Fields};
use crate::metrics::Measure;
use crate::state::App;

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
struct ChatRequest {
    model: String,
    messages: Vec<Value>,
    /// Alternatives to report with each token's log-probability; `None` reports neither.
    logprobs: Option<usize>,
    template_options: Map<String, Value>,
    params: Params,
}

impl ChatRequest {
    fn read(mut fields: Fields) -> Result<Self, FieldError> {
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

/// A chat that its model is answering.
struct Begun {
    service: Lease<TextService>,
    choices: Vec<Generation>,
    ticket: Ticket,
    measure: Measure,
}

impl ChatRequest {
    /// Waits for the model, and has it begin. Gives the model's name and the parameters back.
    async fn begin(
        self,
        app: &App,
        ticket: Ticket,
        measure: Measure,
    ) -> Result<(Begun, String, Params), Error> {
        let Self {
            model,
            messages,
            logprobs,
            template_options,
            params,
        } = self;
        let ask = params.ask(ticket.entered());
        let service = app.runtime.text(&model, ask).await?;
        measure.model(service.model());
        let prompt = service.chat_prompt(messages, template_options);
        let ChatPrompt { tokens, stop } = before(ask.deadline, prompt).await?;
        let choices = (0..params.n).map(|candidate| {
            let mut request = params.request(tokens.clone(), candidate, ticket.entered());
            request.stop.extend(stop.iter().cloned());
            request.logprobs = logprobs;
            service.generate(request)
        });
        let begun = Begun {
            choices: choices.collect::<Result<_, _>>()?,
            service,
            ticket,
            measure,
        };
        Ok((begun, model, params))
    }
}

/// Answers a chat.
pub async fn create(
    State(app): State<App>,
    caller: Caller,
    measure: Measure,
    request: Request,
) -> Result<Response, ApiError> {
    let (ticket, fields) = admit(&app, request).await?;
    let request = ChatRequest::read(fields)?;
    caller.check_model(&request.model)?;
    let logprobs = request.logprobs;
    if request.params.stream {
        let model = request.model.clone();
        let begun = {
            let (app, measure) = (app.clone(), measure.clone());
            async move {
                Ok(streamed(
                    request.begin(&app, ticket, measure).await?,
                    logprobs,
                ))
            }
        };
        return stream::respond(&app, model, measure, begun).await;
    }
    let (begun, model, _) = request.begin(&app, ticket, measure).await?;
    let Begun {
        service,
        choices,
        ticket: _held,
        measure,
    } = begun;
    let head = Head::new("chatcmpl-", "chat.completion", model);
    let mut usage = Usage::default();
    let answers = Answer::gather(choices, &measure)
        .await?
        .into_iter()
        .enumerate();
    let choices = answers.map(|(index, answer)| {
        usage.add(answer.usage, index == 0);
        ChatChoice {
            index,
            logprobs: logprobs.map(|_| ChatLogprobs::new(&service, &answer.tokens)),
            message: Message {
                role: "assistant",
                content: answer.text,
                refusal: None,
            },
            finish_reason: answer.finish_reason,
        }
    });
    let choices = choices.collect();
    usage.count(&measure);
    Ok(axum::Json(Completion {
        head,
        choices,
        usage,
    })
    .into_response())
}

fn streamed(
    (begun, model, params): (Begun, String, Params),
    logprobs: Option<usize>,
) -> Streamed<ChatWording> {
    Streamed {
        head: Head::new("chatcmpl-", "chat.completion.chunk", model),
        wording: ChatWording {
            service: begun.service.clone(),
            scored: logprobs.is_some(),
        },
        choices: begun.choices,
        per_prompt: params.n,
        include_usage: params.include_usage,
        ticket: begun.ticket,
        measure: begun.measure,
        service: begun.service,
    }
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
