//! Describes `/v1/responses`.

use serde_json::{Map, Value, json};

use super::{OfOpenAi, shared};
use crate::describe::{Description, Operation, described, nullable, refer};
use crate::options::Options;
use crate::schemas::fields;

const EXAMPLE: &str = "resp_01a22749e01a74ba9fd374e46721fd5b";

/// Adds the routes and their schemas.
pub(super) fn describe(all: &mut Description, options: &Options) {
    all.operations.extend([
        create(options),
        input_tokens(options),
        retrieve(),
        cancel(),
        delete(),
        input_items(),
    ]);
    all.schemas.extend([
        ("ResponseRequest", request(options)),
        ("Response", response()),
        ("ResponseInputItem", input_item()),
        ("ResponseTool", tool()),
    ]);
}

fn create(options: &Options) -> Operation {
    Operation::post("/v1/responses", "createResponse", "Create a response")
        .about(
            "With `background` the reply comes at once, and the response is fetched or streamed \
             later. Unknown fields are ignored. Known fields that cannot be honoured are refused.",
        )
        .body(
            refer("ResponseRequest"),
            json!({
                "model": options.default_model, "input": "How do I add a worker?",
                "max_output_tokens": 64,
            }),
        )
        .returns("The response, or with `stream` its events.", refer("Response"))
        .or_streams()
        .leads_to("retrieveResponse", "response_id", "id")
        .leads_to("cancelResponse", "response_id", "id")
        .leads_to("deleteResponse", "response_id", "id")
        .leads_to("listInputItems", "response_id", "id")
        .works()
}

fn input_tokens(options: &Options) -> Operation {
    Operation::post(
        "/v1/responses/input_tokens",
        "countInputTokens",
        "Count the input tokens of a response",
    )
    .about("Takes the body of a response, which is not created.")
    .body(
        refer("ResponseRequest"),
        json!({"model": options.default_model, "input": "How do I add a worker?"}),
    )
    .returns(
        "The tokens of the prompt that the response would have.",
        json!({
            "type": "object",
            "required": ["object", "input_tokens"],
            "properties": {
                "object": {"const": "response.input_tokens"},
                "input_tokens": {"type": "integer", "minimum": 0},
            },
        }),
    )
    .works()
}

fn retrieve() -> Operation {
    of_one(Operation::get("/v1/responses/{response_id}", "retrieveResponse", "Fetch a response"))
        .query(
            "stream",
            "Streams the response's events, from the first one or after `starting_after`.",
            json!({"type": "boolean"}),
        )
        .query(
            "starting_after",
            "Streams only events after this `sequence_number`.",
            json!({"type": "integer", "minimum": 0}),
        )
        .returns("The response, or with `stream` its events.", refer("Response"))
        .or_streams()
}

fn cancel() -> Operation {
    let path = "/v1/responses/{response_id}/cancel";
    of_one(Operation::post(path, "cancelResponse", "Cancel a background response"))
        .about("A response that has ended stays as it is.")
        .returns("The response.", refer("Response"))
}

fn delete() -> Operation {
    of_one(Operation::delete("/v1/responses/{response_id}", "deleteResponse", "Delete a response"))
        .about("A response that has not ended is cancelled.")
        .returns(
            "The response is deleted.",
            json!({
                "type": "object",
                "required": ["id", "object", "deleted"],
                "properties": {
                    "id": {"type": "string"},
                    "object": {"const": "response"},
                    "deleted": {"const": true},
                },
            }),
        )
}

fn input_items() -> Operation {
    let path = "/v1/responses/{response_id}/input_items";
    of_one(Operation::get(path, "listInputItems", "List the input of a response"))
        .query(
            "limit",
            "The maximum number of items. The default is 20.",
            json!({"type": "integer", "minimum": 1, "maximum": 100}),
        )
        .query(
            "order",
            "The default is `desc`: the last item first.",
            json!({"enum": ["asc", "desc"]}),
        )
        .query("after", "Lists only items after the one with this id.", json!({"type": "string"}))
        .returns(
            "A page of the input items, with those of the responses that this one continues.",
            json!({
                "type": "object",
                "required": ["object", "data", "first_id", "last_id", "has_more"],
                "properties": {
                    "object": {"const": "list"},
                    "data": {"type": "array", "items": {"type": "object"}},
                    "first_id": {"type": ["string", "null"]},
                    "last_id": {"type": ["string", "null"]},
                    "has_more": {"type": "boolean"},
                },
            }),
        )
}

/// Completes the description of a route with the id of a response.
fn of_one(operation: Operation) -> Operation {
    let refusals = [
        (400, "The request is invalid."),
        (
            404,
            "There is no such response: it was not stored, has expired or was deleted, or belongs \
               to another key.",
        ),
    ];
    operation
        .segment("response_id", "The response's id.", EXAMPLE)
        .refuses(&refer("OpenAiError"), &refusals)
        .reads()
}

