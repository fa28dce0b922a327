//! Managed API keys and the secrets of their owners.

use async_trait::async_trait;
use protocol::{ApiKey, KeyId, TenantId, Timestamp};

use super::BrokerError;

/// The SHA-256 hash of a key's text.
pub type KeyHash = [u8; 32];

/// A stored key and the number of its record, which every change increments.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredKey {
    /// The key.
    pub key: ApiKey,
    /// The record's number.
    pub revision: u64,
}

/// The part of a [`Broker`](crate::Broker) that keeps managed keys. Few keys change, many requests read them: readers
/// keep what they read, and read again after [`Self::keys_version`] changed.
#[async_trait]
pub trait Keys: Send + Sync {
    /// Returns a number that every change of a key increments, but for [`Self::note_keys_used`].
    async fn keys_version(&self) -> Result<u64, BrokerError>;

    /// Stores a new key under the hash of its text, with the broker's time as `created_at`, and returns it. Repeating
    /// the call with the same id changes nothing and returns what is stored.
    async fn add_key(&self, hash: KeyHash, key: &ApiKey) -> Result<StoredKey, BrokerError>;

    /// Returns the key with this hash, whether or not it is blocked or has expired. `None` if there is none: it never
    /// existed, was revoked, or its text was replaced.
    async fn find_key(&self, hash: KeyHash) -> Result<Option<StoredKey>, BrokerError>;

    /// Returns the key with this id.
    async fn key(&self, id: &KeyId) -> Result<Option<StoredKey>, BrokerError>;

    /// Returns up to `limit` keys with ids after `after`, in the order of their ids, which is by time of creation.
    /// With `owner`, only those of this owner.
    async fn keys(
        &self,
        owner: Option<&TenantId>,
        after: Option<&KeyId>,
        limit: usize,
    ) -> Result<Vec<StoredKey>, BrokerError>;

    /// Replaces the record of a key if its number is still `revision`; with `hash` also its text, whose former hash
    /// finds nothing from then on. Returns the stored key, or `None` if the number is another or the key is gone.
    /// `created_at` and `last_used_at` are kept. `owner` must be unchanged.
    async fn change_key(
        &self,
        revision: u64,
        key: &ApiKey,
        hash: Option<KeyHash>,
    ) -> Result<Option<StoredKey>, BrokerError>;

    /// Deletes a key. Returns what was stored; `None` if it was gone. Its owner's tasks remain.
    async fn revoke_key(&self, id: &KeyId) -> Result<Option<StoredKey>, BrokerError>;

    /// Notes that keys were used at these times; the latest counts. Unknown keys are skipped.
    async fn note_keys_used(&self, used: &[(KeyId, Timestamp)]) -> Result<(), BrokerError>;

    /// Returns the secret that signs an owner's webhooks: the stored one, else stores `fresh`. All callers get the
    /// same. It outlives the owner's keys.
    async fn owner_secret(
        &self,
        owner: &TenantId,
        fresh: [u8; 32],
    ) -> Result<[u8; 32], BrokerError>;
}
