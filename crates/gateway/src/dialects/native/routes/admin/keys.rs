//! `/admin/keys`: creates, lists, changes, rotates and revokes managed keys.

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpRequest, HttpResponse, web};
use protocol::{ApiKey, KeyId, TenantId, Timestamp};
use queue::{KeyHash, StoredKey};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::auth::{hash_of, text};
use crate::body::read_json;
use crate::extract::Operator;
use crate::refusal::Refusal;
use crate::route::query_value;
use crate::schemas::{AdminErrors, ErrorReply, InvalidReply};
use crate::state::State;
use crate::validate::admin::{DEFAULT_PAGE, MAX_PAGE};
use crate::validate::{FieldError, echo, key};

/// Maximum size of a body, in bytes.
const MAX_BODY: usize = 512 * 1024;
/// How often a change is tried again because the key changed meanwhile.
const TRIES: usize = 5;

/// The fields of a new key. In a change all are optional, absent ones are kept, and `null` clears.
#[derive(ToSchema)]
#[allow(dead_code)] // describes the JSON
pub(crate) struct KeyBody {
    /// A name for people, at most 128 characters.
    #[schema(max_length = 128, example = "nightly reports")]
    name: String,
    /// The owner, whose tasks the key opens; by default the key's own id. It can't be changed.
    #[schema(pattern = "^[A-Za-z0-9._@-]{1,64}$", example = "acme")]
    owner: Option<String>,
    /// Some of `submit` (which includes `read`), `read` and `admin`; by default `submit`.
    #[schema(example = json!(["submit"]))]
    scopes: Option<Vec<String>>,
    /// The models that the key may use; none for all.
    #[schema(example = json!(["demo"]))]
    models: Option<Vec<String>>,
    /// Maximum number of submitted tasks per minute.
    #[schema(minimum = 1)]
    requests_per_minute: Option<u64>,
    /// Maximum number of tokens per minute, of prompts and generated.
    #[schema(minimum = 1)]
    tokens_per_minute: Option<u64>,
    /// Maximum number of tasks that wait or run.
    #[schema(minimum = 1)]
    max_in_flight: Option<u64>,
    /// Maximum number of tokens per day (UTC), without those of batches.
    #[schema(minimum = 1)]
    tokens_per_day: Option<u64>,
    /// Maximum number of tokens of batches per day (UTC).
    #[schema(minimum = 1)]
    batch_tokens_per_day: Option<u64>,
    /// The most urgent lane of the key's tasks: `high` (the default), `normal`, `low` or `batch`.
    #[schema(example = "normal")]
    highest_lane: Option<String>,
    /// The time from which the key is refused: RFC 3339, or milliseconds since 1970.
    #[schema(value_type = Option<Value>, example = "2030-01-31T12:00:00Z")]
    expires_at: Option<String>,
    /// Up to 16 notes, which are stored and shown.
    #[schema(value_type = Option<Object>, example = json!({"team": "data"}))]
    metadata: Option<Map<String, Value>>,
}

/// A change of a key.
#[derive(ToSchema)]
#[allow(dead_code)] // describes the JSON
pub(crate) struct KeyChange {
    /// Whether the key is refused until this is `false` again.
    blocked: Option<bool>,
}

/// A managed key.
#[derive(Serialize, ToSchema)]
pub(crate) struct KeyReply {
    /// The key's text. Only in the replies that create it, since it is not stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "qq-3f0mP9Wl5cXoQn1xRj7yVb2tKsUeHaZ4dGgI8LwM6Ck")]
    key: Option<String>,
    /// The key's fields.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    fields: ApiKey,
}

/// Some keys.
#[derive(Serialize, ToSchema)]
pub(crate) struct KeysReply {
    /// The oldest first.
    keys: Vec<KeyReply>,
    /// The value of `after` for the next page; null if there is none.
    #[schema(value_type = Option<String>)]
    next: Option<KeyId>,
}

/// A revoked key.
#[derive(Serialize, ToSchema)]
pub(crate) struct RevokedReply {
    /// The key's id.
    #[schema(value_type = String, example = "key_0192f0c123457abc8def0123456789ab")]
    id: KeyId,
    /// Always true.
    revoked: bool,
}

