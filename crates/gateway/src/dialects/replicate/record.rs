//! [`Record`]: what is stored of a prediction beside its task. A prediction exists as long as its
//! record and its task do.

use actix_web::{HttpMessage, HttpRequest};
use protocol::{BlobId, TaskId, TaskSnapshot, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::middleware::Notes;
use crate::records::Records;
use crate::refusal::Refusal;
use crate::state::State;
use crate::validate::{FieldError, echo};

/// The purpose of the records' blobs.
pub(super) const PURPOSE: &str = ".prediction";
const RECORDS: Records = Records { purpose: PURPOSE };

/// The request, as its prediction repeats it.
#[derive(Serialize, Deserialize)]
pub(super) struct Record {
    /// The name by which the model was requested.
    pub(super) model: String,
    /// The model.
    pub(super) version: String,
    pub(super) input: Value,
}

impl Record {
    /// Stores the record.
    pub(super) async fn save(
        &self,
        state: &State,
        tenant: &TenantId,
        id: TaskId,
        ttl_s: u32,
    ) -> Result<(), Refusal> {
        let saved = RECORDS.save(state, tenant, id.as_uuid().into(), ttl_s, self).await?;
        saved.map_err(|error| {
            let message = format!("the prediction can't be stored: {error}");
            let problem = FieldError::new(["body".into(), "input".into()], "value_error", message);
            Refusal::invalid(vec![problem])
        })
    }

    /// Reads the record of a tenant's prediction; `None` if there is none.
    pub(super) async fn load(
        state: &State,
        tenant: &TenantId,
        id: BlobId,
    ) -> Result<Option<Self>, Refusal> {
        RECORDS.load(state, tenant, id).await
    }
}

/// Returns a tenant's prediction and its task, and notes the task for the log.
pub(super) async fn find(
    state: &State,
    tenant: &TenantId,
    name: &str,
    request: &HttpRequest,
) -> Result<(Record, TaskSnapshot), Refusal> {
    let missing = || {
        let message = format!(
            "Prediction '{}' not found: it never existed, has expired, or belongs to another key",
            echo(name)
        );
        Refusal::not_found("prediction", message)
    };
    let id: TaskId = name.parse().map_err(|_| missing())?;
    Notes::of(&mut request.extensions_mut()).task_id = Some(id);
    let record = Record::load(state, tenant, id.as_uuid().into()).await?.ok_or_else(missing)?;
    Ok((record, state.task(tenant, id).await?))
}
