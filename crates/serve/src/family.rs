//! The families of endpoints: which paths belong to which, and how each words its errors.
//!
//! Errors that no handler makes (unknown path, wrong method, a missing credential, a limit, a panic) are
//! answered in the envelope of the family that owns the path.

use std::time::Duration;

use axum::http::HeaderValue;
use axum::http::header::WWW_AUTHENTICATE;
use axum::response::{IntoResponse, Response};

use crate::dialects::{framework, inferno, kserve, torchserve, tursi, voice};
use crate::problem::{Kind, Problem};

/// A family of endpoints that share an error envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// The inference framework's own API, and every path that is nobody else's.
    Framework,
    /// Spoken replies and voices.
    Voice,
    /// Text generation and model residency below `/api/v1`.
    Tursi,
    /// The OpenAI-compatible API below `/v1`.
    Inferno,
    /// The Open Inference Protocol below `/v2`.
    Kserve,
    /// TorchServe's predictions.
    Torchserve,
}

/// Path prefixes and their owners, matched by whole segments; the first that fits decides.
const OWNERS: [(&str, Family); 14] = [
    ("/api/v1", Family::Tursi),
    ("/v1", Family::Inferno),
    ("/metrics/server", Family::Framework),
    ("/metrics/tts", Family::Framework),
    ("/metrics", Family::Inferno),
    ("/ws", Family::Inferno),
    ("/generate", Family::Voice),
    ("/chat", Family::Voice),
    ("/voices", Family::Voice),
    ("/audio/files", Family::Voice),
    ("/status", Family::Voice),
    ("/v2", Family::Kserve),
    ("/predictions", Family::Torchserve),
    ("/ping", Family::Torchserve),
];

/// The failures that the server itself answers, before or around any handler.
#[allow(
    dead_code,
    reason = "those of credentials and limits are not given yet"
)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The body or a parameter is not as it has to be.
    BadRequest,
    /// No credential, or none that is valid.
    Unauthenticated,
    /// The credential does not allow it.
    PermissionDenied,
    /// A web page that may not use the server.
    ForeignOrigin,
    /// No such path, or nothing of that name.
    NotFound,
    /// The path is there, but not for this method.
    MethodNotAllowed,
    /// The body is too long.
    TooLarge,
    /// A field is missing or has the wrong type; the families that have no word for it say bad request.
    Unprocessable,
    /// The client has used up what it is allowed.
    RateLimited {
        /// After which time it may come back.
        retry_after: Duration,
    },
    /// A defect of the server.
    Internal,
    /// The path is described, and this version cannot do it yet.
    NotImplemented,
    /// More requests than the server takes, or it is shutting down.
    Overloaded {
        /// After which time it is worth another try.
        retry_after: Duration,
    },
}

impl Fault {
    fn problem(self, message: &str) -> Problem {
        let kind = match self {
            Self::BadRequest => Kind::Invalid,
            Self::Unauthenticated => Kind::Unauthenticated,
            Self::PermissionDenied | Self::ForeignOrigin => Kind::Forbidden,
            Self::NotFound => Kind::NotFound,
            Self::MethodNotAllowed => Kind::MethodNotAllowed,
            Self::TooLarge => Kind::TooLarge,
            Self::Unprocessable => Kind::WrongType,
            Self::RateLimited { .. } => Kind::RateLimited,
            Self::Internal => Kind::Internal,
            Self::NotImplemented => Kind::NotImplemented,
            Self::Overloaded { .. } => Kind::Overloaded,
        };
        let problem = Problem::new(kind, message);
        match self {
            Self::RateLimited { retry_after } | Self::Overloaded { retry_after } => problem
                .with("retry_after", whole_seconds(retry_after))
                .retry_after(retry_after),
            _ => problem,
        }
    }
}

