//! TorchServe's predictions, for the clients of a server that is no longer made: `/predictions` and `/ping`.
//!
//! <https://docs.pytorch.org/serve/inference_api.html>. A handler in Python, which there makes tensors of requests and
//! answers of tensors, has no place here: what its inputs and the files beside a network say takes its part.

pub mod error;
pub mod ping;
pub mod predictions;

use crate::family::Family;
use crate::route::{Access, Routes};

/// The dialect, as the owner of an error envelope.
#[derive(Debug)]
pub struct Torchserve;

/// The routes of this dialect.
pub fn routes() -> Routes {
    use Access::{Inference, Open};
    Routes::of(Family::Torchserve)
        .get("/ping", Open, "live", ping::ping)
        .post(
            "/predictions/{model_name}",
            Inference,
            "predict",
            predictions::predict,
        )
        .put(
            "/predictions/{model_name}",
            Inference,
            "predict",
            predictions::put,
        )
        .post(
            "/predictions/{model_name}/{model_version}",
            Inference,
            "predict",
            predictions::version_predict,
        )
}
