//! Errors of the OpenAI dialect: from kinds to status, type and code, and the envelope.

use std::time::Duration;

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::extract::Refusal;
use crate::fields::{FieldError, Reason};

/// The codes that an error of this dialect can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// No model of that name.
    ModelNotFound,
    /// A field is missing, wrong, out of range or asks for something that is not supported.
    InvalidParameters,
    /// The prompt does not fit the model's context.
    ContextLengthExceeded,
    /// The model does not fit in memory.
    InsufficientMemory,
    /// A web page that may not use the server.
    PermissionDenied,
    /// No such path.
    NotFound,
    /// The path does not take this method.
    MethodNotAllowed,
    /// The body is too long.
    RequestTooLarge,
    /// More requests than the server takes, or it is shutting down.
    Overloaded,
    /// The request's own deadline passed before it was answered.
    DeadlineExceeded,
    /// A defect of the server or of a model's files.
    InternalError,
}

impl Code {
    /// Status, `error.type` and `error.code`.
    fn row(self) -> (StatusCode, &'static str, &'static str) {
        const INVALID: &str = "invalid_request_error";
        const SERVER: &str = "server_error";
        use StatusCode as S;
        match self {
            Self::ModelNotFound => (S::NOT_FOUND, INVALID, "model_not_found"),
            Self::InvalidParameters => (S::BAD_REQUEST, INVALID, "invalid_parameters"),
            Self::ContextLengthExceeded => (S::BAD_REQUEST, INVALID, "context_length_exceeded"),
            Self::InsufficientMemory => (S::SERVICE_UNAVAILABLE, SERVER, "insufficient_memory"),
            Self::PermissionDenied => (S::FORBIDDEN, "permission_error", "permission_denied"),
            Self::NotFound => (S::NOT_FOUND, INVALID, "not_found"),
            Self::MethodNotAllowed => (S::METHOD_NOT_ALLOWED, INVALID, "method_not_allowed"),
            Self::RequestTooLarge => (S::PAYLOAD_TOO_LARGE, INVALID, "request_too_large"),
            Self::Overloaded => (S::SERVICE_UNAVAILABLE, SERVER, "overloaded"),
            Self::DeadlineExceeded => (S::SERVICE_UNAVAILABLE, SERVER, "deadline_exceeded"),
            Self::InternalError => (S::INTERNAL_SERVER_ERROR, SERVER, "internal_error"),
        }
    }

    /// The HTTP status.
    pub fn status(self) -> StatusCode {
        self.row().0
    }

    /// The `error.code`.
    pub fn name(self) -> &'static str {
        self.row().2
    }
}

/// An error as this dialect words it.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiError {
    code: Code,
    message: String,
    param: Option<String>,
    details: Value,
    retry_after: Option<Duration>,
}

impl ApiError {
    /// An error without param or details.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            code,
            message,
            param: None,
            details: json!({}),
            retry_after: None,
        }
    }

    /// The body.
    pub fn envelope(&self) -> Value {
        let (_, kind, code) = self.code.row();
        json!({"error": {
            "type": kind,
            "code": code,
            "message": self.message,
            "param": self.param,
            "details": self.details,
        }})
    }

    fn with_param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    fn with_details(mut self, details: Value) -> Self {
        self.details = details;
        self
    }

    fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.code.status(), axum::Json(self.envelope())).into_response();
        if let Some(wait) = self.retry_after {
            // Whole seconds, rounded up: coming back earlier would be in vain.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response
    }
}

impl From<FieldError> for ApiError {
    fn from(error: FieldError) -> Self {
        let mut details = json!({"field": error.field, "expected": error.expected});
        if !error.got.is_empty() {
            details["got"] = json!(error.got);
        }
        if error.reason == Reason::Unsupported {
            details["reason"] = json!("unsupported");
        }
        Self::new(Code::InvalidParameters, error.to_string())
            .with_param(error.field)
            .with_details(details)
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal {
            Refusal::Full { .. } | Refusal::NoRoom { .. } | Refusal::Stopping => Code::Overloaded,
            Refusal::TooLarge { .. } | Refusal::TooManyValues { .. } => Code::RequestTooLarge,
            Refusal::TooSlow { .. }
            | Refusal::Broken(_)
            | Refusal::Malformed(_)
            | Refusal::NotAnObject(_) => Code::InvalidParameters,
        };
        let error = Self::new(code, refusal.to_string());
        match refusal {
            Refusal::Full { .. } | Refusal::NoRoom { .. } | Refusal::Stopping => {
                error.with_retry_after(Duration::from_secs(1))
            }
            Refusal::TooLarge { limit } => error.with_details(json!({"limit_bytes": limit})),
            _ => error,
        }
    }
}

