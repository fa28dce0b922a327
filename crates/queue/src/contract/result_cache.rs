//! Results of computations that may be used again, by a key that says all that determines them.

use std::time::Duration;

use async_trait::async_trait;
use protocol::TenantId;

use super::{BrokerError, ContentHash};

/// What an entry takes in the bound beyond its text.
pub const RESULT_OVERHEAD: u64 = 256;

/// The part of a [`Broker`](crate::Broker) that keeps results for later tasks. An entry belongs to a tenant; others
/// never get it. Entries may be lost at any time: they only save work.
#[async_trait]
pub trait ResultCache: Send + Sync {
    /// Returns the text that the tenant has under a key; `None` if there is none, or it has expired.
    async fn cached_result(
        &self,
        tenant: &TenantId,
        key: ContentHash,
    ) -> Result<Option<String>, BrokerError>;

    /// Stores a text under a key for `ttl`, instead of the one that may be there. Deletes expired entries first, and
    /// then others until all are within `max_bytes`: of the tenant that has the most bytes, the one that expires first.
    /// So a tenant with many results evicts its own. A text that is too large alone is not stored. In several partitions
    /// each has its share of the bound.
    async fn cache_result(
        &self,
        tenant: &TenantId,
        key: ContentHash,
        text: &str,
        ttl: Duration,
        max_bytes: u64,
    ) -> Result<(), BrokerError>;

    /// Deletes expired entries, and returns the size of the others.
    async fn result_cache_size(&self) -> Result<ResultCacheSize, BrokerError>;
}

/// The size of a [`ResultCache`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResultCacheSize {
    /// The number of entries.
    pub entries: u64,
    /// Their bytes, each with [`RESULT_OVERHEAD`].
    pub bytes: u64,
}
