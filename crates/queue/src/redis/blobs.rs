//! The records of blobs. All records of a tenant are in one partition, so each operation is one script.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use protocol::{BlobId, TenantId};
use redis::cmd;

use super::RedisBroker;
use super::chunks::Chunks;
use super::partition::Partition;
use super::partitions::{all, some};
use super::reply::Reply;
use super::scripts::millis;
use crate::{
    ABANDONED_FOR, Blob, BlobBytes, BlobList, BlobOrder, BlobPage, BlobPlace, BlobRecord,
    BlobUpload, Blobs, BrokerError, DoomedBlob, Reserved, Wanted,
};

#[async_trait]
impl Blobs for RedisBroker {
    fn own_bytes(&self) -> Arc<dyn BlobBytes> {
        Arc::new(Chunks::new(&self.partitions))
    }

    async fn reserve_blob(
        &self,
        upload: &BlobUpload,
        wanted: Wanted,
        tenant_bytes: u64,
        span: Duration,
    ) -> Result<Reserved, BrokerError> {
        let partition = self.partitions.of_tenant(&upload.tenant).await?;
        let (most, least) = match wanted {
            Wanted::All(bytes) => (bytes, bytes),
            Wanted::UpTo(most) => (most, 1),
        };
        let mut call = partition.scripts.reserve_blob.prepare_invoke();
        call.key(partition.keys.base()).arg(upload.place.to_string()).arg(upload.tenant.as_str());
        call.arg(most).arg(least).arg(tenant_bytes).arg(millis(span));
        let mut reply = Reply::new("reserve_blob", partition.link.run(&call).await?);
        match reply.text()?.as_str() {
            "granted" => Ok(Reserved::Granted(reply.count()?)),
            "full" => Ok(Reserved::Full { held: reply.count()? }),
            other => Err(reply.unexpected(other)),
        }
    }

    async fn abandon_blob(&self, upload: &BlobUpload) -> Result<(), BrokerError> {
        let partition = self.partitions.of_tenant(&upload.tenant).await?;
        let mut call = partition.scripts.abandon_blob.prepare_invoke();
        call.key(partition.keys.base()).arg(upload.place.to_string()).arg(upload.tenant.as_str());
        call.arg(millis(ABANDONED_FOR));
        partition.link.run(&call).await.map(drop)
    }

    async fn commit_blob(
        &self,
        upload: &BlobUpload,
        record: &BlobRecord,
    ) -> Result<Option<Blob>, BrokerError> {
        let partition = self.partitions.of_tenant(&upload.tenant).await?;
        let mut call = partition.scripts.commit_blob.prepare_invoke();
        call.key(partition.keys.base()).arg(upload.place.to_string()).arg(upload.tenant.as_str());
        call.arg(record.id.to_string()).arg(record.size).arg(record.hash.to_string());
        call.arg(&record.media_type).arg(record.filename.as_deref().unwrap_or_default());
        call.arg(&record.purpose).arg(millis(record.ttl));
        let mut reply = Reply::new("commit_blob", partition.link.run(&call).await?);
        match reply.text()?.as_str() {
            "stored" => read(&mut reply, &upload.tenant, record.id).map(Some),
            "missing" => Ok(None),
            other => Err(reply.unexpected(other)),
        }
    }

    async fn blob(
        &self,
        tenant: &TenantId,
        id: BlobId,
    ) -> Result<Option<(Blob, BlobPlace)>, BrokerError> {
        let partition = self.partitions.of_tenant(tenant).await?;
        let mut call = partition.scripts.find_blob.prepare_invoke();
        call.key(partition.keys.base()).arg(tenant.as_str()).arg(id.to_string());
        let mut reply = Reply::new("find_blob", partition.link.run(&call).await?);
        match reply.text()?.as_str() {
            "found" => {
                let place = reply.parse()?;
                Ok(Some((read(&mut reply, tenant, id)?, place)))
            }
            "missing" => Ok(None),
            other => Err(reply.unexpected(other)),
        }
    }

