//! Compressed bodies: `gzip` and `deflate`, in requests and answers.

use std::io::{self, Read, Write};

use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use axum::http::{HeaderMap, HeaderValue};
use bytes::Bytes;
use flate2::Compression;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};

use crate::admission::Ticket;
use crate::extract::{Books, Refusal};

/// A way of compressing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As of RFC 1952.
    Gzip,
    /// As of RFC 1950; the name is older.
    Deflate,
}

impl Encoding {
    fn named(name: &str) -> Option<Self> {
        match () {
            () if name.eq_ignore_ascii_case("gzip") => Some(Self::Gzip),
            () if name.eq_ignore_ascii_case("deflate") => Some(Self::Deflate),
            () => None,
        }
    }

    fn name(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        })
    }
}

/// How a request's body is compressed, in the order in which that was done; empty where it is not.
///
/// # Errors
/// [`Refusal::Encoding`] for ways that are not known.
pub fn of_request(headers: &HeaderMap) -> Result<Vec<Encoding>, Refusal> {
    /// Nobody compresses more often than once, and whoever does so means no good.
    const MOST: usize = 2;
    let mut encodings = Vec::new();
    for value in headers.get_all(CONTENT_ENCODING) {
        let names = value.to_str().unwrap_or("?").split(',').map(str::trim);
        for name in names.filter(|name| !name.is_empty() && *name != "identity") {
            let known = Encoding::named(name).filter(|_| encodings.len() < MOST);
            encodings.push(known.ok_or_else(|| {
                Refusal::Encoding(format!("expected gzip or deflate, got {name:?}"))
            })?);
        }
    }
    Ok(encodings)
}

/// Decompresses a request's body to at most `limit` bytes, which its ticket holds too.
///
/// # Errors
/// [`Refusal::TooLarge`], [`Refusal::NoRoom`]; [`Refusal::Encoding`] for a body that is not what its header says.
pub async fn decode(
    encodings: Vec<Encoding>,
    bytes: Bytes,
    limit: usize,
    mut ticket: Ticket,
) -> Result<(Ticket, Bytes), Refusal> {
    // However short it is, what comes out may be long.
    let decoded = tokio::task::spawn_blocking(move || {
        let mut bytes = bytes;
        for encoding in encodings.into_iter().rev() {
            bytes = inflate(encoding, &bytes, limit, &mut ticket)?.into();
        }
        Ok((ticket, bytes))
    });
    decoded
        .await
        .unwrap_or_else(|error| Err(Refusal::Broken(error.to_string())))
}

fn inflate(
    encoding: Encoding,
    bytes: &[u8],
    limit: usize,
    books: &mut impl Books,
) -> Result<Vec<u8>, Refusal> {
    const PIECE: usize = 64 << 10;
    let mut decoder: Box<dyn Read + '_> = match encoding {
        Encoding::Gzip => Box::new(MultiGzDecoder::new(bytes)),
        Encoding::Deflate => Box::new(ZlibDecoder::new(bytes)),
    };
    let mut out = Vec::new();
    loop {
        let read = decoder.by_ref().take(PIECE as u64).read_to_end(&mut out);
        match read.map_err(|error| Refusal::Encoding(error.to_string()))? {
            0 => return Ok(out),
            _ if out.len() > limit => return Err(Refusal::TooLarge { limit }),
            read => books
                .book(read)
                .map_err(|limit| Refusal::NoRoom { limit })?,
        }
    }
}

/// What a client would have an answer compressed by.
pub fn wanted(headers: &HeaderMap) -> Option<Encoding> {
    let values = headers.get_all(ACCEPT_ENCODING).iter();
    let mut names = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    names.find_map(|part| {
        let (name, weight) = part.split_once(';').unwrap_or((part, ""));
        let weight = weight.trim().strip_prefix("q=").unwrap_or("1");
        let is_wanted = weight.parse::<f32>().is_ok_and(|weight| weight > 0.0);
        Encoding::named(name.trim()).filter(|_| is_wanted)
    })
}

