//! Detects an engine that hangs. A hanging step (a device that does not answer, a bug) cannot be ended from inside
//! the process: only a new process helps.

use std::time::Duration;

use engine::Engine;
use tokio::time::{Instant, sleep};

/// The time that a step may take beyond a task's time limit before the engine is considered to
/// hang. Prefill of a large prompt on a slow CPU takes long.
pub(crate) const HANG_GRACE: Duration = Duration::from_secs(30);
/// The time between two checks.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// Maximum wait for the engine's last step when the worker stops.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Waits until an engine that had computed `before` steps completes another one or is idle. Returns `false` if
/// neither happens within [`HANG_GRACE`].
pub(crate) async fn beats(engine: &Engine, before: u64) -> bool {
    let alive = || {
        let load = engine.load();
        engine.steps() != before || load.running + load.waiting == 0
    };
    becomes(alive, HANG_GRACE).await
}

async fn becomes(alive: impl Fn() -> bool, grace: Duration) -> bool {
    let until = Instant::now() + grace;
    while !alive() {
        if Instant::now() >= until {
            return false;
        }
        sleep(CHECK_INTERVAL).await;
    }
    true
}

/// Stops the engine. Waits at most [`STOP_GRACE`], so that the process can end.
pub(crate) async fn stop(engine: &Engine) {
    let engine = engine.clone();
    let stopping = tokio::task::spawn_blocking(move || engine.shutdown());
    if tokio::time::timeout(STOP_GRACE, stopping).await.is_err() {
        tracing::warn!(target: "worker.pulse", "the engine's last step has not ended; the process exits without waiting for it");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test]
    async fn an_engine_is_alive_if_a_step_ends_in_time() {
        let stepped = Arc::new(AtomicBool::new(false));
        let alive = || stepped.load(Ordering::Relaxed);
        assert!(!becomes(alive, Duration::from_millis(500)).await);
        let stepping = stepped.clone();
        tokio::spawn(async move {
            sleep(Duration::from_millis(300)).await;
            stepping.store(true, Ordering::Relaxed);
        });
        assert!(becomes(alive, Duration::from_secs(10)).await);
        assert!(becomes(alive, Duration::ZERO).await, "a step that ended meanwhile counts");
    }
}
