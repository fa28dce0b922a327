//! [`KeyRing`]: the configured keys. Everything here knows keys by their SHA-256 hash alone: only
//! [`Holder::of_key`] sees a key's text, once, where it is configured.

use std::sync::{Arc, PoisonError, RwLock};

use protocol::{KeyId, Scope, TenantId};
use queue::KeyHash;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use webhooks::Secret;

use super::access::Access;
use crate::options::Keys as ConfiguredKeys;

/// Hashes a key.
pub(crate) fn hash_of(key: &str) -> KeyHash {
    Sha256::digest(key.as_bytes()).into()
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
        Self { tenant: tenant(&hash_of(key)), secret: Secret::of_key(key) }
    }
}

/// The configured keys. A reload replaces all at once.
pub(super) struct KeyRing(RwLock<Arc<Ring>>);

/// The keys, each once, by their hashes.
struct Ring(Vec<(KeyHash, Arc<Access>)>);

impl Ring {
    fn new(keys: &ConfiguredKeys) -> Self {
        let operators = keys.admin.as_deref().map(hash_of);
        let mut ring: Vec<_> = keys.api.iter().map(|key| entry(hash_of(key), &CLIENT)).collect();
        if let Some(hash) = operators {
            match ring.iter_mut().find(|(known, _)| *known == hash) {
                Some(both) => *both = entry(hash, &[Scope::Submit, Scope::Read, Scope::Admin]),
                None => ring.push(entry(hash, &[Scope::Admin])),
            }
        }
        Self(ring)
    }

    /// Compares with all keys in any case, so that the time taken reveals nothing about the key.
    fn find(&self, shown: &KeyHash) -> Option<&Arc<Access>> {
        let (mut is_known, mut which) = (Choice::from(0), 0_u64);
        for ((ours, _), index) in self.0.iter().zip(0..) {
            let is_this = ours.ct_eq(shown);
            is_known |= is_this;
            which.conditional_assign(&index, is_this);
        }
        let found = usize::try_from(which).ok().and_then(|which| self.0.get(which));
        found.filter(|_| is_known.into()).map(|(_, access)| access)
    }
}

/// The scopes of one of `API_KEYS`.
const CLIENT: [Scope; 2] = [Scope::Submit, Scope::Read];

fn entry(hash: KeyHash, scopes: &[Scope]) -> (KeyHash, Arc<Access>) {
    let key = KeyId::from_text(format!("{KEY}{}", hex(&hash)));
    (hash, Arc::new(Access::unlimited(key, tenant(&hash), scopes.iter().copied())))
}

impl KeyRing {
    pub(super) fn new(keys: &ConfiguredKeys) -> Self {
        Self(RwLock::new(Arc::new(Ring::new(keys))))
    }

    /// Replaces the accepted keys.
    pub(super) fn change(&self, keys: &ConfiguredKeys) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Ring::new(keys));
    }

    fn now(&self) -> Arc<Ring> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns what the key with this hash opens.
    pub(super) fn find(&self, hash: &KeyHash) -> Option<Arc<Access>> {
        self.now().find(hash).cloned()
    }

    /// Returns what the key with this id opens.
    pub(super) fn of_id(&self, id: &KeyId) -> Option<Arc<Access>> {
        let ring = self.now();
        ring.0.iter().find(|(_, access)| access.key == *id).map(|(_, access)| Arc::clone(access))
    }

    /// Returns whether there is an operators' key.
    pub(super) fn has_operators(&self) -> bool {
        self.now().0.iter().any(|(_, access)| access.has(Scope::Admin))
    }
}

/// What the ids of configured keys, and the names of their owners, begin with; digits of the key's hash follow.
const KEY: &str = "env_";
const OWNER: &str = "key-";

/// Derives a tenant id from a key's hash.
fn tenant(hash: &KeyHash) -> TenantId {
    TenantId::new(format!("{OWNER}{}", hex(hash)))
}

/// Returns the configured key that an owner is named after, if it is named after one.
pub(crate) fn key_of(owner: &TenantId) -> Option<KeyId> {
    owner.as_str().strip_prefix(OWNER).map(|hash| KeyId::from_text(format!("{KEY}{hash}")))
}

/// Returns whether [`key_of`] the owner is this key.
pub(crate) fn is_key_of(key: &KeyId, owner: &TenantId) -> bool {
    let hash = key.as_str().strip_prefix(KEY);
    hash.is_some() && hash == owner.as_str().strip_prefix(OWNER)
}

/// Returns the first 16 hexadecimal digits of a hash.
pub(super) fn hex(hash: &KeyHash) -> String {
    hash[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_configured_keys_are_let_in() {
        let api = vec!["first".to_owned(), "second".to_owned()];
        let ring = KeyRing::new(&ConfiguredKeys { api, admin: Some("operator".into()), jwt: None });
        let found = |key: &str| ring.find(&hash_of(key));
        let first = found("first").unwrap();
        assert_ne!(first.owner, found("second").unwrap().owner);
        assert_eq!(first.owner.as_str(), "key-a7937b64b8caa58f", "the start of SHA-256(\"first\")");
        assert_eq!(first.key.as_str(), "env_a7937b64b8caa58f");
        assert_eq!(key_of(&first.owner).as_ref(), Some(&first.key));
        assert!(is_key_of(&first.key, &first.owner));
        let other = TenantId::new("acme");
        assert!(key_of(&other).is_none() && !is_key_of(&first.key, &other));
        assert_eq!(Holder::of_key("first").tenant, first.owner);
        assert!(first.has(Scope::Submit) && !first.has(Scope::Admin));
        let operator = found("operator").unwrap();
        assert!(operator.has(Scope::Admin) && !operator.has(Scope::Read));
        for stranger in ["", "third", "firs", "first ", "FIRST"] {
            assert_eq!(found(stranger), None, "{stranger:?}");
        }
        let none = KeyRing::new(&ConfiguredKeys { api: vec![], admin: None, jwt: None });
        assert_eq!(none.find(&hash_of("first")), None);
        assert!(ring.has_operators() && !none.has_operators());
    }

    #[test]
    fn a_key_may_be_a_client_and_the_operators() {
        let keys =
            ConfiguredKeys { api: vec!["both".into()], admin: Some("both".into()), jwt: None };
        let both = KeyRing::new(&keys).find(&hash_of("both")).unwrap();
        assert!(both.has(Scope::Submit) && both.has(Scope::Admin));
    }
}
