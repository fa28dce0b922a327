//! `GET /webhook-secret`: returns the secret that signs the webhooks of the caller's tasks.

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use crate::extract::Submitter;
use crate::refusal::Refusal;
use crate::schemas::KeyErrors;
use crate::state::State;

/// A secret.
#[derive(Serialize, ToSchema)]
pub(crate) struct WebhookSecretReply {
    /// As Standard Webhooks' libraries take it: `whsec_` and base64.
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    secret: String,
}

/// Get the secret that signs webhooks
///
/// The secret is derived from the API key of this request, and stays the same as long as the key is
/// configured. Receivers of webhooks need it; the key can't be computed from it.
#[utoipa::path(
    get,
    path = "/webhook-secret",
    tag = "tasks",
    responses(
        (status = 200, description = "The secret.", body = WebhookSecretReply),
        KeyErrors,
    )
)]
pub(crate) async fn webhook_secret(
    caller: Submitter,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    // Every accepted key has a secret: it is derived from the key, and added before the key is
    // accepted.
    let secret = state.secrets.of(caller.tenant()).ok_or_else(Refusal::invalid_key)?;
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(WebhookSecretReply { secret: secret.reveal() }))
}
