//! An answer that is on its way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Response};
use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, StreamExt};
use hyper::body::Incoming;

use super::error::UpstreamError;
use super::events::Usage;
use super::service::Upstream;

/// An answer that began well. Dropped, it ends the connection, so that the service stops its work.
pub struct Answer {
    upstream: Arc<Upstream>,
    headers: HeaderMap,
    body: axum::body::BodyDataStream,
    number: u64,
    deadline: Option<Instant>,
}

impl Answer {
    pub(super) fn new(
        upstream: Arc<Upstream>,
        response: Response<Incoming>,
        number: u64,
        deadline: Option<Instant>,
    ) -> Self {
        let (head, body) = response.into_parts();
        Self {
            upstream,
            headers: head.headers,
            body: axum::body::Body::new(body).into_data_stream(),
            number,
            deadline,
        }
    }

    /// Whether it is a stream of events.
    pub fn is_stream(&self) -> bool {
        let kind = self.content_type().trim_start().to_ascii_lowercase();
        kind.starts_with("text/event-stream")
    }

    /// What it is; nothing where the service does not say.
    pub fn content_type(&self) -> &str {
        let kind = self.headers.get(CONTENT_TYPE);
        kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default()
    }

    /// Its next bytes; `None` at its end.
    ///
    /// # Errors
    /// It breaks off, or takes too long to go on.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, UpstreamError> {
        let next = self.upstream.before(self.deadline, self.body.next()).await;
        let failure = match next {
            Ok(None) => return Ok(None),
            Ok(Some(Ok(piece))) => return Ok(Some(piece)),
            Ok(Some(Err(error))) => self.garbled(format!("its answer broke off: {error}")),
            Err(late) => {
                self.failed_unless_late(&late);
                late
            }
        };
        Err(failure)
    }

    /// Gives the whole answer, `room` telling whether there is some for so many bytes more.
    ///
    /// # Errors
    /// It breaks off, takes too long, or is longer than `most` bytes; there is no room.
    pub async fn whole(
        &mut self,
        most: usize,
        mut room: impl FnMut(usize) -> Result<(), usize>,
    ) -> Result<Bytes, UpstreamError> {
        let upstream = Arc::clone(&self.upstream);
        let deadline = self.deadline;
        let reading = async {
            let mut whole = BytesMut::new();
            while let Some(piece) = self.piece().await? {
                if whole.len() + piece.len() > most {
                    let what = format!("its answer is longer than {most} bytes");
                    return Err(self.garbled(what));
                }
                room(piece.len()).map_err(|room| UpstreamError::NoRoom {
                    upstream: self.upstream.name().to_owned(),
                    room,
                })?;
                whole.extend_from_slice(&piece);
            }
            Ok(whole.freeze())
        };
        // Bytes that drip would never let the service look silent, so that the whole has one time too.
        let read = upstream.before(deadline, reading).await;
        read.unwrap_or_else(|late| {
            self.failed_unless_late(&late);
            Err(late)
        })
    }

    /// Ends an answer that is complete; a connection that has nothing more to say is kept.
    pub fn end(mut self) {
        let _ = self.body.next().now_or_never();
    }

    /// Notes the tokens that the service told of.
    pub fn settle(&self, usage: Usage) {
        self.upstream
            .dealings()
            .allowance
            .settle(self.number, usage.total());
        self.upstream.count_tokens(usage.total());
    }

    /// A failure of the service to answer as it should.
    pub fn garbled(&self, what: impl Into<String>) -> UpstreamError {
        let failure = UpstreamError::Garbled {
            upstream: self.upstream.name().to_owned(),
            what: what.into(),
        };
        self.failed_unless_late(&failure);
        failure
    }

    /// Notes a failure, unless it was the client whose time was over.
    fn failed_unless_late(&self, failure: &UpstreamError) {
        if matches!(failure, UpstreamError::Deadline { .. }) {
            return;
        }
        self.upstream
            .dealings()
            .breaker
            .failed((self.upstream.clock)());
        self.upstream.count_failure();
        self.upstream.heard(false);
    }
}

/// The beginning of a body that says what went wrong, as far as it comes soon.
pub async fn read_some(body: Incoming) -> Bytes {
    /// Longest body of an error that is looked at, in bytes.
    const LONGEST: usize = 64 << 10;
    /// How long it may take.
    const PATIENCE: Duration = Duration::from_secs(5);
    let mut said = BytesMut::new();
    let mut body = axum::body::Body::new(body).into_data_stream();
    let reading = async {
        while let Some(Ok(piece)) = body.next().await {
            said.extend_from_slice(&piece);
            if said.len() > LONGEST {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(PATIENCE, reading).await;
    said.freeze()
}
