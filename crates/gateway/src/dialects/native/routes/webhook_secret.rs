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
/// Receivers of webhooks need the secret. All keys of an owner have the same, and it stays the same when keys are
/// added, rotated or revoked; that of a configured key is derived from it. The key can't be computed from the secret.
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
    let secret = state.ask(state.secrets.of(caller.tenant())).await?;
    // Missing only if a managed key has the owner of a configured key that this gateway does not have.
    let secret = secret.ok_or_else(|| {
        let message = "Secret not found: this key's owner is that of a key in API_KEYS, which this \
                       gateway does not have";
        Refusal::not_found("secret", message)
    })?;
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(WebhookSecretReply { secret: secret.reveal() }))
}
