//! The error envelope: `error.code` in capitals, `error.message`, `error.details`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::openapi::{RefOr, Response};
use utoipa::{IntoResponses, ToSchema};

use super::Voice;
use crate::openapi;
use crate::problem::{Envelope, Failure, Kind, Problem};

/// What handlers of this dialect answer when they fail.
pub type ApiError = Failure<Voice>;

/// The errors that endpoints of this dialect answer, for their descriptions.
pub struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        openapi::responses::<Voice>()
    }
}

/// What endpoints of this dialect that this version cannot serve answer besides.
pub struct Later;

impl IntoResponses for Later {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        openapi::not_implemented::<Voice>()
    }
}

/// An error.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = voice::Error)]
pub struct ErrorBody {
    /// What went wrong.
    error: ErrorDetail,
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = voice::ErrorDetail)]
pub struct ErrorDetail {
    /// A word for programs.
    #[schema(example = "VALIDATION_ERROR")]
    code: &'static str,
    /// A sentence for people.
    message: String,
    /// Facts for programs, such as `service` or `retry_after`.
    #[schema(value_type = Object)]
    details: Map<String, Value>,
}

fn code(kind: Kind) -> &'static str {
    match kind {
        Kind::Malformed
        | Kind::Missing
        | Kind::WrongType
        | Kind::Invalid
        | Kind::Unsupported
        | Kind::ContextLength
        | Kind::TooLarge => "VALIDATION_ERROR",
        Kind::Unauthenticated => "AUTH_ERROR",
        Kind::Forbidden => "FORBIDDEN",
        Kind::ModelNotFound | Kind::NotFound => "NOT_FOUND",
        Kind::MethodNotAllowed => "METHOD_NOT_ALLOWED",
        Kind::Conflict => "CONFLICT",
        Kind::RateLimited => "RATE_LIMIT",
        Kind::Overloaded | Kind::Loading | Kind::InsufficientMemory => "OVERLOADED",
        Kind::Deadline => "TIMEOUT",
        Kind::NotImplemented => "NOT_IMPLEMENTED",
        Kind::Upstream => "UPSTREAM_FAILED",
        Kind::Internal => "INTERNAL_ERROR",
    }
}

impl Envelope for Voice {
    type Body = ErrorBody;

    fn body(problem: &Problem) -> ErrorBody {
        let mut details = Map::clone(&problem.details);
        if problem.kind == Kind::Unauthenticated {
            // The credential that is missing is Hearth's own, unless an upstream service refused its key.
            details.entry("service").or_insert("hearth".into());
        }
        if let (Kind::RateLimited, Some(seconds)) = (problem.kind, problem.retry_seconds()) {
            details.entry("retry_after").or_insert(seconds.into());
        }
        ErrorBody {
            error: ErrorDetail {
                code: code(problem.kind),
                message: problem.message.clone(),
                details,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The statuses and codes that the API document and its contract give.
    #[test]
    fn kinds_have_the_statuses_and_codes_of_the_contract() {
        for (kind, status, code) in [
            (Kind::Unauthenticated, 401, "AUTH_ERROR"),
            (Kind::RateLimited, 429, "RATE_LIMIT"),
            (Kind::Malformed, 400, "VALIDATION_ERROR"),
            (Kind::Missing, 400, "VALIDATION_ERROR"),
            (Kind::Invalid, 400, "VALIDATION_ERROR"),
            (Kind::Forbidden, 403, "FORBIDDEN"),
            (Kind::NotFound, 404, "NOT_FOUND"),
            (Kind::MethodNotAllowed, 405, "METHOD_NOT_ALLOWED"),
            (Kind::Internal, 500, "INTERNAL_ERROR"),
        ] {
            let error = ApiError::from(Problem::new(kind, "what happened")).envelope();
            assert_eq!(Voice::status(kind), status, "{kind:?}");
            assert_eq!(error["error"]["code"], code);
            assert_eq!(error["error"]["message"], "what happened");
            assert!(error["error"]["details"].is_object());
        }
    }

    #[test]
    fn the_documented_errors() {
        let problem =
            Problem::new(Kind::Unauthenticated, "Invalid API key").with("service", "openai");
        let expected = json!({"error": {
            "code": "AUTH_ERROR", "message": "Invalid API key", "details": {"service": "openai"},
        }});
        assert_eq!(ApiError::from(problem).envelope(), expected);
        let problem = Problem::new(Kind::RateLimited, "Rate limit exceeded")
            .retry_after(std::time::Duration::from_secs(60));
        let expected = json!({"error": {
            "code": "RATE_LIMIT", "message": "Rate limit exceeded", "details": {"retry_after": 60},
        }});
        assert_eq!(ApiError::from(problem).envelope(), expected);
    }
}
