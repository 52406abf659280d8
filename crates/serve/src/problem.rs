//! What goes wrong with a request, sorted into kinds before any dialect words it.
//!
//! Everything that can fail (the door, the fields, the runtime) becomes a [`Problem`] here, in one place. A
//! dialect is an [`Envelope`]: it gives a problem its status and its body. [`Failure`] is a problem with the
//! dialect that will word it, which is what handlers return.

use std::marker::PhantomData;
use std::time::Duration;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::caller::Denied;
use crate::extract::Refusal;
use crate::fields::{FieldError, Reason};
use crate::limits::Excess;

/// The kinds of failure that clients can tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The body is no JSON object, or did not arrive.
    Malformed,
    /// A required field is not there.
    Missing,
    /// A field has a wrong JSON type.
    WrongType,
    /// A field has a value that is out of range or not allowed.
    Invalid,
    /// The request is right, but this server cannot do what a field asks for.
    Unsupported,
    /// The prompt does not fit the model's context.
    ContextLength,
    /// The body is too long.
    TooLarge,
    /// No valid credential.
    Unauthenticated,
    /// The caller may not do this.
    Forbidden,
    /// No model of that name.
    ModelNotFound,
    /// No such path or thing.
    NotFound,
    /// The path does not take this method.
    MethodNotAllowed,
    /// What is asked for contradicts the state of what it is asked of.
    Conflict,
    /// More requests than the caller may make.
    RateLimited,
    /// More requests than the server takes, or it is shutting down.
    Overloaded,
    /// The model is being loaded, and that takes longer than the request would wait.
    Loading,
    /// The model does not fit in memory.
    InsufficientMemory,
    /// The request's own deadline passed before it was answered.
    Deadline,
    /// The path is described, but this server cannot do it yet.
    NotImplemented,
    /// A service that serves the model on another machine fails.
    Upstream,
    /// A defect of the server or of a model's files.
    Internal,
}

impl Kind {
    /// The status that this kind has unless a dialect says otherwise.
    pub fn status(self) -> StatusCode {
        use StatusCode as S;
        match self {
            Self::Malformed
            | Self::Missing
            | Self::WrongType
            | Self::Invalid
            | Self::Unsupported
            | Self::ContextLength => S::BAD_REQUEST,
            Self::TooLarge => S::PAYLOAD_TOO_LARGE,
            Self::Unauthenticated => S::UNAUTHORIZED,
            Self::Forbidden => S::FORBIDDEN,
            Self::ModelNotFound | Self::NotFound => S::NOT_FOUND,
            Self::MethodNotAllowed => S::METHOD_NOT_ALLOWED,
            Self::Conflict => S::CONFLICT,
            Self::RateLimited => S::TOO_MANY_REQUESTS,
            Self::Overloaded | Self::Loading | Self::InsufficientMemory | Self::Deadline => {
                S::SERVICE_UNAVAILABLE
            }
            Self::NotImplemented => S::NOT_IMPLEMENTED,
            Self::Upstream => S::BAD_GATEWAY,
            Self::Internal => S::INTERNAL_SERVER_ERROR,
        }
    }

    /// The kind's word in the dialects that have `error.code` in lower case.
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed
            | Self::Missing
            | Self::WrongType
            | Self::Invalid
            | Self::Unsupported => "invalid_parameters",
            Self::ContextLength => "context_length_exceeded",
            Self::TooLarge => "request_too_large",
            Self::Unauthenticated => "authentication_failed",
            Self::Forbidden => "permission_denied",
            Self::ModelNotFound => "model_not_found",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Conflict => "conflict",
            Self::RateLimited => "rate_limit_exceeded",
            Self::Overloaded => "overloaded",
            Self::Loading => "loading",
            Self::InsufficientMemory => "insufficient_memory",
            Self::Deadline => "deadline_exceeded",
            Self::NotImplemented => "not_implemented",
            Self::Upstream => "upstream_failed",
            Self::Internal => "internal_error",
        }
    }

    /// All kinds, in the order in which they are told.
    pub const ALL: [Self; 21] = [
        Self::Malformed,
        Self::Missing,
        Self::WrongType,
        Self::Invalid,
        Self::Unsupported,
        Self::ContextLength,
        Self::TooLarge,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::ModelNotFound,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Conflict,
        Self::RateLimited,
        Self::Overloaded,
        Self::Loading,
        Self::InsufficientMemory,
        Self::Deadline,
        Self::NotImplemented,
        Self::Upstream,
        Self::Internal,
    ];
}

/// A failure with its facts, not yet worded by a dialect.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// Which kind it is.
    pub kind: Kind,
    /// What happened, for people.
    pub message: String,
    /// The field that caused it, where one did.
    pub param: Option<String>,
    /// Facts for programs.
    pub details: Box<Map<String, Value>>,
    /// When coming back may help.
    pub retry_after: Option<Duration>,
}

