//! The credential of a request: where it stands, and whose it is.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, Uri};
use serde_json::Value;

use crate::auth::AuthError;
use crate::caller::{Caller, Identity};
use crate::state::App;

/// The credential in the headers: `Authorization: Bearer`, or `X-API-Key`. One that is there and cannot be
/// read is a wrong one, not none.
pub fn in_headers(headers: &HeaderMap) -> Option<&str> {
    if let Some(value) = headers.get(AUTHORIZATION) {
        let (scheme, credential) = value
            .to_str()
            .unwrap_or_default()
            .split_once(' ')
            .unwrap_or_default();
        let is_bearer = scheme.eq_ignore_ascii_case("bearer");
        return Some(if is_bearer { credential.trim() } else { "" });
    }
    let value = headers.get("x-api-key")?;
    Some(value.to_str().unwrap_or_default().trim())
}

/// The credential in the query: the parameter `token`.
pub fn in_query(uri: &Uri) -> Option<String> {
    let pairs = uri.query()?.split('&');
    let tokens = pairs.filter_map(|pair| pair.strip_prefix("token="));
    // Keys and tokens have no letters that a query would have to encode.
    tokens.map(str::to_owned).next()
}

/// The credential in a JSON body: the member `token`.
pub fn in_body(bytes: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Body {
        token: Option<Value>,
    }
    let body: Body = serde_json::from_slice(bytes).ok()?;
    body.token?.as_str().map(str::to_owned)
}

/// Who asks, as far as the headers tell. While authentication is off everybody is the administrator,
/// whatever they say.
///
/// # Errors
/// A credential that is not valid.
pub async fn caller(app: &App, headers: &HeaderMap, address: IpAddr) -> Result<Caller, AuthError> {
    if !app.settings().auth {
        return Ok(Caller::new(Arc::new(Identity::local()), address));
    }
    let identity = match in_headers(headers) {
        Some(credential) => app.auth.identify(credential).await?,
        None => Arc::new(Identity::anonymous()),
    };
    Ok(Caller::new(identity, address))
}

/// Nobody in particular, asking from the address of the request.
pub fn anonymous(request: &Request) -> Caller {
    Caller::new(Arc::new(Identity::anonymous()), peer(request))
}

/// The address of the peer; loopback where there is no connection, as in tests within the process.
fn peer(request: &Request) -> IpAddr {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    peer.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |ConnectInfo(address)| {
        address.ip()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    (*name).parse().expect("a name"),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[test]
    fn credentials_in_headers() {
        for (pairs, found) in [
            (&[][..], None),
            (&[("authorization", "Bearer sk-1")], Some("sk-1")),
            (&[("authorization", "bearer  sk-1 ")], Some("sk-1")),
            (&[("x-api-key", "sk-2")], Some("sk-2")),
            (
                &[("authorization", "Bearer sk-1"), ("x-api-key", "sk-2")],
                Some("sk-1"),
            ),
            (
                &[("authorization", "Basic dTpw"), ("x-api-key", "sk-2")],
                Some(""),
            ),
            (&[("authorization", "")], Some("")),
            (&[("x-openai-key", "sk-3")], None),
        ] {
            assert_eq!(in_headers(&headers(pairs)), found, "{pairs:?}");
        }
    }

    #[test]
    fn credentials_elsewhere() {
        let query = |uri: &'static str| in_query(&Uri::from_static(uri));
        assert_eq!(query("/ws?token=sk-1").as_deref(), Some("sk-1"));
        assert_eq!(query("/ws?a=b&token=sk-1&c=d").as_deref(), Some("sk-1"));
        assert_eq!(query("/ws?xtoken=sk-1"), None);
        assert_eq!(
            in_body(br#"{"inputs": [1], "token": "sk-1"}"#).as_deref(),
            Some("sk-1")
        );
        for none in [
            &b"{}"[..],
            br#"{"token": null}"#,
            br#"{"token": 5}"#,
            b"[1]",
            b"{",
            b"",
        ] {
            assert_eq!(in_body(none), None);
        }
    }
}
