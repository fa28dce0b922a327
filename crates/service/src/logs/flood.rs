//! Bounds the lines of refused calls in `audit.log`, so that a stranger can't fill the disk. Pure.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Maximum number of lines of one address in [`WINDOW`].
const LINES: u32 = 20;
/// The time for which lines are counted together.
const WINDOW: Duration = Duration::from_secs(60);
/// Maximum number of addresses that are told apart; further ones are counted together.
const ADDRESSES: usize = 4096;

/// Counts lines by address.
#[derive(Debug, Default)]
pub(super) struct Flood(HashMap<Option<IpAddr>, Window>);

#[derive(Debug)]
struct Window {
    began: Instant,
    lines: u32,
    suppressed: u64,
}

/// The lines of an address that were left out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Suppressed {
    /// The address; `None` for all that are not told apart.
    pub(super) address: Option<IpAddr>,
    pub(super) lines: u64,
}

impl Flood {
    /// Returns whether a line of this address may be written, and what was left out of the time before.
    pub(super) fn admit(
        &mut self,
        address: Option<IpAddr>,
        now: Instant,
    ) -> (bool, Option<Suppressed>) {
        let mut address = address.map(network);
        if !self.0.contains_key(&address) && self.0.len() >= ADDRESSES {
            address = None;
        }
        let fresh = Window { began: now, lines: 0, suppressed: 0 };
        let window = self.0.entry(address).or_insert(Window { ..fresh });
        let mut ended = None;
        if now.duration_since(window.began) >= WINDOW {
            ended = window.report(address);
            *window = fresh;
        }
        let is_written = window.lines < LINES;
        if is_written {
            window.lines += 1;
        } else {
            window.suppressed += 1;
        }
        (is_written, ended)
    }

    /// Forgets the addresses whose time is over, and returns what was left out of them.
    pub(super) fn ended(&mut self, now: Instant) -> Vec<Suppressed> {
        let is_over = |window: &mut Window| now.duration_since(window.began) >= WINDOW;
        let ended = self.0.extract_if(|_, window| is_over(window));
        ended.filter_map(|(address, window)| window.report(address)).collect()
    }

    /// Forgets all addresses, and returns what was left out of them.
    pub(super) fn all(&mut self) -> Vec<Suppressed> {
        self.0.drain().filter_map(|(address, window)| window.report(address)).collect()
    }
}

impl Window {
    fn report(&self, address: Option<IpAddr>) -> Option<Suppressed> {
        (self.suppressed > 0).then_some(Suppressed { address, lines: self.suppressed })
    }
}

/// Returns the network of one client: of IPv6, the first half of the address, since a client has all of the other.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_twenty_lines_a_minute_and_the_others_are_counted() {
        let (mut flood, start) = (Flood::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let address = |text: &str| Some(text.parse().unwrap());
        let one = address("203.0.113.7");
        let written = (0..50).filter(|_| flood.admit(one, at(1)).0).count();
        assert_eq!(written, 20);
        assert_eq!(flood.admit(address("203.0.113.8"), at(2)), (true, None), "another one");
        assert_eq!(flood.ended(at(30)), []);
        let left_out = Suppressed { address: one, lines: 30 };
        assert_eq!(flood.admit(one, at(61)), (true, Some(left_out)));
        for _ in 0..20 {
            let _ = flood.admit(one, at(62));
        }
        assert_eq!(flood.ended(at(63)), [], "the other one had room");
        assert_eq!(flood.all(), [Suppressed { address: one, lines: 1 }]);
        assert_eq!(flood.all(), []);
    }

    #[test]
    fn networks_of_ipv6_count_as_one_and_memory_is_bounded() {
        let (mut flood, now) = (Flood::default(), Instant::now());
        let of =
            |n: u32| Some(IpAddr::from(Ipv6Addr::from_bits((0x2001_0db8 << 96) + u128::from(n))));
        let written = (0..1000).filter(|n| flood.admit(of(*n), now).0).count();
        assert_eq!(written, 20);
        for n in 0..100_000_u32 {
            flood.admit(Some(IpAddr::from(n.to_be_bytes())), now);
        }
        assert!(flood.0.len() <= ADDRESSES + 1, "{}", flood.0.len());
        let all = flood.ended(now + WINDOW);
        let unknown = all.iter().find(|one| one.address.is_none()).unwrap();
        assert!(unknown.lines > 90_000, "{unknown:?}");
        assert!(flood.0.is_empty());
    }
}
