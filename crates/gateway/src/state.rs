//! What every request can reach.

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
    /// Where tasks wait.
    pub(crate) broker: Arc<dyn Broker>,
    /// Who is let in, and who operates.
    pub(crate) doors: Arc<Doors>,
    /// What signs the webhooks of each key's tasks.
    pub(crate) secrets: Arc<Secrets>,
    /// What the operator decided; without the keys.
    pub(crate) options: Options,
    /// The API's description, ready to send.
    pub(crate) openapi: Bytes,
    /// Turns true when the gateway stops: streams and waiting end then.
    pub(crate) stopping: watch::Receiver<bool>,
}

impl State {
    /// Hashes the keys and forgets them. `openapi` is the API's description as JSON.
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

    /// Which webhooks are allowed.
    pub(crate) fn guard(&self) -> Guard {
        Guard { allow_private: self.options.webhook_allow_private }
    }

    /// Waits for the broker, but not for ever.
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

    /// The caller's task of this id. Another key's task is as unknown as one that never was.
    pub(crate) async fn task(&self, caller: &Caller, id: &str) -> Result<TaskSnapshot, ApiError> {
        let id: TaskId = id.parse()?;
        match self.ask(self.broker.snapshot(id)).await? {
            Some(snapshot) if snapshot.task.tenant == caller.0 => Ok(snapshot),
            Some(_) => Err(ApiError::TaskNotFound(id)),
            None => Err(self.no_task(caller, id).await),
        }
    }

    /// Why there is no task of this id: it never was, or the caller came too late.
    pub(crate) async fn no_task(&self, caller: &Caller, id: TaskId) -> ApiError {
        match self.ask(self.broker.expired(id)).await {
            Ok(Some(owner)) if owner == caller.0 => {
                ApiError::ResultExpired { id, result_ttl_s: self.options.result_ttl_s }
            }
            Ok(_) => ApiError::TaskNotFound(id),
            Err(error) => error,
        }
    }

    /// The models, besides the default, that are known, or that live workers serve or are about to.
    pub(crate) async fn other_models(&self) -> Result<Vec<ModelId>, ApiError> {
        let workers = self.ask(self.broker.workers()).await?;
        let served = workers.iter().flat_map(WorkerReport::serves);
        let mut models: Vec<ModelId> = served.chain(&self.options.known_models).cloned().collect();
        models.retain(|model| *model != self.options.default_model);
        models.sort();
        models.dedup();
        Ok(models)
    }

    /// Whether one of these workers has the default model loaded.
    pub(crate) fn model_loaded(&self, workers: &[WorkerReport]) -> bool {
        workers.iter().any(|worker| worker.has_loaded(&self.options.default_model))
    }
}
