//! `/ws`: chats, measurements and models' events over one WebSocket.
//!
//! Every message is an object with `type`, `id` and `data`. What a message begins is told by its id, so
//! that any number of things share a connection; `cancel` ends one. A failure is a message of type
//! `error`, and the connection stays open.
//!
//! What goes out passes a short queue. A chat whose client does not read for a while is ended, a
//! subscription passes over what does not fit, and a connection that takes nothing at all is closed: none
//! of them piles up in memory.

mod chat;
mod message;
mod metrics;
mod models;
mod outbox;

use std::collections::HashMap;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message as Frame, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use futures_util::StreamExt;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::error::{ApiError, Errors};
use crate::caller::Caller;
use crate::fields::FieldError;
use crate::problem::{Kind, Problem};
use crate::state::App;
use message::Message;
use outbox::Outbox;

/// Longest message that is taken, in bytes.
const LONGEST_MESSAGE: usize = 16 << 20;

/// Most chats and subscriptions of one connection at a time.
const MOST_AT_WORK: usize = 64;

/// How long a client may say nothing, answers to pings included.
const PATIENCE: Duration = Duration::from_secs(90);

/// Opens a WebSocket.
///
/// Client messages: `chat` (data: a chat request; `stream` is true unless told otherwise),
/// `subscribe_metrics` (data: `interval` in milliseconds, `metrics`), `subscribe_models`, `cancel` (with the
/// id of what to end). Server messages: `chat_chunk`, `chat_done`, `metrics_update`, `model_status`, `error`.
#[utoipa::path(
    get, path = "/ws", tag = "inferno", operation_id = "inferno_ws",
    params(("token" = Option<String>, Query, description = "A credential, for clients that cannot send headers")),
    responses((status = 101, description = "The connection is a WebSocket now"), Errors)
)]
pub async fn open(
    State(app): State<App>,
    caller: Caller,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let upgrade = upgrade.map_err(|error| Problem::new(Kind::Invalid, error.body_text()))?;
    let upgrade = upgrade
        .max_message_size(LONGEST_MESSAGE)
        .max_frame_size(LONGEST_MESSAGE);
    Ok(upgrade.on_upgrade(move |socket| serve(app, caller, socket)))
}

/// Serves a connection until it ends, then ends all that it began.
async fn serve(app: App, caller: Caller, socket: WebSocket) {
    let (sink, mut frames) = socket.split();
    let (outbox, mut writer) = outbox::start(sink);
    let mut connection = Connection {
        app,
        caller,
        outbox,
        at_work: HashMap::new(),
    };
    let mut heard = Instant::now();
    loop {
        let frame = tokio::select! {
            frame = timeout_at(heard + PATIENCE, frames.next()) => frame,
            // A client that takes nothing is gone.
            _ = &mut writer => break,
        };
        heard = Instant::now();
        match frame {
            Ok(Some(Ok(Frame::Text(text)))) => connection.take(text.as_str()).await,
            Ok(Some(Ok(Frame::Binary(_)))) => {
                let problem = Problem::new(Kind::Malformed, "messages are text, not binary");
                connection.outbox.error("", problem).await;
            }
            // Pings are answered by the socket itself.
            Ok(Some(Ok(Frame::Ping(_) | Frame::Pong(_)))) => {}
            Ok(Some(Ok(Frame::Close(_)) | Err(_)) | None) | Err(_) => break,
        }
    }
    for task in connection.at_work.into_values() {
        task.abort();
    }
    drop(connection.outbox);
    writer.abort();
}

struct Connection {
    app: App,
    caller: Caller,
    outbox: Outbox,
    /// What the client began, by its id.
    at_work: HashMap<String, JoinHandle<()>>,
}

impl Connection {
    /// Does what a message asks, or says why not.
    async fn take(&mut self, text: &str) {
        let (id, taken) = match Message::read(text) {
            Ok(message) => (message.id.clone(), self.obey(message)),
            Err((id, problem)) => (id, Err(problem)),
        };
        if let Err(problem) = taken {
            self.outbox.error(&id, problem).await;
        }
    }

    fn obey(&mut self, message: Message) -> Result<(), Problem> {
        let Message { kind, id, data } = message;
        self.at_work.retain(|_, task| !task.is_finished());
        if kind == "cancel" {
            if let Some(task) = self.at_work.remove(&id) {
                task.abort();
            }
            return Ok(());
        }
        if self.at_work.contains_key(&id) {
            let got = Value::from(id);
            return Err(FieldError::invalid("id", "an id that is not in use", &got).into());
        }
        if self.at_work.len() >= MOST_AT_WORK {
            let message = format!("{MOST_AT_WORK} chats and subscriptions are at work already");
            return Err(Problem::new(Kind::Overloaded, message));
        }
        let (app, caller, outbox) = (self.app.clone(), self.caller.clone(), self.outbox.clone());
        let task = match kind.as_str() {
            "chat" => tokio::spawn(chat::run(app, caller, outbox, id.clone(), data)),
            "subscribe_metrics" => {
                let subscription = metrics::Subscription::read(&caller, &data)?;
                tokio::spawn(metrics::run(app, outbox, id.clone(), subscription))
            }
            "subscribe_models" => tokio::spawn(models::run(app, outbox, id.clone())),
            other => {
                let expected = "one of chat, subscribe_metrics, subscribe_models, cancel";
                return Err(FieldError::invalid("type", expected, &other.into()).into());
            }
        };
        self.at_work.insert(id, task);
        Ok(())
    }
}
