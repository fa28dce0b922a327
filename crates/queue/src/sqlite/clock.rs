//! Keeps the length of leases when the machine's clock is changed.

use std::time::{Duration, Instant};

use protocol::Timestamp;

/// The shortest step back that counts; shorter ones are normal clock corrections.
const LEAST_STEP: Duration = Duration::from_secs(1);

/// A clock that no step changes: it starts at the machine's time and advances monotonically. Leases use
/// it; they end with the process, so its times are never compared with those of another process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Steady {
    begin: Timestamp,
    since: Instant,
}

impl Steady {
    pub(super) fn start() -> Self {
        Self { begin: Timestamp::now(), since: Instant::now() }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.begin + self.since.elapsed()
    }
}

/// Detects that the machine's clock went back between two readings.
#[derive(Debug, Default)]
pub(super) struct Steps {
    last: Option<(Timestamp, Timestamp)>,
}

impl Steps {
    /// Returns by how much the clock went back since the last call; `steady` is the monotonic time.
    pub(super) fn back(&mut self, wall: Timestamp, steady: Timestamp) -> Option<Duration> {
        let (before, began) = self.last.replace((wall, steady))?;
        let passed = steady.as_millis().saturating_sub(began.as_millis());
        let expected = before.as_millis().saturating_add(passed);
        let behind = Duration::from_millis(expected.saturating_sub(wall.as_millis()));
        (behind >= LEAST_STEP).then_some(behind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backward_clock_step_is_detected_exactly_once() {
        let mut steps = Steps::default();
        let mut look =
            |wall, steady| steps.back(Timestamp::from_millis(wall), Timestamp::from_millis(steady));
        assert_eq!(look(10_000_000, 0), None, "the first look");
        assert_eq!(look(10_005_000, 5_000), None, "time passes");
        assert_eq!(look(10_009_500, 10_000), None, "it is kept right");
        assert_eq!(look(6_414_500, 15_000), Some(Duration::from_secs(3_600)));
        assert_eq!(look(6_419_500, 20_000), None, "once");
        assert_eq!(look(10_024_500, 25_000), None, "forward");
        assert_eq!(look(10_024_500, 30_000), Some(Duration::from_secs(5)), "it stood still");
    }
}
