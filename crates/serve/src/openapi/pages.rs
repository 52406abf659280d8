//! `/openapi.json`, and the pages that show it: `/docs` (Swagger UI) and `/redoc` (ReDoc).
//!
//! A page is one answer that holds all it runs. Its content security policy names its scripts by their
//! hashes, so that it runs nothing else, and asks no other host for anything.

use std::sync::LazyLock;

use aide::redoc::Redoc;
use aide::swagger::Swagger;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

use crate::family::Family;
use crate::route::{Access, Routes};
use crate::state::App;

const TITLE: &str = "Hearth: the API";
const DESCRIPTION: &str = "/openapi.json";

/// The routes of the pages.
pub fn routes() -> Routes {
    use Access::Open;
    Routes::of(Family::Framework)
        .get(DESCRIPTION, Open, "openapi", document)
        .get("/docs", Open, "docs", docs)
        .get("/redoc", Open, "redoc", redoc)
}

/// The description of every endpoint, as OpenAPI 3.1.
#[utoipa::path(
    get, path = "/openapi.json", tag = "documentation",
    responses((status = 200, description = "The description", body = Object, content_type = "application/json"))
)]
pub async fn document(State(app): State<App>) -> Response {
    let json = [(CONTENT_TYPE, "application/json")];
    (json, super::text(app.settings().auth)).into_response()
}

/// The description as a page to try things on.
#[utoipa::path(
    get, path = "/docs", tag = "documentation",
    responses((status = 200, description = "The page", body = String, content_type = "text/html"))
)]
pub async fn docs() -> Response {
    static PAGE: LazyLock<Page> =
        LazyLock::new(|| Page::new(Swagger::new(DESCRIPTION).with_title(TITLE).html()));
    PAGE.response()
}

/// The description as a page to read.
#[utoipa::path(
    get, path = "/redoc", tag = "documentation",
    responses((status = 200, description = "The page", body = String, content_type = "text/html"))
)]
pub async fn redoc() -> Response {
    static PAGE: LazyLock<Page> =
        LazyLock::new(|| Page::new(Redoc::new(DESCRIPTION).with_title(TITLE).html()));
    PAGE.response()
}

/// A page and its content security policy.
struct Page {
    html: String,
    policy: String,
}

impl Page {
    fn new(html: String) -> Self {
        let policy = policy(&html);
        Self { html, policy }
    }

    fn response(&'static self) -> Response {
        let headers = [
            (CONTENT_TYPE, "text/html; charset=utf-8"),
            (CACHE_CONTROL, "max-age=3600"),
            (CONTENT_SECURITY_POLICY, self.policy.as_str()),
        ];
        (headers, self.html.as_str()).into_response()
    }
}

/// What a page may do: run its own scripts and ask this server. Both programs write their styles into the
/// page, and ReDoc searches in a worker that it makes itself.
fn policy(html: &str) -> String {
    let hashes: Vec<String> = scripts(html).map(hash).collect();
    format!(
        "default-src 'none'; script-src {}; style-src 'unsafe-inline'; img-src 'self' data:; \
         font-src data:; connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
        hashes.join(" ")
    )
}

/// The scripts within a page.
fn scripts(html: &str) -> impl Iterator<Item = &str> {
    let mut rest = html;
    std::iter::from_fn(move || {
        let (_, from_here) = rest.split_once("<script>")?;
        let (script, after) = from_here.split_once("</script>")?;
        rest = after;
        Some(script)
    })
}

/// How a policy names a script.
fn hash(script: &str) -> String {
    format!(
        "'sha256-{}'",
        BASE64_STANDARD.encode(Sha256::digest(script))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_names_the_scripts_of_its_page() {
        // The example of the Content Security Policy's specification.
        let script = "alert('Hello, world.');";
        let named = "'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng='";
        assert_eq!(hash(script), named);
        let policy = policy(&format!(
            "<p></p><script>{script}</script><script></script>"
        ));
        assert!(
            policy.contains(&format!("script-src {named} 'sha256-")),
            "{policy}"
        );
    }

    #[test]
    fn the_pages_hold_plain_scripts_that_a_browser_reads_as_written() {
        let swagger = Swagger::new(DESCRIPTION).html();
        let redoc = Redoc::new(DESCRIPTION).html();
        for (page, expected) in [(swagger, 2), (redoc, 1)] {
            // A browser hashes a script after it has replaced these.
            assert!(!page.contains(['\r', '\0']));
            assert_eq!(scripts(&page).count(), expected);
            assert_eq!(page.matches("</script").count(), expected);
            assert!(scripts(&page).any(|script| script.contains(DESCRIPTION)));
        }
    }
}
