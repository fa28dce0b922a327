//! Retries. The backoff after failed attempts is exponential, with jitter, so that tasks that failed together
//! are not retried together. A task may set the first backoff ([`protocol::Task::retry_backoff`]).

use std::time::{Duration, Instant};

use crate::BrokerError;

/// The longest backoff, before jitter, unless the first one is longer.
pub(crate) const LONGEST: Duration = Duration::from_secs(60);
/// The most doublings of the first backoff: enough to reach the longest from a second.
pub(crate) const MAX_DOUBLINGS: u32 = 6;
/// The pause of [`while_unavailable`] between two calls.
const UNAVAILABLE_PAUSE: Duration = Duration::from_millis(500);

/// Returns the backoff after a task's `failed`-th failed attempt (from 1): `first · 2^(failed-1)`, at
/// most a minute or `first` if that is longer, minus a random part of up to one half ("equal jitter",
/// <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>).
pub fn pause(first: Duration, failed: u32) -> Duration {
    longest_pause(first, failed).mul_f64(jitter())
}

/// Returns the backoff after the task's lease expired for the `failed`-th time in a row (from 1).
/// The first time it is zero: the task has already waited for the lease, and the worker is the more
/// probable cause. (`redis/scripts/reap.lua` computes the same.)
pub fn after_loss(first: Duration, failed: u32) -> Duration {
    if failed <= 1 { Duration::ZERO } else { pause(first, failed - 1) }
}

/// Returns the longest time that a task with so many attempts may spend in backoff.
pub fn longest_total(first: Duration, attempts: u32) -> Duration {
    (1..attempts).map(|failed| longest_pause(first, failed)).sum()
}

/// Returns the backoff before jitter.
fn longest_pause(first: Duration, failed: u32) -> Duration {
    let doublings = failed.saturating_sub(1).min(MAX_DOUBLINGS);
    first.saturating_mul(1 << doublings).min(LONGEST.max(first))
}

/// Returns the random factor of a backoff, in `0.5..=1.0`.
pub(crate) fn jitter() -> f64 {
    0.5 + 0.5 * fraction()
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
        for (first, failed, whole) in [
            (1, 1, 1.0),
            (1, 2, 2.0),
            (1, 5, 16.0),
            (1, 7, 60.0),
            (1, u32::MAX, 60.0),
            (40, 1, 40.0),
            (40, 2, 60.0),
            (3_600, 1, 3_600.0),
            (3_600, u32::MAX, 3_600.0),
        ] {
            for _ in 0..100 {
                let rest = pause(Duration::from_secs(first), failed).as_secs_f64();
                assert!((whole / 2.0..=whole).contains(&rest), "{first}, {failed}: {rest}");
            }
        }
        let second = Duration::from_secs(1);
        assert_ne!(pause(second, 7), pause(second, 7));
        assert_eq!(after_loss(second, 1), Duration::ZERO);
        assert!(after_loss(second, 2) >= Duration::from_millis(500));
        assert_eq!(pause(Duration::ZERO, 9), Duration::ZERO);
    }

    #[test]
    fn total_backoff_is_that_between_attempts() {
        let total = |first, attempts| longest_total(Duration::from_secs(first), attempts).as_secs();
        assert_eq!([total(1, 1), total(1, 2), total(1, 4), total(40, 4)], [0, 1, 7, 160]);
        assert_eq!(total(3_600, 100), 99 * 3_600);
    }
}
