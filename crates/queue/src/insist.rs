//! Retries while the queue is unavailable, for callers whose work no other process repeats.

use std::time::{Duration, Instant};

use crate::BrokerError;

/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(500);

/// Calls `ask` until the queue answers or `until` has passed, and returns the last result. Every
/// operation of a broker is idempotent, so a lost reply costs only the repetition.
///
/// # Errors
/// Returns [`BrokerError::Unavailable`] if the queue is still unavailable at `until`, and any other
/// error at once.
pub async fn insist<T, F>(until: Instant, ask: impl Fn() -> F) -> Result<T, BrokerError>
where
    F: Future<Output = Result<T, BrokerError>>,
{
    loop {
        match ask().await {
            Err(BrokerError::Unavailable { .. }) if Instant::now() < until => {
                tokio::time::sleep(PAUSE).await;
            }
            answer => return answer,
        }
    }
}
