//! Reads the body of a new batch.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::{BatchId, BlobId, WebhookForm};
use queue::NewBatch;
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::super::files::{file_id_of, output_ttl};
use super::super::{query, request};
use super::requests::ENDPOINTS;
use crate::auth::Access;
use crate::options::Options;
use crate::refusal::Refusal;
use crate::validate::fields::Fields;
use crate::validate::{FieldError, echo, webhook};

/// The time for which the input is kept after the batch's time is over.
pub(super) const INPUT_GRACE: Duration = Duration::from_secs(24 * 60 * 60);
/// Maximum completion window, in hours.
const MAX_HOURS: u64 = 7 * 24;

/// A request for a batch.
#[derive(Debug)]
pub(super) struct BatchRequest {
    pub(super) input_name: String,
    input: BlobId,
    endpoint: String,
    window: Duration,
    output_ttl: Option<Duration>,
    metadata: BTreeMap<String, String>,
    webhook_url: Option<String>,
}

impl BatchRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// If the body is invalid. Returns all problems at once.
    pub(super) fn read(body: &Value, options: &Options) -> Result<Self, Vec<FieldError>> {
        let mut fields = Fields::lenient(body)?;
        let text = |fields: &mut Fields<'_>, name: &str, expected: &str| {
            let value = fields.required(name, expected);
            value.and_then(|value| fields.text(name, value).map(str::to_owned))
        };
        let name = text(&mut fields, "input_file_id", "the id of a file of purpose batch");
        let input = name.as_deref().map(file_id_of);
        if input == Some(None) {
            let name = name.as_deref().unwrap_or_default();
            let message = no_such_file(name);
            fields.problem("input_file_id", "value_error", message);
        }
        let endpoints = ENDPOINTS.join(", ");
        let endpoint = text(&mut fields, "endpoint", &endpoints);
        if let Some(other) = endpoint.as_deref().filter(|one| !ENDPOINTS.contains(one)) {
            let message = format!("must be one of {endpoints}, is '{}'", echo(other));
            fields.problem("endpoint", "enum", message);
        }
        let window = text(&mut fields, "completion_window", "\"24h\"");
        let hours = window.as_deref().and_then(hours);
        if let (Some(window), None) = (&window, hours) {
            let message = format!("must be 1h to {MAX_HOURS}h, such as 24h; is '{}'", echo(window));
            fields.problem("completion_window", "value_error", message);
        }
        let output_ttl = output_ttl(&mut fields);
        let metadata = request::metadata(&mut fields);
        // The form is that of tasks; a batch has its own.
        let form = WebhookForm::default();
        let webhook = webhook::read(&mut fields, webhook::FIELD, form, options.guard());
        let read = || {
            Some(Self {
                input_name: name?,
                input: input??,
                endpoint: endpoint?,
                window: hours?,
                output_ttl,
                metadata,
                webhook_url: webhook.map(|webhook| webhook.url),
            })
        };
        let read = read();
        fields.finish(read)
    }

    /// Creates the batch of a tenant. `key` is the idempotency key, if there is one: batches of the same key and
    /// file have the same id.
    pub(super) fn for_caller(&self, access: &Access, key: Option<&str>) -> NewBatch {
        let tenant = access.owner.clone();
        let repeatable = |key: &str| {
            let hash: [u8; 32] = Sha256::digest(format!("{tenant} {key}")).into();
            let mut id = *self.input.as_uuid().as_bytes(); // its time, and random bits
            id[9..].copy_from_slice(&hash[..7]);
            Uuid::from_bytes(id).into()
        };
        NewBatch {
            id: key.map_or_else(BatchId::new, repeatable),
            tenant,
            key: Some(access.key.clone()),
            tokens_per_day: access.limits.batch_tokens_per_day,
            models: access.models.clone(),
            endpoint: self.endpoint.clone(),
            input: self.input,
            window: self.window,
            output_ttl: self.output_ttl,
            metadata: self.metadata.clone(),
            webhook_url: self.webhook_url.clone(),
        }
    }
}

/// Reads a number of hours: `24h`.
fn hours(window: &str) -> Option<Duration> {
    let hours = window.strip_suffix('h')?;
    let hours: u64 = hours.parse().ok().filter(|hours| (1..=MAX_HOURS).contains(hours))?;
    Some(Duration::from_secs(hours * 60 * 60))
}

/// Refuses a batch whose file does not exist.
pub(super) fn no_input(name: &str) -> Refusal {
    query::invalid("body", "input_file_id", "value_error", no_such_file(name))
}

fn no_such_file(name: &str) -> String {
    format!("There is no file '{}' of purpose batch: upload one with POST /v1/files", echo(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_whole_hours_up_to_a_week() {
        let day = Duration::from_secs(86_400);
        assert_eq!(hours("24h"), Some(day));
        assert_eq!(hours("168h"), Some(7 * day));
        for wrong in ["", "h", "0h", "169h", "1s", "24", "-1h", "1.5h", "24 h"] {
            assert_eq!(hours(wrong), None, "{wrong}");
        }
    }
}
