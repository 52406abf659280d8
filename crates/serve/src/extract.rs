//! From an HTTP request to a ticket and its body, or the members of a JSON one.

use std::time::Duration;

use axum::extract::Request;
use axum::http::header::CONTENT_LENGTH;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde_json::Value;

use crate::admission::Ticket;
use crate::audit::Note;
use crate::caller::Caller;
use crate::encoding;
use crate::fields::{Fields, describe};
use crate::state::App;

/// Why a request was turned away before its fields were looked at.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// As many requests are in work as the server takes.
    #[error("the server is busy with {limit} requests, its limit; try again shortly")]
    Full {
        /// The limit.
        limit: usize,
    },
    /// The server has been told to stop.
    #[error("the server is shutting down")]
    Stopping,
    /// The body is longer than the limit.
    #[error("the body is longer than the limit of {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The bodies in work fill the room that there is for them.
    #[error("the bodies of the requests in work fill the room of {limit} bytes; try again shortly")]
    NoRoom {
        /// The room in bytes.
        limit: usize,
    },
    /// The body has more members and elements than any request needs.
    #[error("the body has more than {limit} values")]
    TooManyValues {
        /// Most values that a body may have.
        limit: usize,
    },
    /// The body did not arrive in time.
    #[error("the body did not arrive within {} s", .limit.as_secs_f64())]
    TooSlow {
        /// The time a body may take.
        limit: Duration,
    },
    /// The connection failed within the body.
    #[error("the body could not be read: {0}")]
    Broken(String),
    /// The body is compressed in a way that is not known, or not as it says.
    #[error("the body's encoding: {0}")]
    Encoding(String),
    /// The body is not JSON.
    #[error("the body is not JSON: {0}")]
    Malformed(String),
    /// The body is JSON, but no object.
    #[error("the body: expected a JSON object, got {0}")]
    NotAnObject(String),
}

/// Admits a request for inference.
///
/// # Errors
/// [`Refusal::Stopping`], [`Refusal::Full`].
pub fn enter(app: &App) -> Result<Ticket, Refusal> {
    if app.is_stopping() {
        return Err(Refusal::Stopping);
    }
    app.admission.enter().ok_or(Refusal::Full {
        limit: app.admission.limit(),
    })
}

/// Admits a request for inference, then reads its body as a JSON object, whatever its content type says.
///
/// # Errors
/// One [`Refusal`]; a refused request holds no ticket.
pub async fn admit(app: &App, request: Request) -> Result<(Ticket, Fields), Refusal> {
    let note = request.extensions().get::<Note>().cloned();
    let client = request.extensions().get::<Caller>().map(Caller::client);
    let (mut ticket, bytes) = receive(app, request).await?;
    let fields = parse(bytes).await?;
    if let Some(note) = note.filter(|_| app.settings().audit_prompts) {
        note.prompt(&fields);
    }
    if let Some(client) = client {
        ticket.hold(app.turns.take(&client).await);
    }
    Ok((ticket, fields))
}

/// Admits a request for inference, then reads its body, which is not JSON alone.
///
/// # Errors
/// As [`admit`].
pub async fn admit_bytes(app: &App, request: Request) -> Result<(Ticket, Bytes), Refusal> {
    let client = request.extensions().get::<Caller>().map(Caller::client);
    let (mut ticket, bytes) = receive(app, request).await?;
    if let Some(client) = client {
        ticket.hold(app.turns.take(&client).await);
    }
    Ok((ticket, bytes))
}

/// [`admit`] for a request whose body may be left out, which is an object without members.
///
/// # Errors
/// As [`admit`].
pub async fn admit_optional(app: &App, request: Request) -> Result<(Ticket, Fields), Refusal> {
    let (ticket, bytes) = receive(app, request).await?;
    // `null` is how clients that always send a body leave it out.
    match bytes.is_empty() || bytes.trim_ascii() == b"null" {
        true => Ok((ticket, Fields::default())),
        false => Ok((ticket, parse(bytes).await?)),
    }
}