impl From<hearth_runtime::Error> for ApiError {
    fn from(error: hearth_runtime::Error) -> Self {
        use hearth_runtime::Error as E;
        let message = error.to_string();
        match error {
            E::InvalidInput { param, .. } => Self {
                param,
                ..Self::new(Code::InvalidParameters, message)
            },
            E::Unsupported { param, .. } => {
                let details = json!({"reason": "unsupported"});
                Self {
                    param,
                    details,
                    ..Self::new(Code::InvalidParameters, message)
                }
            }
            E::NotFound { available, .. } => Self::new(Code::ModelNotFound, message)
                .with_param("model")
                .with_details(json!({
                    "available_models": available,
                    "suggestion": "Use 'GET /v1/models' to see available models",
                })),
            E::ContextLength {
                prompt_tokens,
                context_length,
                ..
            } => Self::new(Code::ContextLengthExceeded, message).with_details(json!({
                "prompt_tokens": prompt_tokens,
                "context_length": context_length,
            })),
            E::InsufficientMemory { .. } => Self::new(Code::InsufficientMemory, message),
            E::Overloaded { retry_after, .. } => {
                Self::new(Code::Overloaded, message).with_retry_after(retry_after)
            }
            E::ShuttingDown | E::Cancelled => {
                Self::new(Code::Overloaded, message).with_retry_after(Duration::from_secs(1))
            }
            E::Deadline => Self::new(Code::DeadlineExceeded, message),
            E::Internal { .. } => Self::new(Code::InternalError, message),
            // A kind that this dialect has no word for yet.
            _ => Self::new(Code::InternalError, message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearth_runtime::Error as E;

    /// The table of codes, statuses and types that the API document and its contract give.
    #[test]
    fn codes_have_the_statuses_and_types_of_the_contract() {
        let rows = [
            (
                Code::ModelNotFound,
                404,
                "invalid_request_error",
                "model_not_found",
            ),
            (
                Code::InvalidParameters,
                400,
                "invalid_request_error",
                "invalid_parameters",
            ),
            (
                Code::ContextLengthExceeded,
                400,
                "invalid_request_error",
                "context_length_exceeded",
            ),
            (
                Code::InsufficientMemory,
                503,
                "server_error",
                "insufficient_memory",
            ),
            (
                Code::PermissionDenied,
                403,
                "permission_error",
                "permission_denied",
            ),
            (Code::NotFound, 404, "invalid_request_error", "not_found"),
            (
                Code::MethodNotAllowed,
                405,
                "invalid_request_error",
                "method_not_allowed",
            ),
            (
                Code::RequestTooLarge,
                413,
                "invalid_request_error",
                "request_too_large",
            ),
            (Code::Overloaded, 503, "server_error", "overloaded"),
            (
                Code::DeadlineExceeded,
                503,
                "server_error",
                "deadline_exceeded",
            ),
            (Code::InternalError, 500, "server_error", "internal_error"),
        ];
        for (code, status, kind, name) in rows {
            let error = ApiError::new(code, "what happened").envelope();
            assert_eq!(code.status().as_u16(), status, "{name}");
            assert_eq!(error["error"]["type"], kind);
            assert_eq!(error["error"]["code"], name);
            assert_eq!(error["error"]["message"], "what happened");
            assert_eq!(
                error["error"]["details"],
                json!({}),
                "details is always an object"
            );
        }
    }

    #[test]
    fn kinds_of_the_runtime_become_codes() {
        let second = Duration::from_secs(1);
        let message = String::new;
        let kinds = [
            (
                E::InvalidInput {
                    param: None,
                    message: message(),
                },
                Code::InvalidParameters,
                None,
            ),
            (
                E::Unsupported {
                    param: None,
                    message: message(),
                },
                Code::InvalidParameters,
                None,
            ),
            (
                E::NotFound {
                    model: "m".into(),
                    available: vec![],
                },
                Code::ModelNotFound,
                None,
            ),
            (
                E::ContextLength {
                    prompt_tokens: 9,
                    exact: true,
                    context_length: 8,
                },
                Code::ContextLengthExceeded,
                None,
            ),
            (
                E::InsufficientMemory { message: message() },
                Code::InsufficientMemory,
                None,
            ),
            (
                E::Overloaded {
                    message: message(),
                    retry_after: 3 * second,
                },
                Code::Overloaded,
                Some(3 * second),
            ),
            (E::ShuttingDown, Code::Overloaded, Some(second)),
            (E::Cancelled, Code::Overloaded, Some(second)),
            (E::Deadline, Code::DeadlineExceeded, None),
            (
                E::Internal { message: message() },
                Code::InternalError,
                None,
            ),
        ];
        for (kind, code, retry_after) in kinds {
            let error = ApiError::from(kind.clone());
            assert_eq!(
                (error.code, error.retry_after),
                (code, retry_after),
                "{kind:?}"
            );
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
    fn retry_after_is_whole_seconds_rounded_up() {
        for (wait, header) in [(0, "1"), (1000, "1"), (1001, "2"), (90_000, "90")] {
            let wait = Duration::from_millis(wait);
            let error = ApiError::new(Code::Overloaded, "").with_retry_after(wait);
            assert_eq!(error.into_response().headers()[RETRY_AFTER], header);
        }
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
