//! [`State`]: the data that all requests share.

use std::future::Future;
use std::sync::Arc;

use outbound::TlsUnusable;
use protocol::{ModelId, TaskId, TaskSnapshot, TenantId};
use queue::{BlobLimits, BlobStore, Broker, BrokerError};
use tokio::sync::{Notify, watch};
use webhooks::Secrets;

use crate::auth::Auth;
use crate::history::History;
use crate::images::Images;
use crate::options::Options;
use crate::patience;
use crate::refusal::Refusal;
use crate::registry::Registry;
use crate::timetable::Periodic;
use crate::validate::{FieldError, UNKNOWN_MODEL, echo};

/// Shared by all requests on all threads. Knows no dialect.
pub(crate) struct State {
    pub(crate) broker: Arc<dyn Broker>,
    /// The accepted credentials of clients and operators.
    pub(crate) auth: Arc<Auth>,
    /// The live workers and their models.
    pub(crate) registry: Registry,
    /// The secrets that sign webhooks, by tenant.
    pub(crate) secrets: Arc<Secrets>,
    /// Files, and what is stored of responses.
    pub(crate) blobs: BlobStore,
    /// The queues over the last hours.
    pub(crate) history: History,
    /// Checks images.
    pub(crate) images: Images,
    /// The periodic tasks.
    pub(crate) periodic: Periodic,
    /// Notified when a batch was created, so that it begins at once.
    pub(crate) new_batch: Notify,
    /// The gateway's options, without the keys.
    pub(crate) options: Options,
    /// Becomes `true` when the gateway shuts down, which ends event streams and waits.
    pub(crate) stopping: watch::Receiver<bool>,
}

impl State {
    /// Creates the state.
    ///
    /// # Errors
    /// If images are downloaded, and TLS can't be used.
    pub(crate) fn new(
        broker: Arc<dyn Broker>,
        auth: Arc<Auth>,
        secrets: Arc<Secrets>,
        mut options: Options,
        stopping: watch::Receiver<bool>,
    ) -> Result<Self, TlsUnusable> {
        let periodic = Periodic::new(std::mem::take(&mut options.schedule));
        let registry =
            Registry::new(Arc::clone(&broker), options.registry_age, options.broker_timeout);
        let own = || BlobStore::new(broker.clone(), BlobLimits::default());
        let blobs = options.blobs.clone().unwrap_or_else(own);
        let images = Images::new(options.images)?;
        let new_batch = Notify::new();
        let history = History::default();
        Ok(Self {
            broker,
            auth,
            registry,
            secrets,
            blobs,
            history,
            images,
            periodic,
            new_batch,
            options,
            stopping,
        })
    }

    /// Waits for the broker's answer, for at most the configured timeout.
    pub(crate) async fn ask<T>(
        &self,
        call: impl Future<Output = Result<T, BrokerError>>,
    ) -> Result<T, Refusal> {
        patience::ask(self.options.broker_timeout, call).await
    }

    /// Returns a tenant's task. Another tenant's task is reported as not found.
    pub(crate) async fn task(
        &self,
        tenant: &TenantId,
        id: TaskId,
    ) -> Result<TaskSnapshot, Refusal> {
        match self.ask(self.broker.snapshot(id)).await? {
            Some(snapshot) if snapshot.task.tenant == *tenant => Ok(snapshot),
            Some(_) => Err(Refusal::no_such_task(id)),
            None => Err(self.no_task(tenant, id).await),
        }
    }

    /// Returns the refusal for a missing task: not found, or expired if the tenant once had it.
    pub(crate) async fn no_task(&self, tenant: &TenantId, id: TaskId) -> Refusal {
        match self.ask(self.broker.expired(id)).await {
            Ok(Some(owner)) if owner == *tenant => {
                Refusal::result_expired(id, self.options.result_ttl_s)
            }
            Ok(_) => Refusal::no_such_task(id),
            Err(refusal) => refusal,
        }
    }

    /// Returns the model that a request names: one that is served, or what an alias stands for. The
    /// default model if it names none.
    ///
    /// # Errors
    /// If no worker serves the model, or the queue is unavailable.
    pub(crate) async fn resolve(&self, named: Option<&str>) -> Result<ModelId, Refusal> {
        let default = &self.options.default_model;
        let Some(named) = named.filter(|named| !named.is_empty()) else {
            return Ok(default.clone());
        };
        if let Some(model) = self.served(named).await? {
            return Ok(model);
        }
        if let Some(model) = self.options.model_aliases.find(named) {
            return Ok(model.unwrap_or(default).clone());
        }
        let others = self.other_models(Some(named)).await?;
        let known: Vec<&str> =
            std::iter::once(default).chain(&others).map(ModelId::as_str).collect();
        let message = format!(
            "The model '{}' does not exist: no worker serves it. Available: {}",
            echo(named),
            known.join(", ")
        );
        Err(Refusal::invalid(vec![FieldError::new(
            ["body".into(), "model".into()],
            UNKNOWN_MODEL,
            message,
        )]))
    }

    /// Returns the model of this name, or `None` if it is not served. Aliases don't count.
    pub(crate) async fn served(&self, named: &str) -> Result<Option<ModelId>, Refusal> {
        let others = self.other_models(Some(named)).await?;
        let models = std::iter::once(&self.options.default_model).chain(&others);
        Ok(models.into_iter().find(|model| model.as_str() == named).cloned())
    }

    /// Returns all models that a request may name besides the default, given the model that it
    /// names: the configured ones, and those that live workers serve or are loading. Empty if it
    /// names the default, or none.
    pub(crate) async fn other_models(&self, named: Option<&str>) -> Result<Vec<ModelId>, Refusal> {
        let default = &self.options.default_model;
        let Some(named) = named.filter(|named| *named != default.as_str()) else {
            return Ok(Vec::new());
        };
        let served = self.registry.models_with(&ModelId::new(named)).await?;
        let mut models = [served, self.options.known_models.clone()].concat();
        models.retain(|model| model != default);
        models.sort();
        models.dedup();
        Ok(models)
    }
}
