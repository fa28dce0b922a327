//! Whether reapers must hold back (`reap.lua` has the same rule for Redis).

use std::time::Duration;

use protocol::Timestamp;

/// When the reapers came.
///
/// While the machine sleeps nobody can renew, so after it every lease may have run out though its
/// worker lives. When nobody reaped for half a lease, nothing is reclaimed for one lease. When the
/// call before was the first after a silence as well, the reapers are just slow: no second hold.
#[derive(Debug, Default)]
pub(super) struct Silence {
    last: Millis,
    late: bool,
    hold_until: Millis,
}

/// Milliseconds; 0 before anything happened.
type Millis = u64;

impl Silence {
    /// After a start there is nothing to hold back for: the leases of the process before were
    /// dealt with.
    pub(super) fn from_start(now: Timestamp) -> Self {
        Self { last: now.as_millis(), ..Self::default() }
    }

    /// A reaper is here now. Whether it must hold back.
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
        let mut silence = Silence::default();
        let at = |offset: &u64| Timestamp::from_millis(1_000_000 + offset);
        calls.iter().map(|call| silence.holds(at(call), LEASE)).collect()
    }

    #[test]
    fn a_silence_is_followed_by_one_lease_of_holding_back() {
        assert_eq!(
            held(&[0, 100, 200, 300, 400, 1_000, 1_100, 1_200, 1_300]),
            [true, true, true, false, false, true, true, true, false]
        );
    }

    #[test]
    fn a_start_is_no_silence() {
        let mut silence = Silence::from_start(Timestamp::from_millis(1_000));
        assert!(!silence.holds(Timestamp::from_millis(1_100), LEASE));
    }

    #[test]
    fn a_slow_reaper_is_not_held_for_ever() {
        assert_eq!(held(&[0, 300, 600, 900]), [true, false, false, false]);
    }
}
