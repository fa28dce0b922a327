//! The operators' part of the API. Responses are kept as received, for `--json`. What is shown to people is read from
//! them as the gateway's own types, which tolerate fields that an older gateway does not send.

use std::time::Duration;

use anyhow::Result;
pub(crate) use gateway::operators::{
    BatchReply as Batch, CancelledReply as Cancelled, DeadLetterReply as Letter,
    OverviewReply as Overview, PeriodicReply as Periodic, QueueReply as Queue,
    ScheduleReply as Schedule, TaskReply as Task, UsageAmounts, UsageReply as Usage, UsageSum,
    WorkerReply as Worker,
};
#[cfg(test)]
pub(crate) use gateway::operators::{LanesReply as Lanes, ServedReply as Served};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::http::{ClientError, Http};
use super::target::AdminTarget;

/// Maximum time for a response. All of them are computed from counters.
const PATIENCE: Duration = Duration::from_secs(10);

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

    /// Returns at most `limit` tasks of a filter, the newest first, from `cursor` on.
    pub(crate) fn tasks(
        &self,
        filter: &[(&str, String)],
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Value, ClientError> {
        let mut query = filter.to_vec();
        query.push(("limit", limit.to_string()));
        query.extend(cursor.map(|cursor| ("cursor", cursor.to_owned())));
        self.http.get("/admin/tasks", &query)
    }

    pub(crate) fn schedule(&self) -> Result<Value, ClientError> {
        self.http.get("/admin/schedule", &[])
    }

    pub(crate) fn run_periodic(&self, name: &str) -> Result<Value, ClientError> {
        self.http.post(&format!("/admin/schedule/{name}/run"), &json!({}))
    }

    pub(crate) fn cancel_tasks(&self, body: &Value) -> Result<Value, ClientError> {
        self.http.post("/admin/tasks/cancel", body)
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
