//! [`Stored`]: what is stored of a response beside its task, as a blob whose id is the task's. A
//! response exists as long as its blob and its task do.

use std::time::Duration;

use actix_web::web::Bytes;
use futures::{StreamExt, stream};
use protocol::{BlobId, TaskId, TenantId};
use queue::{BlobError, BrokerError, NewBlob};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::reply::Echo;
use crate::refusal::Refusal;
use crate::state::State;
use crate::validate::FieldError;

/// The purpose of these blobs, which hides them from lists of files.
const PURPOSE: &str = ".response";
/// The time for which a response's blob outlives its result: the time to wait for a worker and to
/// run. Responses that wait longer are lost when they end.
const WAIT_ROOM: Duration = Duration::from_secs(24 * 60 * 60);

/// The request as the response repeats it, and the conversation up to the response.
#[derive(Serialize, Deserialize)]
pub(super) struct Stored {
    pub(super) echo: Echo,
    /// The input items, after those of the responses that this one continues.
    pub(super) items: Vec<Value>,
}

impl Stored {
    /// Stores the record. Its time to live begins now.
    pub(super) async fn save(
        &self,
        state: &State,
        tenant: &TenantId,
        task_id: TaskId,
        ttl_s: u32,
    ) -> Result<(), Refusal> {
        let bytes = serde_json::to_vec(self);
        let bytes = bytes.map_err(|error| Refusal::internal(error.to_string()))?;
        let new = NewBlob {
            tenant: tenant.clone(),
            purpose: PURPOSE.to_owned(),
            media_type: "application/json".to_owned(),
            filename: None,
            ttl: Some(Duration::from_secs(ttl_s.into()) + WAIT_ROOM),
            announced: Some(bytes.len() as u64),
        };
        let body = stream::iter([Ok::<_, BrokerError>(Bytes::from(bytes))]);
        let put = async {
            match state.blobs.put_as(blob_id(task_id), new, body).await {
                Err(BlobError::Store(error)) => Err(error),
                other => Ok(other),
            }
        };
        match state.ask(put).await? {
            Ok(_) => Ok(()),
            Err(error) => Err(Refusal::invalid(vec![FieldError::new(
                ["body".into(), "store".into()],
                "value_error",
                format!("the response can't be stored: {error}. \"store\": false needs no room"),
            )])),
        }
    }

    /// Reads the record of a tenant's response; `None` if there is none.
    pub(super) async fn load(
        state: &State,
        tenant: &TenantId,
        task_id: TaskId,
    ) -> Result<Option<Self>, Refusal> {
        let read = async {
            let found = state.blobs.find(tenant, blob_id(task_id)).await?;
            let Some(found) = found.filter(|found| found.blob.purpose == PURPOSE) else {
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
        let stored = serde_json::from_slice(&bytes);
        stored.map(Some).map_err(|error| Refusal::internal(format!("a stored response: {error}")))
    }

    /// Deletes the record, and returns whether there was one.
    pub(super) async fn delete(
        state: &State,
        tenant: &TenantId,
        task_id: TaskId,
    ) -> Result<bool, Refusal> {
        state.ask(state.blobs.delete(tenant, blob_id(task_id))).await
    }
}

fn blob_id(task_id: TaskId) -> BlobId {
    BlobId::from(task_id.as_uuid())
}
