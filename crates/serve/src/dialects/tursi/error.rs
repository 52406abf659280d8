//! The error envelope: `error.code`, `error.message`, `error.details`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::openapi::{RefOr, Response};
use utoipa::{IntoResponses, ToSchema};

use super::Tursi;
use crate::openapi;
use crate::problem::{Envelope, Failure, Problem};

/// What handlers of this dialect answer when they fail.
pub type ApiError = Failure<Tursi>;

/// The errors that endpoints of this dialect answer, for their descriptions.
pub struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        openapi::responses::<Tursi>()
    }
}

/// An error.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = tursi::Error)]
pub struct ErrorBody {
    /// What went wrong.
    error: ErrorDetail,
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = tursi::ErrorDetail)]
pub struct ErrorDetail {
    /// A word for programs.
    #[schema(example = "model_not_found")]
    code: &'static str,
    /// A sentence for people.
    message: String,
    /// Facts for programs, such as `available_models`.
    #[schema(value_type = Object)]
    details: Map<String, Value>,
}

impl Envelope for Tursi {
    type Body = ErrorBody;

    fn body(problem: &Problem) -> ErrorBody {
        ErrorBody {
            error: ErrorDetail {
                code: problem.kind.code(),
                message: problem.message.clone(),
                details: Map::clone(&problem.details),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Kind;
    use serde_json::json;

    /// The statuses and codes that the API document and its contract give.
    #[test]
    fn kinds_have_the_statuses_and_codes_of_the_contract() {
        for (kind, status, code) in [
            (Kind::ModelNotFound, 404, "model_not_found"),
            (Kind::Malformed, 400, "invalid_parameters"),
            (Kind::Missing, 400, "invalid_parameters"),
            (Kind::WrongType, 400, "invalid_parameters"),
            (Kind::Invalid, 400, "invalid_parameters"),
            (Kind::Unauthenticated, 401, "authentication_failed"),
            (Kind::NotFound, 404, "not_found"),
            (Kind::MethodNotAllowed, 405, "method_not_allowed"),
            (Kind::RateLimited, 429, "rate_limit_exceeded"),
            (Kind::Internal, 500, "internal_error"),
        ] {
            assert_eq!(Tursi::status(kind), status, "{kind:?}");
            let error = ApiError::from(Problem::new(kind, "what happened"));
            let expected =
                json!({"error": {"code": code, "message": "what happened", "details": {}}});
            assert_eq!(error.envelope(), expected);
        }
    }

    #[test]
    fn an_unknown_model_is_answered_as_documented() {
        let error = hearth_runtime::Error::NotFound {
            model: "gpt3".into(),
            available: vec!["gpt2".into(), "gpt2-medium".into()],
        };
        let expected = json!({"error": {
            "code": "model_not_found",
            "message": "The requested model 'gpt3' was not found",
            "details": {"available_models": ["gpt2", "gpt2-medium"]},
        }});
        assert_eq!(ApiError::from(error).envelope(), expected);
    }
}
