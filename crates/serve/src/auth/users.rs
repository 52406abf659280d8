//! Users: added by an administrator, by themselves, or as the first one.

use super::secrets::{PASSWORD_LENGTHS, hash_token, random_id, random_token};
use super::store::{User, now};
use super::{Auth, AuthError};
use crate::caller::Role;
use crate::settings::Settings;

/// The one-time secret by which the first administrator registers.
const SETUP: &str = "setup_token";

impl Auth {
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
        self.memory.forget();
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
    use crate::auth::testing::accounts;

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
}
