//! The error envelope, OpenAI's with `details`: `error.type`, `error.code`, `error.message`, `error.param`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::openapi::{RefOr, Response};
use utoipa::{IntoResponses, ToSchema};

use super::Inferno;
use crate::openapi;
use crate::problem::{Envelope, Failure, Kind, Problem};

/// What handlers of this dialect answer when they fail.
pub type ApiError = Failure<Inferno>;

/// The errors that endpoints of this dialect answer, for their descriptions.
pub struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        openapi::responses::<Inferno>()
    }
}

/// What endpoints of this dialect that this version cannot serve answer besides.
pub struct Later;

impl IntoResponses for Later {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        openapi::not_implemented::<Inferno>()
    }
}

/// An error.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = inferno::Error)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ErrorDetail,
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = inferno::ErrorDetail)]
pub struct ErrorDetail {
    /// The class of the error.
    #[schema(example = "invalid_request_error")]
    r#type: &'static str,
    /// A word for programs.
    #[schema(example = "model_not_found")]
    code: &'static str,
    /// A sentence for people.
    message: String,
    /// The field at fault, where one is.
    param: Option<String>,
    /// Facts for programs, such as `available_models`.
    #[schema(value_type = Object)]
    details: Map<String, Value>,
}

/// The `error.type` of a kind.
fn class(kind: Kind) -> &'static str {
    match kind {
        Kind::Malformed
        | Kind::Missing
        | Kind::WrongType
        | Kind::Invalid
        | Kind::Unsupported
        | Kind::ContextLength
        | Kind::TooLarge
        | Kind::ModelNotFound
        | Kind::NotFound
        | Kind::MethodNotAllowed
        | Kind::Conflict => "invalid_request_error",
        Kind::Unauthenticated => "authentication_error",
        Kind::Forbidden => "permission_error",
        Kind::RateLimited => "rate_limit_error",
        Kind::Overloaded
        | Kind::Loading
        | Kind::InsufficientMemory
        | Kind::Deadline
        | Kind::NotImplemented
        | Kind::Upstream
        | Kind::Internal => "server_error",
    }
}

impl Envelope for Inferno {
    type Body = ErrorBody;

    fn body(problem: &Problem) -> ErrorBody {
        let mut details = Map::clone(&problem.details);
        if problem.kind == Kind::ModelNotFound {
            let suggestion = "Use 'GET /v1/models' to see available models";
            details.insert("suggestion".into(), suggestion.into());
        }
        ErrorBody {
            error: ErrorDetail {
                r#type: class(problem.kind),
                code: problem.kind.code(),
                message: problem.message.clone(),
                param: problem.param.clone(),
                details,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::FieldError;
    use hearth_runtime::Error as E;
    use serde_json::json;

    /// The table of codes, statuses and types that the API document and its contract give.
    #[test]
    fn kinds_have_the_statuses_types_and_codes_of_the_contract() {
        const INVALID: &str = "invalid_request_error";
        const SERVER: &str = "server_error";
        for (kind, status, class, code) in [
            (Kind::ModelNotFound, 404, INVALID, "model_not_found"),
            (Kind::Malformed, 400, INVALID, "invalid_parameters"),
            (Kind::Missing, 400, INVALID, "invalid_parameters"),
            (Kind::WrongType, 400, INVALID, "invalid_parameters"),
            (Kind::Invalid, 400, INVALID, "invalid_parameters"),
            (Kind::Unsupported, 400, INVALID, "invalid_parameters"),
            (Kind::ContextLength, 400, INVALID, "context_length_exceeded"),
            (Kind::InsufficientMemory, 503, SERVER, "insufficient_memory"),
            (
                Kind::Unauthenticated,
                401,
                "authentication_error",
                "authentication_failed",
            ),
            (
                Kind::Forbidden,
                403,
                "permission_error",
                "permission_denied",
            ),
            (Kind::NotFound, 404, INVALID, "not_found"),
            (Kind::MethodNotAllowed, 405, INVALID, "method_not_allowed"),
            (Kind::TooLarge, 413, INVALID, "request_too_large"),
            (
                Kind::RateLimited,
                429,
                "rate_limit_error",
                "rate_limit_exceeded",
            ),
            (Kind::Conflict, 409, INVALID, "conflict"),
            (Kind::Overloaded, 503, SERVER, "overloaded"),
            (Kind::Loading, 503, SERVER, "loading"),
            (Kind::Deadline, 503, SERVER, "deadline_exceeded"),
            (Kind::NotImplemented, 501, SERVER, "not_implemented"),
            (Kind::Upstream, 502, SERVER, "upstream_failed"),
            (Kind::Internal, 500, SERVER, "internal_error"),
        ] {
            let error = ApiError::from(Problem::new(kind, "what happened")).envelope();
            assert_eq!(Inferno::status(kind), status, "{code}");
            assert_eq!(error["error"]["type"], class);
            assert_eq!(error["error"]["code"], code);
            assert_eq!(error["error"]["message"], "what happened");
            assert!(error["error"]["param"].is_null());
            assert!(error["error"]["details"].is_object());
        }
    }

    #[test]
    fn an_unknown_model_is_answered_with_the_known_ones() {
        let error = E::NotFound {
            model: "gpt-5".into(),
            available: vec!["gpt2".into()],
        };
        let expected = json!({"error": {
            "type": "invalid_request_error",
            "code": "model_not_found",
            "message": "The requested model 'gpt-5' was not found",
            "param": "model",
            "details": {
                "available_models": ["gpt2"],
                "suggestion": "Use 'GET /v1/models' to see available models",
            },
        }});
        assert_eq!(ApiError::from(error).envelope(), expected);
    }

    #[test]
    fn a_context_overflow_tells_both_numbers() {
        let error = E::ContextLength {
            prompt_tokens: 300,
            exact: true,
            context_length: 256,
        };
        let envelope = ApiError::from(error).envelope();
        let message = envelope["error"]["message"].as_str().expect("a text");
        assert!(
            message.contains("300") && message.contains("256"),
            "{message}"
        );
        assert_eq!(envelope["error"]["details"]["prompt_tokens"], 300);
        assert_eq!(envelope["error"]["details"]["context_length"], 256);
    }

    #[test]
    fn fields_are_named() {
        let error = FieldError::unsupported("tools", "no tools", &json!([{}]));
        let envelope = ApiError::from(error).envelope();
        assert_eq!(envelope["error"]["param"], "tools");
        assert_eq!(envelope["error"]["details"]["reason"], "unsupported");
        let message = envelope["error"]["message"].as_str().expect("a text");
        assert!(
            message.starts_with("tools: an array of 1 is not supported"),
            "{message}"
        );
    }
}
