//! The OpenAPI document: `utoipa` generates types and routes, and this module fills in the limits
//! of the running server. This only documents; [`crate::validate`] performs the checks.

use chat::{Sampling, SamplingField};
use protocol::{Lane, Task};
use queue::ListedState;
use serde_json::{Value, json};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::routes;
use crate::auth::KEY_HEADER;
use crate::describe::{Description, described, events, refer};
use crate::options::Options;
use crate::schemas::{ErrorReply, FullReply, InvalidReply, Problem, Step, fields as schema};
use crate::validate::images::{MAX_PIXELS, PIXEL_FIELDS};
use crate::validate::{DEFAULT_MAX_TOKENS, MAX_AHEAD_S, MAX_TOOLS, field_groups};

/// An image of one pixel, as an example.
const PIXEL: &str = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==";

/// Returns the OpenAPI document for a server with these options, as JSON. `others` are the other dialects'
/// routes.
pub(crate) fn document(options: &Options, others: Vec<Description>) -> String {
    let mut document = json!(Api::openapi());
    let schemas = &mut document["components"]["schemas"];
    schemas["StatusReply"]["properties"]["status"]["enum"] =
        json!(["queued", "processing", "completed", "failed", "cancelled"]);
    schemas["WebhookReply"]["properties"]["state"]["enum"] =
        json!(["waiting", "pending", "delivered", "given_up"]);
    schemas["HealthReply"]["properties"]["status"]["enum"] = json!(["healthy", "unhealthy"]);
    fill_in_sampling(&mut schemas["GenerateBody"]["properties"]);
    schemas["GenerateBody"]["oneOf"] =
        json!([{"required": ["prompt"]}, {"required": ["messages"]}]);
    fill_in_recommended(schemas);
    fill_in_limits(&mut schemas["GenerateBody"]["properties"], options);
    schemas["TaskReply"]["properties"]["status"]["enum"] =
        json!(ListedState::ALL.map(ListedState::as_str));
    schemas["WorkerReply"]["properties"]["status"]["enum"] =
        json!(["loading", "ready", "draining"]);
    for parameter in optional_parameters(&mut document) {
        // These parameters may be absent, but not `null`.
        let of = parameter["schema"]["type"].as_array().and_then(|types| types.first().cloned());
        parameter["schema"]["type"] = of.unwrap_or_else(|| json!("integer"));
    }
    let stream = &mut document["paths"]["/events/{task_id}"]["get"]["responses"]["200"]["content"];
    stream["text/event-stream"] = events();
    fill_in_form(&mut document["paths"]["/generate"]["post"]);
    for other in others {
        other.add_to(&mut document);
    }
    fill_in_credentials(&mut document);
    for response in retryable_responses(&mut document) {
        response["headers"]["Retry-After"] = json!({
            "description": "The number of seconds after which to retry.",
            "schema": {"type": "integer", "minimum": 1, "maximum": 120},
        });
    }
    document.to_string()
}

/// Adds what `POST /generate` answers to a form. The form itself is told in the text: generators of test data
/// (schemathesis 4.32) mix up the bodies of an operation that has two media types.
fn fill_in_form(generate: &mut Value) {
    const FORM: &str = "\n\nIt also takes a form (`multipart/form-data`): `text` or `prompt`, `image` (a file, or several), \
                        `image_url`, and any field of the JSON body but `messages`. The response then waits for the answer.";
    let told = generate["description"].as_str().unwrap_or_default().to_owned() + FORM;
    generate["description"] = told.into();
    let refusals = [
        ("409", "The request waited with a form, and another one cancelled its task."),
        ("504", "The request waited with a form, and its task reached the time limit."),
    ];
    for (status, description) in refusals {
        generate["responses"][status] = json!({
            "description": description,
            "content": {"application/json": {"schema": refer("ErrorReply")}},
        });
    }
    let content = &mut generate["responses"]["200"]["content"]["application/json"];
    let whole = content["schema"].take();
    content["schema"] = json!({"anyOf": [
        whole,
        {
            "type": "object", "required": ["response"], "additionalProperties": false,
            "description": "The answer to a form.",
            "properties": {"response": {"type": "string"}},
        },
    ]});
}