/// Compresses an answer's body if that is wanted and worth it, and says so in its headers.
///
/// # Errors
/// There is no thread for a long one.
pub async fn encode(
    wanted: Option<Encoding>,
    bytes: Vec<u8>,
    headers: &mut HeaderMap,
) -> io::Result<Vec<u8>> {
    /// Below this many bytes the packet is as full.
    const SHORT: usize = 1024;
    /// Longest body that is compressed at once, in bytes.
    const AT_ONCE: usize = 16 << 10;
    let Some(encoding) = wanted.filter(|_| bytes.len() >= SHORT) else {
        return Ok(bytes);
    };
    let packed = match bytes.len() <= AT_ONCE {
        true => deflate(encoding, &bytes)?,
        false => tokio::task::spawn_blocking(move || deflate(encoding, &bytes)).await??,
    };
    headers.insert(CONTENT_ENCODING, encoding.name());
    Ok(packed)
}

fn deflate(encoding: Encoding, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let level = Compression::fast();
    match encoding {
        Encoding::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), level);
            encoder.write_all(bytes)?;
            encoder.finish()
        }
        Encoding::Deflate => {
            let mut encoder = ZlibEncoder::new(Vec::new(), level);
            encoder.write_all(bytes)?;
            encoder.finish()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Admission;

    fn headers(name: axum::http::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn ways_are_known_by_name() {
        use Encoding::{Deflate, Gzip};
        for (value, encodings) in [
            ("", Some(vec![])),
            ("identity", Some(vec![])),
            ("GZip", Some(vec![Gzip])),
            ("deflate, gzip", Some(vec![Deflate, Gzip])),
            ("gzip, gzip, gzip", None),
            ("br", None),
        ] {
            let read = of_request(&headers(CONTENT_ENCODING, value)).ok();
            assert_eq!(read, encodings, "{value}");
        }
        for (value, encoding) in [
            ("", None),
            ("br, deflate;q=0.5", Some(Deflate)),
            ("gzip;q=0, deflate", Some(Deflate)),
            ("gzip, deflate", Some(Gzip)),
        ] {
            assert_eq!(
                wanted(&headers(ACCEPT_ENCODING, value)),
                encoding,
                "{value}"
            );
        }
    }

    #[tokio::test]
    async fn bodies_come_out_as_they_went_in_within_the_limit() {
        let door = Admission::new(4, 300_000);
        let body = vec![7u8; 200_000];
        for encoding in [Encoding::Gzip, Encoding::Deflate] {
            let mut headers = HeaderMap::new();
            let packed = encode(Some(encoding), body.clone(), &mut headers).await;
            let packed = Bytes::from(packed.expect("packed"));
            assert!(packed.len() < 2_000);
            assert_eq!(of_request(&headers).expect("known"), [encoding]);
            let short = encode(Some(encoding), vec![1], &mut HeaderMap::new()).await;
            assert_eq!(short.expect("as it is"), [1]);
            let ticket = door.enter().expect("there is room");
            let decoded = decode(vec![encoding], packed.clone(), 200_000, ticket).await;
            let (ticket, bytes) = decoded.expect("it fits");
            assert_eq!(bytes, body);
            // The first holds two thirds of the room.
            let second = door.enter().expect("there is room");
            let refused = decode(vec![encoding], packed.clone(), 200_000, second).await;
            assert!(matches!(refused, Err(Refusal::NoRoom { limit: 300_000 })));
            drop(ticket);
            let ticket = door.enter().expect("there is room");
            let refused = decode(vec![encoding], packed.clone(), 199_999, ticket).await;
            assert!(matches!(refused, Err(Refusal::TooLarge { limit: 199_999 })));
            let ticket = door.enter().expect("there is room");
            let cut = packed.slice(..packed.len() - 9);
            let refused = decode(vec![encoding], cut, 200_000, ticket).await;
            assert!(matches!(refused, Err(Refusal::Encoding(_))));
        }
    }
}
