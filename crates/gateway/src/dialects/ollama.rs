//! The routes of Ollama's API by which user interfaces list models. There is no other route of it:
//! the clients that use those speak OpenAI's API too.

mod openapi;

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use protocol::{ModelId, Timestamp, WorkerReport};
use serde_json::{Value, json};
use webhooks::payload::rfc3339;

use super::openai::error::status;
use crate::body::read_json;
use crate::describe::Description;
use crate::dialect::Dialect;
use crate::extract::Caller;
use crate::middleware::log;
use crate::options::Options;
use crate::refusal::Refusal;
use crate::registry::takes_images;
use crate::route::{get, post};
use crate::state::State;
use crate::validate::fields::Fields;

/// The architecture that these routes name for all models. The gateway doesn't know which one of
/// Qwen's it is.
const FAMILY: &str = "qwen";

/// Ollama's dialect.
pub(super) struct Ollama;

impl Dialect for Ollama {
    fn prefixes(&self) -> &'static [&'static str] {
        &["/api"]
    }

    fn configure(&self, app: &mut ServiceConfig) {
        let reads = log!("gateway.ollama");
        app.service(
            web::scope("/api")
                .service(get("/tags", reads, tags))
                .service(get("/version", reads, version))
                .service(post("/show", reads, show)),
        );
    }

    fn describe(&self, options: &Options) -> Description {
        openapi::describe(options)
    }

    fn shape(&self, refusal: &Refusal) -> (StatusCode, Value) {
        (status(refusal), json!({"error": refusal.message_with_paths()}))
    }
}

/// Lists the models that live workers serve.
async fn tags(caller: Caller, state: web::Data<State>) -> Result<HttpResponse, Refusal> {
    let workers = state.registry.workers().await?;
    let mut models: BTreeMap<&ModelId, Value> = BTreeMap::new();
    for worker in workers.iter() {
        for model in worker.serves().filter(|model| caller.access().allows(model)) {
            models.entry(model).or_insert_with(|| describe(worker, model));
        }
    }
    Ok(HttpResponse::Ok().json(json!({"models": models.into_values().collect::<Value>()})))
}

/// Returns the gateway's version.
async fn version() -> HttpResponse {
    HttpResponse::Ok().json(json!({"version": env!("CARGO_PKG_VERSION")}))
}

/// Describes a model; `name` is the field's older name.
async fn show(
    _: Caller,
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let options = &state.options;
    let limit = options.max_body_bytes();
    let body = read_json(&request, payload, limit, options.client_timeout).await?;
    let model = state.resolve(Some(&model_name(&body)?)).await?;
    let workers = state.registry.workers().await?;
    let worker = workers.iter().find(|worker| worker.serves().any(|served| *served == model));
    let served = worker.and_then(|worker| worker.models.iter().find(|of| of.model == model));
    let mut info = json!({"general.architecture": FAMILY});
    if let Some(length) = served.and_then(|served| served.context_length) {
        info[format!("{FAMILY}.context_length")] = json!(length);
    }
    let mut capabilities = vec!["completion", "tools"];
    if takes_images(&workers, &model) == Some(true) {
        capabilities.push("vision");
    }
    Ok(HttpResponse::Ok().json(json!({
        "modelfile": "",
        "parameters": "",
        "template": "",
        "details": worker.map_or_else(|| json!({}), |worker| details(worker, &model)),
        "model_info": info,
        "capabilities": capabilities,
        "modified_at": modified_at(worker),
    })))
}

fn model_name(body: &Value) -> Result<String, Refusal> {
    let mut fields = Fields::lenient(body).map_err(Refusal::invalid)?;
    let name = fields.get("name").and_then(Value::as_str);
    let name = match name.filter(|_| fields.get("model").is_none()) {
        Some(name) => Some(name),
        None => {
            let value = fields.required("model", "the name of a model, see GET /api/tags");
            value.and_then(|value| fields.text("model", value))
        }
    };
    fields.finish(name.map(str::to_owned)).map_err(Refusal::invalid)
}

fn describe(worker: &WorkerReport, model: &ModelId) -> Value {
    let served = worker.models.iter().find(|served| served.model == *model);
    json!({
        "name": model,
        "model": model,
        "modified_at": modified_at(Some(worker)),
        "size": served.map_or(0, |served| served.memory_bytes),
        "digest": "",
        "details": details(worker, model),
    })
}

fn details(worker: &WorkerReport, model: &ModelId) -> Value {
    let served = worker.models.iter().find(|served| served.model == *model);
    json!({
        "parent_model": served.and_then(|served| served.parent.as_ref()).map_or("", ModelId::as_str),
        "format": "",
        "family": FAMILY,
        "families": [FAMILY],
        "parameter_size": "",
        "quantization_level": worker.quantization_of(model).unwrap_or_default(),
    })
}

/// Returns the start of the worker, as nothing is known of the model's file.
fn modified_at(worker: Option<&WorkerReport>) -> String {
    rfc3339(worker.map_or(Timestamp::from_millis(0), |worker| worker.started_at))
}
