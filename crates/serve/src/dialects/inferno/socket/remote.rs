//! Chats for models that a service on another machine serves.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Session;
use crate::admission::Ticket;
use crate::fields::Fields;
use crate::metrics::Measure;
use crate::problem::Problem;
use crate::remote::{Asker, Outgoing, count, stream};
use crate::upstream::Model;

/// An answer, or a part of one.
#[derive(Deserialize)]
struct Answer<U> {
    choices: Vec<Choice>,
    usage: U,
}

/// What a part of a stream has in the place of the usage.
type Untold = Option<Value>;

#[derive(Deserialize)]
struct Choice {
    /// The message, or what is new of it.
    #[serde(alias = "message")]
    delta: Option<Map<String, Value>>,
    logprobs: Option<Value>,
    finish_reason: Option<String>,
}

/// Has a chat answered by the service that serves its model, and passes on what it says.
pub async fn answer(
    session: &Session,
    measure: &Measure,
    id: &str,
    (data, in_pieces): (Fields, bool),
    model: &Model,
    ticket: Ticket,
) -> Result<(), Problem> {
    let asker = Asker {
        app: &session.app,
        caller: &session.caller,
        measure,
        keys: &session.keys,
        entered: ticket.entered(),
        waits_its_turn: false,
    };
    let mut members = data.into_inner();
    members.insert("stream".into(), in_pieces.into());
    let outgoing = Outgoing::write(Fields::new(members), model).await?;
    let answer = asker.ask(model, "/chat/completions", &outgoing).await?;
    if !in_pieces {
        let Answer { choices, usage } = asker.whole_as::<Answer<Value>>(answer, &ticket).await?;
        let finish_reason = pass_on(session, id, choices).await?;
        return done(session, id, finish_reason, usage).await;
    }
    let mut stream = stream(answer)?;
    let mut finish_reason = None;
    while let Some(Answer { choices, .. }) = stream.part::<Answer<Untold>>().await? {
        measure.first_token();
        finish_reason = pass_on(session, id, choices).await?.or(finish_reason);
    }
    let usage = stream.tokens()?;
    stream.end();
    count(measure, usage);
    let mut told = json!(usage);
    told["total_tokens"] = usage.total().into();
    done(session, id, finish_reason, told).await
}

/// Sends what choices say; gives why they ended, if they did.
async fn pass_on(
    session: &Session,
    id: &str,
    choices: Vec<Choice>,
) -> Result<Option<String>, Problem> {
    let mut ended = None;
    for choice in choices {
        let delta = choice.delta.unwrap_or_default();
        if !delta.is_empty() {
            let mut data = json!({"delta": delta});
            if let Some(logprobs) = choice.logprobs {
                data["logprobs"] = logprobs;
            }
            session.outbox.send("chat_chunk", id, data).await?;
        }
        ended = choice.finish_reason.or(ended);
    }
    Ok(ended)
}

async fn done(
    session: &Session,
    id: &str,
    finish_reason: Option<String>,
    usage: Value,
) -> Result<(), Problem> {
    let data = json!({"finish_reason": finish_reason, "usage": usage});
    Ok(session.outbox.send("chat_done", id, data).await?)
}
