//! The deliverers' side.

use std::time::Duration;

use async_trait::async_trait;
use protocol::TaskId;

use super::SqliteBroker;
use crate::{BrokerError, Delivery, Tried, Verdict, WebhookReport, Webhooks};

#[async_trait]
impl Webhooks for SqliteBroker {
    async fn due_webhooks(
        &self,
        _span: Duration,
        _limit: usize,
    ) -> Result<Vec<Delivery>, BrokerError> {
        Ok(Vec::new())
    }

    async fn webhook_tried(
        &self,
        _id: TaskId,
        _tried: &Tried,
        _verdict: Verdict,
    ) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn webhook(&self, _id: TaskId) -> Result<Option<WebhookReport>, BrokerError> {
        Ok(None)
    }
}