/// Adds the refusals of credentials to each route that needs one, in the form of its 401.
fn fill_in_credentials(document: &mut Value) {
    const REFUSALS: [(&str, &str); 3] = [
        ("400", "The request has several different keys, or one in its URL."),
        ("403", "The key has not the scope, or may not use the model or the lane."),
        ("429", "Too many wrong keys came from the address. Retry after `Retry-After`."),
    ];
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    let operations = paths.filter_map(|(_, path)| path.as_object_mut()).flatten();
    for (_, operation) in operations {
        let Some(responses) = operation["responses"].as_object_mut() else { continue };
        let Some(mut like) = responses.get("401").cloned() else { continue };
        if let Some(content) = like.pointer_mut("/content/application~1json") {
            content.as_object_mut().map(|content| content.remove("example"));
        }
        for (status, description) in REFUSALS {
            if !responses.contains_key(status) {
                like["description"] = json!(description);
                responses.insert(status.to_owned(), like.clone());
            }
        }
        responses.sort_keys();
    }
}

/// Adds the fields of the table of sampling fields.
fn fill_in_sampling(properties: &mut Value) {
    let Some(properties) = properties.as_object_mut() else { return };
    let schema = |field: &SamplingField| (field.name.to_owned(), field.schema());
    let (numbers, seed) = field_groups();
    for (name, property) in std::mem::take(properties) {
        let follow = match &*name {
            "max_tokens" => numbers,
            "top_logprobs" => seed,
            _ => &[],
        };
        properties.insert(name, property);
        properties.extend(follow.iter().map(schema));
    }
}

/// Lists the fields that a model may recommend in the schema of results.
fn fill_in_recommended(schemas: &mut Value) {
    let Some(kinds) = schemas["ResultReply"]["oneOf"].as_array_mut() else { return };
    let fields = Sampling::recommendable().map(|(field, _)| {
        let kind = &field.schema()["type"][0];
        (field.name.to_owned(), json!({"type": kind, "description": "As the request's field."}))
    });
    let fields = Value::Object(fields.collect());
    for kind in kinds {
        if let Some(defaults) = kind.pointer_mut("/properties/sampling_defaults") {
            defaults["properties"] = fields.clone();
        }
    }
}

