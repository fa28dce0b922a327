//! The operators' side of the API. Answers are kept as they came, for `--json`; the types here are
//! what people are shown of them, and forgive what an older gateway does not say.

use std::time::Duration;

use anyhow::Result;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::http::{ClientError, Http};
use super::target::AdminTarget;

/// How long an answer may take: all of them come from counters.
const PATIENCE: Duration = Duration::from_secs(10);

/// All queues and workers at a glance. Instants are milliseconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Overview {
    /// When, on the queue's clock.
    pub(crate) at: u64,
    /// The gateway's version.
    pub(crate) version: String,
    pub(crate) queues: Vec<Queue>,
    pub(crate) queued_bytes: u64,
    pub(crate) dead_letters: u64,
    pub(crate) webhooks_pending: u64,
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
    /// Average processing time; none or 0 while none was measured.
    pub(crate) service_seconds: Option<f64>,
    /// Tasks ended so far, by how they ended.
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) cancelled: u64,
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

/// What a worker said of itself lately.
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
    /// All that it serves; none from an older gateway.
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
    /// Tasks ended so far, however they ended.
    pub(crate) fn ended(&self) -> u64 {
        self.completed + self.failed + self.cancelled
    }
}

/// Which dead letters to delete.
#[derive(Debug, Clone)]
pub(crate) enum Purge {
    /// One task's.
    One(String),
    /// All of a model.
    Model(String),
    /// All.
    All,
}

/// Speaks for an operator. Clones share their connections.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    http: Http,
}

impl Admin {
    /// Connects on first use.
    ///
    /// # Errors
    /// When no key is given, or `.env` can't be read.
    pub(crate) fn new(target: &AdminTarget) -> Result<Self> {
        Ok(Self { http: Http::new(target.access()?, PATIENCE) })
    }

    /// Where the gateway is.
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

    /// Dead letters, the latest first, at most `limit`; those that died `before` an instant.
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

/// `answer` as a type of this module.
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
    fn an_overview_is_read_as_far_as_it_is_known() {
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
