//! Bodies and answers of the endpoints of accounts and logs, as the description of the API tells them.
//! Requests are read field by field elsewhere, since a wrong field is to be named.
#![allow(
    dead_code,
    reason = "these describe what is read and written elsewhere"
)]

use utoipa::ToSchema;

/// A new account.
#[derive(Debug, ToSchema)]
#[schema(as = accounts::Register)]
pub struct Register {
    /// The name to log in with.
    #[schema(pattern = "^[A-Za-z0-9._@-]{1,64}$", example = "alice")]
    pub username: String,
    /// The password.
    #[schema(min_length = 8, max_length = 1024, example = "correct horse battery")]
    pub password: String,
    /// An address to reach the user at.
    pub email: Option<String>,
    /// The one-time token of the first start, which makes the account the administrator's.
    pub setup_token: Option<String>,
}

/// What became of a registration.
#[derive(Debug, ToSchema)]
#[schema(as = accounts::Registered)]
pub struct Registered {
    /// Always true.
    pub success: bool,
    /// The same as a sentence.
    pub message: String,
    /// The account.
    pub user: Account,
}

/// An account.
#[derive(Debug, ToSchema)]
#[schema(as = accounts::Account)]
pub struct Account {
    /// Its id.
    pub user_id: String,
    /// The name to log in with.
    #[schema(example = "alice")]
    pub username: String,
    /// An address to reach the user at.
    #[schema(required)]
    pub email: Option<String>,
    /// `user` or `admin`.
    #[schema(example = "user")]
    pub role: String,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created_at: String,
}

/// Who wants to begin a session.
#[derive(Debug, ToSchema)]
#[schema(as = accounts::Login)]
pub struct Login {
    /// The name.
    #[schema(min_length = 1, example = "alice")]
    pub username: String,
    /// The password.
    #[schema(min_length = 1, example = "correct horse battery")]
    pub password: String,
}

/// A session to go on with.
#[derive(Debug, ToSchema)]
#[schema(as = accounts::Refresh)]
pub struct Refresh {
    /// The token that the session was given for it; it is good once.
    #[schema(min_length = 1)]
    pub refresh_token: String,
}

/// A session.
#[derive(Debug, ToSchema)]
#[schema(as = accounts::Session)]
pub struct Session {
    /// Always true.
    pub success: bool,
    /// The credential for requests.
    pub access_token: String,
    /// Always `bearer`.
    #[schema(example = "bearer")]
    pub token_type: String,
    /// How long it is valid, in seconds.
    pub expires_in: u64,
    /// What the session goes on with after that.
    pub refresh_token: String,
    /// Whose session it is.
    pub user: SessionUser,
}

/// Whose session it is.
#[derive(Debug, ToSchema)]
#[schema(as = accounts::SessionUser)]
pub struct SessionUser {
    /// The account's id.
    pub user_id: String,
    /// Its name.
    pub username: String,
    /// `user` or `admin`.
    pub role: String,
}

/// That something was done.
#[derive(Debug, ToSchema)]
#[schema(as = accounts::Done)]
pub struct Done {
    /// Always true.
    pub success: bool,
    /// The same as a sentence.
    pub message: String,
}

/// The caller's account, and what he may do with the credential that he showed.
#[derive(Debug, ToSchema)]
#[schema(as = accounts::Profile)]
pub struct Profile {
    /// The account's id.
    pub user_id: String,
    /// Its name.
    pub username: String,
    /// An address to reach the user at.
    #[schema(required)]
    pub email: Option<String>,
    /// `user` or `admin`.
    pub role: String,
    /// What the credential allows.
    pub permissions: Vec<Permission>,
    /// How many keys the account has.
    pub api_keys: u64,
    /// When it was made.
    #[schema(required, format = DateTime)]
    pub created_at: Option<String>,
    /// When the user last logged in.
    #[schema(required, format = DateTime)]
    pub last_login: Option<String>,
}

/// Who the caller is, and what he may do with the credential that he showed.
#[derive(Debug, ToSchema)]
#[schema(as = accounts::Identity)]
pub struct Identity {
    /// The account's id.
    pub user_id: String,
    /// Its name.
    pub username: String,
    /// `user` or `admin`.
    pub role: String,
    /// What the credential allows.
    pub permissions: Vec<Permission>,
    /// How many keys the account has.
    pub api_keys: u64,
    /// When the user last logged in.
    #[schema(required, format = DateTime)]
    pub last_login: Option<String>,
}

