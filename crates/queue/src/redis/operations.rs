//! The operators' side.

use async_trait::async_trait;
use protocol::{ModelId, TaskId, WorkerId};

use super::RedisBroker;
use crate::{BrokerError, DeadLetter, DeadLetterPage, Operations, Overview, Purge, Submitted};

fn unfinished<T>() -> Result<T, BrokerError> {
    Err(BrokerError::Unavailable { reason: "not built yet".into() })
}

#[async_trait]
impl Operations for RedisBroker {
    async fn overview(&self) -> Result<Overview, BrokerError> {
        unfinished()
    }

    async fn set_paused(&self, _model: &ModelId, _paused: bool) -> Result<(), BrokerError> {
        unfinished()
    }

    async fn drain_worker(&self, _id: WorkerId) -> Result<bool, BrokerError> {
        unfinished()
    }

    async fn dead_letters(&self, _page: &DeadLetterPage) -> Result<Vec<DeadLetter>, BrokerError> {
        unfinished()
    }

    async fn dead_letter(&self, _id: TaskId) -> Result<Option<DeadLetter>, BrokerError> {
        unfinished()
    }

    async fn replay(&self, _id: TaskId) -> Result<Option<Submitted>, BrokerError> {
        unfinished()
    }

    async fn purge_dead_letters(&self, _which: &Purge) -> Result<u64, BrokerError> {
        unfinished()
    }
}
