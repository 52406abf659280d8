//! An answer that is a stream of events, read event by event.

use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::answer::Answer;
use super::error::UpstreamError;
use super::events::{Events, Part, Usage, read};

/// A streamed answer on its way. Dropped, it ends the connection, so that the service stops its work.
pub struct Stream {
    answer: Answer,
    events: Events,
    usage: Option<Usage>,
    is_done: bool,
}

impl Stream {
    /// The stream that `answer` is.
    pub fn new(answer: Answer) -> Self {
        Self {
            answer,
            events: Events::default(),
            usage: None,
            is_done: false,
        }
    }

    /// The next event: what it is, and its bytes, the empty line that ends it included. `None` after the
    /// service has said that its answer is complete.
    ///
    /// # Errors
    /// The answer breaks off, takes too long to go on, or says itself that it failed.
    pub async fn next(&mut self) -> Result<Option<(Part, Bytes)>, UpstreamError> {
        while !self.is_done {
            if let Some(event) = self.events.next() {
                return self.sorted(event).map(Some);
            }
            match self.answer.piece().await? {
                Some(piece) if self.events.push(&piece).is_err() => {
                    return Err(self.answer.garbled("an event of its stream does not end"));
                }
                Some(_) => {}
                None => {
                    let rest = self.events.rest();
                    if Part::of(&rest) == Part::Done {
                        return self.sorted(rest).map(Some);
                    }
                    return Err(self
                        .answer
                        .garbled("its stream ended before its answer did"));
                }
            }
        }
        Ok(None)
    }

    /// The next part of the answer itself, as a `T`; `None` at its end.
    ///
    /// # Errors
    /// As [`Self::next`]; it is no `T`.
    pub async fn part<T: DeserializeOwned>(&mut self) -> Result<Option<T>, UpstreamError> {
        while let Some((part, event)) = self.next().await? {
            if matches!(part, Part::Content { .. }) {
                let unreadable = || self.garbled("an event of its stream cannot be read");
                return read(&event).ok_or_else(unreadable).map(Some);
            }
        }
        Ok(None)
    }

    fn sorted(&mut self, event: Bytes) -> Result<(Part, Bytes), UpstreamError> {
        let part = Part::of(&event);
        match &part {
            Part::Failed(message) => {
                let what = format!("its stream failed: {message}");
                return Err(self.answer.garbled(what));
            }
            Part::Content { usage: Some(usage) } | Part::Usage(usage) => self.usage = Some(*usage),
            Part::Done => self.is_done = true,
            Part::Content { usage: None } | Part::Else => {}
        }
        Ok((part, event))
    }

    /// Ends the stream, books the tokens that the service told of, and gives them. A connection whose
    /// answer is complete is kept.
    pub fn end(self) -> Option<Usage> {
        if let Some(usage) = self.usage {
            self.answer.settle(usage);
        }
        if self.is_done {
            self.answer.end();
        }
        self.usage
    }

    /// The tokens of an answer that has come to its end.
    ///
    /// # Errors
    /// The service did not tell them.
    pub fn tokens(&self) -> Result<Usage, UpstreamError> {
        let untold = || self.garbled("it does not tell how many tokens its answer took");
        self.usage.ok_or_else(untold)
    }

    /// A failure of the service to answer as it should.
    pub fn garbled(&self, what: impl Into<String>) -> UpstreamError {
        self.answer.garbled(what)
    }
}
