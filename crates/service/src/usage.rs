//! Forgets usage that is older than the settings keep it.

use std::sync::Arc;
use std::time::Duration;

use protocol::Timestamp;
use queue::Broker;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// The interval of deletions. All processes run them.
const BEAT: Duration = Duration::from_secs(3_600);

/// Deletes the usage of days that ended more than `kept_days` ago, until `shutdown`.
pub(crate) async fn forget(broker: &Arc<dyn Broker>, kept_days: u32, shutdown: &CancellationToken) {
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = beat.tick() => {}
        }
        let oldest = Timestamp::now().day().before(kept_days);
        if let Err(error) = broker.forget_usage(&oldest.to_string()).await {
            // Operations that need the store more urgently report that it is unavailable.
            tracing::debug!(target: "service.usage", "usage before {oldest} not deleted: {error}");
        }
    }
}
