//! Records that a dialect keeps beside a task, as JSON in a blob.

use std::time::Duration;

use actix_web::web::Bytes;
use futures::{StreamExt, stream};
use protocol::{BlobId, TenantId};
use queue::{BlobError, BrokerError, NewBlob};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::refusal::Refusal;
use crate::state::State;

/// The time for which a record outlives its task's result: the time to wait for a worker and to run.
/// A task that waits longer loses its record.
const WAIT_ROOM: Duration = Duration::from_secs(24 * 60 * 60);

/// A kind of records.
pub(crate) struct Records {
    /// The purpose of their blobs.
    pub(crate) purpose: &'static str,
}

impl Records {
    /// Stores a record under an id that no other blob has. It is kept for a day longer than `ttl_s`
    /// seconds from now. Returns an error if the tenant has no room for it.
    pub(crate) async fn save(
        &self,
        state: &State,
        tenant: &TenantId,
        id: BlobId,
        ttl_s: u32,
        record: &impl Serialize,
    ) -> Result<Result<(), BlobError>, Refusal> {
        let bytes = serde_json::to_vec(record);
        let bytes = bytes.map_err(|error| Refusal::internal(error.to_string()))?;
        let new = NewBlob {
            tenant: tenant.clone(),
            purpose: self.purpose.to_owned(),
            media_type: "application/json".to_owned(),
            filename: None,
            ttl: Some(Duration::from_secs(ttl_s.into()) + WAIT_ROOM),
            announced: Some(bytes.len() as u64),
        };
        let body = stream::iter([Ok::<_, BrokerError>(Bytes::from(bytes))]);
        let put = async {
            match state.blobs.put_as(id, new, body).await {
                Err(BlobError::Store(error)) => Err(error),
                other => Ok(other.map(drop)),
            }
        };
        state.ask(put).await
    }

    /// Reads a tenant's record; `None` if there is none.
    pub(crate) async fn load<T: DeserializeOwned>(
        &self,
        state: &State,
        tenant: &TenantId,
        id: BlobId,
    ) -> Result<Option<T>, Refusal> {
        let read = async {
            let found = state.blobs.find(tenant, id).await?;
            let Some(found) = found.filter(|found| found.blob.purpose == self.purpose) else {
                return Ok(None);
            };
            let mut bytes = Vec::new();
            let mut pieces = found.read();
            while let Some(piece) = pieces.next().await {
                bytes.extend_from_slice(&piece?);
            }
            Ok(Some(bytes))
        };
        let Some(bytes) = state.ask(read).await? else { return Ok(None) };
        let record = serde_json::from_slice(&bytes);
        record.map(Some).map_err(|error| {
            Refusal::internal(format!("a record of the kind {}: {error}", self.purpose))
        })
    }

    /// Deletes a record, and returns whether there was one.
    pub(crate) async fn delete(
        &self,
        state: &State,
        tenant: &TenantId,
        id: BlobId,
    ) -> Result<bool, Refusal> {
        state.ask(state.blobs.delete(tenant, id)).await
    }
}
