//! Decides whether reapers must hold back (`reap.lua` has the same rule for Redis).

use std::time::Duration;

use protocol::Timestamp;

/// The times of recent reaps.
///
/// While the machine sleeps no worker can renew, so afterwards every lease may have expired although
/// its worker is alive. If no process reaped for half a lease, no lease is reclaimed for one lease. If the
/// call before was also the first after a gap, the reapers are merely slow, and there is no second hold.
#[derive(Debug, Default)]
pub(super) struct ReapHold {
    last: Millis,
    late: bool,
    hold_until: Millis,
}

/// Milliseconds; 0 before anything happened.
type Millis = u64;

impl ReapHold {
    /// Creates the value after a start, when no hold is needed: the leases of the previous process were
    /// handled.
    pub(super) fn from_start(now: Timestamp) -> Self {
        Self { last: now.as_millis(), ..Self::default() }
    }

    /// Records a reap and returns whether it must hold back.
    pub(super) fn holds(&mut self, now: Timestamp, lease: Duration) -> bool {
        let now = now.as_millis();
        let lease = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
        let late = now.saturating_sub(self.last) > lease / 2;
        if late && !self.late {
            self.hold_until = now.saturating_add(lease);
        }
        (self.last, self.late) = (now, late);
        now < self.hold_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_millis(300);

    fn held(calls: &[u64]) -> Vec<bool> {
        let mut hold = ReapHold::default();
        let at = |offset: &u64| Timestamp::from_millis(1_000_000 + offset);
        calls.iter().map(|call| hold.holds(at(call), LEASE)).collect()
    }

    #[test]
    fn reaping_is_paused_for_one_lease_after_a_gap() {
        assert_eq!(
            held(&[0, 100, 200, 300, 400, 1_000, 1_100, 1_200, 1_300]),
            [true, true, true, false, false, true, true, true, false]
        );
    }

    #[test]
    fn reaping_is_not_paused_after_the_start() {
        let mut hold = ReapHold::from_start(Timestamp::from_millis(1_000));
        assert!(!hold.holds(Timestamp::from_millis(1_100), LEASE));
    }

    #[test]
    fn slow_reaper_is_not_paused_forever() {
        assert_eq!(held(&[0, 300, 600, 900]), [true, false, false, false]);
    }
}
