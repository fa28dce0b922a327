//! Server-sent events as OpenAI's clients expect them: one `data` line per event, line ends of LF.

use std::convert::Infallible;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use actix_web::web::Bytes;
use actix_web::{HttpResponse, HttpResponseBuilder};
use futures::stream;
use serde::Serialize;

/// Keeps an idle connection open.
pub(in crate::dialects) const KEEP_ALIVE: &str = ": keep-alive\n\n";
/// The last event of a stream.
pub(super) const DONE: &str = "data: [DONE]\n\n";

/// Appends an event without a name.
pub(super) fn push(frames: &mut String, data: &impl Serialize) {
    frames.push_str("data: ");
    // Writing to a string cannot fail, and no key of these bodies is anything but a string.
    frames.push_str(&serde_json::to_string(data).unwrap_or_default());
    frames.push_str("\n\n");
}

/// Writes a stream, some frames at a time.
pub(in crate::dialects) trait Frames {
    /// Returns the next frames, or `None` at the end.
    async fn next(&mut self) -> Option<String>;
}

/// Streams the frames.
pub(in crate::dialects) fn respond(
    mut head: HttpResponseBuilder,
    frames: impl Frames + 'static,
) -> HttpResponse {
    let bytes = stream::unfold(frames, |mut frames| async move {
        let text = frames.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(text)), frames))
    });
    head.insert_header((CONTENT_TYPE, "text/event-stream; charset=utf-8"))
        .insert_header((CACHE_CONTROL, "no-cache"))
        // Disables buffering in nginx and other proxies.
        .insert_header((HeaderName::from_static("x-accel-buffering"), "no"))
        .streaming(bytes)
}
