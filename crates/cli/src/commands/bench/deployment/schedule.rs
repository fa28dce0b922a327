//! When requests are due. Pure.

use std::time::Duration;

/// How the next request depends on earlier ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Loop {
    /// Not at all: requests come at a rate.
    Open {
        /// Requests per second after the ramp.
        per_second: f64,
    },
    /// Each client sends one when its task before has ended.
    Closed {
        /// The number of clients.
        clients: usize,
    },
}

/// The load over time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    pub(super) kind: Loop,
    /// How long the load grows.
    pub(super) ramp: Duration,
    /// How long it has its full size.
    pub(super) span: Duration,
}

impl Schedule {
    /// Returns when no further request is due.
    pub(super) fn end(&self) -> Duration {
        self.ramp + self.span
    }

    /// Returns when request `number` of an open loop is due, or when client `number` of a closed one begins.
    pub(super) fn due(&self, number: usize) -> Duration {
        let (number, ramp) = (number as f64, self.ramp.as_secs_f64());
        Duration::from_secs_f64(match self.kind {
            Loop::Closed { clients } => ramp * number / clients.max(1) as f64,
            Loop::Open { per_second } => {
                // The rate grows linearly, so the number of requests by time t is rate / ramp * t² / 2.
                let growing = per_second * ramp / 2.0;
                if number < growing {
                    (2.0 * ramp * number / per_second).sqrt()
                } else {
                    ramp + (number - growing) / per_second
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(schedule: &Schedule, number: usize) -> f64 {
        schedule.due(number).as_secs_f64()
    }

    #[test]
    fn an_open_loop_grows_to_its_rate_and_keeps_it() {
        let (ramp, span) = (Duration::from_secs(10), Duration::from_secs(20));
        let schedule = Schedule { kind: Loop::Open { per_second: 8.0 }, ramp, span };
        // Half the rate on average: 40 requests in the ramp.
        assert_eq!(seconds(&schedule, 0), 0.0);
        assert!((seconds(&schedule, 10) - 5.0).abs() < 1e-9);
        assert!((seconds(&schedule, 40) - 10.0).abs() < 1e-9);
        assert!((seconds(&schedule, 48) - 11.0).abs() < 1e-9);
        let sent = (0..).take_while(|number| schedule.due(*number) < schedule.end()).count();
        assert_eq!(sent, 40 + 160);
        let due: Vec<_> = (0..sent).map(|number| schedule.due(number)).collect();
        assert!(due.is_sorted());
    }

    #[test]
    fn clients_of_a_closed_loop_begin_one_after_another() {
        let kind = Loop::Closed { clients: 4 };
        let span = Duration::from_secs(1);
        let schedule = Schedule { kind, ramp: Duration::from_secs(8), span };
        assert_eq!([0, 1, 2, 3].map(|number| seconds(&schedule, number)), [0.0, 2.0, 4.0, 6.0]);
        let at_once = Schedule { ramp: Duration::ZERO, ..schedule };
        assert_eq!(seconds(&at_once, 3), 0.0);
    }
}
