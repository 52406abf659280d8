//! Accounts: users with passwords, sessions with tokens, API keys.
//!
//! A credential is a session's token or an API key. What it says is looked up once and remembered for a
//! few seconds, so that a change made elsewhere (`hearth key revoke`) holds soon and one made here at once.

mod secrets;
mod slowdown;
mod store;
mod token;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

pub use secrets::PASSWORD_LENGTHS;
pub use store::{Key, Session, Store, User, now};

use crate::caller::{Caller, ClientId, Identity, Means, Permission, Role};
use crate::settings::Settings;
use secrets::{hash_password, hash_token, random_id, random_token, verify_password};
use slowdown::Slowdown;
use token::Tokens;

/// How long what a credential says is remembered.
const REMEMBERED: Duration = Duration::from_secs(5);

/// Most credentials that are remembered.
const MOST_REMEMBERED: usize = 4096;

/// Passwords that are hashed at a time; each takes a core and 19 MiB.
const HASHED_AT_ONCE: usize = 2;

/// The one-time secret by which the first administrator registers.
const SETUP: &str = "setup_token";

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

/// What a session begins or goes on with.
#[derive(Debug, Clone)]
pub struct Granted {
    /// Whose it is.
    pub user: User,
    /// The token for requests.
    pub access_token: String,
    /// The token for the next renewal; good once.
    pub refresh_token: String,
    /// How long the access token is good for, in seconds.
    pub expires_in: i64,
}

/// What is asked of a new key.
#[derive(Debug, Clone)]
pub struct KeyRequest {
    /// What its owner calls it.
    pub name: String,
    /// What it allows.
    pub permissions: Vec<Permission>,
    /// The models that it allows; `None` for all.
    pub models: Option<Vec<String>>,
    /// How long it is good for; `None` for ever.
    pub lifetime: Option<Duration>,
}