/// Admits a request and reads its body, which may be compressed.
async fn receive(app: &App, request: Request) -> Result<(Ticket, Bytes), Refusal> {
    let mut ticket = enter(app)?;
    let settings = app.settings();
    let (limit, patience) = (settings.body_limit.length(), settings.body_timeout);
    let encodings = encoding::of_request(request.headers())?;
    let reading = read_body(request, limit, &mut ticket);
    let bytes = tokio::time::timeout(patience, reading)
        .await
        .map_err(|_elapsed| Refusal::TooSlow { limit: patience })??;
    match encodings.is_empty() {
        true => Ok((ticket, bytes)),
        false => encoding::decode(encodings, bytes, limit, ticket).await,
    }
}

/// Reads the body of a request that runs no model as a JSON object of at most `limit` bytes.
///
/// # Errors
/// One [`Refusal`].
pub async fn read_fields(app: &App, request: Request, limit: usize) -> Result<Fields, Refusal> {
    let settings = app.settings();
    let (limit, patience) = (
        settings.body_limit.length().min(limit),
        settings.body_timeout,
    );
    let mut books = Unbooked;
    let reading = read_body(request, limit, &mut books);
    let bytes = tokio::time::timeout(patience, reading)
        .await
        .map_err(|_elapsed| Refusal::TooSlow { limit: patience })??;
    parse(bytes).await
}

/// Where the bytes of a body are booked.
pub trait Books {
    /// Makes room for `bytes` more.
    ///
    /// # Errors
    /// The room that there is for all, if it is full.
    fn book(&mut self, bytes: usize) -> Result<(), usize>;
}

impl Books for Ticket {
    fn book(&mut self, bytes: usize) -> Result<(), usize> {
        match self.make_room(bytes) {
            true => Ok(()),
            false => Err(self.room()),
        }
    }
}

/// Bodies that are short by their limit need no booking.
struct Unbooked;

impl Books for Unbooked {
    fn book(&mut self, _bytes: usize) -> Result<(), usize> {
        Ok(())
    }
}

/// Reads at most `limit` bytes of body. A declared length above the limit is refused unread.
pub async fn read_body(
    request: Request,
    limit: usize,
    books: &mut impl Books,
) -> Result<Bytes, Refusal> {
    let declared = request.headers().get(CONTENT_LENGTH);
    let declared: Option<u64> = declared.and_then(|value| value.to_str().ok()?.parse().ok());
    if declared.is_some_and(|length| length > limit as u64) {
        return Err(Refusal::TooLarge { limit });
    }
    let mut stream = request.into_body().into_data_stream();
    let mut collected = BytesMut::new();
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|error| Refusal::Broken(error.to_string()))?;
        if collected.len() + piece.len() > limit {
            return Err(Refusal::TooLarge { limit });
        }
        books
            .book(piece.len())
            .map_err(|limit| Refusal::NoRoom { limit })?;
        collected.extend_from_slice(&piece);
    }
    Ok(collected.freeze())
}

/// Parses a body; a long one on a blocking thread, so that it holds up nobody else.
async fn parse(bytes: Bytes) -> Result<Fields, Refusal> {
    parse_with(bytes, |bytes| parse_object(bytes)).await
}

/// [`parse`] by other means than [`Fields`].
pub async fn parse_with<T, E>(
    bytes: Bytes,
    read: impl FnOnce(&Bytes) -> Result<T, E> + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<Refusal> + Send + 'static,
{
    at_once_or_apart(bytes.len() <= SHORT, move || read(&bytes)).await
}

/// Longest body, or answer, that is read or written at once, in bytes.
pub const SHORT: usize = 64 << 10;

/// Does at once what takes no time, and else on a blocking thread.
pub async fn at_once_or_apart<T, E>(
    is_short: bool,
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<Refusal> + Send + 'static,
{
    if is_short {
        return work();
    }
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Refusal::Broken(error.to_string()).into()))
}

/// Refuses a JSON text with more values than any request needs.
///
/// # Errors
/// [`Refusal::TooManyValues`].
pub fn check_values(bytes: &[u8]) -> Result<(), Refusal> {
    Values::default().add(bytes)
}

