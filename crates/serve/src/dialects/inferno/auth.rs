//! `/v1/auth/*`: API keys, and who the caller is.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::error::{ApiError, Errors};
use crate::account_bodies;
use crate::accounts;
use crate::audit::Event;
use crate::caller::{Caller, Permission};
use crate::family::Family;
use crate::problem::{Kind, Problem};
use crate::route::{Access, Routes};
use crate::state::App;

/// The routes of keys.
pub fn routes() -> Routes {
    use Access::Account;
    Routes::of(Family::Inferno)
        .post("/v1/auth/keys", Account, "auth_keys", create)
        .get("/v1/auth/keys", Account, "auth_keys", list)
        .delete("/v1/auth/keys/{key_id}", Account, "auth_keys", revoke)
        .get("/v1/auth/user", Account, "auth_user", user)
}

/// Makes a key, which is shown this once.
#[utoipa::path(
    post, path = "/v1/auth/keys", tag = "inferno", operation_id = "auth_keys_create",
    request_body = account_bodies::NewKey,
    responses((status = 201, description = "The key, shown this once", body = account_bodies::MadeKey), Errors)
)]
pub async fn create(
    State(app): State<App>,
    caller: Caller,
    request: Request,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let fields = accounts::read(&app, request).await?;
    let request = accounts::key_request(&fields)?;
    let shown = accounts::create_key(&app, &caller, request).await?;
    Ok((StatusCode::CREATED, Json(shown.into())))
}

/// Lists the caller's keys; all there are for an administrator.
#[utoipa::path(
    get, path = "/v1/auth/keys", tag = "inferno", operation_id = "auth_keys_list",
    responses((status = 200, description = "The keys, without the keys themselves", body = account_bodies::Keys), Errors)
)]
pub async fn list(State(app): State<App>, caller: Caller) -> Result<Json<Value>, ApiError> {
    let owner = (!caller.may(Permission::Admin)).then(|| caller.user_id());
    let keys = app.auth.store()?.keys(owner).await?;
    let keys: Vec<Value> = keys.iter().map(accounts::show_key).collect();
    Ok(Json(json!({"object": "list", "data": keys})))
}

/// Revokes a key of the caller; anybody's for an administrator.
#[utoipa::path(
    delete, path = "/v1/auth/keys/{key_id}", tag = "inferno", operation_id = "auth_keys_revoke",
    params(("key_id" = String, Path, description = "Its id")),
    responses((status = 200, description = "It is revoked", body = account_bodies::Revoked), Errors)
)]
pub async fn revoke(
    State(app): State<App>,
    caller: Caller,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, ApiError> {
    let Path(id) = id?;
    if !app.auth.revoke_key(&caller, &id).await? {
        let message = "there is no such key, or it is revoked already";
        return Err(Problem::new(Kind::NotFound, message).into());
    }
    app.audit.event(
        Event::new("key_revoked")
            .by(&caller)
            .with("key_id", id.as_str()),
    );
    Ok(Json(json!({"key_id": id, "revoked": true})))
}

/// Shows who the caller is.
#[utoipa::path(
    get, path = "/v1/auth/user", tag = "inferno", operation_id = "auth_user",
    responses((status = 200, description = "Who the caller is", body = account_bodies::Identity), Errors)
)]
pub async fn user(State(app): State<App>, caller: Caller) -> Result<Json<Value>, ApiError> {
    let mut shown = accounts::profile(&app, &caller).await?;
    for name in ["email", "created_at"] {
        shown.remove(name);
    }
    Ok(Json(shown.into()))
}
