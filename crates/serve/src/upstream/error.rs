//! Why a call to a service failed, and what a client is told of it.

use std::time::Duration;

use axum::http::StatusCode;

use crate::limits::Excess;
use crate::problem::{IntoProblem, Kind, Problem};

/// Why a call failed. Each names the service as the operator calls it.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The server allows itself no more for now.
    #[error("{excess}")]
    Limited {
        /// The service.
        upstream: String,
        /// The limit.
        excess: Excess,
    },
    /// It failed again and again, and is left alone for a while.
    #[error(
        "the upstream service '{upstream}' has failed repeatedly and is left alone for a while"
    )]
    LeftAlone {
        /// The service.
        upstream: String,
        /// After which time it is worth another try.
        retry_after: Duration,
    },
    /// There is no connection to it.
    #[error("the upstream service '{upstream}' cannot be reached: {cause}")]
    Unreachable {
        /// The service.
        upstream: String,
        /// Why.
        cause: String,
        /// Whether nothing of the request can have reached it.
        is_unsent: bool,
    },
    /// It takes longer than its entry allows.
    #[error("the upstream service '{upstream}' did not answer within {} s", .patience.as_secs_f64())]
    Silent {
        /// The service.
        upstream: String,
        /// The time that it had.
        patience: Duration,
    },
    /// The request's own deadline passed.
    #[error("the deadline passed before the upstream service '{upstream}' had answered")]
    Deadline {
        /// The service.
        upstream: String,
    },
    /// It refused the key.
    #[error("Invalid API key: the upstream service '{upstream}' refused it")]
    KeyRefused {
        /// The service.
        upstream: String,
        /// Whose service it is.
        service: &'static str,
    },
    /// The key that the operator gave for it is none.
    #[error("the key for the upstream service '{upstream}' has letters that no key has")]
    BadKey {
        /// The service.
        upstream: String,
    },
    /// It answered with an error.
    #[error("the upstream service '{upstream}' answered {status}: {message}")]
    Answered {
        /// The service.
        upstream: String,
        /// Its status.
        status: StatusCode,
        /// What it said.
        message: String,
        /// The word for programs that it gave.
        code: Option<String>,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// What it answered cannot be passed on.
    #[error("the upstream service '{upstream}': {what}")]
    Garbled {
        /// The service.
        upstream: String,
        /// What is wrong with it.
        what: String,
    },
    /// The answers in work fill the room that there is for them.
    #[error(
        "the answer of the upstream service '{upstream}' does not fit the room of {room} bytes for all that is in work"
    )]
    NoRoom {
        /// The service.
        upstream: String,
        /// The room in bytes.
        room: usize,
    },
}

impl UpstreamError {
    /// Whether the same call may be made again: nothing of it was worked on, or the service asks for it.
    pub fn is_worth_a_retry(&self) -> bool {
        match self {
            Self::Unreachable { is_unsent, .. } => *is_unsent,
            Self::Answered { status, .. } => matches!(
                *status,
                StatusCode::TOO_MANY_REQUESTS
                    | StatusCode::BAD_GATEWAY
                    | StatusCode::SERVICE_UNAVAILABLE
                    | StatusCode::GATEWAY_TIMEOUT
            ),
            _ => false,
        }
    }

