//! The description of every endpoint, as OpenAPI 3.1.
//!
//! It is made from the handlers themselves; a test holds it against the table of routes, so that no route
//! is forgotten.

mod errors;
pub mod pages;

use std::sync::LazyLock;

use axum::http::Method;
use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};

pub use errors::{not_implemented, responses};

use crate::dialects::{framework, inferno, kserve, torchserve, tursi, voice};
use crate::route::{Access, Routes};
use crate::{health, metrics, probes};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Hearth",
        description = "A self-hosted AI server: text generation, chat, embeddings and exported networks, in the dialects of six APIs.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    tags(
        (name = "inferno", description = "OpenAI's API and its extensions: `/v1`, `/ws`, `/metrics`"),
        (name = "tursi", description = "Text generation and model residency: `/api/v1`"),
        (name = "framework", description = "Inference, hardware, autoscaling and server management"),
        (name = "voice", description = "Spoken replies and voices"),
        (name = "kserve", description = "The Open Inference Protocol (KServe v2, Triton): `/v2`"),
        (name = "torchserve", description = "TorchServe's predictions: `/predictions`, `/ping`"),
        (name = "documentation", description = "This description")
    ),
    components(schemas(
        framework::error::ErrorBody,
        inferno::error::ErrorBody,
        tursi::error::ErrorBody,
        voice::error::ErrorBody,
        kserve::error::ErrorBody,
        torchserve::error::ErrorBody,
        tursi::generate::TextEvent,
        tursi::generate::DoneEvent,
    )),
    paths(
        health::health,
        probes::live,
        probes::ready,
        framework::auth::register,
        framework::auth::login,
        framework::auth::refresh,
        framework::auth::logout,
        framework::auth::profile,
        framework::auth::generate_key,
        framework::logs::index,
        framework::logs::show,
        framework::logs::clear,
        inferno::auth::create,
        inferno::auth::list,
        inferno::auth::revoke,
        inferno::auth::user,
        metrics::metrics,
        pages::document,
        pages::docs,
        pages::redoc,
        inferno::chat::create,
        inferno::completions::create,
        inferno::embeddings::create,
        inferno::models::list,
        inferno::models::show,
        inferno::residency::load,
        inferno::residency::unload,
        inferno::residency::status,
        inferno::batch::create,
        inferno::speech::create,
        inferno::later::convert,
        inferno::later::convert_status,
        inferno::socket::open,
        tursi::models::list,
        tursi::models::load,
        tursi::models::unload,
        tursi::models::metrics,
        tursi::generate::create,
        tursi::status::show,
        voice::voices::list,
        voice::voices::show,
        voice::voices::file,
        voice::status::show,
        voice::later::generate,
        voice::later::chat,
        framework::info::root,
        framework::info::info,
        framework::stats::stats,
        framework::stats::server,
        framework::stats::speech,
        framework::config::config,
        framework::config::server,
        framework::models::list,
        framework::available::list,
        framework::models::managed,
        framework::models::cache,
        framework::manage::manage,
        framework::manage::optimize,
        framework::gpu::detect,
        framework::gpu::best,
        framework::gpu::config,
        framework::gpu::report,
        framework::autoscaler::stats,
        framework::autoscaler::health,
        framework::autoscaler::metrics,
        framework::autoscaler::load,
        framework::autoscaler::scale,
        framework::autoscaler::unload,
        framework::audio::health,
        framework::predict::predict,
        framework::predict::predict_batch,
        framework::predict::predict_model,
        framework::later::synthesize,
        framework::later::tts_synthesize,
        framework::later::stt_transcribe,
        framework::later::transcribe,
        framework::later::audio_models,
        framework::later::tts_health,
        framework::later::audio_validate,
        framework::later::models_download,
        framework::later::models_download_status,
        kserve::server::metadata,
        kserve::server::live,
        kserve::server::ready,
        kserve::models::metadata,
        kserve::models::version_metadata,
        kserve::models::ready,
        kserve::models::version_ready,
        kserve::config::config,
        kserve::config::version_config,
        kserve::stats::all,
        kserve::stats::stats,
        kserve::stats::version_stats,
        kserve::infer::infer,
        kserve::infer::version_infer,
        kserve::repository::index,
        kserve::repository::load,
        kserve::repository::unload,
        torchserve::ping::ping,
        torchserve::predictions::predict,
        torchserve::predictions::put,
        torchserve::predictions::version_predict,
    )
)]
struct Api;

