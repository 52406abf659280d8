//! The error envelope: `error`, a sentence.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::openapi::{RefOr, Response};
use utoipa::{IntoResponses, ToSchema};

use super::Kserve;
use crate::openapi;
use crate::problem::{Envelope, Failure, Problem};

/// What handlers of this dialect answer when they fail.
pub type ApiError = Failure<Kserve>;

/// The errors that endpoints of this dialect answer, for their descriptions.
pub struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        openapi::responses::<Kserve>()
    }
}

/// An error.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = kserve::Error)]
pub struct ErrorBody {
    /// What happened.
    #[schema(example = "The requested model 'no-such' was not found")]
    error: String,
}

impl Envelope for Kserve {
    type Body = ErrorBody;

    fn body(problem: &Problem) -> ErrorBody {
        ErrorBody {
            error: problem.message.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Kind;
    use serde_json::json;

    #[test]
    fn kinds_have_the_statuses_that_clients_know() {
        for (kind, status) in [
            (Kind::Malformed, 400),
            (Kind::Missing, 400),
            (Kind::WrongType, 400),
            (Kind::Unsupported, 400),
            (Kind::ModelNotFound, 404),
            (Kind::TooLarge, 413),
            (Kind::Overloaded, 503),
            (Kind::Internal, 500),
        ] {
            assert_eq!(Kserve::status(kind), status, "{kind:?}");
            let error = ApiError::from(Problem::new(kind, "what happened"));
            assert_eq!(error.envelope(), json!({"error": "what happened"}));
        }
    }
}
