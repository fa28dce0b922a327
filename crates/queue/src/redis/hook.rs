//! The stored form of a task's webhook.

use std::collections::BTreeMap;

use protocol::{RecordError, Task, WebhookForm, record};
use serde::{Deserialize, Serialize};

/// The fields of a task or a notice that a delivery needs, beside those that scripts know.
#[derive(Serialize, Deserialize)]
pub(super) struct Hook {
    pub(super) url: String,
    #[serde(default, skip_serializing_if = "WebhookForm::is_task")]
    pub(super) form: WebhookForm,
    /// The body of a notice; `None` for a task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) body: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) metadata: BTreeMap<String, String>,
}

/// Returns a task's webhook in its stored form, or `None` if it has none.
pub(super) fn encode(task: &Task) -> Result<Option<String>, RecordError> {
    let Some(webhook) = &task.webhook else { return Ok(None) };
    let hook = Hook {
        url: webhook.url.clone(),
        form: webhook.form,
        body: None,
        metadata: task.metadata.clone(),
    };
    record::encode(&hook).map(Some)
}