/// The description as JSON, of a server that asks its callers who they are or does not.
pub fn text(auth: bool) -> &'static str {
    static OPEN: LazyLock<String> = LazyLock::new(|| json(false));
    static GUARDED: LazyLock<String> = LazyLock::new(|| json(true));
    if auth { &GUARDED } else { &OPEN }
}

fn json(auth: bool) -> String {
    let document = document(&crate::router::routes(), auth);
    document.to_json().unwrap_or_else(|error| {
        tracing::error!(%error, "the description has no JSON form; this is a bug");
        "{}".to_owned()
    })
}

/// The description, with what each route asks of its caller; none has to show a credential without `auth`.
pub fn document(routes: &Routes, auth: bool) -> utoipa::openapi::OpenApi {
    let mut document = Api::openapi();
    let components = document.components.get_or_insert_default();
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("An API key, or a token from /auth/login"))
        .build();
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    let header = ApiKeyValue::new("X-API-Key");
    components.add_security_scheme("api_key", SecurityScheme::ApiKey(ApiKey::Header(header)));
    for route in routes.rows() {
        let item = document.paths.paths.get_mut(route.path);
        let Some(operation) = item.and_then(|item| operation(item, &route.method)) else {
            continue;
        };
        if route.access != Access::Open {
            let none: [&str; 0] = [];
            let mut either = vec![
                SecurityRequirement::new("bearer", none),
                SecurityRequirement::new("api_key", none),
            ];
            if !auth {
                either.push(SecurityRequirement::default());
            }
            operation.security = Some(either);
        }
    }
    document
}

/// The operation of `item` that answers `method`.
fn operation<'a>(item: &'a mut PathItem, method: &Method) -> Option<&'a mut Operation> {
    match method.as_str() {
        "GET" => item.get.as_mut(),
        "POST" => item.post.as_mut(),
        "PUT" => item.put.as_mut(),
        "DELETE" => item.delete.as_mut(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_route_is_described_and_nothing_else() {
        let routes = crate::router::routes();
        let table: BTreeSet<(String, String)> = routes
            .rows()
            .map(|route| (route.path.to_owned(), route.method.to_string()))
            .collect();
        let mut described = BTreeSet::new();
        for (path, item) in document(&routes, true).paths.paths {
            let methods = [
                ("GET", item.get.is_some()),
                ("POST", item.post.is_some()),
                ("PUT", item.put.is_some()),
                ("PATCH", item.patch.is_some()),
                ("DELETE", item.delete.is_some()),
            ];
            for (method, is_there) in methods {
                if is_there {
                    described.insert((path.clone(), method.to_owned()));
                }
            }
        }
        let missing: Vec<_> = table.difference(&described).collect();
        let unknown: Vec<_> = described.difference(&table).collect();
        assert!(
            missing.is_empty() && unknown.is_empty(),
            "routes without a description: {missing:?}; descriptions without a route: {unknown:?}"
        );
    }

    #[test]
    fn operations_have_ids_of_their_own_and_references_lead_somewhere() {
        let text: serde_json::Value = serde_json::from_str(text(true)).expect("JSON");
        assert!(
            text["openapi"]
                .as_str()
                .is_some_and(|version| version.starts_with("3.1"))
        );
        let mut ids = BTreeSet::new();
        let paths = text["paths"].as_object().expect("paths");
        for operation in paths.values().filter_map(|item| item.as_object()) {
            for operation in operation.values() {
                let id = operation["operationId"].as_str().expect("an id");
                assert!(ids.insert(id.to_owned()), "{id} is there twice");
            }
        }
        let schemas = text["components"]["schemas"].as_object().expect("schemas");
        let whole = text.to_string();
        for reference in whole.split("\"$ref\":\"#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap_or_default();
            assert!(schemas.contains_key(name), "{name} is not described");
        }
    }
}
