//! Authenticates callers by API key. Keys are kept only as SHA-256 hashes and compared in constant
//! time.

use std::sync::{Arc, PoisonError, RwLock};

use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use protocol::TenantId;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use webhooks::Secret;

use crate::middleware::ClientAddress;
use crate::options::Keys;

/// The header that carries the key.
pub(crate) const KEY_HEADER: &str = "x-api-key";

type Hash = [u8; 32];

/// The hashes of the accepted keys.
pub(crate) struct KeyRing(Vec<Hash>);

impl KeyRing {
    pub(crate) fn new(keys: &[String]) -> Self {
        Self(keys.iter().map(|key| hash(key)).collect())
    }

    /// Returns the tenant that owns this key, or `None` if the key is not accepted. Takes equally
    /// long for every key.
    pub(crate) fn tenant(&self, key: &str) -> Option<TenantId> {
        let shown = hash(key);
        let known = self.0.iter().fold(Choice::from(0), |any, ours| any | ours.ct_eq(&shown));
        bool::from(known).then(|| tenant(&shown))
    }
}

/// The key rings in force. A reload replaces both at once.
pub(crate) struct Doors(RwLock<Arc<Rings>>);

/// The key rings of one configuration.
pub(crate) struct Rings {
    /// The clients' keys.
    pub(crate) clients: KeyRing,
    /// The operators' keys. `None` closes the admin routes.
    pub(crate) operators: Option<KeyRing>,
}

impl Rings {
    fn new(keys: &Keys) -> Self {
        Self {
            clients: KeyRing::new(&keys.api),
            operators: keys.admin.as_ref().map(|key| KeyRing::new(std::slice::from_ref(key))),
        }
    }
}

impl Doors {
    pub(crate) fn new(keys: &Keys) -> Self {
        Self(RwLock::new(Arc::new(Rings::new(keys))))
    }

    /// Replaces the accepted keys. Requests that are already authenticated run to their end.
    pub(crate) fn change(&self, keys: &Keys) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Rings::new(keys));
    }

    /// Returns the rings in force.
    pub(crate) fn now(&self) -> Arc<Rings> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Returns each key's tenant together with the secret that signs the webhooks of its tasks.
pub(crate) fn webhook_secrets(keys: &[String]) -> impl Iterator<Item = (TenantId, Secret)> {
    keys.iter().map(|key| (tenant(&hash(key)), Secret::of_key(key)))
}

fn hash(key: &str) -> Hash {
    Sha256::digest(key.as_bytes()).into()
}

/// Derives a tenant id from a key's hash. It identifies the key without revealing it.
fn tenant(hash: &Hash) -> TenantId {
    let hex: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    TenantId::new(format!("key-{hex}"))
}

/// Returns the key that a request carries: `X-API-Key: …`, or else `Authorization: Bearer …`.
pub(crate) fn presented_key(headers: &HeaderMap) -> Option<&str> {
    if let Some(value) = headers.get(KEY_HEADER) {
        return value.to_str().ok();
    }
    let (scheme, key) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

/// The tenant that owns a request's key. A handler with this argument rejects requests without an
/// accepted key.
#[derive(Debug)]
pub(crate) struct Caller(pub(crate) TenantId);

/// The client address of a request that carries the operators' key. A handler with this argument
/// rejects all other requests.
#[derive(Debug)]
pub(crate) struct Operator {
    /// The client's address, for the log.
    pub(crate) client: ClientAddress,
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn only_configured_keys_are_let_in() {
        let ring = KeyRing::new(&["first".into(), "second".into()]);
        let (first, second) = (ring.tenant("first").unwrap(), ring.tenant("second").unwrap());
        assert_ne!(first, second);
        assert_eq!(first.as_str(), "key-a7937b64b8caa58f", "the start of SHA-256(\"first\")");
        for stranger in ["", "third", "firs", "first ", "FIRST"] {
            assert_eq!(ring.tenant(stranger), None, "{stranger:?}");
        }
        assert_eq!(KeyRing::new(&[]).tenant("first"), None);
    }

    #[test]
    fn api_key_is_read_from_either_header() {
        assert_eq!(presented_key(&headers(&[("x-api-key", "k")])), Some("k"));
        assert_eq!(presented_key(&headers(&[("authorization", "Bearer k")])), Some("k"));
        assert_eq!(presented_key(&headers(&[("authorization", "bearer  k")])), Some("k"));
        assert_eq!(presented_key(&headers(&[("authorization", "Basic k")])), None);
        assert_eq!(presented_key(&headers(&[("authorization", "k")])), None);
        assert_eq!(presented_key(&headers(&[])), None);
        let both = headers(&[("x-api-key", "a"), ("authorization", "Bearer b")]);
        assert_eq!(presented_key(&both), Some("a"));
    }
}
