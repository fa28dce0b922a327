//! Reads a body with limits on its size and the time it takes; for JSON, checks its type.

use std::future::Future;
use std::ops::{Deref, DerefMut};

use actix_web::HttpRequest;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use actix_web::web::{BytesMut, Payload};
use futures::StreamExt;
use serde_json::Value;
use tokio::time::{Duration, timeout};

use crate::order::{Order, Room};
use crate::refusal::Refusal;
use crate::state::State;
use crate::validate;

/// Maximum number of bytes of an oversized body that are read and discarded. Many clients write the
/// whole body before they read, and would otherwise see a connection reset instead of the response.
const MAX_DRAIN_BYTES: usize = 16 * 1024 * 1024;
/// Maximum memory that is reserved for a body before it arrives.
const MAX_RESERVED: usize = 1024 * 1024;

/// Reads a JSON body of at most `limit` bytes, which must arrive within `patience`.
pub(crate) async fn read_json(
    request: &HttpRequest,
    payload: Payload,
    limit: usize,
    patience: Duration,
) -> Result<Value, Refusal> {
    check_encoding(request.headers())?;
    check_json(request.headers())?;
    Ok(validate::parse(&read_bytes(request, payload, limit, patience).await?)?)
}

/// The body of a request for a task, which may have images.
pub(crate) struct TaskBody {
    value: Value,
    room: Room,
}

impl TaskBody {
    /// Drops the body, since many requests may wait. Its share of the memory for large bodies goes to the images.
    pub(crate) fn leave_to(self, order: &mut Order) {
        order.images.room = self.room;
    }
}

impl Deref for TaskBody {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.value
    }
}

impl DerefMut for TaskBody {
    fn deref_mut(&mut self) -> &mut Value {
        &mut self.value
    }
}

/// Reads a JSON body that may be as long as a chat with images.
pub(crate) async fn read_chat(
    request: &HttpRequest,
    payload: Payload,
    state: &State,
) -> Result<TaskBody, Refusal> {
    read_task(request, payload, state, state.options.max_chat_bytes()).await
}

/// Reads a JSON body of at most `limit` bytes, and as many more as images may take. Only few bodies at once are larger
/// than `limit`; others wait for them.
pub(crate) async fn read_task(
    request: &HttpRequest,
    payload: Payload,
    state: &State,
    limit: usize,
) -> Result<TaskBody, Refusal> {
    check_encoding(request.headers())?;
    check_json(request.headers())?;
    let patience = state.options.client_timeout;
    let most = limit.saturating_add(state.options.max_inline_images());
    let mut reader = Reader::new(request.headers(), payload, most);
    let mut room = Room::default();
    if !in_time(patience, reader.read_to(limit)).await? {
        room =
            state.images.room(patience).await.ok_or_else(|| Refusal::busy_with_images(patience))?;
        in_time(patience, reader.read_to(most)).await?;
    }
    Ok(TaskBody { value: validate::parse(&reader.finish()?)?, room })
}

/// Reads a body of any type of at most `limit` bytes, which must arrive within `patience`.
pub(crate) async fn read_bytes(
    request: &HttpRequest,
    payload: Payload,
    limit: usize,
    patience: Duration,
) -> Result<BytesMut, Refusal> {
    check_encoding(request.headers())?;
    let mut reader = Reader::new(request.headers(), payload, limit);
    in_time(patience, reader.read_to(limit)).await?;
    reader.finish()
}

async fn in_time<T>(
    patience: Duration,
    reading: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    timeout(patience, reading).await.unwrap_or_else(|_| Err(Refusal::body_timeout()))
}

/// Reads a body within a limit.
struct Reader {
    payload: Payload,
    limit: usize,
    body: BytesMut,
    too_large: bool,
    drained: usize,
}

impl Reader {
    fn new(headers: &HeaderMap, payload: Payload, limit: usize) -> Self {
        let declared =
            text(headers, CONTENT_LENGTH).and_then(|length| length.parse::<usize>().ok());
        let body = BytesMut::with_capacity(declared.unwrap_or(1024).min(limit).min(MAX_RESERVED));
        let too_large = declared.is_some_and(|length| length > limit);
        Self { payload, limit, body, too_large, drained: 0 }
    }

    /// Reads until the body has more than `pause` bytes, and returns `false` then; `true` at its end. A body that
    /// exceeds the limit is read and discarded.
    async fn read_to(&mut self, pause: usize) -> Result<bool, Refusal> {
        while let Some(chunk) = self.payload.next().await {
            let chunk = chunk.map_err(|error| Refusal::body_broken(&error))?;
            self.too_large |= self.body.len() + chunk.len() > self.limit;
            if !self.too_large {
                self.body.extend_from_slice(&chunk);
                if self.body.len() > pause {
                    return Ok(false);
                }
                continue;
            }
            self.drained += chunk.len();
            if self.drained > MAX_DRAIN_BYTES {
                break;
            }
        }
        Ok(true)
    }

    fn finish(self) -> Result<BytesMut, Refusal> {
        if self.too_large { Err(Refusal::body_too_large(self.limit)) } else { Ok(self.body) }
    }
}

/// Checks that the body is not compressed.
pub(crate) fn check_encoding(headers: &HeaderMap) -> Result<(), Refusal> {
    match text(headers, CONTENT_ENCODING) {
        Some(encoding) if !encoding.eq_ignore_ascii_case("identity") => {
            Err(Refusal::unsupported_media_type(
                "Unsupported Content-Encoding: send the body as it is, without compression",
            ))
        }
        _ => Ok(()),
    }
}

/// Checks that media type and charset are JSON's. A body without a `Content-Type` is read as JSON,
/// because older clients send none.
fn check_json(headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(content_type) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let mut parts = content_type.to_str().unwrap_or_default().split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    let is_json = essence == "application/json"
        || essence.starts_with("application/") && essence.ends_with("+json");
    if !is_json {
        return Err(Refusal::unsupported_media_type(format!(
            "Unsupported Content-Type '{}': send JSON with 'Content-Type: application/json'",
            validate::echo(&essence)
        )));
    }
    match parts.find_map(foreign_charset) {
        None => Ok(()),
        Some(charset) => Err(Refusal::unsupported_media_type(format!(
            "Unsupported charset '{}': JSON is UTF-8; send it so, with 'Content-Type: application/json'",
            validate::echo(charset)
        ))),
    }
}

/// Returns the charset that a `Content-Type` parameter names, or `None` if it is UTF-8 or no
/// charset.
fn foreign_charset(parameter: &str) -> Option<&str> {
    let (name, value) = parameter.split_once('=')?;
    let charset = value.trim().trim_matches(['"', '\'']);
    let is_utf8 = ["utf-8", "utf8"].iter().any(|utf8| charset.eq_ignore_ascii_case(utf8));
    (name.trim().eq_ignore_ascii_case("charset") && !is_utf8).then_some(charset)
}

fn text(headers: &HeaderMap, name: actix_web::http::header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}
