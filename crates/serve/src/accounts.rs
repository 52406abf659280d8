//! What the families' endpoints of accounts have in common: bodies read, accounts and keys shown, and the
//! record of what was done.

use std::time::{Duration, UNIX_EPOCH};

use axum::extract::Request;
use serde_json::{Map, Value, json};

use crate::audit::Event;
use crate::auth::{AuthError, Key, KeyRequest};
use crate::caller::{Caller, Means, Permission};
use crate::extract::{Refusal, read_fields};
use crate::fields::{FieldError, Fields};
use crate::problem::{Kind, Problem};
use crate::quantities::datetime;
use crate::settings::read_duration;
use crate::state::App;

/// Longest body that these endpoints need, in bytes.
const LONGEST: usize = 64 << 10;

/// Reads the body of a request about accounts.
///
/// # Errors
/// One [`Refusal`].
pub async fn read(app: &App, request: Request) -> Result<Fields, Refusal> {
    read_fields(app, request, LONGEST).await
}

/// What is asked of a new key: `name`, `permissions`, `expires_in`, `models`.
///
/// # Errors
/// The first field that is missing or wrong.
pub fn key_request(fields: &Fields) -> Result<KeyRequest, FieldError> {
    /// Longest name, in characters.
    const LONGEST_NAME: usize = 128;
    let name = fields.required_string("name")?;
    if name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control) {
        let expected =
            format!("at most {LONGEST_NAME} characters, none of them a control character");
        return Err(FieldError::invalid("name", expected, &json!(name)));
    }
    let mut permissions = Vec::new();
    for (at, text) in texts(fields, "permissions")?
        .unwrap_or_else(|| vec!["inference".into()])
        .into_iter()
        .enumerate()
    {
        let permission = Permission::named(&text).ok_or_else(|| {
            let names: Vec<&str> = Permission::EVERY.iter().map(|own| own.name()).collect();
            FieldError::invalid(
                format!("permissions[{at}]"),
                format!("one of {}", names.join(", ")),
                &json!(text),
            )
        })?;
        if !permissions.contains(&permission) {
            permissions.push(permission);
        }
    }
    if permissions.is_empty() {
        return Err(FieldError::invalid(
            "permissions",
            "at least one permission",
            &json!([]),
        ));
    }
    Ok(KeyRequest {
        name: name.to_owned(),
        permissions,
        models: texts(fields, "models")?,
        lifetime: lifetime(fields)?,
    })
}

fn lifetime(fields: &Fields) -> Result<Option<Duration>, FieldError> {
    let Some(text) = fields.string("expires_in")? else {
        return Ok(None);
    };
    let is_bare = text.parse::<f64>().is_ok();
    match read_duration(text).filter(|lifetime| !is_bare && !lifetime.is_zero()) {
        Some(lifetime) => Ok(Some(lifetime)),
        None => Err(FieldError::invalid(
            "expires_in",
            "a time such as 30d, 12h or 45m",
            &json!(text),
        )),
    }
}

fn texts(fields: &Fields, name: &str) -> Result<Option<Vec<String>>, FieldError> {
    let Some(value) = fields.get(name) else {
        return Ok(None);
    };
    let items = value.as_array().and_then(|items| {
        let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
        texts.collect::<Option<Vec<String>>>()
    });
    match items {
        Some(items) => Ok(Some(items)),
        None => Err(FieldError::wrong_type(name, "a list of texts", value)),
    }
}

/// Makes a key for the caller and notes it. Answers with what is shown of it this once.
///
/// # Errors
/// Those of [`crate::auth::Auth::create_key`].
pub async fn create_key(
    app: &App,
    caller: &Caller,
    request: KeyRequest,
) -> Result<Map<String, Value>, AuthError> {
    let (key, secret) = app.auth.create_key(caller, request).await?;
    app.audit.event(
        Event::new("key_created")
            .by(caller)
            .with("key_id", key.id.as_str())
            .with("name", key.name.as_str()),
    );
    let mut shown = Map::new();
    shown.insert("key_id".into(), json!(key.id));
    shown.insert("api_key".into(), json!(secret));
    shown.insert("name".into(), json!(key.name));
    shown.insert("permissions".into(), json!(names(&key.permissions)));
    shown.insert("models".into(), json!(key.models));
    shown.insert("expires".into(), json!(key.expires_at.map(time)));
    Ok(shown)
}

/// A key in a list, without the key itself.
pub fn show_key(key: &Key) -> Value {
    json!({
        "key_id": key.id,
        "name": key.name,
        "key": key.shown,
        "user_id": key.user_id,
        "permissions": names(&key.permissions),
        "models": key.models,
        "created_at": time(key.created_at),
        "expires": key.expires_at.map(time),
        "revoked": key.revoked_at.is_some(),
    })
}

