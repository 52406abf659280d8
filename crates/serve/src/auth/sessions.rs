//! Sessions: begun with a password, gone on with by tokens that are good once, ended.

use std::net::IpAddr;

use super::secrets::{PASSWORD_LENGTHS, hash_token, random_id, random_token};
use super::store::{Session, User, now};
use super::{Auth, AuthError};
use crate::caller::{Caller, ClientId, Means};
use crate::settings::Settings;

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

impl Auth {
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
        self.memory.forget();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::testing::{HERE, accounts, caller};
    use crate::caller::Role;

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
}
