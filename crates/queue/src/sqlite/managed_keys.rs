//! Managed keys: not built yet.

use async_trait::async_trait;
use protocol::{ApiKey, KeyId, TenantId, Timestamp};

use super::SqliteBroker;
use crate::{BrokerError, KeyHash, Keys, StoredKey};

#[async_trait]
impl Keys for SqliteBroker {
    async fn keys_version(&self) -> Result<u64, BrokerError> {
        Err(todo())
    }
    async fn add_key(&self, _: KeyHash, _: &ApiKey) -> Result<StoredKey, BrokerError> {
        Err(todo())
    }
    async fn find_key(&self, _: KeyHash) -> Result<Option<StoredKey>, BrokerError> {
        Ok(None)
    }
    async fn key(&self, _: &KeyId) -> Result<Option<StoredKey>, BrokerError> {
        Err(todo())
    }
    async fn keys(
        &self,
        _: Option<&TenantId>,
        _: Option<&KeyId>,
        _: usize,
    ) -> Result<Vec<StoredKey>, BrokerError> {
        Err(todo())
    }
    async fn change_key(
        &self,
        _: u64,
        _: &ApiKey,
        _: Option<KeyHash>,
    ) -> Result<Option<StoredKey>, BrokerError> {
        Err(todo())
    }
    async fn revoke_key(&self, _: &KeyId) -> Result<Option<StoredKey>, BrokerError> {
        Err(todo())
    }
    async fn note_keys_used(&self, _: &[(KeyId, Timestamp)]) -> Result<(), BrokerError> {
        Err(todo())
    }
    async fn owner_secret(&self, _: &TenantId, fresh: [u8; 32]) -> Result<[u8; 32], BrokerError> {
        Ok(fresh)
    }
}

fn todo() -> BrokerError {
    BrokerError::Corrupt("managed keys are not built yet".to_owned())
}
