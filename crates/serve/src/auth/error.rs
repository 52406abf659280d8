//! Why something about accounts cannot be done.

use std::time::Duration;

use super::secrets::PASSWORD_LENGTHS;
use crate::caller::Permission;

/// Why something about accounts cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The credential is unknown, has ended or was revoked.
    #[error("the credential is not valid: it is unknown, has ended, or was revoked")]
    Invalid,
    /// Name and password do not belong together.
    #[error("the username or the password is wrong")]
    WrongPassword,
    /// Too many failures before.
    #[error("too many attempts have failed; try again in {} s", crate::family::whole_seconds(*.retry_after))]
    SlowDown {
        /// After which time it is worth another try.
        retry_after: Duration,
    },
    /// The name belongs to somebody.
    #[error("the username is taken")]
    Taken,
    /// The name has letters that it may not have, or too many or too few.
    #[error("a username has 1 to 64 letters, digits and characters of '._@-'")]
    BadUsername,
    /// The password is too short or too long.
    #[error("a password has {} to {} characters", PASSWORD_LENGTHS.start(), PASSWORD_LENGTHS.end())]
    BadPassword,
    /// Nobody may register.
    #[error("registration is closed; an administrator adds accounts with 'hearth user add'")]
    Closed,
    /// A permission that the caller does not have.
    #[error("nobody can grant a permission that he does not have: '{0}'")]
    Beyond(Permission),
    /// A key that may not make keys, since what it makes would outlive it.
    #[error("a key without the permission 'admin' makes no other keys; log in for that")]
    KeyMakesNoKeys,
    /// There is no database.
    #[error("accounts are not available: {0}")]
    Unavailable(String),
    /// The system gives no randomness.
    #[error("the system gives no random numbers")]
    Randomness,
    /// A token could not be signed.
    #[error("a token could not be signed; this is a bug")]
    Signing,
    /// A file of ours.
    #[error("the file of accounts: {0}")]
    File(#[from] std::io::Error),
    /// The database.
    #[error("the database of accounts: {0}")]
    Database(#[from] sqlx::Error),
    /// The database cannot be brought to the newest state.
    #[error("the database of accounts cannot be renewed: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
}
