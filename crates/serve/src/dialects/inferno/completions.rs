//! `POST /v1/completions`.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use hearth_runtime::{Error, Generation, Lease, TextService, TokenLogprobs};
use serde_json::Value;

use super::bodies::{CompletionBody, StreamEvent};
use super::error::{ApiError, Errors};
use super::inputs::{self, Input};
use super::logprobs::{Offset, TextLogprobs};
use super::params::{Endpoint, Fixed, LABELS, MOST_CHOICES, Params};
use super::remote::{Admitted, admit_or_pass_on};
use super::stream::{Streamed, Wording};
use super::types::{Completion, Head, TextChoice, Usage};
use crate::answer::{Answer, before};
use crate::caller::Caller;
use crate::fields::{FieldError, Fields};
use crate::metrics::Measure;
use crate::problem::Problem;
use crate::remote::{KeyHeaders, Keys};
use crate::state::App;
use crate::waiting;

const ENDPOINT: Endpoint = Endpoint {
    temperature: 1.0,
    least_max_tokens: 0,
};

/// Most alternatives that a request can ask for with each token.
const MOST_ALTERNATIVES: usize = 5;

/// Most candidates of one request, over all its prompts.
const MOST_CANDIDATES: usize = 256;

/// What OpenAI defines for completions and this server cannot do, with the values that ask for nothing.
const FIXED: &[Fixed] = &[Fixed {
    name: "suffix",
    expected: "null",
    takes: |value| value.as_str().is_some_and(str::is_empty),
}];

/// A request, checked as far as it can be without its model.
#[derive(Debug)]
pub struct CompletionRequest {
    model: String,
    prompts: Vec<Input>,
    echo: bool,
    /// Candidates for each prompt, of which `params.n` are answered.
    best_of: usize,
    /// Alternatives to report with each token's log-probability; `None` reports neither.
    logprobs: Option<usize>,
    params: Params,
}

impl CompletionRequest {
    /// Reads a request.
    ///
    /// # Errors
    /// The first field that is missing, wrong or not supported.
    pub fn read(mut fields: Fields) -> Result<Self, FieldError> {
        Fixed::check(FIXED, &fields)?;
        Fixed::check(LABELS, &fields)?;
        let params = Params::read(&fields, ENDPOINT)?;
        let best_of = best_of(&fields, &params)?;
        let prompts = inputs::read(&mut fields, "prompt", MOST_CANDIDATES)?;
        if prompts.len() * best_of > MOST_CANDIDATES {
            let most = MOST_CANDIDATES / best_of;
            let expected = format!("at most {most} prompts with {best_of} candidates each");
            return Err(FieldError::invalid(
                "prompt",
                expected,
                &Value::from(prompts.len()),
            ));
        }
        Ok(Self {
            model: fields.required_string("model")?.to_owned(),
            prompts,
            echo: fields.boolean("echo")?.unwrap_or(false),
            best_of,
            logprobs: fields.count("logprobs", 0..=MOST_ALTERNATIVES)?,
            params,
        })
    }
}

fn best_of(fields: &Fields, params: &Params) -> Result<usize, FieldError> {
    let n = params.n;
    match fields.count("best_of", 1..=MOST_CHOICES)? {
        Some(best_of) if best_of < n => {
            let expected = format!("at least n, which is {n}");
            Err(FieldError::invalid(
                "best_of",
                expected,
                &Value::from(best_of),
            ))
        }
        Some(best_of) if best_of > n && params.stream => {
            let expected =
                format!("n, which is {n}, since streamed candidates cannot be chosen from");
            Err(FieldError::invalid(
                "best_of",
                expected,
                &Value::from(best_of),
            ))
        }
        given => Ok(given.unwrap_or(n)),
    }
}

/// A prompt that is ready for the engine.
struct Prepared {
    tokens: Vec<u32>,
    /// The prompt's text, where it is to be echoed.
    echo: Option<String>,
}

