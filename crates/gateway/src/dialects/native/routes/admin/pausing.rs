//! `POST /admin/pause` and `POST /admin/resume`: stop and resume the claiming of a model's tasks.

use actix_web::{HttpRequest, HttpResponse, web};
use protocol::ModelId;
use serde::Serialize;
use utoipa::ToSchema;

use crate::body::read_json;
use crate::extract::Operator;
use crate::refusal::Refusal;
use crate::schemas::{AdminErrors, ErrorReply, InvalidReply};
use crate::state::State;
use crate::validate::{admin, echo};

/// Maximum size of a body, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// Which model.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)] // documents what `validate::admin` reads
pub(crate) struct ModelBody {
    /// A model that has a queue, or that a live worker serves.
    #[schema(example = "demo")]
    model: String,
}

/// Whether a model's tasks are held back.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PausedReply {
    /// The model.
    #[schema(value_type = String, example = "demo")]
    model: ModelId,
    /// Whether its tasks are held back now.
    paused: bool,
}

/// Pause a model
///
/// Its tasks are accepted and wait; running tasks continue. The pause outlasts restarts.
#[utoipa::path(
    post,
    path = "/admin/pause",
    tag = "admin",
    security(("admin_key" = []), ("admin_bearer" = [])),
    request_body = ModelBody,
    responses(
        (status = 200, description = "The model is paused.", body = PausedReply),
        (status = 404, description = "There is no such model; the message lists the models.", body = ErrorReply),
        (status = 422, description = "The body is invalid.", body = InvalidReply),
        AdminErrors,
    )
)]
pub(crate) async fn pause(
    operator: Operator,
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    set_paused(&operator, &request, payload, &state, true).await
}

/// Resume a model
///
/// Idle workers continue within two seconds.
#[utoipa::path(
    post,
    path = "/admin/resume",
    tag = "admin",
    security(("admin_key" = []), ("admin_bearer" = [])),
    request_body = ModelBody,
    responses(
        (status = 200, description = "The model is not paused any more.", body = PausedReply),
        (status = 404, description = "There is no such model; the message lists the models.", body = ErrorReply),
        (status = 422, description = "The body is invalid.", body = InvalidReply),
        AdminErrors,
    )
)]
pub(crate) async fn resume(
    operator: Operator,
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    set_paused(&operator, &request, payload, &state, false).await
}

async fn set_paused(
    operator: &Operator,
    request: &HttpRequest,
    payload: web::Payload,
    state: &State,
    paused: bool,
) -> Result<HttpResponse, Refusal> {
    let body = read_json(request, payload, MAX_BODY, state.options.client_timeout).await?;
    let model = admin::parse_model_field(&body).map_err(Refusal::invalid)?;
    operator.acts(if paused { "pause" } else { "resume" }, model.as_str());
    let known = known_models(state, &model).await?;
    if !known.contains(&model) {
        let known: Vec<&str> = known.iter().map(ModelId::as_str).collect();
        return Err(Refusal::not_found(
            "model",
            format!(
                "Model '{}' not found: it has no queue and no worker. There are: {}",
                echo(model.as_str()),
                known.join(", ")
            ),
        ));
    }
    state.ask(state.broker.set_paused(&model, paused)).await?;
    let did = if paused { "a model is paused" } else { "a model is resumed" };
    let client = &operator.client;
    tracing::info!(target: "gateway.admin", who = "admin", %client, model = model.as_str(), "{did}");
    Ok(HttpResponse::Ok().json(PausedReply { model, paused }))
}

/// Returns the default model and all models that have a queue or a worker.
async fn known_models(state: &State, model: &ModelId) -> Result<Vec<ModelId>, Refusal> {
    let mut models = state.other_models(Some(model.as_str())).await?;
    models.push(state.options.default_model.clone());
    let overview = state.ask(state.broker.overview()).await?;
    models.extend(overview.queues.into_iter().map(|queue| queue.model));
    models.sort();
    models.dedup();
    Ok(models)
}
