//! Describes OpenAI's routes for the OpenAPI document. To describe a family of routes, write its file and add
//! its line to [`describe`].

mod batches;
mod chat;
mod completions;
mod embeddings;
mod files;
mod models;
mod responses;
mod shared;
mod usage;

use serde_json::{Value, json};

use crate::describe::{Description, OF_BODY, OF_KEY, OF_QUEUE, OF_TASK, Operation, refer};
use crate::options::Options;

const TAG: &str = "openai";

/// Describes all routes.
pub(super) fn describe(options: &Options) -> Description {
    let mut all = Description {
        tags: vec![(TAG, "OpenAI's API. docs/OPENAI.md and docs/RESPONSES.md have the details.")],
        ..Description::default()
    };
    all.schemas.push(("OpenAiError", error()));
    shared::describe(&mut all);
    chat::describe(&mut all, options);
    completions::describe(&mut all, options);
    embeddings::describe(&mut all, options);
    models::describe(&mut all);
    responses::describe(&mut all, options);
    files::describe(&mut all);
    batches::describe(&mut all);
    usage::describe(&mut all);
    all
}

/// Completes the description of a route.
trait OfOpenAi {
    /// Adds the refusals of a route that reads stored data.
    fn reads(self) -> Self;
    /// Adds the refusals of a route that reads a body, submits a task and waits for its end.
    fn works(self) -> Self;
}

impl OfOpenAi for Operation {
    fn reads(self) -> Self {
        let error = refer("OpenAiError");
        self.tag(TAG).refuses(&error, &OF_KEY).refuses(&error, &OF_QUEUE)
    }

    fn works(self) -> Self {
        let error = refer("OpenAiError");
        self.reads().refuses(&error, &OF_BODY).refuses(&error, &OF_TASK).idempotent()
    }
}

/// Adds the refusals of a route that reads a body, and submits no task at once.
fn refusals_of_body(operation: Operation) -> Operation {
    operation.refuses(&refer("OpenAiError"), &OF_BODY)
}

fn error() -> Value {
    json!({
        "type": "object",
        "description": "The reason why a request was refused.",
        "required": ["error"],
        "properties": {"error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string", "description": "The problem and the remedy, for people."},
                "type": {"type": "string", "example": "invalid_request_error"},
                "param": {
                    "type": ["string", "null"],
                    "description": "The path of the first invalid value.",
                    "example": "messages.0.role",
                },
                "code": {"type": ["string", "null"], "example": "invalid_value"},
            },
        }},
    })
}