/// Something that a credential may allow.
#[derive(Debug, ToSchema)]
#[schema(as = accounts::Permission, rename_all = "snake_case")]
pub enum Permission {
    /// Run models, see which there are.
    Inference,
    /// Load, unload, scale, convert, fetch them.
    ModelManagement,
    /// Measurements and settings.
    Monitoring,
    /// Everything.
    Admin,
    /// Everything.
    #[schema(rename = "*")]
    All,
}

/// A new key.
#[derive(Debug, ToSchema)]
#[schema(as = accounts::NewKey)]
pub struct NewKey {
    /// What it is for.
    #[schema(
        min_length = 1,
        max_length = 128,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]+$",
        example = "my-app"
    )]
    pub name: String,
    /// What it may do; `inference` unless told otherwise.
    #[schema(min_items = 1)]
    pub permissions: Option<Vec<Permission>>,
    /// How long it is valid: a number with `ms`, `s`, `m`, `h` or `d`; for ever unless told otherwise.
    #[schema(pattern = "^[1-9][0-9]{0,8}(ms|s|m|h|d)$", example = "30d")]
    pub expires_in: Option<String>,
    /// The models that it may use; all unless told otherwise.
    pub models: Option<Vec<String>>,
}

/// A key that was made, shown this once.
#[derive(Debug, ToSchema)]
#[schema(as = accounts::MadeKey)]
pub struct MadeKey {
    /// Always true; `POST /auth/generate-key` alone tells it.
    pub success: Option<bool>,
    /// Its id, by which it is revoked.
    pub key_id: String,
    /// The key.
    #[schema(example = "sk-...")]
    pub api_key: String,
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub permissions: Vec<Permission>,
    /// The models that it may use; null where it may use all.
    #[schema(required)]
    pub models: Option<Vec<String>>,
    /// Until when it is valid; null where it is for ever.
    #[schema(required, format = DateTime)]
    pub expires: Option<String>,
}

/// Keys, without the keys themselves.
#[derive(Debug, ToSchema)]
#[schema(as = accounts::Keys)]
pub struct Keys {
    /// Always `list`.
    #[schema(example = "list")]
    pub object: String,
    /// The keys.
    pub data: Vec<Key>,
}

/// A key, without the key itself.
#[derive(Debug, ToSchema)]
#[schema(as = accounts::Key)]
pub struct Key {
    /// Its id, by which it is revoked.
    pub key_id: String,
    /// What it is for.
    pub name: String,
    /// Its beginning.
    #[schema(example = "sk-AbCd...")]
    pub key: String,
    /// Whose it is.
    pub user_id: String,
    /// What it may do.
    pub permissions: Vec<Permission>,
    /// The models that it may use; null where it may use all.
    #[schema(required)]
    pub models: Option<Vec<String>>,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// Until when it is valid; null where it is for ever.
    #[schema(required, format = DateTime)]
    pub expires: Option<String>,
    /// Whether it was revoked.
    pub revoked: bool,
}

/// A key that was revoked.
#[derive(Debug, ToSchema)]
#[schema(as = accounts::Revoked)]
pub struct Revoked {
    /// Its id.
    pub key_id: String,
    /// Always true.
    pub revoked: bool,
}

/// The log files.
#[derive(Debug, ToSchema)]
#[schema(as = logs::Logs)]
pub struct Logs {
    /// Where they are.
    pub log_directory: String,
    /// What is written.
    #[schema(example = "INFO")]
    pub log_level: String,
    /// The files.
    pub available_log_files: Vec<Log>,
    /// How large they are together, in MB.
    pub total_log_size_mb: f64,
}

/// A log file.
#[derive(Debug, ToSchema)]
#[schema(as = logs::Log)]
pub struct Log {
    /// Its name.
    #[schema(example = "server.log")]
    pub name: String,
    /// How large it is, in bytes.
    pub size_bytes: u64,
    /// The same in MB.
    pub size_mb: f64,
    /// Its lines.
    pub line_count: u64,
    /// Where it is.
    pub path: String,
    /// When it was last written.
    #[schema(format = DateTime)]
    pub last_modified: String,
    /// When it was made; null where the file system does not tell.
    #[schema(required, format = DateTime)]
    pub created: Option<String>,
}

/// A log file that was emptied.
#[derive(Debug, ToSchema)]
#[schema(as = logs::Cleared)]
pub struct Cleared {
    /// Always true.
    pub success: bool,
    /// The same as a sentence.
    pub message: String,
    /// How large it was, in bytes.
    pub original_size_bytes: u64,
    /// The same in MB.
    pub original_size_mb: f64,
}
