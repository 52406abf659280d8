//! Users, keys and sessions in a database: a SQLite file, or PostgreSQL by URL.
//!
//! Times are Unix seconds. Passwords, keys and tokens are stored as hashes only.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Once;

use sqlx::any::{AnyPoolOptions, AnyRow};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AnyPool, Executor, Row, SqlSafeStr};

use super::AuthError;
use crate::caller::{Permission, Role};
use crate::settings::Secret;

/// The database's states, the oldest first; each is one file and never changed.
const MIGRATIONS: [(i64, &str, &str); 1] =
    [(1, "accounts", include_str!("migrations/0001_accounts.sql"))];

/// The database.
#[derive(Debug, Clone)]
pub struct Store {
    pool: AnyPool,
}

/// A user's account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its id.
    pub id: String,
    /// Its name, unique whatever the case of its letters.
    pub username: String,
    /// An address of mail, unchecked.
    pub email: Option<String>,
    /// What kind of account it is.
    pub role: Role,
    /// When it was made.
    pub created_at: i64,
    /// When its password was last given.
    pub last_login: Option<i64>,
}

/// An API key, without the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub user_id: String,
    /// What its owner calls it.
    pub name: String,
    /// The beginning of the key, by which its owner knows it again.
    pub shown: String,
    /// What it allows.
    pub permissions: Vec<Permission>,
    /// The models that it allows; `None` for all.
    pub models: Option<Vec<String>>,
    /// When it was made.
    pub created_at: i64,
    /// When it ends; `None` for never.
    pub expires_at: Option<i64>,
    /// When it was revoked, if it was.
    pub revoked_at: Option<i64>,
}

/// A session, which tokens belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub user_id: String,
    /// When it can no longer be renewed.
    pub expires_at: i64,
    /// When it was ended, if it was.
    pub revoked_at: Option<i64>,
}

