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
mod remote;

use std::collections::HashMap;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message as Frame, WebSocket, WebSocketUpgrade};
use axum::http::request::Parts;
use axum::response::Response;
use futures_util::StreamExt;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout, timeout_at};

use super::error::{ApiError, Errors};
use crate::caller::Caller;
use crate::credential;
use crate::fields::FieldError;
use crate::problem::{Kind, Problem};
use crate::remote::{KeyHeaders, Keys};
use crate::settings::Secret;
use crate::state::App;
use message::Message;
use outbox::Outbox;

/// Longest message that is taken, in bytes.
const LONGEST_MESSAGE: usize = 16 << 20;

/// Most chats and subscriptions of one connection at a time.
const MOST_AT_WORK: usize = 64;

/// How often it is found out again who the caller is, besides at each message that begins something.
const CHECK: Duration = Duration::from_secs(30);

/// How long the last message may take to go out.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long a client may say nothing, answers to pings included.
const PATIENCE: Duration = Duration::from_secs(90);

/// Opens a WebSocket.
///
/// Client messages: `chat` (data: a chat request; `stream` is true unless told otherwise),
/// `subscribe_metrics` (data: `interval` in milliseconds, `metrics`), `subscribe_models`, `cancel` (with the
/// id of what to end). Server messages: `chat_chunk`, `chat_done`, `metrics_update`, `model_status`, `error`.
#[utoipa::path(
    get, path = "/ws", tag = "inferno", operation_id = "inferno_ws",
    params(
        KeyHeaders,
        ("token" = Option<String>, Query, description = "A credential, for clients that cannot send headers")
    ),
    responses((status = 101, description = "The connection is a WebSocket now"), Errors)
)]
pub async fn open(
    State(app): State<App>,
    caller: Caller,
    keys: Keys,
    parts: Parts,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let upgrade = upgrade.map_err(|error| Problem::new(Kind::Invalid, error.body_text()))?;
    let upgrade = upgrade
        .max_message_size(LONGEST_MESSAGE)
        .max_frame_size(LONGEST_MESSAGE);
    let in_headers = credential::in_headers(&parts.headers).map(str::to_owned);
    let credential = in_headers.or_else(|| credential::in_query(&parts.uri));
    let credential = credential.filter(|_| app.settings().auth).map(Secret::new);
    Ok(upgrade.on_upgrade(move |socket| serve(app, caller, credential, keys, socket)))
}

/// Serves a connection until it ends, then ends all that it began.
async fn serve(
    app: App,
    caller: Caller,
    credential: Option<Secret>,
    keys: Keys,
    socket: WebSocket,
) {
    let (sink, mut frames) = socket.split();
    let (outbox, mut writer) = outbox::start(sink, app.settings().write_timeout);
    let mut connection = Connection {
        session: Session {
            app,
            caller,
            keys,
            outbox,
        },
        credential,
        at_work: HashMap::new(),
    };
    let mut heard = Instant::now();
    let mut checks = interval(CHECK);
    checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let frame = tokio::select! {
            frame = timeout_at(heard + PATIENCE, frames.next()) => frame,
            // A client that takes nothing is gone.
            _ = &mut writer => break,
            _ = checks.tick() => {
                if let Err(problem) = connection.identify().await {
                    // What it began would go on for somebody who may not ask for it any more.
                    connection.end_all();
                    connection.session.outbox.error("", problem).await;
                    break;
                }
                continue;
            }
        };
        heard = Instant::now();
        match frame {
            Ok(Some(Ok(Frame::Text(text)))) => connection.take(text.as_str()).await,
            Ok(Some(Ok(Frame::Binary(_)))) => {
                let problem = Problem::new(Kind::Malformed, "messages are text, not binary");
                connection.session.outbox.error("", problem).await;
            }
            // Pings are answered by the socket itself.
            Ok(Some(Ok(Frame::Ping(_) | Frame::Pong(_)))) => {}
            Ok(Some(Ok(Frame::Close(_)) | Err(_)) | None) | Err(_) => break,
        }
    }
    connection.end_all();
    // What was said last still goes out, to a client that takes it.
    drop(connection);
    if !writer.is_finished() && timeout(LAST_WORDS, &mut writer).await.is_err() {
        writer.abort();
    }
}

/// What the chats and subscriptions of a connection share.
#[derive(Clone)]
struct Session {
    app: App,
    caller: Caller,
    /// The keys that the handshake brought, for the chats of this connection.
    keys: Keys,
    outbox: Outbox,
}

struct Connection {
    session: Session,
    /// What the caller showed, while callers are asked who they are.
    credential: Option<Secret>,
    /// What the client began, by its id.
    at_work: HashMap<String, JoinHandle<()>>,
}

impl Connection {
    /// Does what a message asks, or says why not.
    async fn take(&mut self, text: &str) {
        let (id, taken) = match Message::read(text) {
            Ok(message) => (message.id.clone(), self.obey(message).await),
            Err((id, problem)) => (id, Err(problem)),
        };
        if let Err(problem) = taken {
            self.session.outbox.error(&id, problem).await;
        }
    }

    /// Finds out again who the caller is: a session may have ended since, a key may have been revoked.
    async fn identify(&mut self) -> Result<(), Problem> {
        if let Some(credential) = &self.credential {
            let Session { app, caller, .. } = &mut self.session;
            let identity = app.auth.identify(credential.expose()).await?;
            *caller = Caller::new(identity, caller.address());
        }
        Ok(())
    }

    /// Ends all that the client began.
    fn end_all(&mut self) {
        for (_, task) in self.at_work.drain() {
            task.abort();
        }
    }

    async fn obey(&mut self, message: Message) -> Result<(), Problem> {
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
        self.identify().await?;
        let session = self.session.clone();
        let task = match kind.as_str() {
            "chat" => tokio::spawn(chat::run(session, id.clone(), data)),
            "subscribe_metrics" => {
                let subscription = metrics::Subscription::read(&session.caller, &data)?;
                let Session { app, outbox, .. } = session;
                tokio::spawn(metrics::run(app, outbox, id.clone(), subscription))
            }
            "subscribe_models" => {
                let Session { app, outbox, .. } = session;
                tokio::spawn(models::run(app, outbox, id.clone()))
            }
            other => {
                let expected = "one of chat, subscribe_metrics, subscribe_models, cancel";
                return Err(FieldError::invalid("type", expected, &other.into()).into());
            }
        };
        self.at_work.insert(id, task);
        Ok(())
    }
}
