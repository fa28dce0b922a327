//! Checks at start, and regularly from then on, that the queue's store can do what the queue needs.

use std::time::Duration;

use anyhow::{Result, bail};
use queue::{Broker, Fitness};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::Settings;

/// Interval of the checks.
const BEAT: Duration = Duration::from_secs(5);

/// Checks that the store would neither lose tasks nor fail in the middle of an operation. An
/// unreachable store is checked as soon as it is reachable; until then every operation returns that
/// it is unavailable.
///
/// # Errors
/// If the store is unsuitable. The message says what to do.
pub async fn check(broker: &dyn Broker) -> Result<()> {
    match broker.vet().await {
        Ok(found) if found.obstacles.is_empty() => {
            for warning in found.warnings {
                tracing::warn!(target: "service.store", "{warning}");
            }
            Ok(())
        }
        Ok(found) => bail!("{}", found.obstacles.join("\n")),
        Err(error) => {
            tracing::warn!(target: "service.store", "cannot check the configuration of the queue's store yet: {error}");
            Ok(())
        }
    }
}

/// Logs a warning if the store's memory is too small for the configured limits of waiting tasks: it
/// would then reject submits (503) before the limits do (429). A waiting task takes up to a quarter
/// more than its size, and results are stored in addition.
pub async fn check_bounds(broker: &dyn Broker, settings: &Settings) {
    let Ok(Fitness { capacity: Some(capacity), .. }) = broker.vet().await else { return };
    if settings.max_queue_bytes > capacity / 2 {
        tracing::warn!(
            target: "service.store",
            "MAX_QUEUE_BYTES={} is more than half of Redis' maxmemory ({capacity} bytes): Redis may be full \
             before the queue is, and submits then get 503 instead of 429; set MAX_QUEUE_BYTES={} or less, or \
             maxmemory to {} or more",
            settings.max_queue_bytes,
            capacity / 2,
            settings.max_queue_bytes.saturating_mul(2),
        );
    }
}

/// Logs when the store's configuration becomes unsuitable and when it is suitable again, until
/// `shutdown`.
pub(crate) async fn watch(broker: &dyn Broker, shutdown: &CancellationToken) {
    let mut known = Fitness::default();
    if let Ok(found) = broker.vet().await {
        known = found; // `check` has logged it
    }
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beat.tick().await;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = beat.tick() => {}
        }
        // Operations that need the store more urgently report that it is unavailable.
        let Ok(found) = broker.vet().await else { continue };
        for obstacle in news(&found.obstacles, &known.obstacles) {
            tracing::error!(target: "service.store", "{obstacle}");
        }
        for warning in news(&found.warnings, &known.warnings) {
            tracing::warn!(target: "service.store", "{warning}");
        }
        let was_well = known.obstacles.is_empty() && known.warnings.is_empty();
        if !was_well && found.obstacles.is_empty() && found.warnings.is_empty() {
            tracing::info!(target: "service.store", "the queue's store is set up as it should be again");
        }
        known = found;
    }
}

/// Returns the messages in `now` that are not in `before`.
fn news<'a>(now: &'a [String], before: &[String]) -> impl Iterator<Item = &'a String> {
    now.iter().filter(|line| !before.contains(line))
}
