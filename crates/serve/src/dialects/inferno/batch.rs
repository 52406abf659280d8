//! `POST /v1/batch`: several chats in one request. They share the engine's batches, and one that fails,
//! fails alone.

use std::collections::HashSet;

use axum::Json;
use axum::extract::{Request, State};
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::chat::{self, ChatRequest};
use super::error::{ApiError, ErrorDetail, Errors};
use super::types::{ChatChoice, Usage};
use crate::admission::Ticket;
use crate::caller::Caller;
use crate::extract::admit;
use crate::fields::{FieldError, Fields};
use crate::metrics::Measure;
use crate::problem::{Failure, Problem};
use crate::remote::{Asker, KeyHeaders, Keys, Outgoing};
use crate::state::App;
use crate::upstream::Model;
use crate::waiting::permit;

/// Most requests of a batch.
const MOST_REQUESTS: usize = 10_000;

/// Requests of a batch that are at work at a time; the others wait here, not in the model's queue.
const AT_WORK: usize = 32;

/// Several chats for one model. Any other parameter of `POST /v1/chat/completions` holds for all of them.
#[derive(Debug, ToSchema)]
#[schema(as = inferno::BatchRequest)]
#[allow(dead_code, reason = "describes what `read` takes")]
pub struct BatchBody {
    /// The model.
    #[schema(min_length = 1, example = "ember")]
    model: String,
    /// The chats, each with an `id` and `messages`, and parameters of its own where it wants some.
    #[schema(min_items = 1, max_items = 10000)]
    requests: Vec<BatchItem>,
    /// Tokens to generate at most for each.
    #[schema(default = 2048, minimum = 1, maximum = 32768, example = 50)]
    max_tokens: Option<usize>,
}

/// A chat of a batch.
#[derive(Debug, ToSchema)]
#[schema(as = inferno::BatchItem)]
#[allow(dead_code, reason = "describes what `read` takes")]
pub struct BatchItem {
    /// What the answer is told by; no two are the same.
    #[schema(min_length = 1, example = "req1")]
    id: String,
    /// The conversation so far.
    #[schema(min_items = 1)]
    messages: Vec<super::bodies::MessageBody>,
}

/// The answers of a batch.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = inferno::Batch)]
pub struct Batch {
    /// Always `batch_completion`.
    #[schema(example = "batch_completion")]
    object: &'static str,
    /// An answer for each request, in their order.
    responses: Vec<BatchAnswer>,
}

/// The answer to one request of a batch: `choices` and `usage`, or `error`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = inferno::BatchAnswer)]
pub struct BatchAnswer {
    /// The request's id.
    #[schema(example = "req1")]
    id: String,
    /// What the model said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<ChatChoice>>)]
    choices: Option<Part<Vec<ChatChoice>>>,
    /// Tokens in and out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Usage>)]
    usage: Option<Part<Usage>>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorDetail>,
}

/// A part of an answer: as this server makes it, or as the service made it that answered.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Part<T> {
    Here(T),
    There(Value),
}

/// What a chat was answered with.
struct Answered {
    choices: Part<Vec<ChatChoice>>,
    usage: Part<Usage>,
}

/// A request of a batch before its fields are looked at: its id, and the fields, those of the batch
/// included.
type Item = (String, Map<String, Value>);

/// Reads what all have in common: the model, and the requests with their ids.
fn read(mut fields: Fields) -> Result<(String, Vec<Item>), FieldError> {
    let model = fields.required_string("model")?.to_owned();
    let expected = format!("an array of 1 to {MOST_REQUESTS} objects with id and messages");
    let requests = match fields.take("requests") {
        None => return Err(FieldError::missing("requests", expected)),
        Some(Value::Array(items)) if (1..=MOST_REQUESTS).contains(&items.len()) => items,
        Some(other) => return Err(FieldError::invalid("requests", expected, &other)),
    };
    let common = fields.into_inner().into_iter();
    let common: Map<String, Value> = common.filter(|(name, _)| name != "requests").collect();
    let mut ids = HashSet::new();
    let mut items = Vec::with_capacity(requests.len());
    for (index, request) in requests.into_iter().enumerate() {
        let path = format!("requests[{index}]");
        let Value::Object(own) = request else {
            let expected = "an object with id and messages";
            return Err(FieldError::wrong_type(path, expected, &request));
        };
        let own = Fields::new(own);
        let id = own
            .required_string("id")
            .map_err(|error| error.within(&path))?;
        let id = id.to_owned();
        if !ids.insert(id.clone()) {
            let got = Value::from(id);
            return Err(FieldError::invalid(
                format!("{path}.id"),
                "an id of its own",
                &got,
            ));
        }
        let mut merged = common.clone();
        merged.extend(
            own.into_inner()
                .into_iter()
                .filter(|(name, _)| name != "id"),
        );
        items.push((id, merged));
    }
    Ok((model, items))
}

