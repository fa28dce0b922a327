//! Patience with a queue that is away, for those whose work nobody else will do again.

use std::time::{Duration, Instant};

use crate::BrokerError;

/// Between two tries while the queue is away.
const PAUSE: Duration = Duration::from_millis(500);

/// Asks until the queue answers, or the time is over; then the last answer stands. Every operation of
/// a broker may be repeated, so a lost reply costs nothing but the asking.
///
/// # Errors
/// With [`BrokerError::Unavailable`] when the queue is still away at `until`, and with any other error
/// at once.
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
