//! [`State`]: the data that all requests share.

use std::future::Future;
use std::sync::Arc;

use actix_web::web::Bytes;
use protocol::{ModelId, TaskId, TaskSnapshot, WorkerReport};
use queue::{Broker, BrokerError};
use tokio::sync::watch;
use webhooks::{Guard, Secrets};

use crate::auth::{Caller, Doors};
use crate::error::ApiError;
use crate::options::{Keys, Options};

/// Shared by all requests on all threads.
pub(crate) struct State {
    pub(crate) broker: Arc<dyn Broker>,
    /// The accepted keys of clients and operators.
    pub(crate) doors: Arc<Doors>,
    /// The secrets that sign webhooks, by tenant.
    pub(crate) secrets: Arc<Secrets>,
    /// The gateway's options, without the keys.
    pub(crate) options: Options,
    /// The serialized OpenAPI document.
    pub(crate) openapi: Bytes,
    /// Becomes `true` when the gateway shuts down, which ends event streams and waits.
    pub(crate) stopping: watch::Receiver<bool>,
}

impl State {
    /// Creates the state; stores only the hashes of the keys. `openapi` is the OpenAPI document as
    /// JSON.
    pub(crate) fn new(
        broker: Arc<dyn Broker>,
        secrets: Arc<Secrets>,
        mut options: Options,
        stopping: watch::Receiver<bool>,
        openapi: Bytes,
    ) -> Self {
        let api = std::mem::take(&mut options.api_keys);
        let doors = Arc::new(Doors::new(&Keys { api, admin: options.admin_key.take() }));
        Self { broker, doors, secrets, options, openapi, stopping }
    }

    /// Returns the guard that decides which webhook URLs are allowed.
    pub(crate) fn guard(&self) -> Guard {
        Guard { allow_private: self.options.webhook_allow_private }
    }

    /// Waits for the broker's answer, for at most the configured timeout.
    pub(crate) async fn ask<T>(
        &self,
        call: impl Future<Output = Result<T, BrokerError>>,
    ) -> Result<T, ApiError> {
        let patience = self.options.broker_timeout;
        match tokio::time::timeout(patience, call).await {
            Ok(reply) => Ok(reply?),
            Err(_) => Err(ApiError::Unavailable(format!("no reply within {patience:?}"))),
        }
    }

    /// Returns the caller's task with this id. Another key's task is reported as not found.
    pub(crate) async fn task(&self, caller: &Caller, id: &str) -> Result<TaskSnapshot, ApiError> {
        let id: TaskId = id.parse()?;
        match self.ask(self.broker.snapshot(id)).await? {
            Some(snapshot) if snapshot.task.tenant == caller.0 => Ok(snapshot),
            Some(_) => Err(ApiError::TaskNotFound(id)),
            None => Err(self.no_task(caller, id).await),
        }
    }

    /// Returns the error for a missing task: not found, or expired if the caller once had it.
    pub(crate) async fn no_task(&self, caller: &Caller, id: TaskId) -> ApiError {
        match self.ask(self.broker.expired(id)).await {
            Ok(Some(owner)) if owner == caller.0 => {
                ApiError::ResultExpired { id, result_ttl_s: self.options.result_ttl_s }
            }
            Ok(_) => ApiError::TaskNotFound(id),
            Err(error) => error,
        }
    }

    /// Returns all models that requests may name besides the default: the configured ones, and
    /// those that live workers serve or are loading.
    pub(crate) async fn other_models(&self) -> Result<Vec<ModelId>, ApiError> {
        let workers = self.ask(self.broker.workers()).await?;
        let served = workers.iter().flat_map(WorkerReport::serves);
        let mut models: Vec<ModelId> = served.chain(&self.options.known_models).cloned().collect();
        models.retain(|model| *model != self.options.default_model);
        models.sort();
        models.dedup();
        Ok(models)
    }

    /// Returns `true` if one of these workers has the default model in memory.
    pub(crate) fn model_loaded(&self, workers: &[WorkerReport]) -> bool {
        workers.iter().any(|worker| worker.has_loaded(&self.options.default_model))
    }
}