/// Answers several chats at once.
///
/// A request that fails has `error` instead of `choices` and `usage`; the batch is answered with 200 all
/// the same.
#[utoipa::path(
    post, path = "/v1/batch", tag = "inferno", operation_id = "inferno_batch",
    request_body(content = BatchBody, example = json!({
        "model": "ember",
        "requests": [
            {"id": "req1", "messages": [{"role": "user", "content": "Hello"}]},
            {"id": "req2", "messages": [{"role": "user", "content": "Goodbye"}]}
        ],
        "max_tokens": 50
    })),
    params(KeyHeaders),
    responses((status = 200, description = "An answer for each", body = Batch), Errors)
)]
pub async fn create(
    State(app): State<App>,
    caller: Caller,
    measure: Measure,
    keys: Keys,
    request: Request,
) -> Result<Json<Batch>, ApiError> {
    let (mut ticket, fields) = admit(&app, request).await?;
    let (model, items) = read(fields)?;
    permit(&app, &caller, &model)?;
    let elsewhere = app.upstream_model(&model);
    match &elsewhere {
        None => drop(app.runtime.model(&model).await?),
        // It may wait for long.
        Some(_) => ticket.pass_turn(),
    }
    let asker = Asker {
        app: &app,
        caller: &caller,
        measure: &measure,
        keys: &keys,
        entered: ticket.entered(),
        waits_its_turn: true,
    };
    let answers = stream::iter(items).map(|(id, fields)| {
        let (elsewhere, model, ticket) = (&elsewhere, &model, &ticket);
        async move {
            let fields = Fields::new(fields);
            let answered = match elsewhere {
                None => here(asker, model, fields).await,
                Some(service) => there(asker, service, model, fields, ticket).await,
            };
            match answered {
                Ok(Answered { choices, usage }) => BatchAnswer {
                    id,
                    choices: Some(choices),
                    usage: Some(usage),
                    error: None,
                },
                Err(problem) => BatchAnswer::failed(id, problem),
            }
        }
    });
    let responses = answers.buffered(AT_WORK).collect().await;
    Ok(Json(Batch {
        object: "batch_completion",
        responses,
    }))
}

/// Answers a chat by a model of this server.
async fn here(asker: Asker<'_>, model: &str, fields: Fields) -> Result<Answered, Problem> {
    let Asker {
        app,
        caller,
        measure,
        entered,
        ..
    } = asker;
    check(&fields, model)?;
    let request = ChatRequest::read(fields)?;
    let (choices, usage) = chat::whole(app, caller, measure, request, entered).await?;
    Ok(Answered {
        choices: Part::Here(choices),
        usage: Part::Here(usage),
    })
}

/// Has a chat answered by the service that serves the model.
async fn there(
    asker: Asker<'_>,
    service: &Model,
    model: &str,
    fields: Fields,
    ticket: &Ticket,
) -> Result<Answered, Problem> {
    check(&fields, model)?;
    #[derive(Deserialize)]
    struct Whole {
        choices: Value,
        usage: Value,
    }
    let outgoing = Outgoing::write(fields, service).await?;
    let answer = asker.ask(service, "/chat/completions", &outgoing).await?;
    let Whole { choices, usage } = asker.whole_as(answer, ticket).await?;
    Ok(Answered {
        choices: Part::There(choices),
        usage: Part::There(usage),
    })
}

/// Refuses an item for another model than the batch's, and one that is to be streamed.
fn check(fields: &Fields, model: &str) -> Result<(), FieldError> {
    let own = fields.required_string("model")?;
    if own != model {
        let expected = format!("\"{model}\", the batch's model");
        return Err(FieldError::invalid("model", expected, &own.into()));
    }
    match fields.boolean("stream")? {
        Some(true) => {
            let got = Value::Bool(true);
            Err(FieldError::unsupported("stream", "false in a batch", &got))
        }
        _ => Ok(()),
    }
}

impl BatchAnswer {
    fn failed(id: String, problem: Problem) -> Self {
        let failure: ApiError = Failure::from(problem);
        Self {
            id,
            choices: None,
            usage: None,
            error: Some(failure.body().error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read_body(body: Value) -> Result<(String, Vec<Item>), FieldError> {
        let Value::Object(body) = body else {
            panic!("not an object")
        };
        read(Fields::new(body))
    }

    #[test]
    fn parameters_of_the_batch_are_those_of_its_requests() {
        let (model, items) = read_body(json!({
            "model": "m", "max_tokens": 50, "temperature": 0,
            "requests": [{"id": "a", "messages": []}, {"id": "b", "messages": [], "max_tokens": 5}],
        }))
        .expect("all right");
        assert_eq!(model, "m");
        let field = |index: usize, name: &str| items[index].1[name].clone();
        assert_eq!(items[0].0, "a");
        assert_eq!(
            (field(0, "max_tokens"), field(1, "max_tokens")),
            (json!(50), json!(5))
        );
        assert_eq!(field(1, "temperature"), json!(0));
        assert!(!items[0].1.contains_key("id") && !items[0].1.contains_key("requests"));
    }

    #[test]
    fn what_is_wrong_with_the_whole_is_refused_by_name() {
        for (body, field) in [
            (json!({"requests": [{"id": "a"}]}), "model"),
            (json!({"model": "m"}), "requests"),
            (json!({"model": "m", "requests": []}), "requests"),
            (json!({"model": "m", "requests": {}}), "requests"),
            (json!({"model": "m", "requests": [1]}), "requests[0]"),
            (json!({"model": "m", "requests": [{}]}), "requests[0].id"),
            (
                json!({"model": "m", "requests": [{"id": 1}]}),
                "requests[0].id",
            ),
            (
                json!({"model": "m", "requests": [{"id": "a"}, {"id": "a"}]}),
                "requests[1].id",
            ),
        ] {
            assert_eq!(
                read_body(body.clone()).expect_err(&body.to_string()).field,
                field
            );
        }
    }
}
