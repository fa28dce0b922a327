//! Whether the engine still computes. A step that hangs (a device that does not answer, a bug) can't be
//! ended from inside the process: all that helps is a new process.

use std::time::Duration;

use engine::Engine;
use tokio::time::{Instant, sleep};

/// How long a step may take beyond a task's time limit before it is taken to hang. A large prompt on a
/// slow CPU takes a while.
pub(crate) const HANG_GRACE: Duration = Duration::from_secs(30);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How long the engine may take to end its last step when the worker stops.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Waits for a sign of life of an engine that had made `before` steps when it was missed. False when
/// none comes for [`HANG_GRACE`].
pub(crate) async fn beats(engine: &Engine, before: u64) -> bool {
    let alive = || {
        let load = engine.load();
        engine.steps() != before || load.running + load.waiting == 0
    };
    comes(alive, HANG_GRACE).await
}

async fn comes(alive: impl Fn() -> bool, grace: Duration) -> bool {
    let until = Instant::now() + grace;
    while !alive() {
        if Instant::now() >= until {
            return false;
        }
        sleep(LOOK).await;
    }
    true
}

/// Stops the engine, but does not wait for ever: the process must be able to end.
pub(crate) async fn stop(engine: &Engine) {
    let engine = engine.clone();
    let stopping = tokio::task::spawn_blocking(move || engine.shutdown());
    if tokio::time::timeout(STOP_GRACE, stopping).await.is_err() {
        tracing::warn!(target: "worker.pulse", "the engine's step does not end: leaving without it");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test]
    async fn an_engine_lives_if_a_step_ends_in_time() {
        let stepped = Arc::new(AtomicBool::new(false));
        let alive = || stepped.load(Ordering::Relaxed);
        assert!(!comes(alive, Duration::from_millis(500)).await);
        let stepping = stepped.clone();
        tokio::spawn(async move {
            sleep(Duration::from_millis(300)).await;
            stepping.store(true, Ordering::Relaxed);
        });
        assert!(comes(alive, Duration::from_secs(10)).await);
        assert!(comes(alive, Duration::ZERO).await, "a step that ended meanwhile counts");
    }
}
