//! [`Jwt`]: bearer tokens that another service signs (RFC 7519).
//!
//! The crate `jsonwebtoken` checks header, signature, audience and issuer. The times are checked here, because with
//! serde_json's `arbitrary_precision`, which this workspace uses, that crate can't read numbers.

mod claims;
mod verifier;

use std::fmt;

use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use protocol::Timestamp;
use serde_json::Value;

use self::claims::Claims;
use super::access::Access;
use super::denied::Denied;
use crate::options::JwtOptions;

/// Minimum length of the shared secret, in bytes (RFC 7518, section 3.2).
const MIN_SECRET: usize = 32;
/// Minimum size of an RSA modulus, in bytes (RFC 7518, section 3.3).
const MIN_MODULUS: usize = 2048 / 8;

/// The keys for tokens can't be used.
#[derive(Debug, thiserror::Error)]
pub enum JwtUnusable {
    /// The shared secret is too short.
    #[error("JWT_SECRET has {0} bytes, but at least {MIN_SECRET} are required")]
    ShortSecret(usize),
    /// The file of keys is not a JWK set.
    #[error("JWT_JWKS_FILE is not a JWK set: {0}")]
    NotASet(#[from] serde_json::Error),
    /// The file has no key that can be used.
    #[error("JWT_JWKS_FILE has no key for RS256 (RSA, at least 2048 bits) or ES256 (EC, P-256)")]
    NoKey,
}

/// A key, which verifies one algorithm only.
struct Key {
    algorithm: Algorithm,
    /// `None` for the shared secret, and for a key without a name.
    id: Option<String>,
    key: DecodingKey,
}

/// Verifies tokens.
pub(super) struct Jwt {
    keys: Vec<Key>,
    audience: Option<String>,
    issuer: Option<String>,
    leeway_ms: u64,
}

impl fmt::Debug for Jwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwt").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

impl Jwt {
    /// Reads the keys. `None` if there are none.
    pub(super) fn new(options: &JwtOptions) -> Result<Option<Self>, JwtUnusable> {
        verifier::install();
        let mut keys = Vec::new();
        if let Some(secret) = &options.secret {
            if secret.len() < MIN_SECRET {
                return Err(JwtUnusable::ShortSecret(secret.len()));
            }
            let key = DecodingKey::from_secret(secret.as_bytes())
                .map_err(|_| JwtUnusable::ShortSecret(0))?;
            keys.push(Key { algorithm: Algorithm::HS256, id: None, key });
        }
        if let Some(text) = &options.jwks {
            let set: JwkSet = serde_json::from_str(text)?;
            let before = keys.len();
            keys.extend(set.keys.iter().filter_map(public_key));
            if keys.len() == before {
                return Err(JwtUnusable::NoKey);
            }
        }
        let JwtOptions { audience, issuer, leeway_s, .. } = options;
        let (audience, issuer) = (audience.clone(), issuer.clone());
        let leeway_ms = leeway_s.saturating_mul(1000);
        Ok((!keys.is_empty()).then_some(Self { keys, audience, issuer, leeway_ms }))
    }

    /// Returns what a token opens.
    pub(super) fn verify(&self, token: &str, now: Timestamp) -> Result<Access, Denied> {
        let header = decode_header(token).map_err(|_| Denied::Token("it is not a JWT"))?;
        let key = self.key(header.alg, header.kid.as_deref())?;
        let mut validation = Validation::new(key.algorithm);
        (validation.validate_exp, validation.validate_nbf) = (false, false);
        let mut required = Vec::new();
        validation.validate_aud = self.audience.is_some();
        if let Some(audience) = &self.audience {
            validation.set_audience(&[audience]);
            required.push("aud");
        }
        if let Some(issuer) = &self.issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        validation.set_required_spec_claims(&required);
        let token =
            decode::<Value>(token, &key.key, &validation).map_err(|error| refused(&error))?;
        Claims(&token.claims).access(now, self.leeway_ms)
    }

    /// Returns the key for a token. The algorithm is the key's, never the token's choice: a token only selects among
    /// the keys of its algorithm.
    fn key(&self, algorithm: Algorithm, id: Option<&str>) -> Result<&Key, Denied> {
        let mut fitting = self.keys.iter().filter(|key| {
            let is_named = id.is_none() || key.id.is_none() || key.id.as_deref() == id;
            key.algorithm == algorithm && is_named
        });
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Ok(key),
            (Some(_), Some(_)) => Err(Denied::Token("its header must name the key (kid)")),
            (None, _) => Err(Denied::Token("no key for its algorithm and name (alg, kid)")),
        }
    }
}

fn refused(error: &jsonwebtoken::errors::Error) -> Denied {
    use jsonwebtoken::errors::ErrorKind;
    Denied::Token(match error.kind() {
        ErrorKind::InvalidSignature => "its signature is wrong",
        ErrorKind::InvalidAudience => "it is for another audience (aud)",
        ErrorKind::InvalidIssuer => "it has another issuer (iss)",
        ErrorKind::MissingRequiredClaim(name) if name == "aud" => "it has no audience (aud)",
        ErrorKind::MissingRequiredClaim(_) => "it has no issuer (iss)",
        _ => "it is malformed",
    })
}

/// Reads a public key. `None` if its kind is not supported, or it is not for signatures.
fn public_key(jwk: &Jwk) -> Option<Key> {
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => {
            Algorithm::ES256
        }
        _ => return None,
    };
    let is_for_it = matches!(
        (algorithm, &jwk.common.key_algorithm),
        (_, None)
            | (Algorithm::RS256, Some(KeyAlgorithm::RS256))
            | (Algorithm::ES256, Some(KeyAlgorithm::ES256))
    );
    let signs = matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature));
    let key = DecodingKey::from_jwk(jwk).ok().filter(|key| is_for_it && signs && is_strong(key))?;
    Some(Key { algorithm, id: jwk.common.key_id.clone(), key })
}

fn is_strong(key: &DecodingKey) -> bool {
    match key.kind() {
        jsonwebtoken::DecodingKeyKind::RsaModulusExponent { n, .. } => n.len() >= MIN_MODULUS,
        jsonwebtoken::DecodingKeyKind::SecretOrDer(_) => true,
    }
}

#[cfg(test)]
mod tests;
