//! `/openapi.json`, and the pages that show it: `/docs` (Swagger UI) and `/redoc` (ReDoc). All that they
//! load comes from the program.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use crate::family::{Family, Fault};
use crate::route::{Access, Routes};

/// What the pages may load: files of this server alone. Both programs write their styles into the page,
/// and ReDoc searches in a worker that it makes itself.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                      img-src 'self' data:; font-src 'self' data:; connect-src 'self'; \
                      worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// The routes of the pages.
pub fn routes() -> Routes {
    use Access::Open;
    Routes::of(Family::Framework)
        .get("/openapi.json", Open, "openapi", document)
        .get("/docs", Open, "docs", docs)
        .get("/docs/{file}", Open, "docs_file", docs_file)
        .get("/redoc", Open, "redoc", redoc)
        .get("/redoc/{file}", Open, "redoc_file", redoc_file)
}

/// The description of every endpoint, as OpenAPI 3.1.
#[utoipa::path(
    get, path = "/openapi.json", tag = "documentation",
    responses((status = 200, description = "The description", body = Object, content_type = "application/json"))
)]
pub async fn document() -> Response {
    let json = [(CONTENT_TYPE, "application/json")];
    (json, super::text()).into_response()
}

/// The description as a page to try things on.
#[utoipa::path(
    get, path = "/docs", tag = "documentation",
    responses((status = 200, description = "The page", body = String, content_type = "text/html"))
)]
pub async fn docs() -> Response {
    page(include_str!("../../assets/docs.html"))
}

/// The description as a page to read.
#[utoipa::path(
    get, path = "/redoc", tag = "documentation",
    responses((status = 200, description = "The page", body = String, content_type = "text/html"))
)]
pub async fn redoc() -> Response {
    page(include_str!("../../assets/redoc.html"))
}

/// A file of the page at `/docs`.
#[utoipa::path(
    get, path = "/docs/{file}", tag = "documentation",
    params(("file" = String, Path, description = "The file", example = "docs.js")),
    responses(
        (status = 200, description = "The file", body = String, content_type = "text/javascript"),
        (status = 404, description = "There is no such file", body = crate::dialects::framework::error::ErrorBody),
    )
)]
pub async fn docs_file(file: Result<Path<String>, PathRejection>) -> Response {
    let file = file.map_or_else(|_| String::new(), |Path(file)| file);
    match file.as_str() {
        "swagger-ui-bundle.js" => asset(
            SCRIPT,
            include_str!("../../assets/swagger-ui/swagger-ui-bundle.js"),
        ),
        "swagger-ui.css" => asset(
            STYLE,
            include_str!("../../assets/swagger-ui/swagger-ui.css"),
        ),
        "docs.js" => asset(SCRIPT, include_str!("../../assets/docs.js")),
        _ => missing(&file),
    }
}

/// A file of the page at `/redoc`.
#[utoipa::path(
    get, path = "/redoc/{file}", tag = "documentation",
    params(("file" = String, Path, description = "The file", example = "redoc.standalone.js")),
    responses(
        (status = 200, description = "The file", body = String, content_type = "text/javascript"),
        (status = 404, description = "There is no such file", body = crate::dialects::framework::error::ErrorBody),
    )
)]
pub async fn redoc_file(file: Result<Path<String>, PathRejection>) -> Response {
    let file = file.map_or_else(|_| String::new(), |Path(file)| file);
    match file.as_str() {
        "redoc.standalone.js" => asset(
            SCRIPT,
            include_str!("../../assets/redoc/redoc.standalone.js"),
        ),
        _ => missing(&file),
    }
}

fn page(html: &'static str) -> Response {
    let headers = [(CONTENT_TYPE, HTML), (CONTENT_SECURITY_POLICY, POLICY)];
    (headers, html).into_response()
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    let headers = [(CONTENT_TYPE, kind), (CACHE_CONTROL, "max-age=3600")];
    (headers, text).into_response()
}

fn missing(file: &str) -> Response {
    let message = format!("there is no file {file} here");
    Family::Framework.fault(Fault::NotFound, &message)
}
