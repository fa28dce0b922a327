//! Managed keys. They are few and rarely change, so all are in the first partition.

use async_trait::async_trait;
use protocol::{ApiKey, KeyId, TenantId, Timestamp};
use redis::cmd;

use super::RedisBroker;
use super::reply::Reply;
use crate::stored::{KeyFields, record_of_key, text_is_taken};
use crate::{BrokerError, ContentHash, KeyHash, Keys, StoredKey};

/// The maximum number of keys per call that notes their use.
const NOTED: usize = 500;

#[async_trait]
impl Keys for RedisBroker {
    async fn keys_version(&self) -> Result<u64, BrokerError> {
        let partition = self.partitions.first().await?;
        let get = cmd("GET").arg(partition.keys.keys_version()).to_owned();
        Ok(partition.link.query::<Option<u64>>(&get).await?.unwrap_or(0))
    }

    async fn add_key(&self, hash: KeyHash, key: &ApiKey) -> Result<StoredKey, BrokerError> {
        let partition = self.partitions.first().await?;
        let mut call = partition.scripts.add_key.prepare_invoke();
        call.key(partition.keys.base()).arg(key.id.as_str()).arg(hex(hash));
        call.arg(key.owner.as_str()).arg(record_of_key(key)?);
        let mut reply = Reply::new("add_key", partition.link.run(&call).await?);
        match reply.text()?.as_str() {
            "key" => read(&mut reply),
            "taken" => Err(text_is_taken(&key.id)),
            other => Err(reply.unexpected(other)),
        }
    }

    async fn find_key(&self, hash: KeyHash) -> Result<Option<StoredKey>, BrokerError> {
        self.look_up("", &hex(hash)).await
    }

    async fn key(&self, id: &KeyId) -> Result<Option<StoredKey>, BrokerError> {
        self.look_up(id.as_str(), "").await
    }

    async fn keys(
        &self,
        owner: Option<&TenantId>,
        after: Option<&KeyId>,
        limit: usize,
    ) -> Result<Vec<StoredKey>, BrokerError> {
        let partition = self.partitions.first().await?;
        let mut call = partition.scripts.list_keys.prepare_invoke();
        let index = owner.map_or_else(|| "all".to_owned(), |owner| format!("of:{owner}"));
        call.key(partition.keys.base()).arg(index).arg(after.map_or("", KeyId::as_str)).arg(limit);
        let mut reply = Reply::new("list_keys", partition.link.run(&call).await?);
        let mut keys = Vec::new();
        while !reply.is_read() {
            keys.push(read(&mut reply)?);
        }
        Ok(keys)
    }

    async fn change_key(
        &self,
        revision: u64,
        key: &ApiKey,
        hash: Option<KeyHash>,
    ) -> Result<Option<StoredKey>, BrokerError> {
        let partition = self.partitions.first().await?;
        let mut call = partition.scripts.change_key.prepare_invoke();
        call.key(partition.keys.base()).arg(key.id.as_str()).arg(revision);
        call.arg(record_of_key(key)?).arg(hash.map_or_else(String::new, hex));
        let mut reply = Reply::new("change_key", partition.link.run(&call).await?);
        match reply.text()?.as_str() {
            "key" => read(&mut reply).map(Some),
            "changed" => Ok(None),
            "taken" => Err(text_is_taken(&key.id)),
            other => Err(reply.unexpected(other)),
        }
    }

    async fn revoke_key(&self, id: &KeyId) -> Result<Option<StoredKey>, BrokerError> {
        let partition = self.partitions.first().await?;
        let mut call = partition.scripts.revoke_key.prepare_invoke();
        call.key(partition.keys.base()).arg(id.as_str());
        found(Reply::new("revoke_key", partition.link.run(&call).await?))
    }

    async fn note_keys_used(&self, used: &[(KeyId, Timestamp)]) -> Result<(), BrokerError> {
        let partition = self.partitions.first().await?;
        for some in used.chunks(NOTED) {
            let mut call = partition.scripts.note_keys_used.prepare_invoke();
            call.key(partition.keys.base());
            for (id, at) in some {
                call.arg(id.as_str()).arg(at.as_millis());
            }
            partition.link.run(&call).await?;
        }
        Ok(())
    }

    async fn owner_secret(
        &self,
        owner: &TenantId,
        fresh: [u8; 32],
    ) -> Result<[u8; 32], BrokerError> {
        let partition = self.partitions.first().await?;
        let mut call = partition.scripts.owner_secret.prepare_invoke();
        call.key(partition.keys.base()).arg(owner.as_str()).arg(hex(fresh));
        let mut reply = Reply::new("owner_secret", partition.link.run(&call).await?);
        Ok(reply.parse::<ContentHash>()?.0)
    }
}

impl RedisBroker {
    /// Returns the key with this id, or with this hash if the id is empty.
    async fn look_up(&self, id: &str, hash: &str) -> Result<Option<StoredKey>, BrokerError> {
        let partition = self.partitions.first().await?;
        let mut call = partition.scripts.find_key.prepare_invoke();
        call.key(partition.keys.base()).arg(id).arg(hash);
        found(Reply::new("find_key", partition.link.run(&call).await?))
    }
}

/// Formats 32 bytes in hexadecimal, as a content's hash is.
fn hex(bytes: [u8; 32]) -> String {
    ContentHash(bytes).to_string()
}

fn found(mut reply: Reply) -> Result<Option<StoredKey>, BrokerError> {
    match reply.text()?.as_str() {
        "key" => read(&mut reply).map(Some),
        "missing" => Ok(None),
        other => Err(reply.unexpected(other)),
    }
}

/// Reads the fields that `lib/keys.lua` calls `KEY`.
fn read(reply: &mut Reply) -> Result<StoredKey, BrokerError> {
    KeyFields {
        record: reply.text()?,
        owner: reply.text()?,
        revision: reply.parse()?,
        created: reply.parse()?,
        used: reply.optional()?,
    }
    .read()
}