impl Problem {
    /// A problem without facts beyond its message.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            param: None,
            details: Box::default(),
            retry_after: None,
        }
    }

    /// The same with a fact for programs.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// The same, caused by the field `param`.
    pub fn at(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// The same, worth another try after `wait`.
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The wait of [`Self::retry_after`] in whole seconds, rounded up: coming back earlier would be in vain.
    pub fn retry_seconds(&self) -> Option<u64> {
        let wait = self.retry_after?;
        Some((wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1))
    }
}

impl From<FieldError> for Problem {
    fn from(error: FieldError) -> Self {
        let kind = match error.reason {
            Reason::Missing => Kind::Missing,
            Reason::WrongType => Kind::WrongType,
            Reason::Invalid => Kind::Invalid,
            Reason::Unsupported => Kind::Unsupported,
        };
        let mut problem = Self::new(kind, error.to_string())
            .with("field", error.field.as_str())
            .with("expected", error.expected.as_str());
        if !error.got.is_empty() {
            problem = problem.with("got", error.got);
        }
        if kind == Kind::Unsupported {
            problem = problem.with("reason", "unsupported");
        }
        problem.at(error.field)
    }
}

impl From<Excess> for Problem {
    fn from(excess: Excess) -> Self {
        Self::new(Kind::RateLimited, excess.to_string()).retry_after(excess.retry_after)
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        Self::new(Kind::Forbidden, denied.to_string())
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            Refusal::Full { .. } | Refusal::NoRoom { .. } | Refusal::Stopping => {
                Self::new(Kind::Overloaded, message).retry_after(Duration::from_secs(1))
            }
            Refusal::TooLarge { limit } => {
                Self::new(Kind::TooLarge, message).with("limit_bytes", limit)
            }
            Refusal::TooManyValues { .. } => Self::new(Kind::TooLarge, message),
            Refusal::TooSlow { .. }
            | Refusal::Broken(_)
            | Refusal::Encoding(_)
            | Refusal::Malformed(_)
            | Refusal::NotAnObject(_) => Self::new(Kind::Malformed, message),
        }
    }
}

impl From<hearth_runtime::Error> for Problem {
    fn from(error: hearth_runtime::Error) -> Self {
        use hearth_runtime::Error as E;
        let message = error.to_string();
        match error {
            E::InvalidInput { param, .. } => Self {
                param,
                ..Self::new(Kind::Invalid, message)
            },
            E::Unsupported { param, .. } => Self {
                param,
                ..Self::new(Kind::Unsupported, message).with("reason", "unsupported")
            },
            E::NotFound { available, .. } => Self::new(Kind::ModelNotFound, message)
                .at("model")
                .with("available_models", available),
            E::ContextLength {
                prompt_tokens,
                context_length,
                ..
            } => Self::new(Kind::ContextLength, message)
                .with("prompt_tokens", prompt_tokens)
                .with("context_length", context_length),
            E::InsufficientMemory {
                needed,
                budget,
                holders,
                ..
            } => Self::new(Kind::InsufficientMemory, message)
                .with("needed_bytes", needed)
                .with("budget_bytes", budget)
                .with("held_by", holders),
            E::Loading {
                progress,
                retry_after,
                ..
            } => Self::new(Kind::Loading, message)
                .with("loading", json!(progress))
                .retry_after(retry_after),
            E::Conflict { .. } => Self::new(Kind::Conflict, message),
            E::Overloaded { retry_after, .. } => {
                Self::new(Kind::Overloaded, message).retry_after(retry_after)
            }
            // Asked again, the model is loaded again.
            E::ShuttingDown | E::Unloaded { .. } | E::Cancelled => {
                Self::new(Kind::Overloaded, message).retry_after(Duration::from_secs(1))
            }
            E::Deadline => Self::new(Kind::Deadline, message),
            // Defects, and kinds that there is no word for yet.
            _ => Self::new(Kind::Internal, message),
        }
    }
}

impl From<PathRejection> for Problem {
    fn from(error: PathRejection) -> Self {
        Self::new(Kind::Invalid, error.body_text())
    }
}

impl From<QueryRejection> for Problem {
    fn from(error: QueryRejection) -> Self {
        Self::new(Kind::Invalid, error.body_text())
    }
}

/// How a dialect words its errors.
pub trait Envelope: 'static {
    /// The body of an error.
    type Body: Serialize;

    /// The status of a kind of failure.
    fn status(kind: Kind) -> StatusCode {
        kind.status()
    }

    /// The body.
    fn body(problem: &Problem) -> Self::Body;
}

/// A problem in the envelope of the dialect `E`.
#[derive(Debug)]
pub struct Failure<E> {
    /// The problem.
    pub problem: Problem,
    dialect: PhantomData<fn() -> E>,
}

impl<E: Envelope> Failure<E> {
    /// The body.
    pub fn body(&self) -> E::Body {
        E::body(&self.problem)
    }

    /// The body as JSON.
    pub fn envelope(&self) -> Value {
        serde_json::to_value(self.body()).unwrap_or_else(|error| {
            tracing::error!(%error, "an error has no JSON form; this is a bug");
            json!({})
        })
    }
}

impl<E, T: IntoProblem> From<T> for Failure<E> {
    fn from(cause: T) -> Self {
        Self {
            problem: cause.into_problem(),
            dialect: PhantomData,
        }
    }
}

