//! `chat`: a chat whose answer comes in pieces.

use std::sync::atomic::Ordering;

use hearth_runtime::Event as Step;
use serde_json::{Value, json};

use super::super::chat::{self, ChatRequest};
use super::super::logprobs::ChatLogprobs;
use super::super::params::MOST_CHOICES;
use super::super::types::Usage;
use super::Session;
use super::outbox::Stalled;
use super::remote;
use crate::admission::Ticket;
use crate::answer::{ended_early, finish_reason};
use crate::audit::{Event, Note};
use crate::caller::ClientId;
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

/// Answers a chat. It counts as a request against the caller's limits, and is one for the record.
pub async fn run(session: Session, id: String, data: Fields) {
    let Session { app, caller, .. } = &session;
    let measure = Measure::start(app, caller, "chat");
    let mut record = Record::begin(&session, &id, &data);
    let answered = answer(&session, &measure, &id, data).await;
    record.outcome = match &answered {
        Ok(()) => "ok",
        Err(problem) if problem.kind.status().is_client_error() => "refused",
        Err(_) => "failed",
    };
    drop(record);
    if let Err(problem) = answered {
        measure.failed();
        session.outbox.error(&id, problem).await;
    }
}

/// The line of a chat, written when this is dropped: a chat that is cancelled has one too.
struct Record<'s> {
    session: &'s Session,
    id: &'s str,
    note: Note,
    outcome: &'static str,
}

impl<'s> Record<'s> {
    fn begin(session: &'s Session, id: &'s str, data: &Fields) -> Self {
        let note = Note::default();
        if session.app.settings().audit_prompts {
            note.prompt(data);
        }
        Self {
            session,
            id,
            note,
            outcome: "cancelled",
        }
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        let Session { app, caller, .. } = self.session;
        let event = Event::new("chat").by(caller).with("id", self.id);
        let event = event.with("outcome", self.outcome);
        app.audit.event(event.noted(&self.note));
    }
}

async fn answer(
    session: &Session,
    measure: &Measure,
    id: &str,
    data: Fields,
) -> Result<(), Problem> {
    let Session { app, caller, .. } = session;
    let client = caller.client();
    if let Some(excess) = app.limits.count(&client).excess {
        app.metrics.limited.fetch_add(1, Ordering::Relaxed);
        return Err(excess.into());
    }
    let _place = app.limits.hold(&client)?;
    let in_pieces = data.boolean("stream")?.unwrap_or(true);
    one_choice(&data)?;
    let Some(elsewhere) = crate::remote::model(app, &data) else {
        let request = ChatRequest::read(data)?;
        let ticket = take_turn(app, &client).await?;
        return here(session, measure, id, (request, in_pieces), ticket).await;
    };
    let ticket = take_turn(app, &client).await?;
    remote::answer(session, measure, id, (data, in_pieces), &elsewhere, ticket).await
}

/// Lets a chat in, and waits for its client's turn.
async fn take_turn(app: &App, client: &ClientId) -> Result<Ticket, Problem> {
    let mut ticket = enter(app)?;
    ticket.hold(app.turns.take(client).await);
    Ok(ticket)
}

/// Refuses more than one choice.
fn one_choice(data: &Fields) -> Result<(), FieldError> {
    match data.count("n", 1..=MOST_CHOICES)? {
        None | Some(1) => Ok(()),
        Some(other) => {
            let got = Value::from(other);
            let expected = "1 choice on a WebSocket";
            Err(FieldError::unsupported("n", expected, &got))
        }
    }
}

/// Answers by a model of this server.
async fn here(
    session: &Session,
    measure: &Measure,
    id: &str,
    (request, in_pieces): (ChatRequest, bool),
    ticket: Ticket,
) -> Result<(), Problem> {
    let Session {
        app,
        caller,
        outbox,
        ..
    } = session;
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
            Step::Prompt(_) => {}
            Step::Token { text, tokens } => {
                measure.first_token();
                let mut data = json!({"delta": {"content": text}});
                if scored && !tokens.is_empty() {
                    data["logprobs"] = json!(ChatLogprobs::new(&service, &tokens));
                } else if text.is_empty() {
                    continue;
                }
                outbox.send("chat_chunk", id, data).await?;
            }
            Step::Finished { reason, usage, .. } => {
                let mut sum = Usage::default();
                sum.add(usage, true);
                sum.count(measure);
                let done = json!({"finish_reason": finish_reason(reason)?, "usage": sum});
                outbox.send("chat_done", id, done).await?;
                return Ok(());
            }
            Step::Failed(error) => return Err(error.into()),
        }
    }
    Err(ended_early().into())
}
