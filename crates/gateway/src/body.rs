//! Reads a body with limits on its size and the time it takes; for JSON, checks its type.

use actix_web::HttpRequest;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use actix_web::web::{BytesMut, Payload};
use futures::StreamExt;
use serde_json::Value;
use tokio::time::{Duration, timeout};

use crate::options::Options;
use crate::refusal::Refusal;
use crate::validate;

/// Maximum number of bytes of an oversized body that are read and discarded. Many clients write the
/// whole body before they read, and would otherwise see a connection reset instead of the response.
const MAX_DRAIN_BYTES: usize = 16 * 1024 * 1024;

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

/// Reads a JSON body that may be as long as a chat.
pub(crate) async fn read_chat(
    request: &HttpRequest,
    payload: Payload,
    options: &Options,
) -> Result<Value, Refusal> {
    read_json(request, payload, options.max_chat_bytes(), options.client_timeout).await
}

/// Reads a body of any type of at most `limit` bytes, which must arrive within `patience`.
pub(crate) async fn read_bytes(
    request: &HttpRequest,
    mut payload: Payload,
    limit: usize,
    patience: Duration,
) -> Result<BytesMut, Refusal> {
    check_encoding(request.headers())?;
    match timeout(patience, read(request.headers(), &mut payload, limit)).await {
        Ok(body) => body,
        Err(_) => Err(Refusal::body_timeout()),
    }
}

async fn read(
    headers: &HeaderMap,
    payload: &mut Payload,
    limit: usize,
) -> Result<BytesMut, Refusal> {
    let declared = text(headers, CONTENT_LENGTH).and_then(|length| length.parse::<usize>().ok());
    let mut body = BytesMut::with_capacity(declared.unwrap_or(1024).min(limit));
    let mut too_large = declared.is_some_and(|length| length > limit);
    let mut drained = 0;
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| Refusal::body_broken(&error))?;
        too_large |= body.len() + chunk.len() > limit;
        if !too_large {
            body.extend_from_slice(&chunk);
            continue;
        }
        drained += chunk.len();
        if drained > MAX_DRAIN_BYTES {
            break;
        }
    }
    if too_large { Err(Refusal::body_too_large(limit)) } else { Ok(body) }
}

/// Checks that the body is not compressed.
fn check_encoding(headers: &HeaderMap) -> Result<(), Refusal> {
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