fn request(options: &Options) -> Value {
    let mut all = shared::request(options);
    let input = json!({"anyOf": [
        {"type": "string"}, {"type": "array", "items": refer("ResponseInputItem")},
    ]});
    let format = json!({
        "anyOf": [
            {"type": "object", "required": ["type"], "properties": {"type": {"const": "text"}}},
            {"type": "object", "required": ["type"], "properties": {"type": {"const": "json_object"}}},
            {
                "type": "object",
                "required": ["type", "schema"],
                "properties": {
                    "type": {"const": "json_schema"},
                    "name": {"type": "string"},
                    "schema": fields::json_schema(),
                },
            },
        ],
    });
    let text = json!({"type": ["object", "null"], "properties": {"format": nullable(format)}});
    let reasoning = json!({"type": ["object", "null"], "properties": {"effort": shared::effort()}});
    let named = json!({
        "type": "object",
        "required": ["type", "name"],
        "properties": {"type": {"const": "function"}, "name": fields::function_name()},
    });
    let more = [
        ("input", described("The text of the user, or items.", input)),
        ("instructions", fields::text("A message of the system for this response alone.")),
        (
            "previous_response_id",
            fields::text("The stored response that this one continues, with its conversation."),
        ),
        ("max_output_tokens", fields::length(options.max_new_tokens)),
        ("background", fields::flag("Replies at once; the response is created later.")),
        ("store", fields::flag("`false` forgets the response. The default is `true`.")),
        ("text", described("The format of the answer.", text)),
        ("reasoning", described("Whether the model thinks.", reasoning)),
        ("top_logprobs", shared::top_logprobs()),
    ];
    let more = more.into_iter().chain(shared::conversation(refer("ResponseTool"), &named));
    all.extend(more.map(|(name, schema)| (name.to_owned(), schema)));
    json!({"type": "object", "required": ["model", "input"], "properties": all})
}

fn tool() -> Value {
    json!({
        "type": "object",
        "required": ["type", "name"],
        "properties": {
            "type": {"const": "function"},
            "name": fields::function_name(),
            "description": fields::text("What the function does, for the model."),
            "parameters": nullable(fields::json_schema()),
            "strict": fields::flag("Ignored: arguments always match the schema."),
        },
    })
}

fn input_item() -> Value {
    let text = json!({
        "type": "object",
        "required": ["type", "text"],
        "properties": {"type": {"enum": ["input_text", "output_text"]}, "text": {"type": "string"}},
    });
    let image = json!({
        "type": "object",
        "required": ["type"],
        "properties": {
            "type": {"const": "input_image"},
            "image_url": fields::text(fields::IMAGE),
            "file_id": fields::text("The id of a file or blob, in the place of `image_url`."),
            "detail": {"enum": ["auto", "low", "high"]},
        },
    });
    let parts = json!({"type": "array", "items": {"anyOf": [text, image]}});
    let content = json!({"anyOf": [{"type": "string"}, parts]});
    json!({"anyOf": [
        {
            "type": "object",
            "required": ["role", "content"],
            "properties": {
                "type": {"const": "message"},
                "role": {"enum": ["system", "developer", "user", "assistant"]},
                "content": content,
            },
        },
        {
            "type": "object",
            "required": ["type", "call_id", "name", "arguments"],
            "properties": {
                "type": {"const": "function_call"},
                "call_id": {"type": "string"},
                "name": {"type": "string"},
                "arguments": {"type": "string", "description": "The arguments as a string of JSON."},
            },
        },
        {
            "type": "object",
            "required": ["type", "call_id", "output"],
            "properties": {
                "type": {"const": "function_call_output"},
                "call_id": {"type": "string"},
                "output": content,
            },
        },
    ]})
}

fn response() -> Value {
    let item = json!({
        "type": "object",
        "required": ["id", "type", "status"],
        "properties": {
            "id": {"type": "string"},
            "type": {"enum": ["message", "function_call", "reasoning"]},
            "status": {"enum": ["in_progress", "completed", "incomplete"]},
        },
    });
    let count = json!({"type": "integer", "minimum": 0});
    let usage = json!({
        "type": ["object", "null"],
        "required": ["input_tokens", "output_tokens", "total_tokens"],
        "properties": {
            "input_tokens": count, "output_tokens": count, "total_tokens": count,
            "input_tokens_details": {"type": "object", "properties": {"cached_tokens": count}},
            "output_tokens_details": {"type": "object", "properties": {"reasoning_tokens": count}},
        },
    });
    let status = ["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"];
    let properties = json!({
        "id": {"type": "string"},
        "object": {"const": "response"},
        "created_at": {"type": "integer", "description": "In seconds since 1970."},
        "completed_at": {"type": ["integer", "null"]},
        "status": {"enum": status},
        "background": {"type": "boolean"},
        "model": {"type": "string"},
        "output": {"type": "array", "items": item},
        "usage": usage,
        "error": {
            "type": ["object", "null"],
            "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
        },
        "incomplete_details": {
            "type": ["object", "null"], "properties": {"reason": {"const": "max_output_tokens"}},
        },
        "store": {"type": "boolean"},
        "metadata": {"type": ["object", "null"]},
        "tools": {"type": "array"},
    });
    let required: Vec<&String> = properties.as_object().into_iter().flat_map(Map::keys).collect();
    json!({
        "type": "object",
        "description": "A response, which also repeats the fields of its request.",
        "required": required,
        "properties": properties,
    })
}