/// What can be the cause of a [`Failure`].
pub trait IntoProblem {
    /// The problem that it is.
    fn into_problem(self) -> Problem;
}

impl IntoProblem for Problem {
    fn into_problem(self) -> Problem {
        self
    }
}

macro_rules! causes {
    ($($cause:ty),*) => {
        $(impl IntoProblem for $cause {
            fn into_problem(self) -> Problem {
                self.into()
            }
        })*
    };
}

causes!(
    crate::auth::AuthError,
    Denied,
    Excess,
    FieldError,
    Refusal,
    hearth_runtime::Error,
    PathRejection,
    QueryRejection
);

impl<E: Envelope> IntoResponse for Failure<E> {
    fn into_response(self) -> Response {
        let body = axum::Json(E::body(&self.problem));
        let mut response = (E::status(self.problem.kind), body).into_response();
        if let Some(seconds) = self.problem.retry_seconds() {
            let headers = response.headers_mut();
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearth_runtime::Error as E;

    #[test]
    fn kinds_of_the_runtime_are_sorted() {
        let second = Duration::from_secs(1);
        let message = String::new;
        let kinds = [
            (
                E::InvalidInput {
                    param: None,
                    message: message(),
                },
                Kind::Invalid,
                None,
            ),
            (
                E::Unsupported {
                    param: None,
                    message: message(),
                },
                Kind::Unsupported,
                None,
            ),
            (
                E::NotFound {
                    model: "m".into(),
                    available: vec![],
                },
                Kind::ModelNotFound,
                None,
            ),
            (
                E::ContextLength {
                    prompt_tokens: 9,
                    exact: true,
                    context_length: 8,
                },
                Kind::ContextLength,
                None,
            ),
            (
                E::InsufficientMemory {
                    message: message(),
                    needed: 2,
                    budget: 1,
                    holders: vec![],
                },
                Kind::InsufficientMemory,
                None,
            ),
            (E::Conflict { message: message() }, Kind::Conflict, None),
            (
                E::Overloaded {
                    message: message(),
                    retry_after: 3 * second,
                },
                Kind::Overloaded,
                Some(3 * second),
            ),
            (E::ShuttingDown, Kind::Overloaded, Some(second)),
            (
                E::Unloaded { model: "m".into() },
                Kind::Overloaded,
                Some(second),
            ),
            (E::Cancelled, Kind::Overloaded, Some(second)),
            (E::Deadline, Kind::Deadline, None),
            (E::Internal { message: message() }, Kind::Internal, None),
        ];
        for (error, kind, retry_after) in kinds {
            let problem = Problem::from(error.clone());
            assert_eq!(
                (problem.kind, problem.retry_after),
                (kind, retry_after),
                "{error:?}"
            );
        }
    }

    #[test]
    fn refusals_are_sorted() {
        let refusals = [
            (Refusal::Full { limit: 4 }, Kind::Overloaded, Some(1)),
            (Refusal::NoRoom { limit: 4 }, Kind::Overloaded, Some(1)),
            (Refusal::Stopping, Kind::Overloaded, Some(1)),
            (Refusal::TooLarge { limit: 4 }, Kind::TooLarge, None),
            (Refusal::TooManyValues { limit: 4 }, Kind::TooLarge, None),
            (
                Refusal::TooSlow {
                    limit: Duration::from_secs(1),
                },
                Kind::Malformed,
                None,
            ),
            (Refusal::Broken(String::new()), Kind::Malformed, None),
            (Refusal::Malformed(String::new()), Kind::Malformed, None),
            (Refusal::NotAnObject(String::new()), Kind::Malformed, None),
        ];
        for (refusal, kind, seconds) in refusals {
            let text = refusal.to_string();
            let problem = Problem::from(refusal);
            assert_eq!(
                (problem.kind, problem.retry_seconds()),
                (kind, seconds),
                "{text}"
            );
        }
    }

    #[test]
    fn waits_are_rounded_up() {
        let problem = |wait| Problem::new(Kind::Overloaded, "busy").retry_after(wait);
        assert_eq!(
            problem(Duration::from_millis(2100)).retry_seconds(),
            Some(3)
        );
        assert_eq!(problem(Duration::ZERO).retry_seconds(), Some(1));
    }

    #[test]
    fn fields_are_told_apart() {
        let problem = Problem::from(FieldError::wrong_type("n", "a number", &json!("x")));
        assert_eq!(
            (problem.kind, problem.param.as_deref()),
            (Kind::WrongType, Some("n"))
        );
        let expected = json!({"field": "n", "expected": "a number", "got": "\"x\""});
        assert_eq!(Value::Object(*problem.details), expected);
        let problem = Problem::from(FieldError::missing("n", "a number"));
        assert_eq!(problem.kind, Kind::Missing);
        assert_eq!(problem.details.get("got"), None);
        let problem = Problem::from(FieldError::unsupported("n", "1", &json!(2)));
        assert_eq!(problem.details.get("reason"), Some(&json!("unsupported")));
    }
}
