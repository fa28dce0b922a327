//! The records of batches. All records of a tenant are in one partition. A step reads the record, applies the
//! step, and stores the result unless the record has changed meanwhile.

use std::time::Duration;

use async_trait::async_trait;
use protocol::{BatchId, TenantId, Timestamp, record};

use super::RedisBroker;
use super::partition::Partition;
use super::partitions::some;
use super::reply::Reply;
use super::scripts::millis;
use crate::{BATCH_TTL, Batch, BatchList, BatchPage, BatchStep, Batches, BrokerError, NewBatch};

/// Maximum number of retries of a step after another process changed the batch.
const TRIES: usize = 16;

#[async_trait]
impl Batches for RedisBroker {
    async fn create_batch(&self, new: &NewBatch) -> Result<Batch, BrokerError> {
        let partition = self.partitions.of_tenant(&new.tenant).await?;
        for _ in 0..TRIES {
            let (now, found) = partition.find_batch(&new.tenant, new.id).await?;
            if let Some((batch, _)) = found {
                return Ok(batch);
            }
            let batch = Batch::new(new.clone(), now);
            if partition.save_batch(&batch, 0).await? {
                return Ok(batch);
            }
        }
        Err(contended(new.id))
    }

    async fn batch(&self, tenant: &TenantId, id: BatchId) -> Result<Option<Batch>, BrokerError> {
        let partition = self.partitions.of_tenant(tenant).await?;
        let (_, found) = partition.find_batch(tenant, id).await?;
        Ok(found.map(|(batch, _)| batch))
    }

    async fn batches(&self, tenant: &TenantId, page: &BatchPage) -> Result<BatchList, BrokerError> {
        let partition = self.partitions.of_tenant(tenant).await?;
        let mut call = partition.scripts.list_batches.prepare_invoke();
        call.key(partition.keys.base()).arg(tenant.as_str());
        call.arg(page.after.map_or_else(String::new, |id| id.to_string())).arg(page.limit);
        let mut reply = Reply::new("list_batches", partition.link.run(&call).await?);
        let has_more = reply.text()? == "1";
        Ok(BatchList { batches: read_all(reply)?, has_more })
    }

    async fn step_batch(
        &self,
        tenant: &TenantId,
        id: BatchId,
        step: &BatchStep,
    ) -> Result<Option<(Batch, bool)>, BrokerError> {
        let partition = self.partitions.of_tenant(tenant).await?;
        for _ in 0..TRIES {
            let (now, found) = partition.find_batch(tenant, id).await?;
            let Some((mut batch, rev)) = found else { return Ok(None) };
            if !batch.apply(step, now) {
                return Ok(Some((batch, false)));
            }
            if partition.save_batch(&batch, rev).await? {
                return Ok(Some((batch, true)));
            }
        }
        Err(contended(id))
    }

    async fn due_batches(&self, span: Duration, limit: usize) -> Result<Vec<Batch>, BrokerError> {
        let mut parts = Vec::new();
        let mut left = limit;
        for partition in self.partitions.all().await? {
            if left > 0 {
                let part = partition.due_batches(span, left).await;
                left = left.saturating_sub(part.as_ref().map_or(0, Vec::len));
                parts.push(part);
            }
        }
        some("list due batches", parts).map(|parts| parts.concat())
    }

    async fn running_batches(&self, limit: usize) -> Result<(Vec<Batch>, u64), BrokerError> {
        let mut parts = Vec::new();
        for partition in self.partitions.all().await? {
            parts.push(partition.running_batches(limit).await);
        }
        let parts = some("list running batches", parts)?;
        let count = parts.iter().map(|(_, count)| count).sum();
        let batches = parts.into_iter().flat_map(|(batches, _)| batches).take(limit).collect();
        Ok((batches, count))
    }

    async fn hold_batch(
        &self,
        tenant: &TenantId,
        id: BatchId,
        span: Duration,
    ) -> Result<(), BrokerError> {
        let partition = self.partitions.of_tenant(tenant).await?;
        let mut call = partition.scripts.hold_batch.prepare_invoke();
        call.key(partition.keys.base()).arg(tenant.as_str()).arg(id.to_string()).arg(millis(span));
        partition.link.run(&call).await.map(drop)
    }
}

fn contended(id: BatchId) -> BrokerError {
    BrokerError::Unavailable { reason: format!("batch {id} is changed by too many at once") }
}

/// Reads a batch and its rev.
fn read(reply: &mut Reply) -> Result<(Batch, u64), BrokerError> {
    Ok((record::decode(&reply.text()?)?, reply.parse()?))
}

fn read_all(mut reply: Reply) -> Result<Vec<Batch>, BrokerError> {
    let mut batches = Vec::new();
    while !reply.is_read() {
        batches.push(read(&mut reply)?.0);
    }
    Ok(batches)
}

impl Partition {
    /// Returns Redis' time, and the batch with its rev.
    async fn find_batch(
        &self,
        tenant: &TenantId,
        id: BatchId,
    ) -> Result<(Timestamp, Option<(Batch, u64)>), BrokerError> {
        let mut call = self.scripts.find_batch.prepare_invoke();
        call.key(self.keys.base()).arg(tenant.as_str()).arg(id.to_string());
        let mut reply = Reply::new("find_batch", self.link.run(&call).await?);
        let now = reply.instant()?;
        let found = if reply.is_read() { None } else { Some(read(&mut reply)?) };
        Ok((now, found))
    }

    /// Stores a batch if the stored one still has this rev, and returns whether it did.
    async fn save_batch(&self, batch: &Batch, rev: u64) -> Result<bool, BrokerError> {
        let kept = if batch.is_settled() { millis(BATCH_TTL) } else { 0 };
        let request = &batch.request;
        let mut call = self.scripts.save_batch.prepare_invoke();
        call.key(self.keys.base()).arg(request.tenant.as_str()).arg(request.id.to_string());
        call.arg(rev).arg(record::encode(batch)?).arg(kept);
        let mut reply = Reply::new("save_batch", self.link.run(&call).await?);
        Ok(reply.text()? == "saved")
    }

    async fn due_batches(&self, span: Duration, limit: usize) -> Result<Vec<Batch>, BrokerError> {
        let mut call = self.scripts.due_batches.prepare_invoke();
        call.key(self.keys.base()).arg(millis(span)).arg(limit);
        read_all(Reply::new("due_batches", self.link.run(&call).await?))
    }

    async fn running_batches(&self, limit: usize) -> Result<(Vec<Batch>, u64), BrokerError> {
        let mut call = self.scripts.running_batches.prepare_invoke();
        call.key(self.keys.base()).arg(limit);
        let mut reply = Reply::new("running_batches", self.link.run(&call).await?);
        let count = reply.parse()?;
        Ok((read_all(reply)?, count))
    }
}
