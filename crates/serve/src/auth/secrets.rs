//! Passwords, keys and tokens: made, hashed, compared.

use std::sync::LazyLock;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::AuthError;

/// Fewest and most characters of a password; the upper bound keeps hashing it cheap enough.
pub const PASSWORD_LENGTHS: std::ops::RangeInclusive<usize> = 8..=1024;

/// Hashes a password slowly, with salt. Takes tens of milliseconds and 19 MiB.
///
/// # Errors
/// The system gives no randomness.
pub fn hash_password(password: &str) -> Result<String, AuthError> {
    let hash = Argon2::default()
        .hash_password(password.as_bytes())
        .map_err(|_| AuthError::Randomness)?;
    Ok(hash.to_string())
}

/// Whether `password` is the one behind `hash`. Without a hash it takes as long and is not, so that the
/// time does not tell whether there is such a user.
pub fn verify_password(password: &str, hash: Option<&str>) -> bool {
    static NOBODY: LazyLock<String> =
        LazyLock::new(|| hash_password("nobody's").unwrap_or_default());
    let text = hash.unwrap_or(&NOBODY);
    let verified = PasswordHash::new(text).is_ok_and(|parsed| {
        Argon2::default()
            .verify_password(password.as_bytes(), &parsed)
            .is_ok()
    });
    verified && hash.is_some()
}

/// A text of 256 random bits after `prefix`.
///
/// # Errors
/// The system gives no randomness.
pub fn random_token(prefix: &str) -> Result<String, AuthError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|_| AuthError::Randomness)?;
    Ok(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes)))
}

/// A short random name after `prefix`.
///
/// # Errors
/// The system gives no randomness.
pub fn random_id(prefix: &str) -> Result<String, AuthError> {
    let mut bytes = [0; 9];
    getrandom::fill(&mut bytes).map_err(|_| AuthError::Randomness)?;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{prefix}{hex}"))
}

/// The hash under which a key or token is kept. Fast, since 256 random bits cannot be guessed; looked up
/// by equality, which tells nothing to one who cannot choose the hash.
pub fn hash_token(token: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_by_its_hash() {
        let hash = hash_password("correct horse").expect("randomness");
        assert!(hash.starts_with("$argon2id$") && !hash.contains("horse"));
        assert!(verify_password("correct horse", Some(&hash)));
        assert!(!verify_password("wrong horse", Some(&hash)));
        assert!(!verify_password("nobody's", None));
        assert!(!verify_password("", Some("nonsense")));
    }

    #[test]
    fn tokens_are_long_and_differ() {
        let [one, two] = [(), ()].map(|()| random_token("sk-").expect("randomness"));
        assert!(one.len() == 46 && one != two);
        assert!(!hash_token(&one).contains(&one[3..10]));
        assert_eq!(hash_token(&one), hash_token(&one.clone()));
    }
}
