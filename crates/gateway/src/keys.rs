//! Looks up who holds an API key. Everything here knows keys by their SHA-256 hash alone: only
//! [`Holder::of_key`] sees a key's text, once, where it is configured.

use std::sync::{Arc, PoisonError, RwLock};

use futures::future::BoxFuture;
use protocol::TenantId;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use webhooks::Secret;

use crate::options::Keys as ConfiguredKeys;
use crate::refusal::Refusal;

/// The SHA-256 hash of a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyHash([u8; 32]);

impl KeyHash {
    /// Hashes a key.
    pub(crate) fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }
}

/// The access that a key grants. A key that is not accepted grants none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Access {
    /// The tenant whose tasks it opens.
    pub(crate) tenant: Option<TenantId>,
    /// Whether it opens the operators' routes.
    pub(crate) operator: bool,
}

/// Looks up keys. The configured keys ([`KeyRing`]) are one source; stored ones can be another.
pub(crate) trait Keys: Send + Sync {
    /// Returns what the key with this hash opens.
    fn find(&self, hash: KeyHash) -> BoxFuture<'_, Result<Access, Refusal>>;

    /// Returns `true` if there is an operators' key.
    fn has_operators(&self) -> bool;
}

/// The holder of a key: what has to be kept of a key, in memory or in a store, instead of its text.
#[derive(Debug, Clone)]
pub(crate) struct Holder {
    /// The key's owner. Derived from the hash, so that it identifies the key without revealing it.
    pub(crate) tenant: TenantId,
    /// Signs the webhooks of the tenant's tasks. Derived from the key's text, so it must be kept
    /// with the hash.
    pub(crate) secret: Secret,
}

impl Holder {
    /// Derives the holder of a key.
    pub(crate) fn of_key(key: &str) -> Self {
        Self { tenant: tenant(&KeyHash::of(key)), secret: Secret::of_key(key) }
    }
}

/// The configured keys. A reload replaces all at once.
pub(crate) struct KeyRing(RwLock<Arc<Ring>>);

struct Ring {
    clients: Vec<(KeyHash, TenantId)>,
    /// `None` closes the admin routes.
    operators: Option<KeyHash>,
}

impl Ring {
    fn new(keys: &ConfiguredKeys) -> Self {
        Self {
            clients: keys
                .api
                .iter()
                .map(|key| KeyHash::of(key))
                .map(|key| (key, tenant(&key)))
                .collect(),
            operators: keys.admin.as_deref().map(KeyHash::of),
        }
    }

    /// Compares with all keys in any case, so that the time taken reveals nothing about the key.
    fn find(&self, shown: &KeyHash) -> Access {
        let same = |ours: &KeyHash| ours.0.ct_eq(&shown.0);
        let (mut is_client, mut which) = (Choice::from(0), 0_u64);
        for ((ours, _), index) in self.clients.iter().zip(0..) {
            let is_this = same(ours);
            is_client |= is_this;
            which.conditional_assign(&index, is_this);
        }
        let holder = usize::try_from(which).ok().and_then(|which| self.clients.get(which));
        let holder = holder.filter(|_| is_client.into());
        let operator = self.operators.as_ref().map_or(Choice::from(0), same);
        Access { tenant: holder.map(|(_, tenant)| tenant.clone()), operator: operator.into() }
    }
}

impl KeyRing {
    pub(crate) fn new(keys: &ConfiguredKeys) -> Self {
        Self(RwLock::new(Arc::new(Ring::new(keys))))
    }

    /// Replaces the accepted keys. Requests that are already authenticated run to their end.
    pub(crate) fn change(&self, keys: &ConfiguredKeys) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Ring::new(keys));
    }

    fn now(&self) -> Arc<Ring> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Keys for KeyRing {
    fn find(&self, hash: KeyHash) -> BoxFuture<'_, Result<Access, Refusal>> {
        let found = self.now().find(&hash);
        Box::pin(std::future::ready(Ok(found)))
    }

    fn has_operators(&self) -> bool {
        self.now().operators.is_some()
    }
}

/// Derives a tenant id from a key's hash.
fn tenant(hash: &KeyHash) -> TenantId {
    let hex: String = hash.0[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    TenantId::new(format!("key-{hex}"))
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn found(ring: &KeyRing, key: &str) -> Access {
        ring.find(KeyHash::of(key)).now_or_never().unwrap().unwrap()
    }

    #[test]
    fn only_configured_keys_are_let_in() {
        let api = vec!["first".to_owned(), "second".to_owned()];
        let ring = KeyRing::new(&ConfiguredKeys { api, admin: Some("operator".into()) });
        let first = found(&ring, "first").tenant.unwrap();
        assert_ne!(first, found(&ring, "second").tenant.unwrap());
        assert_eq!(first.as_str(), "key-a7937b64b8caa58f", "the start of SHA-256(\"first\")");
        assert_eq!(Holder::of_key("first").tenant, first);
        assert_eq!(found(&ring, "operator"), Access { tenant: None, operator: true });
        for stranger in ["", "third", "firs", "first ", "FIRST"] {
            assert_eq!(found(&ring, stranger), Access::default(), "{stranger:?}");
        }
        let none = KeyRing::new(&ConfiguredKeys { api: vec![], admin: None });
        assert_eq!(found(&none, "first"), Access::default());
        assert!(ring.has_operators() && !none.has_operators());
    }
}
