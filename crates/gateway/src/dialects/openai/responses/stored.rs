//! [`Stored`]: what is stored of a response beside its task. A response exists as long as its record
//! and its task do.

use protocol::{BlobId, TaskId, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::reply::Echo;
use crate::records::Records;
use crate::refusal::Refusal;
use crate::state::State;
use crate::validate::FieldError;

const RECORDS: Records = Records { purpose: ".response" };

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
        let saved = RECORDS.save(state, tenant, blob_id(task_id), ttl_s, self).await?;
        saved.map_err(|error| {
            Refusal::invalid(vec![FieldError::new(
                ["body".into(), "store".into()],
                "value_error",
                format!("the response can't be stored: {error}. \"store\": false needs no room"),
            )])
        })
    }

    /// Reads the record of a tenant's response; `None` if there is none.
    pub(super) async fn load(
        state: &State,
        tenant: &TenantId,
        task_id: TaskId,
    ) -> Result<Option<Self>, Refusal> {
        RECORDS.load(state, tenant, blob_id(task_id)).await
    }

    /// Deletes the record, and returns whether there was one.
    pub(super) async fn delete(
        state: &State,
        tenant: &TenantId,
        task_id: TaskId,
    ) -> Result<bool, Refusal> {
        RECORDS.delete(state, tenant, blob_id(task_id)).await
    }
}

fn blob_id(task_id: TaskId) -> BlobId {
    BlobId::from(task_id.as_uuid())
}