impl Family {
    /// The family that owns `path`.
    pub fn of(path: &str) -> Self {
        let owner = OWNERS.iter().find(|(prefix, _)| {
            path.strip_prefix(prefix)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        owner.map_or(Self::Framework, |&(_, family)| family)
    }

    /// A fault in this family's envelope; `message` says what happened in particular.
    pub fn fault(self, fault: Fault, message: &str) -> Response {
        let mut response = self.problem(fault.problem(message));
        if fault == Fault::Unauthenticated {
            let headers = response.headers_mut();
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }

    /// A problem in this family's envelope.
    pub fn problem(self, problem: Problem) -> Response {
        match self {
            Self::Framework => framework::error::ApiError::from(problem).into_response(),
            Self::Voice => voice::error::ApiError::from(problem).into_response(),
            Self::Tursi => tursi::error::ApiError::from(problem).into_response(),
            Self::Inferno => inferno::error::ApiError::from(problem).into_response(),
            Self::Kserve => kserve::error::ApiError::from(problem).into_response(),
            Self::Torchserve => torchserve::error::ApiError::from(problem).into_response(),
        }
    }
}

/// A wait in whole seconds, rounded up, at least one: coming back earlier would be in vain.
pub fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::header::RETRY_AFTER;
    use serde_json::{Value, json};

    #[tokio::test]
    async fn faults_are_worded_by_their_family() {
        use Family as Of;
        let retry_after = Duration::from_millis(1001);
        let limited = Fault::RateLimited { retry_after };
        let overloaded = Fault::Overloaded { retry_after };
        for (family, fault, status, pointer, word) in [
            (
                Of::Framework,
                Fault::Unauthenticated,
                401,
                "/error",
                json!("Unauthorized"),
            ),
            (
                Of::Framework,
                Fault::Unprocessable,
                422,
                "/status_code",
                json!(422),
            ),
            (
                Of::Framework,
                Fault::NotImplemented,
                501,
                "/detail",
                json!("what happened"),
            ),
            (
                Of::Voice,
                Fault::Unauthenticated,
                401,
                "/error/details/service",
                json!("hearth"),
            ),
            (
                Of::Voice,
                limited,
                429,
                "/error/details/retry_after",
                json!(2),
            ),
            (
                Of::Voice,
                Fault::Unprocessable,
                400,
                "/error/code",
                json!("VALIDATION_ERROR"),
            ),
            (
                Of::Tursi,
                Fault::Unauthenticated,
                401,
                "/error/code",
                json!("authentication_failed"),
            ),
            (
                Of::Tursi,
                limited,
                429,
                "/error/code",
                json!("rate_limit_exceeded"),
            ),
            (
                Of::Tursi,
                Fault::Unprocessable,
                400,
                "/error/code",
                json!("invalid_parameters"),
            ),
            (
                Of::Tursi,
                overloaded,
                503,
                "/error/details/retry_after",
                json!(2),
            ),
            (
                Of::Inferno,
                Fault::Unauthenticated,
                401,
                "/error/type",
                json!("authentication_error"),
            ),
            (
                Of::Inferno,
                Fault::PermissionDenied,
                403,
                "/error/code",
                json!("permission_denied"),
            ),
            (
                Of::Kserve,
                overloaded,
                503,
                "/error",
                json!("what happened"),
            ),
            (
                Of::Torchserve,
                Fault::NotFound,
                404,
                "/type",
                json!("ResourceNotFoundException"),
            ),
            (
                Of::Inferno,
                limited,
                429,
                "/error/type",
                json!("rate_limit_error"),
            ),
        ] {
            let response = family.fault(fault, "what happened");
            assert_eq!(response.status(), status, "{family:?} {fault:?}");
            let headers = response.headers().clone();
            assert_eq!(
                headers.contains_key(WWW_AUTHENTICATE),
                fault == Fault::Unauthenticated
            );
            if [limited, overloaded].contains(&fault) {
                assert_eq!(headers[RETRY_AFTER], "2");
            }
            let body = axum::body::to_bytes(response.into_body(), 4096).await;
            let body: Value = serde_json::from_slice(&body.expect("a body")).expect("JSON");
            assert_eq!(body.pointer(pointer), Some(&word), "{body}");
        }
    }

    #[test]
    fn prefixes_are_whole_segments() {
        for (path, family) in [
            ("/v1/no/such", Family::Inferno),
            ("/v1", Family::Inferno),
            ("/v12/x", Family::Framework),
            ("/api/v1/no/such", Family::Tursi),
            ("/api/v2", Family::Framework),
            ("/v2", Family::Kserve),
            ("/v2/models/m/infer", Family::Kserve),
            ("/predictions/m", Family::Torchserve),
            ("/ping", Family::Torchserve),
            ("/pings", Family::Framework),
            ("/voices/no/such", Family::Voice),
            ("/chat", Family::Voice),
            ("/chatter", Family::Framework),
            ("/metrics", Family::Inferno),
            ("/metrics/server", Family::Framework),
            ("/audio/files/x.mp3", Family::Voice),
            ("/audio/models", Family::Framework),
            ("/ws", Family::Inferno),
            ("/no/such/path", Family::Framework),
            ("/", Family::Framework),
        ] {
            assert_eq!(Family::of(path), family, "{path}");
        }
    }
}
