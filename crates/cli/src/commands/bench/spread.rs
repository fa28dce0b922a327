//! Median and tail of durations.

use std::time::Duration;

use serde::Serialize;

/// Median and tail of some durations.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Spread {
    /// The number of durations.
    pub(super) count: usize,
    /// The median, in milliseconds.
    pub(super) p50_ms: f64,
    /// The 99th percentile, in milliseconds.
    pub(super) p99_ms: f64,
}

impl Spread {
    /// Returns the median and tail, or `None` if there are no durations.
    pub(super) fn of(durations: impl IntoIterator<Item = Duration>) -> Option<Self> {
        let mut sorted: Vec<Duration> = durations.into_iter().collect();
        sorted.sort_unstable();
        let at = |part: f64| {
            let index = (sorted.len() as f64 * part) as usize;
            sorted.get(index.min(sorted.len().saturating_sub(1))).map(|d| d.as_secs_f64() * 1e3)
        };
        Some(Self { count: sorted.len(), p50_ms: at(0.5)?, p99_ms: at(0.99)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_shows_in_p99_and_not_in_p50() {
        let mut durations = vec![Duration::from_millis(1); 985];
        durations.extend([Duration::from_millis(500); 15]);
        let spread = Spread::of(durations).unwrap();
        assert_eq!((spread.count, spread.p50_ms, spread.p99_ms), (1000, 1.0, 500.0));
        assert!(Spread::of([]).is_none());
    }
}
