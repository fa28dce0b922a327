//! [`Failures`]: slows down clients that try wrong credentials, by their addresses.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The time in which a used allowance comes back whole.
const PERIOD: Duration = Duration::from_secs(60);
/// Maximum number of addresses that are kept.
const MAX_ADDRESSES: usize = 16_384;

/// Counts failures of each address by GCRA (the generic cell rate algorithm): `limit` at once, which come back
/// evenly over a minute.
pub(super) struct Failures {
    /// The time that passes until one failure is forgiven; `None` turns the limit off.
    interval: Option<Duration>,
    /// The time when each address has its whole allowance again.
    full_at: Mutex<HashMap<Option<IpAddr>, Instant>>,
}

impl Failures {
    pub(super) fn new(limit: u32) -> Self {
        let interval = PERIOD.checked_div(limit);
        Self { interval, full_at: Mutex::default() }
    }

    /// Returns the seconds until the address may fail again, or `None` if it may now.
    pub(super) fn exhausted(&self, address: Option<IpAddr>, now: Instant) -> Option<u32> {
        let interval = self.interval?;
        let known = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let full_at = known.get(&network(address))?;
        let wait = (*full_at + interval).saturating_duration_since(now).checked_sub(PERIOD)?;
        (!wait.is_zero()).then(|| wait.as_secs_f64().ceil() as u32)
    }

    /// Counts a failure. Returns the seconds until the address may fail again if it may not have failed now.
    pub(super) fn count(&self, address: Option<IpAddr>, now: Instant) -> Option<u32> {
        if let Some(seconds) = self.exhausted(address, now) {
            return Some(seconds);
        }
        let interval = self.interval?;
        let network = network(address);
        let mut known = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_ADDRESSES && !known.contains_key(&network) {
            known.retain(|_, full_at| *full_at > now);
            if known.len() >= MAX_ADDRESSES
                && let Some(any) = known.keys().next().copied()
            {
                known.remove(&any);
            }
        }
        let full_at = known.entry(network).or_insert(now);
        *full_at = (*full_at).max(now) + interval;
        None
    }
}

/// Returns the network whose addresses count as one: with IPv6, one customer has at least a /64.
fn network(address: Option<IpAddr>) -> Option<IpAddr> {
    const HOST_BITS: u32 = 64;
    address.map(|address| match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> HOST_BITS << HOST_BITS).into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_failures_are_free_and_come_back_evenly() {
        let (failures, now) = (Failures::new(10), Instant::now());
        let one = "203.0.113.7".parse().ok();
        for n in 0..10 {
            assert_eq!(failures.count(one, now), None, "failure {n}");
        }
        assert_eq!(failures.count(one, now), Some(6));
        assert_eq!(failures.exhausted(one, now + Duration::from_secs(5)), Some(1));
        assert_eq!(failures.exhausted("203.0.113.8".parse().ok(), now), None);
        let later = now + Duration::from_millis(6_001);
        assert_eq!(failures.count(one, later), None, "one is forgiven");
        assert!(failures.count(one, later).is_some());
        let minute = later + PERIOD;
        assert_eq!((0..10).find_map(|_| failures.count(one, minute)), None);
    }

    #[test]
    fn addresses_of_a_64_count_as_one() {
        let (failures, now) = (Failures::new(1), Instant::now());
        assert_eq!(failures.count("2001:db8::1".parse().ok(), now), None);
        assert!(failures.count("2001:db8::2".parse().ok(), now).is_some());
        assert_eq!(failures.count("2001:db8:0:1::1".parse().ok(), now), None);
    }

    #[test]
    fn memory_is_bounded_and_zero_is_no_limit() {
        let (failures, now) = (Failures::new(1), Instant::now());
        for n in 0..u32::try_from(MAX_ADDRESSES).unwrap() + 10 {
            failures.count(Some(IpAddr::V4(n.into())), now);
        }
        assert_eq!(failures.full_at.lock().unwrap().len(), MAX_ADDRESSES);
        let off = Failures::new(0);
        assert_eq!((0..100).find_map(|_| off.count(None, now)), None);
    }
}
