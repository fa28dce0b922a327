//! Results for later tasks. Those of a tenant are in its partition, so each operation is one call.

use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use protocol::TenantId;
use redis::cmd;

use super::RedisBroker;
use super::partition::Partition;
use super::partitions::all;
use super::reply::Reply;
use super::scripts::millis;
use crate::{BrokerError, ContentHash, RESULT_OVERHEAD, ResultCache, ResultCacheSize};

#[async_trait]
impl ResultCache for RedisBroker {
    async fn cached_result(
        &self,
        tenant: &TenantId,
        key: ContentHash,
    ) -> Result<Option<String>, BrokerError> {
        let partition = self.partitions.of_tenant(tenant).await?;
        let get = cmd("GET").arg(partition.keys.result(&key.to_string(), tenant)).to_owned();
        partition.link.query(&get).await
    }

    async fn cache_result(
        &self,
        tenant: &TenantId,
        key: ContentHash,
        text: &str,
        ttl: Duration,
        max_bytes: u64,
    ) -> Result<(), BrokerError> {
        let share = max_bytes / self.partitions.all().await?.len() as u64;
        let partition = self.partitions.of_tenant(tenant).await?;
        let mut call = partition.scripts.cache_result.prepare_invoke();
        call.key(partition.keys.base()).arg(tenant.as_str()).arg(key.to_string());
        call.arg(millis(ttl).max(1)).arg(share).arg(RESULT_OVERHEAD).arg(text);
        let mut reply = Reply::new("cache_result", partition.link.run(&call).await?);
        match reply.text()?.as_str() {
            "stored" | "too_large" => Ok(()),
            other => Err(reply.unexpected(other)),
        }
    }

    async fn result_cache_size(&self) -> Result<ResultCacheSize, BrokerError> {
        let asked = self.partitions.all().await?.iter().map(|partition| partition.results());
        let parts = all(join_all(asked).await)?;
        Ok(parts.iter().fold(ResultCacheSize::default(), |sum, part| ResultCacheSize {
            entries: sum.entries + part.entries,
            bytes: sum.bytes + part.bytes,
        }))
    }
}

impl Partition {
    async fn results(&self) -> Result<ResultCacheSize, BrokerError> {
        let mut call = self.scripts.result_cache_size.prepare_invoke();
        call.key(self.keys.base());
        let mut reply = Reply::new("result_cache_size", self.link.run(&call).await?);
        Ok(ResultCacheSize { entries: reply.count()?, bytes: reply.count()? })
    }
}