/// The accounts.
pub struct Auth {
    store: Result<Store, String>,
    tokens: Tokens,
    remembered: Mutex<HashMap<String, (Instant, Arc<Identity>)>>,
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
                (
                    Err(error.to_string()),
                    crate::settings::Secret::new(random_token("")?),
                )
            }
        };
        Ok(Self {
            store,
            tokens: Tokens::new(settings.auth_secret.as_ref().unwrap_or(&secret)),
            remembered: Mutex::default(),
            slowdown: Slowdown::default(),
            hashing: Arc::new(Semaphore::new(HASHED_AT_ONCE)),
        })
    }

    async fn open_store(
        settings: &Settings,
        home: &Path,
    ) -> Result<(Store, crate::settings::Secret), AuthError> {
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

    /// Who has this credential.
    ///
    /// # Errors
    /// [`AuthError::Invalid`]; those of the database.
    pub async fn identify(&self, credential: &str) -> Result<Arc<Identity>, AuthError> {
        /// Longest credential that can be one of ours.
        const LONGEST: usize = 4096;
        if credential.is_empty() || credential.len() > LONGEST {
            return Err(AuthError::Invalid);
        }
        let hash = hash_token(credential);
        if let Some(identity) = self.recall(&hash) {
            return Ok(identity);
        }
        let identity = match credential.starts_with("sk-") {
            true => self.identify_key(&hash).await?,
            false => self.identify_token(credential).await?,
        };
        let identity = Arc::new(identity);
        self.remember(hash, &identity);
        Ok(identity)
    }

    async fn identify_key(&self, hash: &str) -> Result<Identity, AuthError> {
        let store = self.store()?;
        let key = store.key_by_hash(hash).await?.ok_or(AuthError::Invalid)?;
        let has_ended = key.expires_at.is_some_and(|end| end <= now());
        if has_ended || key.revoked_at.is_some() {
            return Err(AuthError::Invalid);
        }
        let user = store.user(&key.user_id).await?.ok_or(AuthError::Invalid)?;
        // A key allows no more than its owner may today, whatever he could when he made it.
        let role = Identity {
            permissions: user.role.permissions().to_vec(),
            ..Identity::local()
        };
        let mut permissions = key.permissions;
        permissions.retain(|permission| role.may(*permission));
        Ok(Identity {
            user_id: user.id,
            username: user.username,
            role: user.role,
            permissions,
            models: key.models,
            means: Means::Key {
                id: key.id,
                expires: key.expires_at,
            },
        })
    }

    async fn identify_token(&self, token: &str) -> Result<Identity, AuthError> {
        let claims = self.tokens.read(token).ok_or(AuthError::Invalid)?;
        let store = self.store()?;
        let session = store
            .session(&claims.sid)
            .await?
            .ok_or(AuthError::Invalid)?;
        if session.revoked_at.is_some() || session.user_id != claims.sub {
            return Err(AuthError::Invalid);
        }
        let user = store.user(&claims.sub).await?.ok_or(AuthError::Invalid)?;
        Ok(Identity {
            user_id: user.id,
            username: user.username,
            role: user.role,
            permissions: user.role.permissions().to_vec(),
            models: None,
            means: Means::Token {
                session: claims.sid,
                expires: claims.exp,
            },
        })
    }

    fn recall(&self, hash: &str) -> Option<Arc<Identity>> {
        let remembered = self
            .remembered
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let (since, identity) = remembered.get(hash)?;
        let ends = match &identity.means {
            Means::Token { expires, .. } => Some(*expires),
            Means::Key { expires, .. } => *expires,
            Means::Local | Means::Anonymous => None,
        };
        let is_good = since.elapsed() < REMEMBERED && ends.is_none_or(|end| end > now());
        is_good.then(|| Arc::clone(identity))
    }

    fn remember(&self, hash: String, identity: &Arc<Identity>) {
        let mut remembered = self
            .remembered
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if remembered.len() >= MOST_REMEMBERED {
            remembered.retain(|_, (since, _)| since.elapsed() < REMEMBERED);
        }
        if remembered.len() < MOST_REMEMBERED {
            remembered.insert(hash, (Instant::now(), Arc::clone(identity)));
        }
    }

    /// Forgets what credentials say, so that a change holds at once.
    fn forget(&self) {
        let mut remembered = self
            .remembered
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        remembered.clear();
    }

    /// Adds an account.
    ///
    /// # Errors
    /// [`AuthError::BadUsername`], [`AuthError::BadPassword`], [`AuthError::Taken`]; those of the database.
    pub async fn add_user(
        &self,
        username: &str,
        password: &str,
        email: Option<String>,
        role: Role,
    ) -> Result<User, AuthError> {
        if !is_username(username) {
            return Err(AuthError::BadUsername);
        }
        check_password(password)?;
        let user = User {
            id: random_id("user_")?,
            username: username.to_owned(),
            email,
            role,
            created_at: now(),
            last_login: None,
        };
        let hash = self.hash(password).await?;
        self.store()?.add_user(&user, &hash).await?;
        Ok(user)
    }

    /// Gives an account another password and ends its sessions.
    ///
    /// # Errors
    /// [`AuthError::BadPassword`]; those of the database.
    pub async fn set_password(&self, user_id: &str, password: &str) -> Result<(), AuthError> {
        check_password(password)?;
        let hash = self.hash(password).await?;
        self.store()?.set_password(user_id, &hash).await?;
        self.forget();
        Ok(())
    }

    /// Adds an account for whoever asks: a user, or with the one-time token the first administrator.
    ///
    /// # Errors
    /// As [`Self::add_user`]; [`AuthError::Closed`]; [`AuthError::Invalid`] for a wrong one-time token.
    pub async fn register(
        &self,
        settings: &Settings,
        username: &str,
        password: &str,
        email: Option<String>,
        setup_token: Option<&str>,
    ) -> Result<User, AuthError> {
        let Some(setup_token) = setup_token else {
            if !settings.registration {
                return Err(AuthError::Closed);
            }
            return self.add_user(username, password, email, Role::User).await;
        };
        check_password(password)?;
        if !self
            .store()?
            .take_secret(SETUP, &hash_token(setup_token))
            .await?
        {
            return Err(AuthError::Invalid);
        }
        let added = self.add_user(username, password, email, Role::Admin).await;
        if added.is_err() {
            // The token is good for an administrator, and there is none yet.
            self.store()?
                .put_secret(SETUP, &hash_token(setup_token))
                .await?;
        }
        added
    }

    /// A new one-time token for the first administrator; `None` where there is one already.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn setup_token(&self) -> Result<Option<String>, AuthError> {
        let store = self.store()?;
        if store.has_admin().await? {
            return Ok(None);
        }
        let token = random_token("setup-")?;
        store.put_secret(SETUP, &hash_token(&token)).await?;
        Ok(Some(token))
    }

    /// Begins a session with a name and its password, asked for from `address`.
    ///
    /// # Errors
    /// [`AuthError::WrongPassword`] whatever of the two is wrong; [`AuthError::SlowDown`]; those of the
    /// database.
    pub async fn login(
        &self,
        settings: &Settings,
        username: &str,
        password: &str,
        address: IpAddr,
    ) -> Result<Granted, AuthError> {
        let account = format!("account {}", username.to_lowercase());
        let names = [
            account,
            format!("address {:?}", ClientId::of_address(address)),
        ];
        self.slowdown
            .check(&names)
            .map_err(|retry_after| AuthError::SlowDown { retry_after })?;
        // A long text cannot be a password, and is not worth hashing.
        let is_short = password.chars().count() <= *PASSWORD_LENGTHS.end();
        let found = self.store()?.user_named(username).await?;
        let hash = found.as_ref().and_then(|(_, hash)| hash.clone());
        if !is_short || !self.verify(password, hash).await? {
            self.slowdown.failed(&names);
            return Err(AuthError::WrongPassword);
        }
        let (mut user, _) = found.ok_or(AuthError::WrongPassword)?;
        self.slowdown.succeeded(&names[0]);
        let at = now();
        self.store()?.logged_in(&user.id, at).await?;
        user.last_login = Some(at);

        let refresh_token = random_token("rt-")?;
        let lifetime = i64::try_from(settings.refresh_lifetime.as_secs()).unwrap_or(i64::MAX);
        let session = Session {
            id: random_id("ses_")?,
            user_id: user.id.clone(),
            expires_at: at.saturating_add(lifetime),
            revoked_at: None,
        };
        self.store()?
            .add_session(&session, &hash_token(&refresh_token))
            .await?;
        self.grant(settings, user, &session.id, refresh_token)
    }

    /// Goes on with the session that a refresh token belongs to. The token is good once.
    ///
    /// # Errors
    /// [`AuthError::Invalid`]; those of the database.
    pub async fn refresh(&self, settings: &Settings, token: &str) -> Result<Granted, AuthError> {
        let next = random_token("rt-")?;
        let store = self.store()?;
        let session = store.rotate(&hash_token(token), &hash_token(&next)).await?;
        let session = session.ok_or(AuthError::Invalid)?;
        let user = store
            .user(&session.user_id)
            .await?
            .ok_or(AuthError::Invalid)?;
        self.grant(settings, user, &session.id, next)
    }

    fn grant(
        &self,
        settings: &Settings,
        user: User,
        session: &str,
        refresh_token: String,
    ) -> Result<Granted, AuthError> {
        let expires_in = i64::try_from(settings.token_lifetime.as_secs()).unwrap_or(i64::MAX);
        let access_token = self.tokens.issue(&user.id, session, now(), expires_in)?;
        Ok(Granted {
            user,
            access_token,
            refresh_token,
            expires_in,
        })
    }

    /// Ends the session of the caller's token; a caller without one has nothing to end.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn logout(&self, caller: &Caller) -> Result<(), AuthError> {
        match caller.means() {
            Means::Token { session, .. } => self.store()?.revoke_session(session).await?,
            Means::Key { .. } | Means::Local | Means::Anonymous => return Ok(()),
        }
        self.forget();
        Ok(())
    }

    /// Makes a key for the caller. Answers with the key itself, which is shown this once.
    ///
    /// # Errors
    /// [`AuthError::Beyond`]; those of the database.
    pub async fn create_key(
        &self,
        caller: &Caller,
        request: KeyRequest,
    ) -> Result<(Key, String), AuthError> {
        if matches!(caller.means(), Means::Key { .. }) && !caller.may(Permission::Admin) {
            return Err(AuthError::KeyMakesNoKeys);
        }
        if let Some(beyond) = request
            .permissions
            .iter()
            .find(|asked| !caller.may(**asked))
        {
            return Err(AuthError::Beyond(*beyond));
        }
        // A key that is limited to models cannot make one that is not.
        let models = match (&caller.identity().models, request.models) {
            (Some(own), Some(mut asked)) => {
                asked.retain(|model| own.contains(model));
                Some(asked)
            }
            (Some(own), None) => Some(own.clone()),
            (None, asked) => asked,
        };
        let secret = random_token("sk-")?;
        let created_at = now();
        let lifetime = request
            .lifetime
            .map(|lifetime| i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX));
        let key = Key {
            id: random_id("key_")?,
            user_id: caller.user_id().to_owned(),
            name: request.name,
            shown: format!("{}...", &secret[..7]),
            permissions: request.permissions,
            models,
            created_at,
            // A time that the calendar does not reach is never.
            expires_at: lifetime
                .and_then(|lifetime| created_at.checked_add(lifetime))
                .filter(|end| chrono::DateTime::from_timestamp(*end, 0).is_some()),
            revoked_at: None,
        };
        self.store()?.add_key(&key, &hash_token(&secret)).await?;
        Ok((key, secret))
    }

    /// Revokes a key: the caller's own, or anybody's for an administrator. Answers whether there was one.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn revoke_key(&self, caller: &Caller, id: &str) -> Result<bool, AuthError> {
        let owner = (!caller.may(Permission::Admin)).then(|| caller.user_id());
        let revoked = self.store()?.revoke_key(id, owner).await?;
        self.forget();
        Ok(revoked)
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

