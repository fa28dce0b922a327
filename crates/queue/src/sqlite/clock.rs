//! Leases last as long as they should, also when somebody moves the machine's clock.

use std::time::{Duration, Instant};

use protocol::Timestamp;

/// A step back that is shorter is nothing but how clocks are kept right.
const LEAST_STEP: Duration = Duration::from_secs(1);

/// A clock that no step moves: it begins with the machine's, and goes on by itself. Leases are by this one; they
/// end with the process, so nobody has to compare its instants with those of another.
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

/// Notices when the machine's clock goes back between two looks.
#[derive(Debug, Default)]
pub(super) struct Steps {
    last: Option<(Timestamp, Timestamp)>,
}

impl Steps {
    /// By how much the clock went back since the last look, `steady` being the time that really passed.
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
    fn a_step_back_is_noticed_once_and_nothing_else_is_one() {
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
