//! Which web pages may use the server.
//!
//! A page sends its origin with what it asks of another host. Loopback origins are allowed, and those
//! that the operator names. Without authentication every caller is the administrator, so any request
//! that may change something and comes from a page elsewhere is refused.

use std::net::Ipv6Addr;

use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method};

/// What is to be done with a request because of its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// No page sent it: nothing to do.
    NoPage,
    /// A page that may use the server.
    Allowed(HeaderValue),
    /// A page that may not; it can read nothing, since no header allows it.
    Foreign,
    /// A page that may not, asking for something that could change the server's state.
    Refused,
}

/// Judges a request by its `Origin` header.
pub fn judge(method: &Method, headers: &HeaderMap, allowed: &[String]) -> Verdict {
    let Some(origin) = headers.get(ORIGIN) else {
        return Verdict::NoPage;
    };
    let is_allowed = origin
        .to_str()
        .is_ok_and(|text| is_loopback(text) || allowed.iter().any(|entry| entry == text));
    if is_allowed {
        Verdict::Allowed(origin.clone())
    } else if [Method::GET, Method::HEAD, Method::OPTIONS].contains(method) {
        Verdict::Foreign
    } else {
        Verdict::Refused
    }
}

/// Whether an origin (`scheme://host[:port]`) is on this machine.
fn is_loopback(origin: &str) -> bool {
    let Some(authority) = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"))
    else {
        return false;
    };
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split_once(']').is_some_and(|(address, port)| {
            is_port(port)
                && address
                    .parse::<Ipv6Addr>()
                    .is_ok_and(|address| address.is_loopback())
        });
    }
    let (host, port) = match authority.find(':') {
        Some(colon) => authority.split_at(colon),
        None => (authority, ""),
    };
    is_port(port)
        && (host == "localhost"
            || host
                .parse::<std::net::Ipv4Addr>()
                .is_ok_and(|address| address.is_loopback()))
}

/// Whether `text` is the end of an origin: nothing, or a colon and digits.
fn is_port(text: &str) -> bool {
    text.is_empty()
        || text
            .strip_prefix(':')
            .is_some_and(|digits| digits.parse::<u16>().is_ok())
}

/// Whether a request is the question that browsers ask before the request proper.
pub fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS
        && headers.contains_key(ORIGIN)
        && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Writes the headers that let a page at `origin` read the answer.
pub fn allow(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(
        ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(
            "x-request-id, x-ratelimit-limit, x-ratelimit-remaining, x-ratelimit-reset, retry-after",
        ),
    );
}

/// Writes the answer to a preflight of an allowed origin: the methods there are, the headers asked for.
pub fn allow_preflight(headers: &mut HeaderMap, asked: &HeaderMap) {
    let methods = HeaderValue::from_static("GET, HEAD, POST, PUT, DELETE, OPTIONS");
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    let wanted = asked.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    let names = wanted.unwrap_or_else(|| HeaderValue::from_static("authorization, content-type"));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names);
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
}

/// Notes that the answer depends on the origin, so that no cache gives one page's to another.
pub fn vary(headers: &mut HeaderMap) {
    headers.append(VARY, HeaderValue::from_static("origin"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(method: Method, origin: Option<&str>) -> Verdict {
        let mut headers = HeaderMap::new();
        if let Some(origin) = origin {
            headers.insert(
                ORIGIN,
                HeaderValue::from_str(origin).expect("a header value"),
            );
        }
        judge(&method, &headers, &["https://chat.example.org".to_owned()])
    }

    #[test]
    fn loopback_and_named_origins_are_allowed() {
        for origin in [
            "http://localhost:3000",
            "http://localhost",
            "https://localhost:8443",
            "http://127.0.0.1:5173",
            "http://127.9.9.9",
            "http://[::1]:80",
            "https://chat.example.org",
        ] {
            let allowed = Verdict::Allowed(HeaderValue::from_str(origin).expect("a header value"));
            assert_eq!(verdict(Method::POST, Some(origin)), allowed, "{origin}");
        }
    }

    #[test]
    fn what_only_looks_like_loopback_is_foreign() {
        for origin in [
            "http://localhost.example.org",
            "http://elsewhere.example",
            "http://localhost:1@evil.example",
            "http://[::1].evil.example",
            "http://[::2]",
            "null",
            "file://localhost",
            "http://127.0.0.1.nip.io",
            "http://localhost:",
            "http://10.0.0.1",
            "http://chat.example.org",
        ] {
            assert_eq!(
                verdict(Method::POST, Some(origin)),
                Verdict::Refused,
                "{origin}"
            );
            assert_eq!(
                verdict(Method::GET, Some(origin)),
                Verdict::Foreign,
                "{origin}"
            );
        }
    }

    #[test]
    fn a_program_sends_no_origin() {
        assert_eq!(verdict(Method::POST, None), Verdict::NoPage);
    }
}