/// Whether a user can be called so.
pub fn is_username(text: &str) -> bool {
    let is_good = |letter: char| letter.is_ascii_alphanumeric() || "._@-".contains(letter);
    (1..=64).contains(&text.len()) && text.chars().all(is_good)
}

fn check_password(password: &str) -> Result<(), AuthError> {
    match PASSWORD_LENGTHS.contains(&password.chars().count()) {
        true => Ok(()),
        false => Err(AuthError::BadPassword),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    async fn accounts() -> (tempfile::TempDir, Auth, Settings) {
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

    fn caller(identity: Arc<Identity>) -> Caller {
        Caller::new(identity, HERE)
    }

    fn request(permissions: &[Permission]) -> KeyRequest {
        KeyRequest {
            name: "app".into(),
            permissions: permissions.to_vec(),
            models: None,
            lifetime: None,
        }
    }

    #[tokio::test]
    async fn a_session_lives_until_it_is_ended() {
        let (_home, auth, settings) = accounts().await;
        let user = auth
            .register(&settings, "alice", "correct horse", None, None)
            .await
            .expect("free");
        assert_eq!(user.role, Role::User);
        let granted = auth
            .login(&settings, "Alice", "correct horse", HERE)
            .await
            .expect("right");
        assert!(granted.user.last_login.is_some());
        let identity = auth
            .identify(&granted.access_token)
            .await
            .expect("just granted");
        assert_eq!(
            (identity.user_id.as_str(), identity.username.as_str()),
            (user.id.as_str(), "alice")
        );

        let renewed = auth
            .refresh(&settings, &granted.refresh_token)
            .await
            .expect("the first time");
        assert!(
            auth.refresh(&settings, &granted.refresh_token)
                .await
                .is_err(),
            "a refresh token is good once"
        );
        auth.logout(&caller(identity))
            .await
            .expect("the database is there");
        for token in [
            &granted.access_token,
            &renewed.access_token,
            &renewed.refresh_token,
        ] {
            assert!(matches!(
                auth.identify(token).await,
                Err(AuthError::Invalid)
            ));
        }
        assert!(
            auth.refresh(&settings, &renewed.refresh_token)
                .await
                .is_err()
        );
    }

    #[tokio::test]
    async fn wrong_names_and_passwords_are_told_alike_and_slowed() {
        let (_home, auth, settings) = accounts().await;
        auth.register(&settings, "alice", "correct horse", None, None)
            .await
            .expect("free");
        for (name, password) in [
            ("alice", "wrong"),
            ("bob", "wrong"),
            ("local", ""),
            ("alice", ""),
        ] {
            let error = auth
                .login(&settings, name, password, HERE)
                .await
                .expect_err(name);
            assert!(matches!(error, AuthError::WrongPassword), "{error}");
        }
        let mut slowed = false;
        for _ in 0..4 {
            let error = auth
                .login(&settings, "alice", "wrong", HERE)
                .await
                .expect_err("wrong");
            slowed |= matches!(error, AuthError::SlowDown { .. });
        }
        assert!(slowed);
        let error = auth
            .login(&settings, "alice", "correct horse", HERE)
            .await
            .expect_err("slowed");
        assert!(matches!(error, AuthError::SlowDown { .. }), "{error}");
    }

    #[tokio::test]
    async fn names_and_passwords_are_checked() {
        let (_home, auth, settings) = accounts().await;
        auth.register(&settings, "alice", "correct horse", None, None)
            .await
            .expect("free");
        for (name, password) in [("ALICE", "correct horse"), ("local", "correct horse")] {
            let error = auth
                .register(&settings, name, password, None, None)
                .await
                .expect_err(name);
            assert!(matches!(error, AuthError::Taken), "{error}");
        }
        for name in ["", "a b", "a\n", "ünal", &"x".repeat(65)] {
            let error = auth
                .register(&settings, name, "correct horse", None, None)
                .await
                .expect_err(name);
            assert!(matches!(error, AuthError::BadUsername), "{error}");
        }
        for password in ["", "7 chars", &"x".repeat(1025)] {
            let error = auth
                .register(&settings, "bob", password, None, None)
                .await
                .expect_err("length");
            assert!(matches!(error, AuthError::BadPassword), "{error}");
        }
        let closed = Settings {
            registration: false,
            ..settings
        };
        let error = auth
            .register(&closed, "bob", "correct horse", None, None)
            .await
            .expect_err("closed");
        assert!(matches!(error, AuthError::Closed), "{error}");
    }

    #[tokio::test]
    async fn the_first_administrator_has_a_token_that_is_good_once() {
        let (_home, auth, settings) = accounts().await;
        let closed = Settings {
            registration: false,
            ..settings
        };
        let token = auth
            .setup_token()
            .await
            .expect("a database")
            .expect("nobody is there");
        let register = |name: &'static str, token: &'static str| {
            let (auth, closed) = (&auth, &closed);
            async move {
                auth.register(closed, name, "correct horse", None, Some(token))
                    .await
            }
        };
        assert!(register("eve", "setup-guess").await.is_err());
        let token: &'static str = token.leak();
        assert!(register("not a name", token).await.is_err());
        let admin = register("root", token)
            .await
            .expect("the token is still good");
        assert_eq!(admin.role, Role::Admin);
        assert!(register("eve", token).await.is_err());
        assert_eq!(auth.setup_token().await.expect("a database"), None);
    }

    #[tokio::test]
    async fn a_key_allows_what_was_granted_and_its_owner_may() {
        let (_home, auth, settings) = accounts().await;
        auth.register(&settings, "alice", "correct horse", None, None)
            .await
            .expect("free");
        let granted = auth
            .login(&settings, "alice", "correct horse", HERE)
            .await
            .expect("right");
        let alice = caller(
            auth.identify(&granted.access_token)
                .await
                .expect("just granted"),
        );
        for beyond in [
            Permission::Admin,
            Permission::All,
            Permission::ModelManagement,
        ] {
            let error = auth
                .create_key(&alice, request(&[beyond]))
                .await
                .expect_err("beyond");
            assert!(matches!(error, AuthError::Beyond(_)), "{error}");
        }
        let mut asked = request(&[Permission::Inference]);
        asked.models = Some(vec!["ember".into()]);
        let (key, secret) = auth
            .create_key(&alice, asked)
            .await
            .expect("her own permission");
        assert!(
            secret.starts_with("sk-")
                && key.shown.len() < 12
                && !format!("{key:?}").contains(&secret)
        );
        let holder = auth.identify(&secret).await.expect("a new key");
        assert_eq!(holder.permissions, [Permission::Inference]);
        assert_eq!(holder.models, Some(vec!["ember".to_owned()]));
        let error = auth
            .create_key(&caller(holder), request(&[Permission::Inference]))
            .await
            .expect_err("by a key");
        assert!(matches!(error, AuthError::KeyMakesNoKeys), "{error}");

        let bob = auth
            .add_user("bob", "correct horse", None, Role::User)
            .await
            .expect("free");
        let bob = caller(Arc::new(Identity {
            user_id: bob.id,
            role: Role::User,
            permissions: vec![],
            ..Identity::local()
        }));
        assert!(
            !auth.revoke_key(&bob, &key.id).await.expect("a database"),
            "it is not his"
        );
        assert!(auth.revoke_key(&alice, &key.id).await.expect("a database"));
        assert!(matches!(
            auth.identify(&secret).await,
            Err(AuthError::Invalid)
        ));
        assert!(
            !auth.revoke_key(&alice, &key.id).await.expect("a database"),
            "once is enough"
        );
    }

    #[tokio::test]
    async fn keys_end() {
        let (_home, auth, _) = accounts().await;
        let local = caller(Arc::new(Identity::local()));
        let mut asked = request(&[Permission::All]);
        asked.lifetime = Some(Duration::ZERO);
        let (_, ended) = auth
            .create_key(&local, asked.clone())
            .await
            .expect("the administrator");
        assert!(matches!(
            auth.identify(&ended).await,
            Err(AuthError::Invalid)
        ));
        asked.lifetime = Some(Duration::MAX);
        let (key, _) = auth
            .create_key(&local, asked)
            .await
            .expect("the administrator");
        assert_eq!(key.expires_at, None);
    }

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
