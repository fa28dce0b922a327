//! The clients' part of the API: tasks, their results and their events.

use std::io::Read;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;

use super::http::{ClientError, Http};
use super::sse::Events;
use super::target::Target;

/// The wait for the task's end per request, in seconds. Well below the timeouts of common proxies.
const WAIT_S: u32 = 30;
/// Pause before the next request if the gateway did not wait, because it shuts down or is an older
/// version.
const PAUSE: Duration = Duration::from_millis(500);
/// Maximum time for a response, including the wait for a task's end.
const PATIENCE: Duration = Duration::from_secs(90);
/// Maximum size of a downloaded image, in bytes. Gateways draw smaller ones.
const MAX_DOWNLOAD: u64 = 256 << 20;
/// A stream without bytes for longer than this is considered dead: the gateway sends a keep-alive
/// every 10 seconds.
const SILENCE: Duration = Duration::from_secs(45);

/// An API client with one key.
pub(crate) struct Client {
    http: Http,
}

impl Client {
    /// Creates a client, which connects on first use.
    ///
    /// # Errors
    /// If no key is given, or `.env` cannot be read.
    pub(crate) fn new(target: &Target) -> Result<Self> {
        Ok(Self { http: Http::new(target.access()?, PATIENCE) })
    }

    /// Sends JSON with `POST` and returns the response's JSON.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value, ClientError> {
        self.http.post(path, body)
    }

    /// Stores a file of `length` bytes and returns the id of its blob.
    pub(crate) fn upload(&self, bytes: &mut dyn Read, length: u64) -> Result<String> {
        let stored = self.http.upload("/blobs", bytes, length)?;
        let id = stored["id"].as_str().context("the gateway's response has no id")?;
        Ok(id.to_owned())
    }

    /// Returns the bytes of a blob, whose path a result names.
    pub(crate) fn download(&self, path: &str) -> Result<Vec<u8>, ClientError> {
        self.http.download(path, MAX_DOWNLOAD)
    }

    /// Deletes a blob.
    pub(crate) fn delete_blob(&self, id: &str) -> Result<(), ClientError> {
        self.http.delete(&format!("/blobs/{id}"), &[]).map(drop)
    }

    /// Returns the response's JSON for a `GET`.
    pub(crate) fn get(&self, path: &str) -> Result<Value, ClientError> {
        self.http.get(path, &[])
    }

    /// Opens the event stream of a task after event number `after`. Returns `None` if the task has
    /// ended and no event follows.
    pub(crate) fn events(&self, task_id: &str, after: u64) -> Result<Option<Events>, ClientError> {
        let headers =
            [("Accept", "text/event-stream".to_owned()), ("Last-Event-ID", after.to_string())];
        let response = self.http.stream(&format!("/events/{task_id}"), &headers, SILENCE)?;
        let is_over = response.status().as_u16() == 204;
        Ok((!is_over).then(|| Events::new(response.into_body().into_reader())))
    }

    /// Waits for a task's end and returns its result.
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
    /// Creates a client for a test's server.
    pub(crate) fn of(url: &str) -> Self {
        let access = super::target::Access { url: url.to_owned(), key: "key".to_owned() };
        Self { http: Http::new(access, PATIENCE) }
    }
}
