//! [`Managed`]: the managed keys, read from the store and kept until one of them changes.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use protocol::{KeyId, Timestamp};
use queue::{Broker, KeyHash};
use subtle::ConstantTimeEq;

use super::access::Access;
use super::denied::Denied;
use crate::patience;
use crate::refusal::Refusal;

/// Maximum number of keys that are kept, and of hashes that are known to be no key's.
const MAX_KEYS: usize = 16_384;

/// A key, as far as requests are checked against it.
struct Kept {
    hash: KeyHash,
    access: Arc<Access>,
    blocked: bool,
}

impl Kept {
    fn check(&self, now: Timestamp) -> Result<Arc<Access>, Denied> {
        check(Arc::clone(&self.access), self.blocked, now)
    }
}

fn check(access: Arc<Access>, blocked: bool, now: Timestamp) -> Result<Arc<Access>, Denied> {
    match access.expires_at {
        _ if blocked => Err(Denied::Blocked),
        Some(expires_at) if expires_at <= now => Err(Denied::Expired),
        _ => Ok(access),
    }
}

/// What was read since the last change.
#[derive(Default)]
struct Cache {
    /// The store's version; `None` before it was read.
    version: Option<u64>,
    /// Incremented when the cache is emptied, so that a slower read of before is not kept.
    epoch: u64,
    keys: HashMap<KeyHash, Arc<Kept>>,
    /// Hashes that no key has.
    strangers: HashMap<KeyHash, ()>,
}

/// The managed keys. What was read stays valid while the store is unavailable.
pub(super) struct Managed {
    store: Arc<dyn Broker>,
    patience: Duration,
    cache: RwLock<Cache>,
}

impl Managed {
    pub(super) fn new(store: Arc<dyn Broker>, patience: Duration) -> Self {
        Self { store, patience, cache: RwLock::default() }
    }

    /// Returns what the key with this hash opens now, if that is known; else reads nothing.
    pub(super) fn kept(
        &self,
        hash: &KeyHash,
        now: Timestamp,
    ) -> Option<Result<Arc<Access>, Denied>> {
        let cache = self.cache.read().unwrap_or_else(PoisonError::into_inner);
        match cache.keys.get(hash) {
            // The map's comparison need not take constant time.
            Some(kept) if bool::from(kept.hash.ct_eq(hash)) => Some(kept.check(now)),
            _ => cache.strangers.get(hash).map(|()| Err(Denied::Unknown)),
        }
    }

    /// Reads what the key with this hash opens now.
    pub(super) async fn read(&self, hash: KeyHash, now: Timestamp) -> Result<Arc<Access>, Denied> {
        let epoch = self.cache.read().unwrap_or_else(PoisonError::into_inner).epoch;
        let found = patience::ask(self.patience, self.store.find_key(hash)).await;
        let found = found.map_err(|refusal: Refusal| Denied::Unavailable(refusal.to_string()))?;
        let kept = found.map(|stored| {
            let (access, blocked) = (Arc::new(Access::from(&stored.key)), stored.key.blocked);
            Arc::new(Kept { hash, access, blocked })
        });
        let mut cache = self.cache.write().unwrap_or_else(PoisonError::into_inner);
        if cache.epoch == epoch {
            match &kept {
                Some(kept) => keep(&mut cache.keys, hash, Arc::clone(kept)),
                None => keep(&mut cache.strangers, hash, ()),
            }
        }
        drop(cache);
        kept.map_or(Err(Denied::Unknown), |kept| kept.check(now))
    }

    /// Reads what the key with this id opens now.
    pub(super) async fn of_id(&self, id: &KeyId, now: Timestamp) -> Result<Arc<Access>, Denied> {
        let found = patience::ask(self.patience, self.store.key(id)).await;
        let found = found.map_err(|refusal: Refusal| Denied::Unavailable(refusal.to_string()))?;
        let key = found.ok_or(Denied::Unknown)?.key;
        check(Arc::new(Access::from(&key)), key.blocked, now)
    }

    /// Asks the store whether keys changed. If so, forgets them and returns `true`.
    pub(super) async fn refresh(&self) -> Result<bool, Refusal> {
        let version = patience::ask(self.patience, self.store.keys_version()).await?;
        let mut cache = self.cache.write().unwrap_or_else(PoisonError::into_inner);
        if cache.version == Some(version) {
            return Ok(false);
        }
        *cache = Cache { version: Some(version), epoch: cache.epoch + 1, ..Cache::default() };
        Ok(true)
    }
}

/// Inserts an entry. A full map starts anew, which costs one read for each key in use.
fn keep<T>(map: &mut HashMap<KeyHash, T>, hash: KeyHash, value: T) {
    if map.len() >= MAX_KEYS {
        map.clear();
    }
    map.insert(hash, value);
}
