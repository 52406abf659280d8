//! What goes out: a short queue, and the one who empties it.

use std::time::Duration;

use axum::extract::ws::{Message as Frame, WebSocket};
use bytes::Bytes;
use futures_util::SinkExt;
use futures_util::stream::SplitSink;
use serde::Serialize;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::super::error::ApiError;
use crate::problem::Problem;

/// Messages that wait for a client to read.
const QUEUE: usize = 64;

/// How long a client may leave a full queue unread before what fills it is ended, if it may leave a message
/// unread for as long.
const STALL: Duration = Duration::from_secs(10);

/// How often the client is asked whether it is still there.
const PING: Duration = Duration::from_secs(30);

/// The client does not read, or has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stalled;

/// Where messages for the client are put. Clones share the queue.
#[derive(Clone)]
pub struct Outbox {
    queue: mpsc::Sender<String>,
    /// How long a full queue is waited for.
    patience: Duration,
}

/// Starts the task that sends what is put into the outbox, and ends when the client takes it no more:
/// when it has left a message unread for `patience`.
pub fn start(sink: SplitSink<WebSocket, Frame>, patience: Duration) -> (Outbox, JoinHandle<()>) {
    let (sender, messages) = mpsc::channel(QUEUE);
    let outbox = Outbox {
        queue: sender,
        patience: patience.min(STALL),
    };
    (outbox, tokio::spawn(write(messages, sink, patience)))
}

async fn write(
    mut messages: mpsc::Receiver<String>,
    mut sink: SplitSink<WebSocket, Frame>,
    patience: Duration,
) {
    let mut pings = interval(PING);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pings.reset();
    loop {
        let frame = tokio::select! {
            message = messages.recv() => match message {
                Some(text) => Frame::Text(text.into()),
                None => return,
            },
            _ = pings.tick() => Frame::Ping(Bytes::new()),
        };
        match timeout(patience, sink.send(frame)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(%error, "a WebSocket ended");
                return;
            }
            Err(_elapsed) => {
                tracing::info!("a WebSocket's client does not read; it is closed");
                return;
            }
        }
    }
}

impl Outbox {
    /// Puts a message, waiting for room for a while.
    pub async fn send(&self, kind: &str, id: &str, data: impl Serialize) -> Result<(), Stalled> {
        let message = message(kind, id, data);
        let sent = self.queue.send_timeout(message, self.patience).await;
        sent.map_err(|_| Stalled)
    }

    /// Puts a message where there is room for it, and passes over it where there is none.
    pub fn offer(&self, kind: &str, id: &str, data: impl Serialize) -> Result<(), Stalled> {
        match self.queue.try_send(message(kind, id, data)) {
            Ok(()) | Err(TrySendError::Full(_)) => Ok(()),
            Err(TrySendError::Closed(_)) => Err(Stalled),
        }
    }

    /// Puts an error, as [`Self::send`] does; a client that does not read does not learn of it.
    pub async fn error(&self, id: &str, problem: Problem) {
        let envelope = ApiError::from(problem).envelope();
        let _ = self.send("error", id, envelope).await;
    }
}

fn message(kind: &str, id: &str, data: impl Serialize) -> String {
    json!({"type": kind, "id": id, "data": data}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_queue_loses_the_stream_not_the_memory() {
        let (sender, mut messages) = mpsc::channel(QUEUE);
        let outbox = Outbox {
            queue: sender,
            patience: Duration::from_millis(1),
        };
        for _ in 0..QUEUE {
            assert_eq!(outbox.send("chat_chunk", "a", json!({})).await, Ok(()));
        }
        assert_eq!(outbox.offer("metrics_update", "b", json!({})), Ok(()));
        assert_eq!(messages.len(), QUEUE, "what does not fit is passed over");
        assert_eq!(
            outbox.send("chat_chunk", "a", json!({})).await,
            Err(Stalled)
        );
        assert!(messages.recv().await.is_some());
        assert_eq!(outbox.send("chat_chunk", "a", json!({})).await, Ok(()));
        drop(messages);
        assert_eq!(outbox.offer("metrics_update", "b", json!({})), Err(Stalled));
    }

    #[test]
    fn messages_have_type_id_and_data() {
        let text = message("chat_chunk", "a", json!({"delta": {"content": "x"}}));
        let expected = r#"{"type":"chat_chunk","id":"a","data":{"delta":{"content":"x"}}}"#;
        assert_eq!(text, expected);
    }
}
