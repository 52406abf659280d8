//! Session tokens: JSON Web Tokens signed by HMAC with SHA-256 (RFC 7519, RFC 7518 section 3.2).
//!
//! The library that reads and writes them asks for a provider of signatures; this is the smallest one,
//! for the one algorithm that is used, so that no other can be chosen by whoever sends a token.

use std::sync::Once;

use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use signature::{Signer, Verifier};

use super::AuthError;
use crate::settings::Secret;

/// Who issues the tokens.
const ISSUER: &str = "hearth";

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who issued it.
    iss: String,
    /// The user's id.
    pub sub: String,
    /// The session's id.
    pub sid: String,
    /// When it was issued, in Unix seconds.
    pub iat: i64,
    /// When it ends, in Unix seconds.
    pub exp: i64,
}

/// Signs and reads tokens.
pub struct Tokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens(***)")
    }
}

impl Tokens {
    /// Tokens signed with `secret`.
    pub fn new(secret: &Secret) -> Self {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| {
            // Fails only where one is installed already, and then that one serves.
            let _ = HS256.install_default();
        });
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "iss", "sub"]);
        Self {
            encoding: EncodingKey::from_secret(secret.expose().as_bytes()),
            decoding: DecodingKey::from_secret(secret.expose().as_bytes()),
            validation,
        }
    }

    /// A token for `session` of `user`, good from `now` for `seconds`.
    ///
    /// # Errors
    /// A defect: signing cannot fail.
    pub fn issue(
        &self,
        user: &str,
        session: &str,
        now: i64,
        seconds: i64,
    ) -> Result<String, AuthError> {
        let claims = Claims {
            iss: ISSUER.to_owned(),
            sub: user.to_owned(),
            sid: session.to_owned(),
            iat: now,
            exp: now.saturating_add(seconds),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding)
            .map_err(|_| AuthError::Signing)
    }

    /// What a token says, if it is signed with our secret and has not ended.
    pub fn read(&self, token: &str) -> Option<Claims> {
        let read = jsonwebtoken::decode::<Claims>(token, &self.decoding, &self.validation);
        read.ok().map(|data| data.claims)
    }
}

static HS256: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| Ok(Box::new(hmac_of(*algorithm, key.as_bytes())?)),
    verifier_factory: |algorithm, key| Ok(Box::new(hmac_of(*algorithm, key.try_get_as_bytes()?)?)),
    key_utils: KeyUtils::new_unimplemented(),
};

struct Hs256(Hmac<Sha256>);

fn hmac_of(algorithm: Algorithm, key: &[u8]) -> Result<Hs256, Error> {
    if algorithm != Algorithm::HS256 {
        return Err(ErrorKind::InvalidAlgorithm.into());
    }
    let hmac = Hmac::new_from_slice(key).map_err(|_| ErrorKind::InvalidKeyFormat)?;
    Ok(Hs256(hmac))
}

impl Signer<Vec<u8>> for Hs256 {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        Ok(self
            .0
            .clone()
            .chain_update(message)
            .finalize()
            .into_bytes()
            .to_vec())
    }
}

impl Verifier<Vec<u8>> for Hs256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        // In constant time.
        let verified = self.0.clone().chain_update(message).verify_slice(signature);
        verified.map_err(signature::Error::from_source)
    }
}

impl JwtSigner for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    fn now() -> i64 {
        chrono::Utc::now().timestamp()
    }

    #[test]
    fn tokens_are_read_with_the_secret_that_signed_them() {
        let tokens = Tokens::new(&Secret::new("one secret"));
        let token = tokens
            .issue("user", "session", now(), 60)
            .expect("signing works");
        let claims = tokens.read(&token).expect("it is ours");
        assert_eq!(
            (claims.sub.as_str(), claims.sid.as_str()),
            ("user", "session")
        );
        assert_eq!(Tokens::new(&Secret::new("another")).read(&token), None);
        let ended = tokens
            .issue("user", "session", now() - 120, 60)
            .expect("signing works");
        assert_eq!(tokens.read(&ended), None);
    }

    #[test]
    fn forged_tokens_are_refused() {
        let tokens = Tokens::new(&Secret::new("one secret"));
        let token = tokens
            .issue("user", "session", now(), 60)
            .expect("signing works");
        let parts: Vec<&str> = token.split('.').collect();
        let unsigned = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
        let other = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS512","typ":"JWT"}"#);
        let claims = URL_SAFE_NO_PAD.encode(format!(
            r#"{{"iss":"hearth","sub":"admin","sid":"session","iat":0,"exp":{}}}"#,
            now() + 60
        ));
        for forged in [
            format!("{unsigned}.{}.", parts[1]),
            format!("{unsigned}.{}.{}", parts[1], parts[2]),
            format!("{other}.{}.{}", parts[1], parts[2]),
            format!("{}.{claims}.{}", parts[0], parts[2]),
            format!("{}.{}", parts[0], parts[1]),
            format!("{token}x"),
            String::new(),
            "..".to_owned(),
            "not.a.token".to_owned(),
        ] {
            assert_eq!(tokens.read(&forged), None, "{forged}");
        }
    }

    /// The example of RFC 7515, appendix A.1.
    #[test]
    fn the_signature_is_that_of_the_standard() {
        let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
        let key = URL_SAFE_NO_PAD.decode(key).expect("base64");
        let message = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
                       eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let signature = hmac_of(Algorithm::HS256, &key)
            .expect("a key")
            .try_sign(message.as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(signature.expect("signing works"));
        assert_eq!(signature, "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    }
}
