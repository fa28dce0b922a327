//! Streams a task's events as SSE. The stream can resume, survives an outage of the queue, and ends
//! with the task, the client or the gateway.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::web::Bytes;
use futures::Stream;
use protocol::{Event, EventBody, EventSeq, TaskId};
use queue::watch::Watch;
use serde_json::{Value, json};
use tokio::sync::watch::Receiver;
use tokio::time::sleep;

use crate::error::ApiError;
use crate::hangup::ClientEnd;
use crate::replies::ResultReply;
use crate::state::State;

/// Maximum number of events per read.
const BATCH: usize = 256;
/// Interval between reads when no wake-up comes, because wake-ups may be lost.
const REREAD: Duration = Duration::from_secs(4);
/// Pause between reads while the queue is unavailable.
const OUTAGE_PAUSE: Duration = Duration::from_secs(1);
/// The `retry` field of the stream: when a browser reconnects after a lost connection, in
/// milliseconds.
const RECONNECT_MS: u32 = 2000;

/// The event stream of one task.
pub(crate) struct Feed {
    state: Arc<State>,
    task_id: TaskId,
    /// The number of the last event sent.
    after: EventSeq,
    /// Subscribed before the first read, so that no event is missed in between.
    wakes: Watch,
    stopping: Receiver<bool>,
    client: ClientEnd,
    /// The time when bytes were last sent; `None` before the first.
    spoke: Option<Instant>,
    /// The task has ended, so the next read returns all remaining events.
    is_over: bool,
    /// The stream has ended.
    is_closed: bool,
}

/// The result of one read.
enum Found {
    Text(String),
    Nothing,
    End,
}

impl Feed {
    /// Creates a stream that starts after event number `after`.
    pub(crate) fn new(
        state: Arc<State>,
        task_id: TaskId,
        after: EventSeq,
        client: ClientEnd,
    ) -> Self {
        let wakes = state.broker.watch(task_id);
        let stopping = state.stopping.clone();
        Self {
            state,
            task_id,
            after,
            wakes,
            stopping,
            client,
            spoke: None,
            is_over: false,
            is_closed: false,
        }
    }

    /// Converts the feed into a stream of bytes.
    pub(crate) fn into_stream(self) -> impl Stream<Item = Result<Bytes, Infallible>> {
        futures::stream::unfold(self, |mut feed| async move {
            let text = feed.next().await?;
            feed.spoke = Some(Instant::now());
            Some((Ok(Bytes::from(text)), feed))
        })
    }

    /// Returns the next text to send, or `None` at the end of the stream.
    async fn next(&mut self) -> Option<String> {
        if self.spoke.is_none() {
            return Some(format!("retry: {RECONNECT_MS}\n\n"));
        }
        while !self.is_closed {
            if *self.stopping.borrow() {
                self.is_closed = true;
                return Some(": the gateway is stopping\n\n".into());
            }
            let pause = match self.read().await {
                Ok(Found::Text(text)) => return Some(text),
                Ok(Found::Nothing) => None,
                Ok(Found::End) => return None,
                Err(error) => {
                    tracing::warn!(target: "gateway.events", task_id = %self.task_id, "{error}");
                    Some(OUTAGE_PAUSE)
                }
            };
            self.wait(pause).await;
            if self.is_closed {
                return None; // nobody listens
            }
            let silence = self.spoke.map_or(Duration::ZERO, |spoke| spoke.elapsed());
            if silence >= self.state.options.keep_alive {
                return Some(": keep-alive\n\n".into());
            }
        }
        None
    }

    /// Waits for a wake-up (or, with `pause`, until it is over), for the next regular read, or
    /// until the gateway stops or the client disconnects.
    async fn wait(&mut self, pause: Option<Duration>) {
        let until_read = REREAD.min(self.state.options.keep_alive);
        tokio::select! {
            () = self.wakes.changed(), if pause.is_none() => {}
            () = sleep(pause.unwrap_or(until_read)) => {}
            _ = self.stopping.changed() => {}
            () = self.client.wait_for_disconnect() => self.is_closed = true,
        }
    }

    /// Reads the events after the last one sent.
    async fn read(&mut self) -> Result<Found, ApiError> {
        loop {
            let broker = &self.state.broker;
            let events = self.state.ask(broker.events(self.task_id, self.after, BATCH)).await?;
            if !events.is_empty() {
                return Ok(match self.write(&events).await? {
                    Some(text) => Found::Text(text),
                    None => Found::End,
                });
            }
            if self.is_over {
                return Ok(Found::End);
            }
            match self.state.ask(broker.snapshot(self.task_id)).await? {
                None => return Ok(Found::End),
                // The task may have ended between the two reads: reads again to get its last event.
                Some(snapshot) if snapshot.state.is_terminal() => self.is_over = true,
                Some(_) => return Ok(Found::Nothing),
            }
        }
    }

    /// Formats the events as SSE, or returns `None` when the task no longer exists. Advances only
    /// if all events could be formatted.
    async fn write(&mut self, events: &[Event]) -> Result<Option<String>, ApiError> {
        let mut text = String::new();
        let mut after = self.after;
        let mut is_last = false;
        for event in events {
            let data = if event.body.is_last() {
                let snapshot = self.state.ask(self.state.broker.snapshot(self.task_id)).await?;
                let Some(end) = snapshot.as_ref().and_then(ResultReply::of) else {
                    return Ok(None);
                };
                is_last = true;
                json!(end)
            } else {
                data(event)
            };
            text.push_str(&format!(
                "id: {}\nevent: {}\ndata: {data}\n\n",
                event.seq,
                event.body.name()
            ));
            after = event.seq;
        }
        self.after = after;
        self.is_closed = is_last;
        Ok(Some(text))
    }
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
            data
        }
        EventBody::Requeued { attempt, reason } => {
            json!({ "at": at, "attempt": attempt, "reason": reason })
        }
    }
}
