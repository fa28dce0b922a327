//! Formats a task's events as server-sent events.

use std::convert::Infallible;

use actix_web::web::Bytes;
use futures::Stream;
use protocol::{Event, EventBody};
use serde_json::{Value, json};

use crate::follow::{Feed, Step};
use crate::replies::ResultReply;

/// The `retry` field of the stream: when a browser reconnects after a lost connection, in
/// milliseconds.
const RECONNECT_MS: u32 = 2000;

/// Converts a feed into a response body.
pub(super) fn stream(feed: Feed) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let rest = futures::stream::unfold(feed, |mut feed| async move {
        let text = format(feed.next().await?)?;
        Some((Ok(Bytes::from(text)), feed))
    });
    let head = Bytes::from(format!("retry: {RECONNECT_MS}\n\n"));
    futures::StreamExt::chain(futures::stream::iter([Ok(head)]), rest)
}

/// Formats a step, or returns `None` to end the stream.
fn format(step: Step) -> Option<String> {
    Some(match step {
        Step::Events(events) => events.iter().map(|event| frame(event, &data(event))).collect(),
        Step::Ended(event, snapshot) => frame(&event, &json!(ResultReply::of(&snapshot)?)),
        Step::Silence => ": keep-alive\n\n".into(),
        Step::Stopping => ": the gateway is stopping\n\n".into(),
        Step::Refused(refusal) => {
            format!("event: error\ndata: {}\n\n", json!({ "detail": refusal.message }))
        }
        Step::HungUp => return None,
    })
}

fn frame(event: &Event, data: &Value) -> String {
    format!("id: {}\nevent: {}\ndata: {data}\n\n", event.seq, event.body.name())
}

/// Returns the JSON of an event that is not the task's last.
fn data(event: &Event) -> Value {
    let at = event.at.as_millis();
    match &event.body {
        EventBody::Queued | EventBody::Ended { .. } => json!({ "at": at }),
        EventBody::Started { attempt, worker } => {
            json!({ "at": at, "attempt": attempt, "worker": worker })
        }
        EventBody::Token { attempt, chunk } => {
            let mut data = json!({ "at": at, "attempt": attempt, "text": chunk.text });
            if let Some(parts) = &chunk.parts {
                data["parts"] = json!(parts);
            }
            if !chunk.logprobs.is_empty() {
                data["logprobs"] = json!({ "content": chunk.logprobs });
            }
            data
        }
        EventBody::Requeued { attempt, reason } => {
            json!({ "at": at, "attempt": attempt, "reason": reason })
        }
    }
}