/// The values of the JSON texts of a request, counted.
#[derive(Debug, Default)]
pub struct Values(usize);

impl Values {
    /// More than any prompt of token ids needs. A value takes many times the memory of its text, so the
    /// body's length alone would not bound it.
    const MOST: usize = 4 << 20;

    /// Counts those of one more text.
    ///
    /// # Errors
    /// [`Refusal::TooManyValues`]: all together are more than any request needs.
    pub fn add(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.0 += separators(bytes);
        match self.0 > Self::MOST {
            true => Err(Refusal::TooManyValues { limit: Self::MOST }),
            false => Ok(()),
        }
    }
}

/// Reads a JSON object.
///
/// # Errors
/// [`Refusal::TooManyValues`], [`Refusal::Malformed`], [`Refusal::NotAnObject`].
pub fn parse_object(bytes: &[u8]) -> Result<Fields, Refusal> {
    check_values(bytes)?;
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => Ok(Fields::new(object)),
        Ok(other) => Err(Refusal::NotAnObject(describe(&other))),
        Err(_) if bytes.is_empty() => Err(Refusal::Malformed("it is empty".into())),
        Err(error) => Err(Refusal::Malformed(error.to_string())),
    }
}

/// How many commas and opening brackets a JSON text has outside its strings: it has at most one value more.
fn separators(bytes: &[u8]) -> usize {
    let (mut count, mut in_string, mut escaped) = (0, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b',' | b'[' | b'{' if !in_string => count += 1,
            _ => {}
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Admission;
    use axum::body::Body;

    fn request(body: impl Into<Body>, length: Option<&str>) -> Request {
        let mut builder = Request::builder();
        if let Some(length) = length {
            builder = builder.header(CONTENT_LENGTH, length);
        }
        builder.body(body.into()).expect("a request")
    }

    #[tokio::test]
    async fn bodies_up_to_the_limit_are_read() {
        let door = Admission::new(1, 8);
        let mut ticket = door.enter().expect("there is room");
        let body = read_body(request("12345", None), 5, &mut ticket).await;
        assert_eq!(body.expect("fits"), "12345");
        for (body, length) in [("123456", None), ("1", Some("6"))] {
            let refusal = read_body(request(body, length), 5, &mut ticket).await;
            assert!(matches!(refusal, Err(Refusal::TooLarge { limit: 5 })));
        }
        // Five of eight bytes are taken by the first.
        let refusal = read_body(request("1234", None), 5, &mut ticket).await;
        assert!(matches!(refusal, Err(Refusal::NoRoom { limit: 8 })));
    }

    #[test]
    fn values_are_counted_outside_strings() {
        assert_eq!(separators(br#"{"a,[{": [1, 2, "\\", "\"[,"]}"#), 5);
        let many = format!("{{\"prompt\": [{}1]}}", "1,".repeat(5 << 20));
        let refusal = parse_object(many.as_bytes());
        assert!(matches!(refusal, Err(Refusal::TooManyValues { .. })));
        let text = format!("{{\"prompt\": \"{}\"}}", ",".repeat(5 << 20));
        assert!(parse_object(text.as_bytes()).is_ok());
    }

    #[test]
    fn only_objects_are_taken() {
        assert!(parse_object(br#"{"a": 1}"#).is_ok());
        for (body, text) in [
            ("", "the body is not JSON: it is empty"),
            (
                "]",
                "the body is not JSON: expected value at line 1 column 1",
            ),
            (
                "{}}",
                "the body is not JSON: trailing characters at line 1 column 3",
            ),
            ("[1]", "the body: expected a JSON object, got an array of 1"),
            ("null", "the body: expected a JSON object, got null"),
        ] {
            assert_eq!(
                parse_object(body.as_bytes()).expect_err(body).to_string(),
                text
            );
        }
        // Nesting is bounded by the parser, so a hostile body cannot overflow the stack.
        let deep = "[".repeat(100_000);
        assert!(matches!(
            parse_object(deep.as_bytes()),
            Err(Refusal::Malformed(_))
        ));
    }
}
