//! The operators' part of the API. Responses are kept as received, for `--json`. The types here
//! hold what is shown to people, and tolerate fields that an older gateway does not send.

use std::time::Duration;

use anyhow::Result;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::http::{ClientError, Http};
use super::target::AdminTarget;

/// Maximum time for a response. All of them are computed from counters.
const PATIENCE: Duration = Duration::from_secs(10);

/// A summary of all queues and workers. Instants are milliseconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Overview {
    /// The time of the summary, on the queue's clock.
    pub(crate) at: u64,
    /// The gateway's version.
    pub(crate) version: String,
    pub(crate) queues: Vec<Queue>,
    pub(crate) queued_bytes: u64,
    pub(crate) dead_letters: u64,
    pub(crate) webhooks_pending: u64,
    /// The number of batches that have not ended.
    pub(crate) batches_running: u64,
    /// Some of these.
    pub(crate) batches: Vec<Batch>,
    pub(crate) workers: Vec<Worker>,
}

/// One model's queue.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Queue {
    pub(crate) model: String,
    pub(crate) paused: bool,
    pub(crate) queued: Lanes,
    pub(crate) delayed: u64,
    pub(crate) processing: u64,
    /// Tasks that the ready workers can run at once.
    pub(crate) capacity: u64,
    /// Average processing time; `None` or 0 before the first measurement.
    pub(crate) service_seconds: Option<f64>,
    /// Tasks that have ended so far, by outcome.
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) cancelled: u64,
}

/// The progress of a batch that has not ended.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Batch {
    pub(crate) batch_id: String,
    pub(crate) tenant: String,
    pub(crate) endpoint: String,
    pub(crate) status: String,
    pub(crate) total: u64,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) created_at: Option<u64>,
    pub(crate) expires_at: Option<u64>,
}

/// Waiting tasks by lane.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Lanes {
    pub(crate) high: u64,
    pub(crate) normal: u64,
    pub(crate) low: u64,
    pub(crate) batch: u64,
}

impl Lanes {
    pub(crate) fn total(&self) -> u64 {
        self.high + self.normal + self.low + self.batch
    }
}

/// A worker's latest report.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Worker {
    pub(crate) id: String,
    pub(crate) host: String,
    pub(crate) pid: u32,
    pub(crate) version: String,
    pub(crate) model: String,
    pub(crate) quantization: String,
    pub(crate) device: String,
    pub(crate) status: String,
    pub(crate) running: u64,
    pub(crate) capacity: u64,
    pub(crate) finished: u64,
    pub(crate) started_at: Option<u64>,
    pub(crate) last_seen: Option<u64>,
    /// All models that it serves; empty if the gateway is older.
    pub(crate) models: Vec<Served>,
}

/// A model that a worker serves.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Served {
    pub(crate) model: String,
    pub(crate) state: String,
}

impl Queue {
    /// Returns the number of tasks that have ended so far, with any outcome.
    pub(crate) fn ended(&self) -> u64 {
        self.completed + self.failed + self.cancelled
    }
}

/// The dead letters to delete.
#[derive(Debug, Clone)]
pub(crate) enum Purge {
    /// That of one task.
    One(String),
    /// All of one model.
    Model(String),
    /// All dead letters.
    All,
}

/// An API client with the operators' key. Clones share their connections.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    http: Http,
}

impl Admin {
    /// Creates a client, which connects on first use.
    ///
    /// # Errors
    /// If no key is given, or `.env` cannot be read.
    pub(crate) fn new(target: &AdminTarget) -> Result<Self> {
        Ok(Self { http: Http::new(target.access()?, PATIENCE) })
    }

    /// Returns the gateway's URL.
    pub(crate) fn url(&self) -> &str {
        self.http.url()
    }

    pub(crate) fn overview(&self) -> Result<Value, ClientError> {
        self.http.get("/admin/overview", &[])
    }

    pub(crate) fn workers(&self) -> Result<Value, ClientError> {
        self.http.get("/admin/workers", &[])
    }

