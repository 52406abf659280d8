//! The error envelope: `success`, `error`, `detail`, `status_code`, `timestamp`.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use serde::Serialize;
use utoipa::openapi::{RefOr, Response};
use utoipa::{IntoResponses, ToSchema};

use super::Framework;
use crate::openapi;
use crate::problem::{Envelope, Failure, Kind, Problem};
use crate::quantities::timestamp;

/// What handlers of this dialect answer when they fail.
pub type ApiError = Failure<Framework>;

/// The errors that endpoints of this dialect answer, for their descriptions.
pub struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        openapi::responses::<Framework>()
    }
}

/// What endpoints of this dialect that this version cannot serve answer besides.
pub struct Later;

impl IntoResponses for Later {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        openapi::not_implemented::<Framework>()
    }
}

/// An error.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = framework::Error)]
pub struct ErrorBody {
    /// Always false.
    success: bool,
    /// The reason in short.
    #[schema(example = "Model not found")]
    error: &'static str,
    /// What happened in particular.
    detail: String,
    /// The HTTP status.
    #[schema(example = 404)]
    status_code: u16,
    /// When, as ISO 8601.
    #[schema(format = DateTime)]
    timestamp: String,
}

impl Envelope for Framework {
    type Body = ErrorBody;

    fn status(kind: Kind) -> StatusCode {
        match kind {
            Kind::Missing | Kind::WrongType => StatusCode::UNPROCESSABLE_ENTITY,
            other => other.status(),
        }
    }

    fn body(problem: &Problem) -> ErrorBody {
        let status = Self::status(problem.kind);
        let error = match problem.kind {
            Kind::ModelNotFound => "Model not found",
            _ => status.canonical_reason().unwrap_or("Error"),
        };
        ErrorBody {
            success: false,
            error,
            detail: problem.message.clone(),
            status_code: status.as_u16(),
            timestamp: timestamp(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The statuses that the API document and its contract give.
    #[test]
    fn kinds_have_the_statuses_of_the_contract() {
        for (kind, status, title) in [
            (Kind::Malformed, 400, "Bad Request"),
            (Kind::Invalid, 400, "Bad Request"),
            (Kind::ModelNotFound, 404, "Model not found"),
            (Kind::NotFound, 404, "Not Found"),
            (Kind::Missing, 422, "Unprocessable Entity"),
            (Kind::WrongType, 422, "Unprocessable Entity"),
            (Kind::Internal, 500, "Internal Server Error"),
            (Kind::Deadline, 503, "Service Unavailable"),
            (Kind::NotImplemented, 501, "Not Implemented"),
        ] {
            assert_eq!(Framework::status(kind), status, "{kind:?}");
            let mut error = ApiError::from(Problem::new(kind, "what happened")).envelope();
            let at = error["timestamp"].take();
            let moment = chrono::DateTime::parse_from_rfc3339(at.as_str().expect("a text"));
            assert!(moment.is_ok(), "{at}");
            let expected = json!({
                "success": false, "error": title, "detail": "what happened", "status_code": status,
                "timestamp": null,
            });
            assert_eq!(error, expected);
        }
    }
}
