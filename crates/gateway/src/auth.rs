//! Who calls. Keys are kept only as SHA-256 hashes and compared in constant time.

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

/// The hashes of the keys that are let in.
pub(crate) struct KeyRing(Vec<Hash>);

impl KeyRing {
    /// Hashes the keys.
    pub(crate) fn new(keys: &[String]) -> Self {
        Self(keys.iter().map(|key| hash(key)).collect())
    }

    /// Whose key this is, if it is one of ours. Takes as long for any key as for any other.
    pub(crate) fn tenant(&self, key: &str) -> Option<TenantId> {
        let shown = hash(key);
        let known = self.0.iter().fold(Choice::from(0), |any, ours| any | ours.ct_eq(&shown));
        bool::from(known).then(|| tenant(&shown))
    }
}

/// Who is let in at present. A reload replaces both rings at once.
pub(crate) struct Doors(RwLock<Arc<Rings>>);

/// The rings of one moment.
pub(crate) struct Rings {
    /// Clients'.
    pub(crate) clients: KeyRing,
    /// Operators'; none when nobody may operate over HTTP.
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
    /// Hashes the keys.
    pub(crate) fn new(keys: &Keys) -> Self {
        Self(RwLock::new(Arc::new(Rings::new(keys))))
    }

    /// Lets other keys in from now on, and those of before no longer. Requests under way go on.
    pub(crate) fn change(&self, keys: &Keys) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Rings::new(keys));
    }

    /// Returns the rings in force.
    pub(crate) fn now(&self) -> Arc<Rings> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What signs the webhooks of each key's tasks.
pub(crate) fn webhook_secrets(keys: &[String]) -> impl Iterator<Item = (TenantId, Secret)> {
    keys.iter().map(|key| (tenant(&hash(key)), Secret::of_key(key)))
}

fn hash(key: &str) -> Hash {
    Sha256::digest(key.as_bytes()).into()
}

/// A name that tells keys apart and gives none away.
fn tenant(hash: &Hash) -> TenantId {
    let hex: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    TenantId::new(format!("key-{hex}"))
}

/// The key that a request shows: `X-API-Key: …`, or else `Authorization: Bearer …`.
pub(crate) fn shown_key(headers: &HeaderMap) -> Option<&str> {
    if let Some(value) = headers.get(KEY_HEADER) {
        return value.to_str().ok();
    }
    let (scheme, key) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

/// The owner of the key that a request shows. A handler that takes one is closed to other requests.
#[derive(Debug)]
pub(crate) struct Caller(pub(crate) TenantId);

/// The address of someone who showed the operators' key. A handler that takes one is closed to other requests.
#[derive(Debug)]
pub(crate) struct Operator {
    /// For the log: the client that acts.
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
    fn a_key_is_shown_in_either_header() {
        assert_eq!(shown_key(&headers(&[("x-api-key", "k")])), Some("k"));
        assert_eq!(shown_key(&headers(&[("authorization", "Bearer k")])), Some("k"));
        assert_eq!(shown_key(&headers(&[("authorization", "bearer  k")])), Some("k"));
        assert_eq!(shown_key(&headers(&[("authorization", "Basic k")])), None);
        assert_eq!(shown_key(&headers(&[("authorization", "k")])), None);
        assert_eq!(shown_key(&headers(&[])), None);
        let both = headers(&[("x-api-key", "a"), ("authorization", "Bearer b")]);
        assert_eq!(shown_key(&both), Some("a"));
    }
}
