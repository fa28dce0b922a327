//! Describes the routes for the OpenAPI document.

use serde_json::{Value, json};

use crate::describe::{Description, OF_BODY, OF_KEY, Operation, refer};
use crate::options::Options;
use crate::validate::sampling::DEFAULT_MAX_TOKENS;

const TAG: &str = "vision";
const SKILLS: &str = "skills";

/// The statuses of refusals that a route may have which waits for tasks.
const OF_WAIT: [(u16, &str); 4] = [
    (409, "Another request cancelled the task."),
    (429, "The queue is full, or a limit is reached. Retry after `Retry-After`."),
    (503, "The queue is unavailable, or the task failed for want of a worker or of memory. Retry."),
    (504, "The task reached its time limit."),
];

/// The statuses of refusals that a route may have which submits tasks.
const OF_SUBMIT: [(u16, &str); 2] = [
    (429, "The queue is full, or a limit is reached. Retry after `Retry-After`."),
    (503, "The queue is unavailable. Retry."),
];

/// Describes all routes.
pub(super) fn describe(options: &Options) -> Description {
    let list = json!({
        "type": "array",
        "items": {"anyOf": [refer("ImageDescription"), refer("ResultReply")]},
    });
    Description {
        tags: vec![
            (TAG, "Descriptions of images. docs/OTHER_APIS.md has the details."),
            (
                SKILLS,
                "Skills: OCR, documents, objects, videos, agents. docs/SKILLS.md has the details.",
            ),
        ],
        operations: skill_operations(options)
            .into_iter()
            .chain([
                operation("/api/v1/describe", "describeImage", "Describe an image")
                    .form(form(
                        options,
                        "image",
                        json!({"type": "string", "format": "binary"}),
                        "prompt",
                        json!({"type": "string"}),
                    ))
                    .returns("The description.", refer("ImageDescription")),
                operation("/api/v1/batch", "describeImages", "Describe several images")
                    .form(form(
                        options,
                        "images",
                        files(options),
                        "prompts",
                        json!({"type": "array", "items": {"type": "string"}}),
                    ))
                    .returns("The descriptions, in the order of the images.", list),
            ])
            .collect(),
        schemas: vec![("ImageDescription", description()), ("Skill", skill())],
    }
}

/// Describes the routes of skills.
fn skill_operations(options: &Options) -> [Operation; 4] {
    let named = |operation: Operation| {
        operation
            .tag(SKILLS)
            .segment("name", "The name of a skill.", "ocr")
            .refuses(&refer("ErrorReply"), &OF_KEY)
            .refuses(&refer("ErrorReply"), &[(404, "There is no such skill.")])
    };
    let unavailable = [(503, "The queue, which has the keys, is unavailable. Retry.")];
    let all = json!({"type": "object", "required": ["skills"], "properties": {
        "skills": {"type": "array", "items": refer("Skill")},
    }});
    let images =
        json!({"type": "array", "items": {"type": "string"}, "maxItems": options.images.max});
    let body = json!({"type": "object", "properties": {
        "images": images, "videos": images, "prompt": {"type": "string"}, "model": {"type": "string"},
    }});
    let form = form(options, "images", files(options), "prompt", json!({"type": "string"}));
    [
        Operation::get("/api/v1/skills", "listSkills", "List skills")
            .tag(SKILLS)
            .returns("All skills.", all)
            .refuses(&refer("ErrorReply"), &OF_KEY)
            .refuses(&refer("ErrorReply"), &unavailable),
        named(Operation::get("/api/v1/skills/{name}", "showSkill", "Describe a skill"))
            .returns("The skill, with the schema of its fields.", refer("Skill"))
            .refuses(&refer("ErrorReply"), &unavailable),
        named(request("/api/v1/skills/{name}", "runSkill", "Run a skill"))
            .refuses(&refer("ErrorReply"), &OF_SUBMIT)
            .about(
                "The body has `images`, `videos`, `prompt`, the skill's own fields, and the parameters of `POST \
                 /generate`, as JSON or as a form (`multipart/form-data`). A form waits for the result; JSON waits \
                 with `Prefer: wait=N`.",
            )
            .body(body, json!({"prompt": "What is a lease?"}))
            .returns("The task has ended while the request waited.", refer("ResultReply"))
            .refuses(&refer("StatusReply"), &[(202, "The task is queued.")]),
        named(operation("/api/v1/skills/{name}/batch", "runSkillOnImages", "Run a skill on several images"))
            .form(form)
            .returns(
                "The results, in the order of the images.",
                json!({"type": "array", "items": refer("ResultReply")}),
            ),
    ]
}

/// The schema of a skill's description.
fn skill() -> Value {
    let count = json!({"type": "object", "required": ["min", "max"], "properties": {
        "min": {"type": "integer", "minimum": 0}, "max": {"type": "integer", "minimum": 0},
    }});
    json!({
        "type": "object",
        "required": ["name", "title", "description", "images", "videos", "outputs", "draws", "schema", "sampling"],
        "properties": {
            "name": {"type": "string"},
            "title": {"type": "string"},
            "description": {"type": "string"},
            "images": count,
            "videos": count,
            "outputs": {"type": "array", "items": {"type": "string"}},
            "draws": {"type": "boolean", "description": "Whether answers are drawn on the image."},
            "schema": {"type": "object", "description": "The JSON schema of the skill's own fields."},
            "sampling": {"type": "object"},
            "max_tokens": {"type": "integer", "minimum": 1},
            "actions": {"type": "array", "items": {"type": "string"}},
            "example": {"type": "object"},
        },
    })
}

fn operation(path: &'static str, id: &str, summary: &str) -> Operation {
    request(path, id, summary).tag(TAG).refuses(&refer("ErrorReply"), &OF_WAIT)
}

fn request(path: &'static str, id: &str, summary: &str) -> Operation {
    Operation::post(path, id, summary)
        .refuses(&refer("ErrorReply"), &OF_KEY)
        .refuses(&refer("ErrorReply"), &OF_BODY)
        .refuses(&refer("ErrorReply"), &[(415, "The body is not a form.")])
        .refuses(&refer("InvalidReply"), &[(422, "A field is invalid.")])
        .idempotent()
}

/// The schema of a form's field with one or several images.
fn files(options: &Options) -> Value {
    json!({
        "type": "array", "minItems": 1, "maxItems": options.images.max,
        "items": {"type": "string", "format": "binary"},
    })
}

fn form(options: &Options, images: &str, of: Value, prompts: &str, prompt: Value) -> Value {
    let most = options.max_new_tokens;
    json!({
        "type": "object",
        "required": [images],
        "properties": {
            images: of,
            prompts: prompt,
            "max_tokens": {
                "type": "integer", "minimum": 1, "maximum": most,
                "default": DEFAULT_MAX_TOKENS.min(most),
            },
            "temperature": {"type": "number", "minimum": 0},
            "top_p": {"type": "number", "minimum": 0, "maximum": 1},
            "top_k": {"type": "integer", "minimum": 0},
            "seed": {"type": "integer", "minimum": 0},
        },
    })
}

fn description() -> Value {
    json!({
        "type": "object",
        "required": ["description", "model_used", "tokens_generated", "generation_time"],
        "properties": {
            "description": {"type": "string"},
            "model_used": {"type": "string"},
            "tokens_generated": {"type": "integer", "minimum": 0},
            "generation_time": {
                "type": "number", "minimum": 0,
                "description": "The time of the last attempt, in seconds.",
            },
        },
    })
}
