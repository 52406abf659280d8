//! The error envelope: `code`, `type`, `message`.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::openapi::{RefOr, Response};
use utoipa::{IntoResponses, ToSchema};

use super::Torchserve;
use crate::network::AVAILABLE_VERSIONS;
use crate::openapi;
use crate::problem::{Envelope, Failure, Kind, Problem};

/// What handlers of this dialect answer when they fail.
pub type ApiError = Failure<Torchserve>;

/// The errors that endpoints of this dialect answer, for their descriptions.
pub struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        openapi::responses::<Torchserve>()
    }
}

/// An error.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = torchserve::Error)]
pub struct ErrorBody {
    /// The HTTP status.
    #[schema(example = 404)]
    code: u16,
    /// A word for programs.
    #[serde(rename = "type")]
    #[schema(example = "ModelNotFoundException")]
    kind: &'static str,
    /// A sentence for people.
    message: String,
}

impl Envelope for Torchserve {
    type Body = ErrorBody;

    fn body(problem: &Problem) -> ErrorBody {
        let kind = match problem.kind {
            Kind::ModelNotFound if problem.details.contains_key(AVAILABLE_VERSIONS) => {
                "ModelVersionNotFoundException"
            }
            Kind::ModelNotFound => "ModelNotFoundException",
            Kind::NotFound => "ResourceNotFoundException",
            Kind::MethodNotAllowed => "MethodNotAllowedException",
            Kind::Unauthenticated | Kind::Forbidden => "InvalidKeyException",
            Kind::TooLarge => "RequestEntityTooLargeException",
            Kind::Conflict => "ConflictStatusException",
            Kind::RateLimited
            | Kind::Overloaded
            | Kind::Loading
            | Kind::InsufficientMemory
            | Kind::Deadline => "ServiceUnavailableException",
            Kind::Malformed
            | Kind::Missing
            | Kind::WrongType
            | Kind::Invalid
            | Kind::Unsupported
            | Kind::ContextLength => "BadRequestException",
            Kind::NotImplemented | Kind::Upstream | Kind::Internal => "InternalServerException",
        };
        ErrorBody {
            code: Self::status(problem.kind).as_u16(),
            kind,
            message: problem.message.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn kinds_have_the_statuses_and_types_that_clients_know() {
        for (kind, code, word) in [
            (Kind::Malformed, 400, "BadRequestException"),
            (Kind::Invalid, 400, "BadRequestException"),
            (Kind::ModelNotFound, 404, "ModelNotFoundException"),
            (Kind::NotFound, 404, "ResourceNotFoundException"),
            (Kind::MethodNotAllowed, 405, "MethodNotAllowedException"),
            (Kind::Overloaded, 503, "ServiceUnavailableException"),
            (Kind::Internal, 500, "InternalServerException"),
        ] {
            let error = ApiError::from(Problem::new(kind, "what happened"));
            let expected = json!({"code": code, "type": word, "message": "what happened"});
            assert_eq!(error.envelope(), expected);
        }
        let version = Problem::new(Kind::ModelNotFound, "").with(AVAILABLE_VERSIONS, vec!["1"]);
        let error = ApiError::from(version).envelope();
        assert_eq!(error["type"], "ModelVersionNotFoundException");
    }
}