/// Create a key
///
/// The reply alone has the key's text. Every gateway accepts the key within a second.
#[utoipa::path(
    post,
    path = "/admin/keys",
    tag = "admin",
    security(("admin_key" = []), ("admin_bearer" = [])),
    request_body = KeyBody,
    responses(
        (status = 201, description = "The key.", body = KeyReply),
        (status = 422, description = "The body is invalid.", body = InvalidReply),
        AdminErrors,
    )
)]
pub(crate) async fn create(
    operator: Operator,
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let body = read_json(&request, payload, MAX_BODY, state.options.client_timeout).await?;
    let mut key = key::new(&body, Timestamp::now()).map_err(Refusal::invalid)?;
    operator.acts("key.create", key.id.as_str());
    let text = new_text(&mut key)?;
    let stored = state.ask(state.broker.add_key(hash_of(&text), &key)).await?;
    changed(&operator, &state, &stored.key.id, "a key is created").await;
    Ok(with_text(HttpResponse::Created(), text, stored))
}

/// List keys
///
/// Returns the oldest first.
#[utoipa::path(
    get,
    path = "/admin/keys",
    tag = "admin",
    security(("admin_key" = []), ("admin_bearer" = [])),
    params(
        ("owner" = Option<String>, Query, description = "Returns only keys of this owner."),
        ("after" = Option<String>, Query, description = "Returns only keys after this id: `next` of the previous page."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 100, description = "The maximum number of keys. The default is 50."),
    ),
    responses(
        (status = 200, description = "A page of keys.", body = KeysReply),
        (status = 422, description = "The query is invalid.", body = InvalidReply),
        AdminErrors,
    )
)]
pub(crate) async fn list(
    _: Operator,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let given = |name| query_value(&request, name).filter(|value| !value.is_empty());
    let limit = match given("limit") {
        None => DEFAULT_PAGE,
        Some(text) => {
            text.parse().ok().filter(|limit| (1..=MAX_PAGE).contains(limit)).ok_or_else(|| {
                let message =
                    format!("must be a whole number from 1 to {MAX_PAGE}, got '{}'", echo(&text));
                Refusal::invalid(vec![FieldError::new(
                    ["query".into(), "limit".into()],
                    "int_parsing",
                    message,
                )])
            })?
        }
    };
    let (owner, after) = (given("owner").map(TenantId::new), given("after").map(KeyId::from_text));
    let found = state.broker.keys(owner.as_ref(), after.as_ref(), limit + 1);
    let mut found = state.ask(found).await?;
    let has_more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| has_more).map(|last| last.key.id.clone());
    let keys = found.into_iter().map(|stored| KeyReply { key: None, fields: stored.key }).collect();
    Ok(HttpResponse::Ok().json(KeysReply { keys, next }))
}

/// Get a key
#[utoipa::path(
    get,
    path = "/admin/keys/{id}",
    tag = "admin",
    security(("admin_key" = []), ("admin_bearer" = [])),
    params(("id" = String, Path, description = "The key's id.")),
    responses(
        (status = 200, description = "The key.", body = KeyReply),
        (status = 404, description = "There is no such key.", body = ErrorReply),
        AdminErrors,
    )
)]
pub(crate) async fn show(
    _: Operator,
    id: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let stored = find(&state, &id).await?;
    Ok(HttpResponse::Ok().json(KeyReply { key: None, fields: stored.key }))
}

/// Change a key
///
/// The body has the fields to change, and `blocked`. Holds at every gateway within a second. The owner can't be
/// changed.
#[utoipa::path(
    patch,
    path = "/admin/keys/{id}",
    tag = "admin",
    security(("admin_key" = []), ("admin_bearer" = [])),
    params(("id" = String, Path, description = "The key's id.")),
    request_body = KeyChange,
    responses(
        (status = 200, description = "The changed key.", body = KeyReply),
        (status = 404, description = "There is no such key.", body = ErrorReply),
        (status = 409, description = "Other requests change the key at the same time.", body = ErrorReply),
        (status = 422, description = "The body is invalid.", body = InvalidReply),
        AdminErrors,
    )
)]
pub(crate) async fn change(
    operator: Operator,
    id: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let body = read_json(&request, payload, MAX_BODY, state.options.client_timeout).await?;
    let known = find(&state, &id).await?;
    operator.acts("key.change", known.key.id.as_str());
    let edit = |key: &mut ApiKey| {
        key::change(&body, key, Timestamp::now()).map_err(Refusal::invalid)?;
        Ok(None)
    };
    let stored = store(&state, known, edit).await?;
    changed(&operator, &state, &stored.key.id, "a key is changed").await;
    Ok(HttpResponse::Ok().json(KeyReply { key: None, fields: stored.key }))
}