fn fill_in_limits(fields: &mut Value, options: &Options) {
    fields["messages"] = json!({
        "description": fields["messages"]["description"],
        "type": "array",
        "minItems": 1,
        "items": {
            "type": "object",
            "required": ["role"],
            "properties": {
                "role": {"enum": ["system", "developer", "user", "assistant", "tool"]},
                "content": {"type": ["string", "array", "null"]},
                "name": {"type": "string"},
                "reasoning_content": {"type": "string"},
                "tool_calls": {"type": "array"},
                "tool_call_id": {"type": "string"},
                "image": {"type": "string"},
                "images": {"type": "array", "items": {"type": "string"}},
            },
        },
        "example": [{"role": "user", "content": "Why is the sky blue?"}],
    });
    fields["prompt"]["maxLength"] = json!(options.max_prompt_bytes);
    for name in ["images", "videos"] {
        fields[name] = json!({
            "description": fields[name]["description"],
            "type": ["array", "null"],
            "maxItems": options.images.max,
            "items": {"type": "string"},
        });
    }
    fields["images"]["example"] = json!([PIXEL]);
    for name in PIXEL_FIELDS {
        fields[name]["maximum"] = json!(MAX_PIXELS);
        if let Some(field) = fields[name].as_object_mut() {
            field.remove("format");
        }
    }
    fields["max_tokens"]["maximum"] = json!(options.max_new_tokens);
    fields["max_tokens"]["default"] = json!(DEFAULT_MAX_TOKENS.min(options.max_new_tokens));
    fields["model"]["default"] = json!(options.default_model);
    fields["model"]["example"] = json!(options.default_model);
    fields["time_limit_s"]["maximum"] = json!(options.task_time_limit_s);
    fields["time_limit_s"]["default"] = json!(options.task_time_limit_s);
    fields["result_ttl_s"]["maximum"] = json!(options.result_ttl_s);
    fields["result_ttl_s"]["default"] = json!(options.result_ttl_s);
    fields["max_attempts"]["maximum"] = json!(options.max_attempts);
    fields["max_attempts"]["default"] = json!(options.max_attempts);
    fields["retry_backoff_s"]["maximum"] = json!(Task::MAX_RETRY_BACKOFF_S);
    fields["retry_backoff_s"]["default"] = json!(Task::DEFAULT_RETRY_BACKOFF_S);
    fields["delay_s"]["maximum"] = json!(MAX_AHEAD_S);
    fields["expires_in_s"]["maximum"] = json!(MAX_AHEAD_S);
    fields["webhook_url"]["maxLength"] = json!(webhooks::guard::MAX_URL);
    fields["priority"]["enum"] = json!(Lane::ALL);
    fields["run_at"] = json!({
        "description": fields["run_at"]["description"],
        "anyOf": [{"type": "string", "format": "date-time"}, {"type": "number"}, {"type": "null"}],
        "example": "2025-11-21T15:30:00Z",
    });
    for (name, schema) in [
        ("metadata", schema::metadata()),
        ("logit_bias", schema::logit_bias()),
        ("stop", schema::stop()),
    ] {
        let description = fields[name]["description"].as_str().unwrap_or_default();
        fields[name] = described(description, schema);
    }
    fields["top_logprobs"]["maximum"] = json!(Sampling::MAX_TOP_LOGPROBS);
    // Their ranges are documented, and `int32` would contradict them.
    for name in [
        "max_tokens",
        "top_logprobs",
        "time_limit_s",
        "result_ttl_s",
        "expires_in_s",
        "max_attempts",
        "retry_backoff_s",
    ] {
        if let Some(field) = fields[name].as_object_mut() {
            field.remove("format");
        }
    }
    fill_in_forms(fields);
}

/// Documents the output constraints and tools.
fn fill_in_forms(fields: &mut Value) {
    fields["regex"]["maxLength"] = json!(grammar::limits::MAX_REGEX_BYTES);
    fields["choice"]["minItems"] = json!(1);
    fields["choice"]["maxItems"] = json!(grammar::limits::MAX_CHOICES);
    fields["choice"]["items"] = json!({
        "type": "string", "minLength": 1, "maxLength": grammar::limits::MAX_CHOICE_BYTES,
    });
    let of_type = |kind: &str, more: Value| {
        let mut schema = json!({
            "type": "object", "properties": more, "required": ["type"],
            "additionalProperties": false,
        });
        schema["properties"]["type"] = json!({"const": kind});
        schema
    };
    let named = json!({
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "description": {"type": "string"},
            "schema": {"type": "object"},
            "strict": {"type": ["boolean", "null"]},
        },
        "required": ["schema"],
        "additionalProperties": false,
    });
    fields["response_format"] = json!({
        "description": fields["response_format"]["description"],
        "anyOf": [
            of_type("text", json!({})),
            of_type("json_object", json!({})),
            of_type("json_schema", json!({"json_schema": named})),
            {"type": "null"},
        ],
        "example": {"type": "json_object"},
    });
    let name = json!({"type": "string", "pattern": "^[a-zA-Z0-9_.-]{1,64}$"});
    let function = of_type(
        "function",
        json!({"function": {
            "type": "object",
            "properties": {
                "name": name,
                "description": {"type": "string"},
                "parameters": {"type": "object"},
            },
            "required": ["name"],
        }}),
    );
    fields["tools"] = json!({
        "description": fields["tools"]["description"],
        "type": ["array", "null"],
        "maxItems": MAX_TOOLS,
        "items": function,
        "example": [{"type": "function", "function": {"name": "now"}}],
    });
    fields["tool_choice"] = json!({
        "description": fields["tool_choice"]["description"],
        "anyOf": [{"enum": ["auto", "none", "required", null]}, {"type": "object"}],
        "default": "auto",
    });
}

