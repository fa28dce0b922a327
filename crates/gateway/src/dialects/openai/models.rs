//! `GET /v1/models` and `GET /v1/models/{id}`: the models that live workers serve.

use std::collections::BTreeMap;

use actix_web::{HttpResponse, web};
use protocol::{ModelId, WorkerReport};
use serde::Serialize;
use serde_json::json;

use crate::auth::Access;
use crate::extract::Caller;
use crate::refusal::Refusal;
use crate::registry::takes_images;
use crate::state::State;
use crate::validate::echo;

/// A model.
#[derive(Debug, Serialize)]
struct ModelReply {
    id: String,
    object: &'static str,
    /// When its first worker started, in seconds since 1970.
    created: u64,
    owned_by: &'static str,
    /// The base model, if this is an adapter.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
    /// The weight format.
    #[serde(skip_serializing_if = "Option::is_none")]
    quantization: Option<String>,
    /// The maximum length of prompt and answer together, in tokens, once it was loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    context_length: Option<u32>,
    /// The same under the name that vLLM's clients read.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_model_len: Option<u32>,
    /// What it takes beside text, once it was loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    input_modalities: Option<&'static [&'static str]>,
}

/// Lists the models that live workers serve, and the default model, as far as the caller may use them.
pub(super) async fn list(caller: Caller, state: web::Data<State>) -> Result<HttpResponse, Refusal> {
    let models = all(&state, caller.access()).await?;
    let first = models.first().map(|model| model.id.clone());
    let last = models.last().map(|model| model.id.clone());
    // `models` is read by Codex, the paging fields by Anthropic's clients.
    Ok(HttpResponse::Ok().json(json!({
        "object": "list", "data": models, "has_more": false, "first_id": first, "last_id": last,
    })))
}

/// Describes one model; an alias has the description of the model it stands for.
pub(super) async fn show(
    caller: Caller,
    name: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let model = state.resolve(Some(&name)).await?;
    let models = all(&state, caller.access()).await?;
    let found = models.into_iter().find(|reply| reply.id == model.as_str());
    let found = found.ok_or_else(|| {
        let message = format!("The model '{}' does not exist", echo(&name));
        Refusal::not_found("model", message)
    })?;
    Ok(HttpResponse::Ok().json(ModelReply { id: name.into_inner(), ..found }))
}

async fn all(state: &State, access: &Access) -> Result<Vec<ModelReply>, Refusal> {
    let workers = state.registry.workers().await?;
    let mut models: BTreeMap<&ModelId, ModelReply> = BTreeMap::new();
    for worker in workers.iter() {
        for model in worker.serves() {
            let reply = describe(worker, model);
            let known = models.entry(model).or_insert(reply);
            known.created = known.created.min(worker.started_at.as_millis() / 1000);
        }
    }
    for (model, reply) in &mut models {
        reply.input_modalities = takes_images(&workers, model).map(|takes| match takes {
            true => &["text", "image"][..],
            false => &["text"],
        });
    }
    let default = &state.options.default_model;
    let known = std::iter::once(default).chain(&state.options.known_models);
    for model in known {
        models.entry(model).or_insert_with(|| ModelReply {
            id: model.to_string(),
            object: "model",
            created: 0,
            owned_by: "qwen-queue",
            parent: None,
            quantization: None,
            context_length: None,
            max_model_len: None,
            input_modalities: None,
        });
    }
    models.retain(|model, _| access.allows(model));
    // The default model first, as clients take the first one.
    let first = models.remove(default);
    Ok(first.into_iter().chain(models.into_values()).collect())
}

fn describe(worker: &WorkerReport, model: &ModelId) -> ModelReply {
    let served = worker.models.iter().find(|served| served.model == *model);
    let context_length = served.and_then(|served| served.context_length);
    ModelReply {
        id: model.to_string(),
        object: "model",
        created: worker.started_at.as_millis() / 1000,
        owned_by: "qwen-queue",
        parent: served.and_then(|served| served.parent.as_ref()).map(ModelId::to_string),
        quantization: worker.quantization_of(model).map(str::to_owned),
        context_length,
        max_model_len: context_length,
        input_modalities: None, // all workers decide
    }
}