/// Completes one or more prompts.
///
/// With `stream`, the answer is a stream of `data` events, ended by `[DONE]`.
#[utoipa::path(
    post, path = "/v1/completions", tag = "inferno", operation_id = "inferno_completions",
    request_body(content = CompletionBody, example = json!({
        "model": "ember", "prompt": "The future of AI is", "max_tokens": 50, "temperature": 0.8
    })),
    params(KeyHeaders),
    responses(
        (status = 200, description = "What follows the prompts", content(
            (Completion<TextChoice> = "application/json"),
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
    let path = "/completions";
    let admitted = admit_or_pass_on(&app, &caller, &measure, &keys, request, path).await?;
    let (ticket, fields) = match admitted {
        Admitted::Here(ticket, fields) => (ticket, fields),
        Admitted::Elsewhere(response) => return Ok(response),
    };
    let request = CompletionRequest::read(fields)?;
    let (model, entered) = (request.model.clone(), ticket.entered());
    let head = Head::new("cmpl-", "text_completion", model);
    if request.params.stream {
        let streamed = Streamed::new(head, &request.params, ticket, measure.clone());
        let per_prompt = request.params.n;
        let waiting = app.clone();
        let begin = async move {
            let begun = begin(&waiting, &caller, &measure, request, entered).await?;
            let offsets = vec![Offset::default(); begun.candidates.len()];
            let wording = TextWording {
                writer: begun.writer,
                echoes: begun.echoes,
                per_prompt,
                offsets,
            };
            Ok((wording, begun.candidates))
        };
        return Ok(streamed.respond(&app, begin).await?);
    }
    let (n, best_of) = (request.params.n, request.best_of);
    let begun = begin(&app, &caller, &measure, request, entered).await?;
    let Begun {
        writer,
        echoes,
        candidates,
    } = begun;
    let mut answers = Answer::gather(candidates, &measure).await?;
    let mut usage = Usage::default();
    let mut choices = Vec::with_capacity(echoes.len() * n);
    for (answers, echo) in answers.chunks_mut(best_of).zip(&echoes) {
        for (candidate, answer) in answers.iter().enumerate() {
            usage.add(answer.usage, candidate == 0);
        }
        if best_of > n {
            answers.sort_by(|a, b| b.mean_logprob().total_cmp(&a.mean_logprob()));
        }
        for answer in &answers[..n] {
            choices.push(writer.choice(choices.len(), answer, echo.as_deref()));
        }
    }
    usage.count(&measure);
    Ok(axum::Json(Completion {
        head,
        choices,
        usage,
    })
    .into_response())
}

/// Completions that have begun.
struct Begun {
    writer: Writer,
    /// The text to begin each prompt's choices with.
    echoes: Vec<Option<String>>,
    /// `best_of` for each prompt.
    candidates: Vec<Generation>,
}

/// Loads the model if need be and begins the candidates of a request that was admitted at `entered`.
async fn begin(
    app: &App,
    caller: &Caller,
    measure: &Measure,
    request: CompletionRequest,
    entered: Instant,
) -> Result<Begun, Problem> {
    let CompletionRequest {
        model,
        prompts,
        echo,
        best_of,
        logprobs,
        params,
    } = request;
    let ask = params.ask(entered);
    let deadline = ask.deadline;
    let service = waiting::text(app, caller, measure, &model, ask).await?;
    let prepared = before(deadline, prepare(&service, prompts, echo)).await?;
    let mut candidates = Vec::with_capacity(prepared.len() * best_of);
    for prompt in &prepared {
        for candidate in 0..best_of {
            let mut request = params.request(prompt.tokens.clone(), candidate, entered);
            // Choosing the best needs every token's log-probability.
            request.logprobs = logprobs.or((best_of > params.n).then_some(0));
            request.prompt_logprobs = logprobs.filter(|_| echo);
            candidates.push(service.generate(request)?);
        }
    }
    Ok(Begun {
        writer: Writer { service, logprobs },
        echoes: prepared.into_iter().map(|prompt| prompt.echo).collect(),
        candidates,
    })
}

/// Turns prompts into tokens, and tokens into the text to be echoed.
async fn prepare(
    service: &Arc<TextService>,
    prompts: Vec<Input>,
    echo: bool,
) -> Result<Vec<Prepared>, Error> {
    let mut prepared = Vec::with_capacity(prompts.len());
    for prompt in prompts {
        prepared.push(match prompt {
            Input::Text(text) => {
                let echo = echo.then(|| text.clone());
                Prepared {
                    tokens: service.tokenize(text).await?,
                    echo,
                }
            }
            Input::Tokens(tokens) => {
                service.check_tokens("prompt", &tokens)?;
                let echo = echo.then(|| service.decode(&tokens));
                Prepared { tokens, echo }
            }
        });
    }
    Ok(prepared)
}

/// Writes choices.
struct Writer {
    service: Lease<TextService>,
    logprobs: Option<usize>,
}

impl Writer {
    /// A whole choice, `echo` before it.
    fn choice(&self, index: usize, answer: &Answer, echo: Option<&str>) -> TextChoice {
        let mut offset = Offset::default();
        let logprobs = self.logprobs.map(|alternatives| {
            let mut lists = TextLogprobs::of_prompt(
                &self.service,
                &answer.prompt,
                alternatives,
                echo.unwrap_or_default(),
                &mut offset,
            );
            let tokens = &answer.tokens;
            lists.extend(TextLogprobs::new(
                &self.service,
                tokens,
                alternatives,
                &mut offset,
            ));
            lists
        });
        let text = match echo {
            Some(prompt) => format!("{prompt}{}", answer.text),
            None => answer.text.clone(),
        };
        TextChoice {
            text,
            index,
            logprobs,
            finish_reason: Some(answer.finish_reason),
        }
    }
}

/// How completions word the parts of a stream.
struct TextWording {
    writer: Writer,
    /// The text to begin each prompt's choices with.
    echoes: Vec<Option<String>>,
    per_prompt: usize,
    /// Where each choice's next token begins.
    offsets: Vec<Offset>,
}

impl TextWording {
    fn echo(&self, index: usize) -> Option<&str> {
        self.echoes[index / self.per_prompt].as_deref()
    }
}

impl Wording for TextWording {
    type Choice = TextChoice;

    fn first(&mut self, index: usize) -> Option<TextChoice> {
        // With its log-probabilities, an echo has to wait for the prompt to be scored.
        let text = self
            .echo(index)
            .filter(|_| self.writer.logprobs.is_none())?
            .to_owned();
        Some(TextChoice {
            text,
            index,
            logprobs: None,
            finish_reason: None,
        })
    }

    fn prompt(&mut self, index: usize, tokens: &[TokenLogprobs]) -> Option<TextChoice> {
        let text = self.echo(index)?.to_owned();
        let Writer { service, logprobs } = &self.writer;
        let offset = &mut self.offsets[index];
        let logprobs = logprobs.map(|alternatives| {
            TextLogprobs::of_prompt(service, tokens, alternatives, &text, offset)
        });
        Some(TextChoice {
            text,
            index,
            logprobs,
            finish_reason: None,
        })
    }

    fn more(&mut self, index: usize, text: String, tokens: &[TokenLogprobs]) -> Option<TextChoice> {
        let Writer { service, logprobs } = &self.writer;
        let offset = &mut self.offsets[index];
        let logprobs =
            logprobs.map(|alternatives| TextLogprobs::new(service, tokens, alternatives, offset));
        if text.is_empty() && (tokens.is_empty() || logprobs.is_none()) {
            return None;
        }
        Some(TextChoice {
            text,
            index,
            logprobs,
            finish_reason: None,
        })
    }

    fn last(&mut self, index: usize, finish_reason: &'static str) -> TextChoice {
        let finish_reason = Some(finish_reason);
        TextChoice {
            text: String::new(),
            index,
            logprobs: None,
            finish_reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(body: Value) -> Result<CompletionRequest, FieldError> {
        let Value::Object(mut body) = body else {
            panic!("not an object")
        };
        body.entry("model").or_insert(json!("m"));
        CompletionRequest::read(Fields::new(body))
    }

    #[test]
    fn wrong_fields_are_refused_by_name() {
        for (body, field) in [
            (json!({}), "prompt"),
            (json!({"prompt": []}), "prompt"),
            (json!({"prompt": [1, -1]}), "prompt[1]"),
            (json!({"prompt": "a", "suffix": "b"}), "suffix"),
            (json!({"prompt": "a", "logprobs": 6}), "logprobs"),
            (json!({"prompt": "a", "logprobs": true}), "logprobs"),
            (json!({"prompt": "a", "echo": 1}), "echo"),
            (json!({"prompt": "a", "n": 3, "best_of": 2}), "best_of"),
            (json!({"prompt": "a", "best_of": 17}), "best_of"),
            (
                json!({"prompt": "a", "best_of": 2, "stream": true}),
                "best_of",
            ),
            (json!({"prompt": vec!["a"; 100], "best_of": 3}), "prompt"),
        ] {
            assert_eq!(
                read(body.clone()).expect_err(&body.to_string()).field,
                field
            );
        }
    }

    #[test]
    fn defaults_are_the_documents() {
        let request = read(json!({"prompt": "a", "suffix": null})).expect("a prompt is enough");
        assert_eq!(request.params.sampling.temperature, 1.0);
        assert_eq!(
            (request.params.max_tokens, request.params.n, request.best_of),
            (2048, 1, 1)
        );
        assert_eq!((request.echo, request.logprobs), (false, None));
        let request = read(json!({"prompt": "a", "n": 4, "max_tokens": 0})).expect("all right");
        assert_eq!((request.best_of, request.params.max_tokens), (4, 0));
    }
}