    /// When the service wants to be asked again.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Answered { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Limited { .. } => Kind::RateLimited,
            Self::LeftAlone { .. } | Self::NoRoom { .. } => Kind::Overloaded,
            Self::Deadline { .. } => Kind::Deadline,
            Self::KeyRefused { .. } => Kind::Unauthenticated,
            Self::BadKey { .. } => Kind::Internal,
            Self::Unreachable { .. } | Self::Silent { .. } | Self::Garbled { .. } => Kind::Upstream,
            Self::Answered { status, code, .. } => match status.as_u16() {
                _ if code.as_deref() == Some("context_length_exceeded") => Kind::ContextLength,
                403 => Kind::Forbidden,
                404 => Kind::NotFound,
                409 => Kind::Conflict,
                413 => Kind::TooLarge,
                429 => Kind::RateLimited,
                503 => Kind::Overloaded,
                400..500 => Kind::Invalid,
                _ => Kind::Upstream,
            },
        }
    }

    fn upstream(&self) -> &str {
        match self {
            Self::Limited { upstream, .. }
            | Self::LeftAlone { upstream, .. }
            | Self::Unreachable { upstream, .. }
            | Self::Silent { upstream, .. }
            | Self::Deadline { upstream }
            | Self::KeyRefused { upstream, .. }
            | Self::BadKey { upstream }
            | Self::Answered { upstream, .. }
            | Self::Garbled { upstream, .. }
            | Self::NoRoom { upstream, .. } => upstream,
        }
    }
}

impl From<UpstreamError> for Problem {
    fn from(error: UpstreamError) -> Self {
        /// The wait that a client is told where nobody knows a better one.
        const SOON: Duration = Duration::from_secs(1);
        let kind = error.kind();
        let problem = Self::new(kind, error.to_string()).with("upstream", error.upstream());
        let problem = match (&error, kind) {
            (UpstreamError::Limited { excess, .. }, _) => problem.retry_after(excess.retry_after),
            (UpstreamError::LeftAlone { retry_after, .. }, _) => problem.retry_after(*retry_after),
            (_, Kind::RateLimited | Kind::Overloaded) => {
                problem.retry_after(error.retry_after().unwrap_or(SOON))
            }
            _ => problem,
        };
        match error {
            UpstreamError::KeyRefused { service, .. } => problem.with("service", service),
            UpstreamError::Answered { status, code, .. } => {
                let problem = problem.with("upstream_status", status.as_u16());
                match code {
                    Some(code) => problem.with("upstream_code", code),
                    None => problem,
                }
            }
            _ => problem,
        }
    }
}

impl IntoProblem for UpstreamError {
    fn into_problem(self) -> Problem {
        self.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, code: Option<&str>) -> UpstreamError {
        UpstreamError::Answered {
            upstream: "far".into(),
            status: StatusCode::from_u16(status).expect("a status"),
            message: "what happened".into(),
            code: code.map(str::to_owned),
            retry_after: None,
        }
    }

    #[test]
    fn statuses_are_sorted() {
        for (status, kind, is_worth_a_retry) in [
            (302, Kind::Upstream, false),
            (400, Kind::Invalid, false),
            (403, Kind::Forbidden, false),
            (404, Kind::NotFound, false),
            (409, Kind::Conflict, false),
            (413, Kind::TooLarge, false),
            (422, Kind::Invalid, false),
            (429, Kind::RateLimited, true),
            (500, Kind::Upstream, false),
            (502, Kind::Upstream, true),
            (503, Kind::Overloaded, true),
            (504, Kind::Upstream, true),
        ] {
            let error = answered(status, None);
            assert_eq!(error.is_worth_a_retry(), is_worth_a_retry, "{status}");
            let problem = Problem::from(error);
            assert_eq!(problem.kind, kind, "{status}");
            assert!(
                problem.message.ends_with("what happened"),
                "{}",
                problem.message
            );
            assert_eq!(problem.details["upstream_status"], status);
            let waits = [Kind::RateLimited, Kind::Overloaded].contains(&kind);
            assert_eq!(problem.retry_after.is_some(), waits, "{status}");
        }
        let problem = Problem::from(answered(400, Some("context_length_exceeded")));
        assert_eq!(problem.kind, Kind::ContextLength);
    }

    #[test]
    fn a_refused_key_names_its_service() {
        let error = UpstreamError::KeyRefused {
            upstream: "far".into(),
            service: "openai",
        };
        let problem = Problem::from(error);
        assert_eq!(problem.kind, Kind::Unauthenticated);
        assert_eq!(problem.details["service"], "openai");
    }
}
