//! `chat`: a chat whose answer comes in pieces.

use hearth_runtime::Event;
use serde_json::{Value, json};

use super::super::chat::{self, ChatRequest};
use super::super::logprobs::ChatLogprobs;
use super::super::types::Usage;
use super::outbox::{Outbox, Stalled};
use crate::admission::Ticket;
use crate::answer::{ended_early, finish_reason};
use crate::caller::Caller;
use crate::extract::enter;
use crate::fields::{FieldError, Fields};
use crate::metrics::Measure;
use crate::problem::{Kind, Problem};
use crate::state::App;

impl From<Stalled> for Problem {
    fn from(_: Stalled) -> Self {
        Self::new(Kind::Deadline, "the client did not read the answer in time")
    }
}

/// Answers a chat.
pub async fn run(app: App, caller: Caller, outbox: Outbox, id: String, data: Fields) {
    let measure = Measure::start(&app, &caller, "chat");
    let answered = async {
        let request = read(data)?;
        let ticket = enter(&app)?;
        stream(&app, &caller, &measure, &outbox, &id, request, ticket).await
    };
    if let Err(problem) = answered.await {
        measure.failed();
        outbox.error(&id, problem).await;
    }
}

/// A chat request whose `stream` is true unless told otherwise.
fn read(data: Fields) -> Result<(ChatRequest, bool), FieldError> {
    let in_pieces = data.boolean("stream")?.unwrap_or(true);
    let request = ChatRequest::read(data)?;
    if request.params.n != 1 {
        let got = Value::from(request.params.n);
        return Err(FieldError::unsupported(
            "n",
            "1 choice on a WebSocket",
            &got,
        ));
    }
    Ok((request, in_pieces))
}

async fn stream(
    app: &App,
    caller: &Caller,
    measure: &Measure,
    outbox: &Outbox,
    id: &str,
    (request, in_pieces): (ChatRequest, bool),
    ticket: Ticket,
) -> Result<(), Problem> {
    let scored = request.logprobs.is_some();
    if !in_pieces {
        let answered = chat::whole(app, caller, measure, request, ticket.entered()).await?;
        let (choices, usage) = answered;
        for choice in choices {
            let mut data = json!({"delta": {"content": choice.message.content}});
            if scored {
                data["logprobs"] = json!(choice.logprobs);
            }
            outbox.send("chat_chunk", id, data).await?;
            let done = json!({"finish_reason": choice.finish_reason, "usage": usage});
            outbox.send("chat_done", id, done).await?;
        }
        return Ok(());
    }
    let begun = chat::begin(app, caller, measure, request, ticket.entered()).await?;
    let (service, mut choices) = begun;
    let mut generation = choices.pop().ok_or_else(ended_early)?;
    while let Some(event) = generation.next().await {
        match event {
            Event::Prompt(_) => {}
            Event::Token { text, tokens } => {
                measure.first_token();
                let mut data = json!({"delta": {"content": text}});
                if scored && !tokens.is_empty() {
                    data["logprobs"] = json!(ChatLogprobs::new(&service, &tokens));
                } else if text.is_empty() {
                    continue;
                }
                outbox.send("chat_chunk", id, data).await?;
            }
            Event::Finished { reason, usage, .. } => {
                let mut sum = Usage::default();
                sum.add(usage, true);
                sum.count(measure);
                let done = json!({"finish_reason": finish_reason(reason)?, "usage": sum});
                outbox.send("chat_done", id, done).await?;
                return Ok(());
            }
            Event::Failed(error) => return Err(error.into()),
        }
    }
    Err(ended_early().into())
}
