//! Describes `GET /v1/usage`.

use serde_json::{Value, json};

use super::OfOpenAi;
use crate::describe::{Description, Operation, refer};

/// Adds the route and its schema.
pub(super) fn describe(all: &mut Description) {
    let day = || json!({"type": "string", "format": "date"});
    all.operations.push(
        Operation::get("/v1/usage", "ownUsage", "Report the own use")
            .about("What the owner of the key used, all of its keys together, and what is left of the limits.")
            .query("from", "The first day (UTC); by default the 30th to the last.", day())
            .query("to", "The last day; by default today. At most 400 days are allowed.", day())
            .query(
                "group_by",
                "Some of `owner`, `key`, `model` and `day`, separated by commas; by default `day`.",
                json!({"type": "string", "example": "model,day"}),
            )
            .returns("The report.", refer("OwnUsage"))
            .refuses(&refer("OpenAiError"), &[(400, "The query is invalid.")])
            .reads(),
    );
    all.schemas.push(("OwnUsage", own_usage()));
}

fn own_usage() -> Value {
    let limit = json!({
        "type": "object",
        "required": ["kind", "of", "limit", "remaining", "reset_s", "reserved"],
        "properties": {
            "kind": {"enum": [
                "requests_per_second", "requests_per_minute", "requests_per_hour", "requests_per_day",
                "tokens_per_minute", "in_flight", "tokens_per_day", "batch_tokens_per_day",
            ]},
            "of": {
                "enum": ["key", "owner", "route"],
                "description": "What it limits: this key, all keys of its owner together, or this key on `POST /generate`.",
            },
            "limit": {"type": "integer", "minimum": 1},
            "remaining": {"type": "integer", "minimum": 0},
            "reset_s": {"type": "number", "minimum": 0, "description": "The time until all of it is left again."},
            "reserved": {"type": "integer", "minimum": 0, "description": "Tokens that running tasks hold."},
        },
    });
    json!({"allOf": [refer("UsageReply"), {
        "type": "object",
        "required": ["object", "limits"],
        "properties": {
            "object": {"const": "usage"},
            "limits": {"type": "array", "items": limit},
        },
    }]})
}