impl Store {
    /// Opens the database at `url`, or the SQLite file `file`, and brings it to the newest state.
    ///
    /// # Errors
    /// Those of the file and the database.
    pub async fn open(url: Option<&Secret>, file: &Path) -> Result<Self, AuthError> {
        static DRIVERS: Once = Once::new();
        DRIVERS.call_once(sqlx::any::install_default_drivers);
        let url = match url {
            Some(url) => url.expose().to_owned(),
            None => {
                make_private(file)?;
                format!("sqlite://{}", percent_encode(&std::path::absolute(file)?))
            }
        };
        let is_sqlite = url.starts_with("sqlite:");
        let pool = AnyPoolOptions::new()
            // SQLite writes one at a time; more connections would only wait for each other.
            .max_connections(if is_sqlite { 4 } else { 8 })
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    if is_sqlite {
                        connection.execute("PRAGMA journal_mode = WAL").await?;
                        connection.execute("PRAGMA busy_timeout = 5000").await?;
                        connection.execute("PRAGMA foreign_keys = ON").await?;
                    }
                    Ok(())
                })
            })
            .connect(&url)
            .await?;
        let migrations = MIGRATIONS.map(|(version, name, sql)| {
            let kind = MigrationType::Simple;
            Migration::new(
                version,
                Cow::Borrowed(name),
                kind,
                sql.into_sql_str(),
                false,
            )
        });
        Migrator::with_migrations(migrations.into())
            .run(&pool)
            .await?;
        let store = Self { pool };
        store.add_local().await?;
        Ok(store)
    }

    /// The built-in administrator has an account, so that keys can be his; it has no password.
    async fn add_local(&self) -> Result<(), AuthError> {
        let sql = "INSERT INTO users (id, username, role, created_at) VALUES ('local', 'local', 'admin', $1) \
                   ON CONFLICT (id) DO NOTHING";
        sqlx::query(sql).bind(now()).execute(&self.pool).await?;
        Ok(())
    }

    /// Adds a user.
    ///
    /// # Errors
    /// [`AuthError::Taken`]; those of the database.
    pub async fn add_user(&self, user: &User, password: &str) -> Result<(), AuthError> {
        // Names that differ in the case of letters only are too easily mistaken for each other.
        let sql = "SELECT COUNT(*) FROM users WHERE LOWER(username) = LOWER($1)";
        let taken: i64 = sqlx::query_scalar(sql)
            .bind(user.username.clone())
            .fetch_one(&self.pool)
            .await?;
        if taken > 0 {
            return Err(AuthError::Taken);
        }
        let sql = "INSERT INTO users (id, username, email, password, role, created_at) VALUES ($1, $2, $3, $4, $5, $6)";
        let added = sqlx::query(sql)
            .bind(user.id.clone())
            .bind(user.username.clone())
            .bind(user.email.clone())
            .bind(password.to_owned())
            .bind(user.role.name())
            .bind(user.created_at)
            .execute(&self.pool)
            .await;
        match added {
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                Err(AuthError::Taken)
            }
            other => Ok(other.map(|_| ())?),
        }
    }

    /// The user with this id.
    pub async fn user(&self, id: &str) -> Result<Option<User>, AuthError> {
        let sql =
            "SELECT id, username, email, role, created_at, last_login FROM users WHERE id = $1";
        let row = sqlx::query(sql)
            .bind(id.to_owned())
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| user_of(&row)).transpose()
    }

    /// The user of this name, and the hash of his password if he has one.
    pub async fn user_named(
        &self,
        username: &str,
    ) -> Result<Option<(User, Option<String>)>, AuthError> {
        let sql = "SELECT id, username, email, role, created_at, last_login, password FROM users \
                   WHERE LOWER(username) = LOWER($1)";
        let row = sqlx::query(sql)
            .bind(username.to_owned())
            .fetch_optional(&self.pool)
            .await?;
        let Some(row) = row else {
            return Ok(None);
        };
        Ok(Some((user_of(&row)?, row.try_get("password")?)))
    }

    /// Every user who is a person, by name.
    pub async fn users(&self) -> Result<Vec<User>, AuthError> {
        let sql = "SELECT id, username, email, role, created_at, last_login FROM users \
                   WHERE id <> 'local' ORDER BY username";
        let rows = sqlx::query(sql).fetch_all(&self.pool).await?;
        rows.iter().map(user_of).collect()
    }

    /// Whether there is an administrator besides the built-in one.
    pub async fn has_admin(&self) -> Result<bool, AuthError> {
        let sql = "SELECT COUNT(*) FROM users WHERE role = 'admin' AND id <> 'local'";
        let count: i64 = sqlx::query_scalar(sql).fetch_one(&self.pool).await?;
        Ok(count > 0)
    }

    /// Notes that the user has given his password.
    pub async fn logged_in(&self, id: &str, at: i64) -> Result<(), AuthError> {
        let sql = "UPDATE users SET last_login = $1 WHERE id = $2";
        sqlx::query(sql)
            .bind(at)
            .bind(id.to_owned())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Gives the user another password, by its hash, and ends his sessions.
    pub async fn set_password(&self, id: &str, password: &str) -> Result<(), AuthError> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query("UPDATE users SET password = $1 WHERE id = $2")
            .bind(password.to_owned())
            .bind(id.to_owned())
            .execute(&mut *transaction)
            .await?;
        sqlx::query("DELETE FROM sessions WHERE user_id = $1")
            .bind(id.to_owned())
            .execute(&mut *transaction)
            .await?;
        Ok(transaction.commit().await?)
    }

    /// Removes a user with all his keys and sessions.
    pub async fn remove_user(&self, id: &str) -> Result<(), AuthError> {
        let mut transaction = self.pool.begin().await?;
        for sql in [
            "DELETE FROM api_keys WHERE user_id = $1",
            "DELETE FROM sessions WHERE user_id = $1",
            "DELETE FROM users WHERE id = $1",
        ] {
            sqlx::query(sql)
                .bind(id.to_owned())
                .execute(&mut *transaction)
                .await?;
        }
        Ok(transaction.commit().await?)
    }

    /// Adds a key by its hash.
    pub async fn add_key(&self, key: &Key, hash: &str) -> Result<(), AuthError> {
        let names: Vec<&str> = key
            .permissions
            .iter()
            .map(|permission| permission.name())
            .collect();
        let models = key
            .models
            .as_ref()
            .map(|models| serde_json::json!(models).to_string());
        let sql = "INSERT INTO api_keys (id, user_id, name, hash, shown, permissions, models, created_at, expires_at) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        sqlx::query(sql)
            .bind(key.id.clone())
            .bind(key.user_id.clone())
            .bind(key.name.clone())
            .bind(hash.to_owned())
            .bind(key.shown.clone())
            .bind(names.join(" "))
            .bind(models)
            .bind(key.created_at)
            .bind(key.expires_at)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// The key with this hash.
    pub async fn key_by_hash(&self, hash: &str) -> Result<Option<Key>, AuthError> {
        let sql = "SELECT id, user_id, name, shown, permissions, models, created_at, expires_at, revoked_at \
                   FROM api_keys WHERE hash = $1";
        let row = sqlx::query(sql)
            .bind(hash.to_owned())
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| key_of(&row)).transpose()
    }

    /// The keys of a user, or of all, the oldest first.
    pub async fn keys(&self, user_id: Option<&str>) -> Result<Vec<Key>, AuthError> {
        let sql = "SELECT id, user_id, name, shown, permissions, models, created_at, expires_at, revoked_at \
                   FROM api_keys WHERE user_id = $1 OR $2 = 1 ORDER BY created_at, id";
        let rows = sqlx::query(sql)
            .bind(user_id.unwrap_or_default().to_owned())
            .bind(i64::from(user_id.is_none()))
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(key_of).collect()
    }

    /// How many keys of a user are good for something now.
    pub async fn count_keys(&self, user_id: &str) -> Result<i64, AuthError> {
        let sql = "SELECT COUNT(*) FROM api_keys WHERE user_id = $1 AND revoked_at IS NULL \
                   AND (expires_at IS NULL OR expires_at > $2)";
        let count = sqlx::query_scalar(sql).bind(user_id.to_owned()).bind(now());
        Ok(count.fetch_one(&self.pool).await?)
    }

    /// Revokes a key of `user_id`, or of anybody. Answers whether there was one to revoke.
    pub async fn revoke_key(&self, id: &str, user_id: Option<&str>) -> Result<bool, AuthError> {
        let sql = "UPDATE api_keys SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL \
                   AND (user_id = $3 OR $4 = 1)";
        let done = sqlx::query(sql)
            .bind(now())
            .bind(id.to_owned())
            .bind(user_id.unwrap_or_default().to_owned())
            .bind(i64::from(user_id.is_none()))
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Begins a session.
    pub async fn add_session(
        &self,
        session: &Session,
        refresh_hash: &str,
    ) -> Result<(), AuthError> {
        let sql =
            "INSERT INTO sessions (id, user_id, refresh_hash, expires_at) VALUES ($1, $2, $3, $4)";
        sqlx::query(sql)
            .bind(session.id.clone())
            .bind(session.user_id.clone())
            .bind(refresh_hash.to_owned())
            .bind(session.expires_at)
            .execute(&self.pool)
            .await?;
        // Sessions that ended long ago say nothing to anybody.
        let sql = "DELETE FROM sessions WHERE expires_at < $1";
        sqlx::query(sql).bind(now()).execute(&self.pool).await?;
        Ok(())
    }

    /// The session with this id.
    pub async fn session(&self, id: &str) -> Result<Option<Session>, AuthError> {
        let sql = "SELECT id, user_id, expires_at, revoked_at FROM sessions WHERE id = $1";
        let row = sqlx::query(sql)
            .bind(id.to_owned())
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| session_of(&row)).transpose()
    }

    /// Puts `next` in the place of the refresh token `current`, in one step, so that a token is good
    /// once. Answers with the session it belongs to, if it is good.
    pub async fn rotate(&self, current: &str, next: &str) -> Result<Option<Session>, AuthError> {
        let sql = "UPDATE sessions SET refresh_hash = $1 WHERE refresh_hash = $2 \
                   AND revoked_at IS NULL AND expires_at > $3";
        let done = sqlx::query(sql)
            .bind(next.to_owned())
            .bind(current.to_owned())
            .bind(now())
            .execute(&self.pool)
            .await?;
        if done.rows_affected() == 0 {
            return Ok(None);
        }
        let sql =
            "SELECT id, user_id, expires_at, revoked_at FROM sessions WHERE refresh_hash = $1";
        let row = sqlx::query(sql)
            .bind(next.to_owned())
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| session_of(&row)).transpose()
    }

    /// Ends a session.
    pub async fn revoke_session(&self, id: &str) -> Result<(), AuthError> {
        let sql = "UPDATE sessions SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL";
        sqlx::query(sql)
            .bind(now())
            .bind(id.to_owned())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// The secret of this name; `fresh` is kept as it if there is none.
    pub async fn secret(&self, name: &str, fresh: &str) -> Result<Secret, AuthError> {
        let sql = "INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
        sqlx::query(sql)
            .bind(name.to_owned())
            .bind(fresh.to_owned())
            .execute(&self.pool)
            .await?;
        let sql = "SELECT value FROM secrets WHERE name = $1";
        let value: String = sqlx::query_scalar(sql)
            .bind(name.to_owned())
            .fetch_one(&self.pool)
            .await?;
        Ok(Secret::new(value))
    }

    /// Keeps `value` as the secret of this name, whatever it was.
    pub async fn put_secret(&self, name: &str, value: &str) -> Result<(), AuthError> {
        let sql = "INSERT INTO secrets (name, value) VALUES ($1, $2) \
                   ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        sqlx::query(sql)
            .bind(name.to_owned())
            .bind(value.to_owned())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Removes the secret of this name if it is `value`, in one step. Answers whether it was.
    pub async fn take_secret(&self, name: &str, value: &str) -> Result<bool, AuthError> {
        let sql = "DELETE FROM secrets WHERE name = $1 AND value = $2";
        let done = sqlx::query(sql)
            .bind(name.to_owned())
            .bind(value.to_owned())
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() > 0)
    }
}