/// Rotate a key
///
/// Gives the key a new text, which the reply alone has. The old one is refused at every gateway within a second. The
/// key keeps its id, owner, limits and usage.
#[utoipa::path(
    post,
    path = "/admin/keys/{id}/rotate",
    tag = "admin",
    security(("admin_key" = []), ("admin_bearer" = [])),
    params(("id" = String, Path, description = "The key's id.")),
    responses(
        (status = 200, description = "The key.", body = KeyReply),
        (status = 404, description = "There is no such key.", body = ErrorReply),
        (status = 409, description = "Other requests change the key at the same time.", body = ErrorReply),
        AdminErrors,
    )
)]
pub(crate) async fn rotate(
    operator: Operator,
    id: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let known = find(&state, &id).await?;
    operator.acts("key.rotate", known.key.id.as_str());
    let mut text = String::new();
    let edit = |key: &mut ApiKey| {
        text = new_text(key)?;
        Ok(Some(hash_of(&text)))
    };
    let stored = store(&state, known, edit).await?;
    changed(&operator, &state, &stored.key.id, "a key is rotated").await;
    Ok(with_text(HttpResponse::Ok(), text, stored))
}

/// Revoke a key
///
/// Deletes the key. It is refused at every gateway within a second. Its owner's tasks remain.
#[utoipa::path(
    delete,
    path = "/admin/keys/{id}",
    tag = "admin",
    security(("admin_key" = []), ("admin_bearer" = [])),
    params(("id" = String, Path, description = "The key's id.")),
    responses(
        (status = 200, description = "The key is revoked.", body = RevokedReply),
        (status = 404, description = "There is no such key.", body = ErrorReply),
        AdminErrors,
    )
)]
pub(crate) async fn revoke(
    operator: Operator,
    id: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let known = key_id(&id)?;
    operator.acts("key.revoke", known.as_str());
    let revoked = state.ask(state.broker.revoke_key(&known)).await?;
    let id = revoked.ok_or_else(|| no_such_key(&id))?.key.id;
    changed(&operator, &state, &id, "a key is revoked").await;
    Ok(HttpResponse::Ok().json(RevokedReply { id, revoked: true }))
}

/// Returns the id in a path.
fn key_id(text: &str) -> Result<KeyId, Refusal> {
    let digits = text.strip_prefix("key_").unwrap_or_default();
    match digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => Ok(KeyId::from_text(text)),
        false => Err(no_such_key(text)),
    }
}

fn no_such_key(id: &str) -> Refusal {
    let message = format!("Key '{}' not found: it never existed, or it was revoked", echo(id));
    Refusal::not_found("key", message)
}

async fn find(state: &State, id: &str) -> Result<StoredKey, Refusal> {
    let found = state.ask(state.broker.key(&key_id(id)?)).await?;
    found.ok_or_else(|| no_such_key(id))
}

/// Edits a key and stores it, again if it changed meanwhile. `edit` returns the hash of its new text, if it has one.
async fn store(
    state: &State,
    mut known: StoredKey,
    mut edit: impl FnMut(&mut ApiKey) -> Result<Option<KeyHash>, Refusal>,
) -> Result<StoredKey, Refusal> {
    for _ in 0..TRIES {
        let hash = edit(&mut known.key)?;
        let changed = state.broker.change_key(known.revision, &known.key, hash);
        if let Some(stored) = state.ask(changed).await? {
            return Ok(stored);
        }
        known = find(state, known.key.id.as_str()).await?;
    }
    Err(Refusal::conflict("Other requests change this key at the same time: try again"))
}

/// Gives a key a new text, which is returned.
fn new_text(key: &mut ApiKey) -> Result<String, Refusal> {
    let text = text::generate().map_err(|error| Refusal::internal(error.to_string()))?;
    key.prefix = text::prefix(&text);
    Ok(text)
}

/// Makes a change hold here at once, and logs it.
async fn changed(operator: &Operator, state: &State, id: &KeyId, did: &str) {
    state.auth.refresh().await;
    let client = &operator.client;
    tracing::info!(target: "gateway.admin", who = "admin", %client, key = id.as_str(), "{did}");
}

/// Responds with a key and its text, which no cache may keep.
fn with_text(
    mut response: actix_web::HttpResponseBuilder,
    text: String,
    stored: StoredKey,
) -> HttpResponse {
    response
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(KeyReply { key: Some(text), fields: stored.key })
}
