//! How long the images of a task are kept.

use std::time::Duration;

use protocol::{Task, Timestamp};
use queue::{Start, retry};

use crate::order::Order;

/// How long a task with images waits for a worker unless it says so itself. It expires then, since its images are not
/// kept longer.
const WAIT: Duration = Duration::from_secs(6 * 60 * 60);
/// The time for which images outlive the result, for lost workers and differences of clocks.
const MARGIN: Duration = Duration::from_secs(15 * 60);

/// Limits the wait of an order, and returns how long its images are kept: until its result expires.
pub(super) fn limit(order: &mut Order) -> Duration {
    let queueing = &mut order.queueing;
    let delay = match queueing.start {
        Start::Now => Duration::ZERO,
        Start::After(delay) => delay,
        Start::At(at) => {
            let ms = at.as_millis().saturating_sub(Timestamp::now().as_millis());
            Duration::from_millis(ms)
        }
    };
    let wait = *queueing.expires_in.get_or_insert(delay + WAIT);
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    let attempts = queueing.max_attempts;
    let computing = seconds(queueing.time_limit_s).saturating_mul(attempts);
    let first = queueing.retry_backoff_s.unwrap_or(Task::DEFAULT_RETRY_BACKOFF_S);
    [
        computing,
        retry::longest_total(seconds(first), attempts),
        seconds(queueing.result_ttl_s),
        MARGIN,
    ]
    .into_iter()
    .fold(wait, Duration::saturating_add)
}
