//! From a credential to an identity, remembered for a few seconds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::secrets::hash_token;
use super::store::now;
use super::{Auth, AuthError};
use crate::caller::{Identity, Means};

/// How long what a credential says is remembered.
const REMEMBERED: Duration = Duration::from_secs(5);

/// Most credentials that are remembered.
const MOST_REMEMBERED: usize = 4096;

/// What credentials were found to say, by their hashes, and when.
#[derive(Default)]
pub struct Memory(Mutex<HashMap<String, (Instant, Arc<Identity>)>>);

impl Memory {
    fn recall(&self, hash: &str) -> Option<Arc<Identity>> {
        let remembered = self.lock();
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
        let mut remembered = self.lock();
        if remembered.len() >= MOST_REMEMBERED {
            remembered.retain(|_, (since, _)| since.elapsed() < REMEMBERED);
        }
        if remembered.len() < MOST_REMEMBERED {
            remembered.insert(hash, (Instant::now(), Arc::clone(identity)));
        }
    }

    /// Forgets what credentials say, so that a change holds at once.
    pub fn forget(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Instant, Arc<Identity>)>> {
        let Self(remembered) = self;
        remembered
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Auth {
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
        if let Some(identity) = self.memory.recall(&hash) {
            return Ok(identity);
        }
        let identity = match credential.starts_with("sk-") {
            true => self.identify_key(&hash).await?,
            false => self.identify_token(credential).await?,
        };
        let identity = Arc::new(identity);
        self.memory.remember(hash, &identity);
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
}
