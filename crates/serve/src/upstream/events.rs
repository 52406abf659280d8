//! Server-sent events as a service sends them: taken apart only where one ends and the next begins, and
//! looked into for what the server has to know.

use bytes::{Bytes, BytesMut};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Longest event that is passed on, in bytes.
pub const LONGEST_EVENT: usize = 8 << 20;

/// Bytes on their way to whole events.
#[derive(Debug, Default)]
pub struct Events {
    buffer: BytesMut,
    /// Where the line begins that is looked at; no event ends before it.
    line: usize,
    /// Up to where that line has been looked at.
    looked_at: usize,
}

impl Events {
    /// Takes up more bytes.
    ///
    /// # Errors
    /// An event would be longer than [`LONGEST_EVENT`].
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), ()> {
        self.buffer.extend_from_slice(bytes);
        match self.buffer.len() > LONGEST_EVENT {
            true if self.end().is_none() => Err(()),
            _ => Ok(()),
        }
    }

    /// The next whole event, the empty line that ends it included.
    pub fn next(&mut self) -> Option<Bytes> {
        let end = self.end()?;
        (self.line, self.looked_at) = (0, 0);
        Some(self.buffer.split_to(end).freeze())
    }

    /// What is left when nothing more comes.
    pub fn rest(&mut self) -> Bytes {
        (self.line, self.looked_at) = (0, 0);
        self.buffer.split().freeze()
    }

    /// Where the first event ends.
    fn end(&mut self) -> Option<usize> {
        loop {
            let rest = &self.buffer[self.looked_at..];
            let Some(length) = rest.iter().position(|&byte| byte == b'\n') else {
                self.looked_at = self.buffer.len();
                return None;
            };
            let end = self.looked_at + length + 1;
            if matches!(&self.buffer[self.line..end], b"\n" | b"\r\n") {
                return Some(end);
            }
            (self.line, self.looked_at) = (end, end);
        }
    }
}

/// Tokens as a service tells them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens in.
    #[serde(default)]
    pub prompt_tokens: u64,
    /// Tokens out; embeddings have none.
    #[serde(default)]
    pub completion_tokens: u64,
}

impl Usage {
    /// All of them.
    pub fn total(self) -> u64 {
        self.prompt_tokens.saturating_add(self.completion_tokens)
    }
}

/// What the server has to know of an answer or a part of one.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Told {
    usage: Option<Value>,
    choices: Option<Vec<IgnoredAny>>,
    error: Option<Value>,
}

impl Told {
    /// Reads an answer; `None` if it is no JSON object.
    pub fn of(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    /// The tokens, where it tells them.
    pub fn usage(&self) -> Option<Usage> {
        Usage::deserialize(self.usage.as_ref()?).ok()
    }
}

/// The data of an event.
fn data(event: &[u8]) -> Option<&[u8]> {
    let mut lines = event.split(|&byte| byte == b'\n');
    lines.find_map(|line| line.strip_prefix(b"data:"))
}

/// The data of an event as a `T`; `None` where it is none.
pub fn read<T: DeserializeOwned>(event: &[u8]) -> Option<T> {
    serde_json::from_slice(data(event)?).ok()
}

/// What an event is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The end of the stream.
    Done,
    /// A part of the answer.
    Content {
        /// Tokens so far, where it tells them.
        usage: Option<Usage>,
    },
    /// The tokens, and nothing of the answer.
    Usage(Usage),
    /// Why the answer does not go on.
    Failed(String),
    /// A comment, or something else that is none of the server's business.
    Else,
}

impl Part {
    /// What `event` is.
    pub fn of(event: &[u8]) -> Self {
        let Some(data) = data(event) else {
            return Self::Else;
        };
        if data.trim_ascii() == b"[DONE]" {
            return Self::Done;
        }
        let Some(told) = Told::of(data) else {
            return Self::Else;
        };
        let usage = told.usage();
        match (usage, told.choices, told.error) {
            (_, _, Some(error)) => {
                let message = error["message"].as_str().or(error.as_str());
                Self::Failed(message.unwrap_or("an error").to_owned())
            }
            (Some(usage), Some(choices), None) if choices.is_empty() => Self::Usage(usage),
            (usage, Some(_), None) => Self::Content { usage },
            (_, None, None) => Self::Else,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_however_their_bytes_come() {
        let stream = b"data: 1\n\n: a comment\n\nevent: x\r\ndata: 2\r\n\r\ndata: [DONE]\n";
        let whole: [&[u8]; 3] = [
            b"data: 1\n\n",
            b": a comment\n\n",
            b"event: x\r\ndata: 2\r\n\r\n",
        ];
        for size in 1..stream.len() {
            let mut events = Events::default();
            let mut found = Vec::new();
            for piece in stream.chunks(size) {
                events.push(piece).expect("they are short");
                found.extend(std::iter::from_fn(|| events.next()));
            }
            assert_eq!(found, whole, "{size}");
            assert_eq!(events.rest(), &b"data: [DONE]\n"[..]);
        }
    }

    #[test]
    fn an_event_without_end_is_refused() {
        let mut events = Events::default();
        let piece = vec![b'x'; LONGEST_EVENT / 2];
        assert_eq!(events.push(&piece), Ok(()));
        assert_eq!(events.push(&piece), Ok(()));
        assert_eq!(events.push(b"x"), Err(()));
    }

    #[test]
    fn events_are_sorted() {
        let usage = Usage {
            prompt_tokens: 3,
            completion_tokens: 4,
        };
        for (event, part) in [
            ("data: [DONE]\n\n", Part::Done),
            ("data:[DONE]\r\n\r\n", Part::Done),
            (": waiting\n\n", Part::Else),
            ("event: ping\ndata: {}\n\n", Part::Else),
            (
                "data: {\"error\": {\"message\": \"m\"}}\n\n",
                Part::Failed("m".into()),
            ),
            ("data: {\"error\": \"m\"}\n\n", Part::Failed("m".into())),
            ("data: {\"id\": 1}\n\n", Part::Else),
            (
                "data: {\"choices\": [{\"delta\": {}}], \"usage\": null}\n\n",
                Part::Content { usage: None },
            ),
            (
                "data: {\"choices\": [], \"usage\": {\"prompt_tokens\": 3, \"completion_tokens\": 4, \"total_tokens\": 7}}\n\n",
                Part::Usage(usage),
            ),
            (
                "data: {\"choices\": [{}], \"usage\": {\"prompt_tokens\": 3, \"completion_tokens\": 4}}\n\n",
                Part::Content { usage: Some(usage) },
            ),
        ] {
            assert_eq!(Part::of(event.as_bytes()), part, "{event}");
        }
        assert_eq!(usage.total(), 7);
    }
}