/// Returns all operations of the document.
fn operations(document: &mut Value) -> impl Iterator<Item = &mut Value> {
    let paths = document["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut());
    paths.filter_map(Value::as_object_mut).flat_map(|path| path.values_mut())
}

/// Returns all optional parameters of the document.
fn optional_parameters(document: &mut Value) -> impl Iterator<Item = &mut Value> {
    operations(document)
        .filter_map(|operation| operation.get_mut("parameters")?.as_array_mut())
        .flatten()
        .filter(|parameter| parameter["required"] != true)
}

/// Returns all 429 and 503 responses of the document.
fn retryable_responses(document: &mut Value) -> impl Iterator<Item = &mut Value> {
    operations(document)
        .filter_map(|operation| operation["responses"].as_object_mut())
        .flatten()
        .filter(|(status, _)| matches!(status.as_str(), "429" | "503"))
        .map(|(_, response)| response)
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "qwen-queue",
        description = "A distributed task queue for quantized Qwen inference. Submit a prompt, get \
                       a `task_id` at once, and fetch the result later.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    paths(
        routes::generate::generate,
        routes::status::status,
        routes::result::result,
        routes::events::events,
        routes::cancel::cancel,
        routes::blobs::create,
        routes::blobs::show,
        routes::blobs::content,
        routes::blobs::delete,
        routes::webhook::webhook,
        routes::webhook_secret::webhook_secret,
        routes::info::info,
        routes::health::health,
        routes::health::ready,
        routes::docs::openapi,
        routes::docs::page,
        routes::admin::overview::overview,
        routes::admin::history::history,
        routes::admin::metrics::metrics,
        routes::admin::usage::usage,
        routes::admin::workers::workers,
        routes::admin::workers::drain,
        routes::admin::keys::create,
        routes::admin::keys::list,
        routes::admin::keys::show,
        routes::admin::keys::change,
        routes::admin::keys::rotate,
        routes::admin::keys::revoke,
        routes::admin::tasks::list,
        routes::admin::tasks::cancel,
        routes::admin::schedule::list,
        routes::admin::schedule::run,
        routes::admin::pausing::pause,
        routes::admin::pausing::resume,
        routes::admin::dead_letters::list,
        routes::admin::dead_letters::purge,
        routes::admin::dead_letters::show,
        routes::admin::dead_letters::delete,
        routes::admin::dead_letters::replay,
    ),
    tags(
        (name = "tasks", description = "Submit tasks, follow them, fetch their results, cancel them."),
        (name = "blobs", description = "Store files once, and name them in several requests."),
        (name = "service", description = "State and documentation of the service. No key is needed."),
        (name = "admin", description = "Queues, tasks, workers and dead letters, for operators. These routes \
                                        need the key `ADMIN_API_KEY`, and are closed if it is not set."),
    ),
    components(schemas(ErrorReply, FullReply, InvalidReply, Problem, Step)),
    security(("api_key" = []), ("bearer" = [])),
    modifiers(&SecuritySchemes),
)]
struct Api;

struct SecuritySchemes;

impl Modify for SecuritySchemes {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let header =
            ApiKey::Header(ApiKeyValue::with_description("X-API-Key", "One of `API_KEYS`."));
        debug_assert!("X-API-Key".eq_ignore_ascii_case(KEY_HEADER));
        components.add_security_scheme("api_key", SecurityScheme::ApiKey(header));
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("The same key, in the header that OpenAI's clients send."));
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer.build()));
        let header = ApiKey::Header(ApiKeyValue::with_description(
            "X-API-Key",
            "The operators' key (`ADMIN_API_KEY`).",
        ));
        components.add_security_scheme("admin_key", SecurityScheme::ApiKey(header));
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("The operators' key (`ADMIN_API_KEY`)."));
        components.add_security_scheme("admin_bearer", SecurityScheme::Http(bearer.build()));
    }
}