    async fn blobs(&self, tenant: &TenantId, page: &BlobPage) -> Result<BlobList, BrokerError> {
        let partition = self.partitions.of_tenant(tenant).await?;
        let mut call = partition.scripts.list_blobs.prepare_invoke();
        call.key(partition.keys.base()).arg(tenant.as_str());
        call.arg(page.purpose.as_deref().unwrap_or_default());
        call.arg(page.after.map_or_else(String::new, |id| id.to_string()));
        call.arg(match page.order {
            BlobOrder::Oldest => "oldest",
            BlobOrder::Newest => "newest",
        });
        call.arg(page.limit);
        let mut reply = Reply::new("list_blobs", partition.link.run(&call).await?);
        let has_more = reply.text()? == "1";
        let mut blobs = Vec::new();
        while !reply.is_read() {
            let id = reply.parse()?;
            blobs.push(read(&mut reply, tenant, id)?);
        }
        Ok(BlobList { blobs, has_more })
    }

    async fn delete_blob(&self, tenant: &TenantId, id: BlobId) -> Result<bool, BrokerError> {
        let partition = self.partitions.of_tenant(tenant).await?;
        let mut call = partition.scripts.delete_blob.prepare_invoke();
        call.key(partition.keys.base()).arg(tenant.as_str()).arg(id.to_string());
        let mut reply = Reply::new("delete_blob", partition.link.run(&call).await?);
        Ok(reply.text()? == "deleted")
    }

    async fn touch_blob(
        &self,
        tenant: &TenantId,
        id: BlobId,
        ttl: Duration,
    ) -> Result<Option<Blob>, BrokerError> {
        let partition = self.partitions.of_tenant(tenant).await?;
        let mut call = partition.scripts.touch_blob.prepare_invoke();
        call.key(partition.keys.base()).arg(tenant.as_str()).arg(id.to_string()).arg(millis(ttl));
        let mut reply = Reply::new("touch_blob", partition.link.run(&call).await?);
        match reply.text()?.as_str() {
            "touched" => read(&mut reply, tenant, id).map(Some),
            "missing" => Ok(None),
            other => Err(reply.unexpected(other)),
        }
    }

    async fn blob_bytes(&self, tenant: &TenantId) -> Result<u64, BrokerError> {
        let partition = self.partitions.of_tenant(tenant).await?;
        let get = cmd("HGET").arg(partition.keys.blob_totals()).arg(tenant.as_str()).to_owned();
        let held: Option<i64> = partition.link.query(&get).await?;
        Ok(held.and_then(|held| u64::try_from(held).ok()).unwrap_or(0))
    }

    async fn reap_blobs(
        &self,
        span: Duration,
        limit: usize,
    ) -> Result<Vec<DoomedBlob>, BrokerError> {
        let partitions = self.partitions.all().await?;
        let share = limit.div_ceil(partitions.len()).max(1);
        let asked = partitions.iter().map(|partition| partition.reap_blobs(span, share));
        some("reap blobs", join_all(asked).await).map(|parts| parts.concat())
    }

    async fn forget_blob_bytes(&self, doomed: &[DoomedBlob]) -> Result<(), BrokerError> {
        let mut asked = Vec::new();
        for blob in doomed {
            let partition = self.partitions.of_tenant(&blob.tenant).await?;
            let member = format!("{} {}", blob.place, blob.tenant);
            let forget = cmd("ZREM").arg(partition.keys.doomed_blobs()).arg(member).to_owned();
            asked.push(async move { partition.link.query::<i64>(&forget).await });
        }
        all(join_all(asked).await).map(drop)
    }
}

/// Reads the fields that `lib/blobs.lua` calls `BLOB`.
fn read(reply: &mut Reply, tenant: &TenantId, id: BlobId) -> Result<Blob, BrokerError> {
    Ok(Blob {
        id,
        tenant: tenant.clone(),
        size: reply.count()?,
        hash: reply.parse()?,
        media_type: reply.text()?,
        filename: Some(reply.text()?).filter(|name| !name.is_empty()),
        purpose: reply.text()?,
        created_at: reply.instant()?,
        expires_at: reply.instant()?,
    })
}

impl Partition {
    async fn reap_blobs(
        &self,
        span: Duration,
        limit: usize,
    ) -> Result<Vec<DoomedBlob>, BrokerError> {
        let mut call = self.scripts.reap_blobs.prepare_invoke();
        call.key(self.keys.base()).arg(limit).arg(millis(span));
        let members = self.link.run(&call).await?;
        let read = |member: String| {
            let mut reply = Reply::words("reap_blobs", &member);
            let place = reply.parse()?;
            Ok(DoomedBlob { place, tenant: TenantId::new(reply.rest().join(" ")) })
        };
        members.into_iter().map(read).collect()
    }
}
