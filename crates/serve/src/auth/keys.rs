//! API keys: made for their owners, shown once, revoked.

use std::time::Duration;

use super::secrets::{hash_token, random_id, random_token};
use super::store::{Key, now};
use super::{Auth, AuthError};
use crate::caller::{Caller, Means, Permission};

/// The last second that RFC 3339 has a form for, the end of the year 9999, in Unix time.
const LAST_WRITTEN: i64 = 253_402_300_799;

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

impl Auth {
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
            // A time that cannot be written as others write it is never.
            expires_at: lifetime
                .and_then(|lifetime| created_at.checked_add(lifetime))
                .filter(|end| *end <= LAST_WRITTEN),
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
        self.memory.forget();
        Ok(revoked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::testing::{HERE, accounts, caller, request};
    use crate::caller::{Identity, Role};
    use std::sync::Arc;

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
        for beyond in [
            Duration::MAX,
            Duration::from_secs(396_730_395 * 3600),
            Duration::from_secs(8_000 * 366 * 86_400),
        ] {
            asked.lifetime = Some(beyond);
            let (key, _) = auth
                .create_key(&local, asked.clone())
                .await
                .expect("the administrator");
            assert_eq!(key.expires_at, None);
        }
    }
}
