//! Reads the body of a request for a prediction.

use protocol::{ModelId, Webhook, WebhookForm};
use serde_json::{Value, json};

use super::super::jobs;
use crate::options::Options;
use crate::order::Order;
use crate::validate::fields::Fields;
use crate::validate::{FieldError, type_name, webhook};

/// The events that a webhook can be asked for. Only the last one is sent.
const EVENTS: [&str; 4] = ["start", "output", "logs", COMPLETED];
const COMPLETED: &str = "completed";

/// Reads the name of the version, which is a model's.
pub(super) fn version(body: &Value) -> Result<&str, Vec<FieldError>> {
    let mut fields = Fields::lenient(body)?;
    let version = fields.required("version", "the name of a model, see GET /v1/models");
    let version = version.and_then(|version| fields.text("version", version));
    fields.finish(version)
}

/// Reads a body whose model is already resolved. The output of a prediction is text, so what has no
/// place in it is refused.
pub(super) fn read(
    body: &Value,
    model: ModelId,
    options: &Options,
) -> Result<Order, Vec<FieldError>> {
    let mut fields = Fields::lenient(body)?;
    let webhook = webhook(&mut fields, options);
    let (none, off) = ([json!([])], [json!(false)]);
    let unsupported: [(&str, &[Value], &str); 2] = [
        ("tools", &none, "the output is text: use POST /v1/chat/completions"),
        ("logprobs", &off, "the output is text: use POST /v1/chat/completions"),
    ];
    let order = jobs::order(body, model, options, &unsupported);
    let order = fields.finish(Some(order))??;
    Ok(Order { webhook, ..order })
}

/// Reads the webhook, if it is to be called at the end.
fn webhook(fields: &mut Fields<'_>, options: &Options) -> Option<Webhook> {
    const FILTER: &str = "webhook_events_filter";
    let mut read = |name| webhook::read(fields, name, WebhookForm::Prediction, options.guard());
    // The second is the field's older name.
    let webhook = read("webhook").or_else(|| read("webhook_completed"));
    let Some(filter) = fields.get(FILTER) else { return webhook };
    let Some(events) = filter.as_array() else {
        let message = format!("expected an array of events, got {}", type_name(filter));
        fields.problem(FILTER, "list_type", message);
        return None;
    };
    for (index, event) in events.iter().enumerate() {
        if !event.as_str().is_some_and(|event| EVENTS.contains(&event)) {
            let message = format!("must be one of {}", EVENTS.join(", "));
            fields.problem_at(FILTER, index, "enum", message);
        }
    }
    webhook.filter(|_| events.iter().any(|event| event == COMPLETED))
}
