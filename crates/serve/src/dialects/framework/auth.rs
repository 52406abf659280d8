//! `/auth/*`: accounts and sessions.

use axum::Json;
use axum::extract::{Request, State};
use serde_json::{Value, json};

use super::error::{ApiError, Errors};
use crate::account_bodies;
use crate::accounts::{self, time};
use crate::audit::Event;
use crate::auth::{AuthError, Granted, is_username};
use crate::caller::{Caller, Means};
use crate::family::Family;
use crate::fields::{FieldError, Fields};
use crate::problem::{Kind, Problem};
use crate::route::{Access, Routes};
use crate::state::App;

/// The routes of accounts.
pub fn routes() -> Routes {
    use Access::{Account, Open};
    Routes::of(Family::Framework)
        .post("/auth/register", Open, "auth_register", register)
        .post("/auth/login", Open, "auth_login", login)
        .post("/auth/refresh", Open, "auth_refresh", refresh)
        .post("/auth/logout", Account, "auth_logout", logout)
        .get("/auth/profile", Account, "auth_profile", profile)
        .post(
            "/auth/generate-key",
            Account,
            "auth_generate_key",
            generate_key,
        )
}

/// Makes an account: a user's, or with the one-time token of the first start the administrator's.
#[utoipa::path(
    post, path = "/auth/register", tag = "framework", operation_id = "auth_register",
    request_body = account_bodies::Register,
    responses((status = 200, description = "The account", body = account_bodies::Registered), Errors)
)]
pub async fn register(
    State(app): State<App>,
    caller: Caller,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let fields = accounts::read(&app, request).await?;
    let (username, password) = name_and_password(&fields)?;
    let email = fields.string("email")?.map(str::to_owned);
    let setup_token = fields.string("setup_token")?;
    let settings = app.settings();
    let made = app
        .auth
        .register(&settings, username, password, email, setup_token)
        .await;
    note(&app, &caller, "register", username, &made);
    let user = made?;
    Ok(Json(json!({
        "success": true,
        "message": format!("account '{}' is made", user.username),
        "user": {
            "user_id": user.id,
            "username": user.username,
            "email": user.email,
            "role": user.role.name(),
            "created_at": time(user.created_at),
        },
    })))
}

fn name_and_password(fields: &Fields) -> Result<(&str, &str), FieldError> {
    let username = fields.required_string("username")?;
    Ok((username, fields.required_string("password")?))
}

/// Begins a session.
#[utoipa::path(
    post, path = "/auth/login", tag = "framework", operation_id = "auth_login",
    request_body = account_bodies::Login,
    responses((status = 200, description = "The tokens of a session", body = account_bodies::Session), Errors)
)]
pub async fn login(
    State(app): State<App>,
    caller: Caller,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let fields = accounts::read(&app, request).await?;
    let (username, password) = name_and_password(&fields)?;
    let granted = app
        .auth
        .login(&app.settings(), username, password, caller.address())
        .await;
    note(&app, &caller, "login", username, &granted);
    Ok(Json(session(&granted?)))
}

/// Goes on with a session.
#[utoipa::path(
    post, path = "/auth/refresh", tag = "framework", operation_id = "auth_refresh",
    request_body = account_bodies::Refresh,
    responses((status = 200, description = "The next tokens of a session", body = account_bodies::Session), Errors)
)]
pub async fn refresh(
    State(app): State<App>,
    caller: Caller,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let fields = accounts::read(&app, request).await?;
    let token = fields.required_string("refresh_token")?;
    let granted = app.auth.refresh(&app.settings(), token).await;
    let name = granted
        .as_ref()
        .map_or("", |granted| granted.user.username.as_str());
    note(&app, &caller, "refresh", name, &granted);
    Ok(Json(session(&granted?)))
}

fn session(granted: &Granted) -> Value {
    json!({
        "success": true,
        "access_token": granted.access_token,
        "token_type": "bearer",
        "expires_in": granted.expires_in,
        "refresh_token": granted.refresh_token,
        "user": {
            "user_id": granted.user.id,
            "username": granted.user.username,
            "role": granted.user.role.name(),
        },
    })
}

/// Ends the session of the caller's token.
#[utoipa::path(
    post, path = "/auth/logout", tag = "framework", operation_id = "auth_logout",
    responses((status = 200, description = "The token is no longer valid", body = account_bodies::Done), Errors)
)]
pub async fn logout(State(app): State<App>, caller: Caller) -> Result<Json<Value>, ApiError> {
    if !matches!(caller.means(), Means::Token { .. }) {
        let message = "only a session's token can be logged out; a key is revoked with DELETE /v1/auth/keys/{key_id}";
        return Err(Problem::new(Kind::Invalid, message).into());
    }
    app.auth.logout(&caller).await?;
    app.audit.event(Event::new("logout").by(&caller));
    Ok(Json(
        json!({"success": true, "message": "logged out; the token is no longer valid"}),
    ))
}

/// Shows the caller's account.
#[utoipa::path(
    get, path = "/auth/profile", tag = "framework", operation_id = "auth_profile",
    responses((status = 200, description = "The caller's account", body = account_bodies::Profile), Errors)
)]
pub async fn profile(State(app): State<App>, caller: Caller) -> Result<Json<Value>, ApiError> {
    Ok(Json(accounts::profile(&app, &caller).await?.into()))
}

/// Makes a key.
#[utoipa::path(
    post, path = "/auth/generate-key", tag = "framework", operation_id = "auth_generate_key",
    request_body = account_bodies::NewKey,
    responses((status = 200, description = "The key, shown this once", body = account_bodies::MadeKey), Errors)
)]
pub async fn generate_key(
    State(app): State<App>,
    caller: Caller,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let fields = accounts::read(&app, request).await?;
    let request = accounts::key_request(&fields)?;
    let mut shown = accounts::create_key(&app, &caller, request).await?;
    shown.insert("success".into(), json!(true));
    Ok(Json(shown.into()))
}

/// Notes an attempt, of whoever it says to be.
fn note<T>(
    app: &App,
    caller: &Caller,
    kind: &'static str,
    username: &str,
    outcome: &Result<T, AuthError>,
) {
    let outcome = match outcome {
        Ok(_) => "ok".to_owned(),
        Err(error) => error.to_string(),
    };
    // What can be no name could be anything, a password typed into the wrong field among it.
    let username = if is_username(username) { username } else { "" };
    let event = Event::new(kind)
        .with("account", username)
        .with("outcome", outcome);
    app.audit
        .event(event.with("address", caller.address().to_string()));
}
