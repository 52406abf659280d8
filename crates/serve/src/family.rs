//! The families of endpoints: which paths belong to which, and how each words its errors.
//!
//! Errors that no handler makes (unknown path, wrong method, foreign origin, a panic) are answered in
//! the envelope of the family that owns the path.

use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::dialects::openai::error::{ApiError, Code};

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
}

/// Path prefixes and their owners, matched by whole segments; the first that fits decides.
const OWNERS: [(&str, Family); 8] = [
    ("/api/v1", Family::Tursi),
    ("/v1", Family::Inferno),
    ("/metrics", Family::Inferno),
    ("/ws", Family::Inferno),
    ("/generate", Family::Voice),
    ("/chat", Family::Voice),
    ("/voices", Family::Voice),
    ("/status", Family::Voice),
];

/// The failures that the server itself answers, before or around any handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No such path.
    NotFound,
    /// The path is there, but not for this method.
    MethodNotAllowed,
    /// A web page that may not use the server.
    ForeignOrigin,
    /// A defect of the server.
    Internal,
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
        let code = match fault {
            Fault::NotFound => Code::NotFound,
            Fault::MethodNotAllowed => Code::MethodNotAllowed,
            Fault::ForeignOrigin => Code::PermissionDenied,
            Fault::Internal => Code::InternalError,
        };
        let status = code.status();
        let body = match self {
            Self::Framework => {
                let title = status.canonical_reason().unwrap_or("Error");
                json!({
                    "success": false,
                    "error": title,
                    "detail": message,
                    "status_code": status.as_u16(),
                    "timestamp": timestamp(),
                })
            }
            Self::Voice => {
                let code = match fault {
                    Fault::NotFound => "NOT_FOUND",
                    Fault::MethodNotAllowed => "METHOD_NOT_ALLOWED",
                    Fault::ForeignOrigin => "FORBIDDEN",
                    Fault::Internal => "INTERNAL_ERROR",
                };
                json!({"error": {"code": code, "message": message, "details": {}}})
            }
            Self::Tursi => {
                json!({"error": {"code": code.name(), "message": message, "details": {}}})
            }
            Self::Inferno => ApiError::new(code, message).envelope(),
        };
        (status, axum::Json(body)).into_response()
    }
}

/// Now, as ISO 8601 in UTC.
fn timestamp() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_whole_segments() {
        for (path, family) in [
            ("/v1/no/such", Family::Inferno),
            ("/v1", Family::Inferno),
            ("/v12/x", Family::Framework),
            ("/api/v1/no/such", Family::Tursi),
            ("/api/v2", Family::Framework),
            ("/voices/no/such", Family::Voice),
            ("/chat", Family::Voice),
            ("/chatter", Family::Framework),
            ("/metrics", Family::Inferno),
            ("/ws", Family::Inferno),
            ("/no/such/path", Family::Framework),
            ("/", Family::Framework),
        ] {
            assert_eq!(Family::of(path), family, "{path}");
        }
    }
}
