//! How long a task rests after a failed attempt: exponential backoff with jitter, so that what failed
//! together is not tried again together.

use std::time::Duration;

/// The rest after the first failure, before jitter.
const FIRST: Duration = Duration::from_secs(1);
/// The longest rest, before jitter.
const LONGEST: Duration = Duration::from_secs(60);

/// How long a task rests after its `failed`-th failed attempt (from 1): `1 s · 2^(failed-1)`, at most a
/// minute, of which a random half is taken off ("equal jitter",
/// <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>).
pub fn pause(failed: u32) -> Duration {
    let doublings = failed.saturating_sub(1).min(16);
    let whole = FIRST.saturating_mul(1 << doublings).min(LONGEST);
    whole.mul_f64(0.5 + 0.5 * fraction())
}

/// How long a task rests after the `failed`-th worker in a row fell silent with it (from 1). The first
/// time it does not: it has waited for a lease to run out, and the worker is the likelier culprit.
pub fn after_loss(failed: u32) -> Duration {
    if failed <= 1 { Duration::ZERO } else { pause(failed - 1) }
}

/// Random, 0 to 1. The bits of a fresh v4 UUID: no generator of our own for a few numbers a minute.
fn fraction() -> f64 {
    let (_, bits) = uuid::Uuid::new_v4().as_u64_pair();
    (bits & 0xffff_ffff) as f64 / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_grow_to_a_minute_and_differ() {
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
