//! Describes the input of a job.

use serde_json::{Value, json};

use super::{INPUT, SAMPLING};
use crate::describe::{described, refer};
use crate::options::Options;
use crate::schemas::fields;

/// Returns the schema of the body of a job, without the fields that only one dialect has.
pub(in crate::dialects) fn input(options: &Options) -> Value {
    let mut all = fields::sampling(|_| true);
    let sampling = json!({"type": ["object", "null"], "properties": all});
    let messages = json!({"type": "array", "minItems": 1, "items": refer("ChatMessage")});
    let more = [
        ("prompt", fields::text("A conversation of one message, in the place of `messages`.")),
        ("system_prompt", fields::text("The system's message.")),
        ("image", fields::text(fields::IMAGE)),
        ("messages", described("The conversation.", messages)),
        ("max_tokens", fields::length(options.max_new_tokens)),
        ("max_new_tokens", fields::length(options.max_new_tokens)),
        ("stop", fields::stop()),
        (SAMPLING, described("May have the sampling fields.", sampling)),
    ];
    all.extend(more.map(|(name, schema)| (name.to_owned(), schema)));
    json!({
        "type": "object",
        "required": [INPUT],
        "properties": {INPUT: {
            "type": "object",
            "properties": all,
            "oneOf": [{"required": ["prompt"]}, {"required": ["messages"]}],
        }},
    })
}