/// The caller's account: what he may do with the credential that he showed, how many keys he has.
///
/// # Errors
/// Those of the database.
pub async fn profile(app: &App, caller: &Caller) -> Result<Map<String, Value>, AuthError> {
    let store = app.auth.store();
    let (user, keys) = match (store, caller.means()) {
        // The built-in administrator is there without a database as well.
        (Err(_), Means::Local) => (None, 0),
        (store, _) => {
            let store = store?;
            (
                store.user(caller.user_id()).await?,
                store.count_keys(caller.user_id()).await?,
            )
        }
    };
    let mut shown = Map::new();
    shown.insert("user_id".into(), json!(caller.user_id()));
    shown.insert("username".into(), json!(caller.username()));
    shown.insert(
        "email".into(),
        json!(user.as_ref().and_then(|user| user.email.clone())),
    );
    shown.insert("role".into(), json!(caller.role().name()));
    shown.insert(
        "permissions".into(),
        json!(names(&caller.identity().permissions)),
    );
    shown.insert("api_keys".into(), json!(keys));
    shown.insert(
        "created_at".into(),
        json!(user.as_ref().map(|user| time(user.created_at))),
    );
    shown.insert(
        "last_login".into(),
        json!(user.as_ref().and_then(|user| user.last_login).map(time)),
    );
    Ok(shown)
}

fn names(permissions: &[Permission]) -> Vec<&'static str> {
    permissions
        .iter()
        .map(|permission| permission.name())
        .collect()
}

/// Unix seconds as ISO 8601.
pub fn time(seconds: i64) -> String {
    datetime(UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default()))
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        let kind = match &error {
            AuthError::Invalid | AuthError::WrongPassword => Kind::Unauthenticated,
            AuthError::SlowDown { .. } => Kind::RateLimited,
            AuthError::Taken | AuthError::BadUsername | AuthError::BadPassword => Kind::Invalid,
            AuthError::Closed | AuthError::Beyond(_) | AuthError::KeyMakesNoKeys => Kind::Forbidden,
            _ => {
                // What a database says of itself is for the log alone.
                tracing::error!(%error, "accounts");
                return Self::new(Kind::Internal, "the accounts cannot be had at the moment");
            }
        };
        let problem = Self::new(kind, error.to_string());
        match error {
            AuthError::SlowDown { retry_after } => problem
                .with("retry_after", crate::family::whole_seconds(retry_after))
                .retry_after(retry_after),
            _ => problem,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: Value) -> Result<KeyRequest, FieldError> {
        let Value::Object(body) = body else {
            panic!("not an object")
        };
        key_request(&Fields::new(body))
    }

    #[test]
    fn the_documented_request_is_read() {
        let request = read(
            json!({"name": "my-app", "permissions": ["inference", "model_management"], "expires_in": "30d"}),
        );
        let request = request.expect("it is documented");
        assert_eq!(
            request.permissions,
            [Permission::Inference, Permission::ModelManagement]
        );
        assert_eq!(request.lifetime, Some(Duration::from_secs(30 * 86_400)));
        let least = read(json!({"name": "my-app"})).expect("a name is enough");
        assert_eq!(
            (least.permissions, least.lifetime),
            (vec![Permission::Inference], None)
        );
        assert_eq!(least.models, None);
    }

    #[test]
    fn wrong_fields_are_named() {
        for (body, field) in [
            (json!({}), "name"),
            (json!({"name": ""}), "name"),
            (json!({"name": 5}), "name"),
            (json!({"name": "a\nb"}), "name"),
            (json!({"name": "a".repeat(129)}), "name"),
            (
                json!({"name": "a", "permissions": ["levitation"]}),
                "permissions[0]",
            ),
            (json!({"name": "a", "permissions": []}), "permissions"),
            (
                json!({"name": "a", "permissions": "inference"}),
                "permissions",
            ),
            (json!({"name": "a", "permissions": [1]}), "permissions"),
            (json!({"name": "a", "expires_in": "someday"}), "expires_in"),
            (json!({"name": "a", "expires_in": "0d"}), "expires_in"),
            (json!({"name": "a", "expires_in": "30"}), "expires_in"),
            (json!({"name": "a", "expires_in": 30}), "expires_in"),
            (json!({"name": "a", "models": "ember"}), "models"),
        ] {
            assert_eq!(
                read(body.clone()).expect_err(&body.to_string()).field,
                field,
                "{body}"
            );
        }
    }
}
