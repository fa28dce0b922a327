//! Waits for the queue, but not forever.

use std::future::Future;
use std::time::Duration;

use queue::BrokerError;

use crate::refusal::Refusal;

/// Waits for the broker's answer, for at most `patience`.
pub(crate) async fn ask<T>(
    patience: Duration,
    call: impl Future<Output = Result<T, BrokerError>>,
) -> Result<T, Refusal> {
    match tokio::time::timeout(patience, call).await {
        Ok(reply) => Ok(reply?),
        Err(_) => Err(Refusal::unavailable(format!("no reply within {patience:?}"))),
    }
}