/// Unix time in seconds.
pub fn now() -> i64 {
    chrono::Utc::now().timestamp()
}

fn user_of(row: &AnyRow) -> Result<User, AuthError> {
    let role: String = row.try_get("role")?;
    Ok(User {
        id: row.try_get("id")?,
        username: row.try_get("username")?,
        email: row.try_get("email")?,
        // A word that is not known gives no rights that are not known.
        role: Role::named(&role).unwrap_or(Role::User),
        created_at: row.try_get("created_at")?,
        last_login: row.try_get("last_login")?,
    })
}

fn key_of(row: &AnyRow) -> Result<Key, AuthError> {
    let permissions: String = row.try_get("permissions")?;
    let models: Option<String> = row.try_get("models")?;
    Ok(Key {
        id: row.try_get("id")?,
        user_id: row.try_get("user_id")?,
        name: row.try_get("name")?,
        shown: row.try_get("shown")?,
        permissions: permissions
            .split(' ')
            .filter_map(Permission::named)
            .collect(),
        // A list that cannot be read allows nothing, rather than everything.
        models: models.map(|text| serde_json::from_str(&text).unwrap_or_default()),
        created_at: row.try_get("created_at")?,
        expires_at: row.try_get("expires_at")?,
        revoked_at: row.try_get("revoked_at")?,
    })
}

fn session_of(row: &AnyRow) -> Result<Session, AuthError> {
    Ok(Session {
        id: row.try_get("id")?,
        user_id: row.try_get("user_id")?,
        expires_at: row.try_get("expires_at")?,
        revoked_at: row.try_get("revoked_at")?,
    })
}

/// Makes the file, if it is not there, for nobody but this user to read.
fn make_private(file: &Path) -> Result<(), AuthError> {
    if let Some(folder) = file.parent() {
        crate::private::folder(folder)?;
    }
    crate::private::open(file)?;
    Ok(())
}

/// A path as a part of a URL.
fn percent_encode(path: &Path) -> String {
    let text = path.to_string_lossy();
    let mut encoded = String::with_capacity(text.len());
    for &byte in text.as_bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            other => encoded += &format!("%{other:02X}"),
        }
    }
    encoded
}
