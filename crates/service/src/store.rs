//! Whether the queue's store can do what the queue needs of it: checked at start, and watched from then on.

use std::time::Duration;

use anyhow::{Result, bail};
use queue::{Broker, Fitness};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::Settings;

/// Between two looks at the store's set-up.
const BEAT: Duration = Duration::from_secs(5);

/// Refuses to start on a store that would lose tasks or break off in the middle of them. One that can't be asked
/// now is checked as soon as it can be: until then every operation says that it is unavailable.
///
/// # Errors
/// What the store lacks, and what to do about it.
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
            tracing::warn!(target: "service.store", "the queue's store can't be checked yet: {error}");
            Ok(())
        }
    }
}

/// Warns of bounds on what may wait that the store can't hold: it would refuse submits (503) before they do (429).
/// A waiting task takes up to a quarter more than its bytes, and outcomes are kept beside them.
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

/// Tells when the store's set-up changes for the worse, and when it is well again, until `shutdown`.
pub(crate) async fn watch(broker: &dyn Broker, shutdown: &CancellationToken) {
    let mut known = Fitness::default();
    if let Ok(found) = broker.vet().await {
        known = found; // `check` has told it
    }
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beat.tick().await;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = beat.tick() => {}
        }
        // A store that is away is told of by those who need it more urgently.
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

/// What is said now and was not before.
fn news<'a>(now: &'a [String], before: &[String]) -> impl Iterator<Item = &'a String> {
    now.iter().filter(|line| !before.contains(line))
}
