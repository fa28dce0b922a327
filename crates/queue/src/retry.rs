//! Retries. The backoff after failed attempts is exponential, with jitter, so that tasks that failed together
//! are not retried together.

use std::time::{Duration, Instant};

use crate::BrokerError;

/// The backoff after the first failure, before jitter.
const FIRST: Duration = Duration::from_secs(1);
/// The longest backoff, before jitter.
const LONGEST: Duration = Duration::from_secs(60);
/// The pause of [`while_unavailable`] between two calls.
const UNAVAILABLE_PAUSE: Duration = Duration::from_millis(500);

/// Returns the backoff after a task's `failed`-th failed attempt (from 1): `1 s · 2^(failed-1)`, at
/// most a minute, minus a random part of up to one half ("equal jitter",
/// <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>).
pub fn pause(failed: u32) -> Duration {
    let doublings = failed.saturating_sub(1).min(16);
    let whole = FIRST.saturating_mul(1 << doublings).min(LONGEST);
    whole.mul_f64(0.5 + 0.5 * fraction())
}

/// Returns the backoff after the task's lease expired for the `failed`-th time in a row (from 1).
/// The first time it is zero: the task has already waited for the lease, and the worker is the more
/// probable cause.
pub fn after_loss(failed: u32) -> Duration {
    if failed <= 1 { Duration::ZERO } else { pause(failed - 1) }
}

/// Returns a random number in `0.0..=1.0`, from the bits of a v4 UUID: enough for a few numbers per
/// minute.
fn fraction() -> f64 {
    let (_, bits) = uuid::Uuid::new_v4().as_u64_pair();
    (bits & 0xffff_ffff) as f64 / f64::from(u32::MAX)
}

/// Retries while the queue is unavailable, for callers whose work no other process repeats: calls `call`
/// until the queue answers or `until` has passed, and returns the last result. Every operation of a broker is
/// idempotent, so a lost reply costs only the repetition.
///
/// # Errors
/// Returns [`BrokerError::Unavailable`] if the queue is still unavailable at `until`, and any other
/// error at once.
pub async fn while_unavailable<T, F>(until: Instant, call: impl Fn() -> F) -> Result<T, BrokerError>
where
    F: Future<Output = Result<T, BrokerError>>,
{
    loop {
        match call().await {
            Err(BrokerError::Unavailable { .. }) if Instant::now() < until => {
                tokio::time::sleep(UNAVAILABLE_PAUSE).await;
            }
            answer => return answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backoff_grows_to_a_minute_and_has_jitter() {
        for (failed, whole) in [(1, 1.0), (2, 2.0), (5, 16.0), (7, 60.0), (u32::MAX, 60.0)] {
            for _ in 0..100 {
                let rest = pause(failed).as_secs_f64();
                assert!((whole / 2.0..=whole).contains(&rest), "{failed}: {rest}");
            }
        }
        assert_ne!(pause(7), pause(7));
        assert_eq!(after_loss(1), Duration::ZERO);
        assert!(after_loss(2) >= Duration::from_millis(500));
    }
}
