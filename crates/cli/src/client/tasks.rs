//! The clients' side of the API: tasks, their results and their events.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;

use super::http::{ClientError, Http};
use super::sse::Events;
use super::target::Target;

/// How long the gateway may hold an answer back until a task has ended, in seconds: well below what
/// proxies allow.
const WAIT_S: u32 = 30;
/// Pause before asking again when the gateway did not wait: it stops, or is an old one.
const PAUSE: Duration = Duration::from_millis(500);
/// How long an answer may take, waiting for a task's end included.
const PATIENCE: Duration = Duration::from_secs(90);
/// A stream that is silent for longer is dead: the gateway breaks silence every 10 seconds.
const SILENCE: Duration = Duration::from_secs(45);

/// Speaks for one API key.
pub(crate) struct Client {
    http: Http,
}

impl Client {
    /// Connects on first use.
    ///
    /// # Errors
    /// When no key is given, or `.env` can't be read.
    pub(crate) fn new(target: &Target) -> Result<Self> {
        Ok(Self { http: Http::new(target.access()?, PATIENCE) })
    }

    /// `POST`s JSON and reads JSON.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value, ClientError> {
        self.http.post(path, body)
    }

    /// `GET`s JSON.
    pub(crate) fn get(&self, path: &str) -> Result<Value, ClientError> {
        self.http.get(path, &[])
    }

    /// Opens the event stream of a task, after event number `after`; none when the task has ended and
    /// nothing follows that event.
    pub(crate) fn events(&self, task_id: &str, after: u64) -> Result<Option<Events>, ClientError> {
        let headers =
            [("Accept", "text/event-stream".to_owned()), ("Last-Event-ID", after.to_string())];
        let response = self.http.stream(&format!("/events/{task_id}"), &headers, SILENCE)?;
        let is_over = response.status().as_u16() == 204;
        Ok((!is_over).then(|| Events::new(response.into_body().into_reader())))
    }

    /// Asks for a task's result until it has one.
    pub(crate) fn wait_for_result(&self, task_id: &str) -> Result<Value, ClientError> {
        loop {
            let asked = Instant::now();
            let result = self.get(&format!("/result/{task_id}?wait={WAIT_S}"))?;
            match result["status"].as_str() {
                Some("queued" | "processing") if asked.elapsed() < PAUSE => {
                    std::thread::sleep(PAUSE);
                }
                Some("queued" | "processing") => {}
                _ => return Ok(result),
            }
        }
    }
}

#[cfg(test)]
impl Client {
    /// A client of a test's own server.
    pub(crate) fn of(url: &str) -> Self {
        let access = super::target::Access { url: url.to_owned(), key: "key".to_owned() };
        Self { http: Http::new(access, PATIENCE) }
    }
}
