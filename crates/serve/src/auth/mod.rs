//! Accounts: users with passwords, sessions with tokens, API keys.
//!
//! A credential is a session's token or an API key. What it says is looked up once and remembered for a
//! few seconds, so that a change made elsewhere (`hearth key revoke`) holds soon and one made here at once.

mod error;
mod identity;
mod keys;
mod secrets;
mod sessions;
mod slowdown;
mod store;
mod token;
mod users;

use std::path::Path;
use std::sync::Arc;

use tokio::sync::Semaphore;

pub use error::AuthError;
pub use keys::KeyRequest;
pub use secrets::PASSWORD_LENGTHS;
pub use sessions::Granted;
pub use store::{Key, Session, Store, User, now};
pub use users::is_username;

use crate::settings::{Secret, Settings};
use identity::Memory;
use secrets::{hash_password, random_token, verify_password};
use slowdown::Slowdown;
use token::Tokens;

/// Passwords that are hashed at a time; each takes a core and 19 MiB.
const HASHED_AT_ONCE: usize = 2;

/// The accounts.
pub struct Auth {
    store: Result<Store, String>,
    tokens: Tokens,
    memory: Memory,
    slowdown: Slowdown,
    hashing: Arc<Semaphore>,
}

impl Auth {
    /// Opens the accounts that `settings` name, by default the file `state.db` in `home`. While
    /// authentication is off the server can do without: then what needs them says why they are missing.
    ///
    /// # Errors
    /// Those of file and database, while authentication is on.
    pub async fn open(settings: &Settings, home: &Path) -> Result<Self, AuthError> {
        let opened = Self::open_store(settings, home).await;
        let (store, secret) = match opened {
            Ok((store, secret)) => (Ok(store), secret),
            Err(error) if settings.auth => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "there are no accounts");
                (Err(error.to_string()), Secret::new(random_token("")?))
            }
        };
        Ok(Self {
            store,
            tokens: Tokens::new(settings.auth_secret.as_ref().unwrap_or(&secret)),
            memory: Memory::default(),
            slowdown: Slowdown::default(),
            hashing: Arc::new(Semaphore::new(HASHED_AT_ONCE)),
        })
    }

    async fn open_store(settings: &Settings, home: &Path) -> Result<(Store, Secret), AuthError> {
        let store = Store::open(settings.database.as_ref(), &home.join("state.db")).await?;
        let secret = store.secret("token_key", &random_token("")?).await?;
        Ok((store, secret))
    }

    /// The database.
    ///
    /// # Errors
    /// [`AuthError::Unavailable`].
    pub fn store(&self) -> Result<&Store, AuthError> {
        self.store
            .as_ref()
            .map_err(|why| AuthError::Unavailable(why.clone()))
    }

    async fn hash(&self, password: &str) -> Result<String, AuthError> {
        let password = password.to_owned();
        self.slowly(move || hash_password(&password)).await?
    }

    async fn verify(&self, password: &str, hash: Option<String>) -> Result<bool, AuthError> {
        let password = password.to_owned();
        self.slowly(move || verify_password(&password, hash.as_deref()))
            .await
    }

    /// Hashes on a blocking thread, few at a time.
    async fn slowly<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, AuthError> {
        let hashing = Arc::clone(&self.hashing);
        let permit = hashing.acquire_owned().await;
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        done.await
            .map_err(|error| AuthError::Unavailable(error.to_string()))
    }
}

/// What the tests of accounts share.
#[cfg(test)]
mod testing {
    use super::*;
    use crate::caller::{Caller, Identity, Permission};
    use std::net::{IpAddr, Ipv4Addr};

    pub const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    pub async fn accounts() -> (tempfile::TempDir, Auth, Settings) {
        let home = tempfile::tempdir().expect("a folder");
        let settings = Settings {
            auth: true,
            ..Settings::default()
        };
        let auth = Auth::open(&settings, home.path())
            .await
            .expect("a new database");
        (home, auth, settings)
    }

    pub fn caller(identity: Arc<Identity>) -> Caller {
        Caller::new(identity, HERE)
    }

    pub fn request(permissions: &[Permission]) -> KeyRequest {
        KeyRequest {
            name: "app".into(),
            permissions: permissions.to_vec(),
            models: None,
            lifetime: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::testing::{HERE, accounts, caller, request};
    use crate::caller::{Identity, Permission};

    #[tokio::test]
    async fn accounts_are_there_after_a_restart() {
        let (home, auth, settings) = accounts().await;
        let local = caller(Arc::new(Identity::local()));
        let (_, secret) = auth
            .create_key(&local, request(&[Permission::Inference]))
            .await
            .expect("the administrator");
        auth.register(&settings, "alice", "correct horse", None, None)
            .await
            .expect("free");
        let granted = auth
            .login(&settings, "alice", "correct horse", HERE)
            .await
            .expect("right");
        drop(auth);
        let auth = Auth::open(&settings, home.path())
            .await
            .expect("the same database");
        assert!(auth.identify(&secret).await.is_ok());
        assert!(auth.identify(&granted.access_token).await.is_ok());
        let bytes = std::fs::read(home.path().join("state.db")).expect("the file");
        let wal = std::fs::read(home.path().join("state.db-wal")).unwrap_or_default();
        for text in [
            "correct horse",
            &secret,
            &granted.access_token,
            &granted.refresh_token,
        ] {
            let is_there = [&bytes, &wal].iter().any(|bytes| {
                bytes
                    .windows(text.len())
                    .any(|window| window == text.as_bytes())
            });
            assert!(!is_there, "a secret lies in the file");
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(home.path().join("state.db"))
                .expect("the file")
                .permissions()
                .mode();
            assert_eq!(mode & 0o077, 0, "others may not read it");
        }
    }
}
