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

/// The longest data URL that a record has; the predictions would repeat longer ones with every poll.
const MAX_DATA_URL: usize = 1024;

impl Record {
    /// Creates the record. Images in the input are cut off.
    pub(super) fn new(model: String, version: String, mut input: Value) -> Self {
        cut_images(&mut input);
        Self { model, version, input }
    }

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

/// Cuts off long data URLs.
fn cut_images(value: &mut Value) {
    match value {
        Value::String(text) if text.len() > MAX_DATA_URL && text.starts_with("data:") => {
            let head = text.split_once(',').map_or("data:", |(head, _)| head);
            let head: String = head.chars().take(64).collect();
            *text = format!("{head},…");
        }
        Value::Array(items) => items.iter_mut().for_each(cut_images),
        Value::Object(fields) => fields.values_mut().for_each(cut_images),
        _ => {}
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