    pub(crate) fn drain(&self, worker: &str) -> Result<Value, ClientError> {
        self.http.post(&format!("/admin/workers/{worker}/drain"), &json!({}))
    }

    pub(crate) fn set_paused(&self, model: &str, paused: bool) -> Result<Value, ClientError> {
        let path = if paused { "/admin/pause" } else { "/admin/resume" };
        self.http.post(path, &json!({ "model": model }))
    }

    /// Returns at most `limit` dead letters, the latest first; with `before`, only earlier ones.
    pub(crate) fn dead_letters(
        &self,
        model: Option<&str>,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Value, ClientError> {
        let mut query = vec![("limit", limit.to_string())];
        query.extend(model.map(|model| ("model", model.to_owned())));
        query.extend(before.map(|before| ("before", before.to_string())));
        self.http.get("/admin/dead-letters", &query)
    }

    pub(crate) fn dead_letter(&self, task_id: &str) -> Result<Value, ClientError> {
        self.http.get(&format!("/admin/dead-letters/{task_id}"), &[])
    }

    pub(crate) fn replay(&self, task_id: &str) -> Result<Value, ClientError> {
        self.http.post(&format!("/admin/dead-letters/{task_id}/replay"), &json!({}))
    }

    pub(crate) fn add_key(&self, fields: &Value) -> Result<Value, ClientError> {
        self.http.post("/admin/keys", fields)
    }

    /// Returns at most `limit` keys, the oldest first; with `after`, only those behind it.
    pub(crate) fn keys(
        &self,
        owner: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Value, ClientError> {
        let mut query = vec![("limit", limit.to_string())];
        query.extend(owner.map(|owner| ("owner", owner.to_owned())));
        query.extend(after.map(|after| ("after", after.to_owned())));
        self.http.get("/admin/keys", &query)
    }

    pub(crate) fn key(&self, id: &str) -> Result<Value, ClientError> {
        self.http.get(&format!("/admin/keys/{id}"), &[])
    }

    pub(crate) fn change_key(&self, id: &str, fields: &Value) -> Result<Value, ClientError> {
        self.http.patch(&format!("/admin/keys/{id}"), fields)
    }

    pub(crate) fn rotate_key(&self, id: &str) -> Result<Value, ClientError> {
        self.http.post(&format!("/admin/keys/{id}/rotate"), &json!({}))
    }

    pub(crate) fn revoke_key(&self, id: &str) -> Result<Value, ClientError> {
        self.http.delete(&format!("/admin/keys/{id}"), &[])
    }

    pub(crate) fn usage(&self, query: &[(&str, String)]) -> Result<Value, ClientError> {
        self.http.get("/admin/usage", query)
    }

    pub(crate) fn purge(&self, which: &Purge) -> Result<Value, ClientError> {
        match which {
            Purge::One(task_id) => self.http.delete(&format!("/admin/dead-letters/{task_id}"), &[]),
            Purge::Model(model) => {
                self.http.delete("/admin/dead-letters", &[("model", model.clone())])
            }
            Purge::All => self.http.delete("/admin/dead-letters", &[("all", "true".to_owned())]),
        }
    }
}

/// Deserializes a response.
pub(crate) fn understood<T: DeserializeOwned>(path: &str, answer: Value) -> Result<T, ClientError> {
    serde_json::from_value(answer).map_err(|error| ClientError::Unreadable {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overview_with_missing_or_unknown_fields_is_read() {
        let answer = json!({
            "at": 5, "news": true,
            "queues": [{"model": "demo", "queued": {"high": 1, "batch": 2}, "service_seconds": null,
                        "completed": 3, "failed": 1}],
        });
        let overview: Overview = understood("/admin/overview", answer).unwrap();
        assert_eq!((overview.queues[0].queued.total(), overview.queues[0].ended()), (3, 4));
        assert_eq!((overview.queues[0].service_seconds, overview.workers.len()), (None, 0));
        let error = understood::<Overview>("/admin/overview", json!({"at": "now"})).unwrap_err();
        assert!(error.to_string().contains("/admin/overview"), "{error}");
    }
}
