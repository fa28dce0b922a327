//! Decides what follows from a try: delivered, retry after a pause, or given up. Pure.

use std::time::Duration;

use queue::{TryResult, Verdict};

use crate::send::{Answer, SendError};

/// The longest `Retry-After` that is obeyed.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3_600);
/// The share of a pause by which it may be shorter or longer.
const JITTER: f64 = 0.1;

/// The number of tries of a delivery, and the pauses between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// The pauses between tries: one fewer than there are tries.
    pauses: Vec<Duration>,
    /// The time after the task's end in which a delivery is retried. It bounds how long the backlog
    /// of a slow receiver is kept.
    max_age: Duration,
}

impl Schedule {
    /// Ten tries over two hours, close together at first, and none later than 24 hours after the
    /// task's end. The latter is for deliveries that wait behind others of a slow receiver.
    pub fn standard() -> Self {
        let pauses = [5, 15, 45, 120, 300, 600, 1_200, 2_100, 2_820];
        Self::new(pauses.map(Duration::from_secs).to_vec(), Duration::from_secs(24 * 60 * 60))
    }

    /// A schedule of `pauses.len() + 1` tries. No retry is planned once `max_age` has passed since
    /// the task's end.
    pub fn new(pauses: Vec<Duration>, max_age: Duration) -> Self {
        Self { pauses, max_age }
    }

    /// Decides what follows from the `made`-th try that was sent (from 1), `age` after the task's
    /// end, with the result `came`. `fraction` is a random number in `0.0..=1.0` that sets the
    /// jitter.
    pub fn verdict(
        &self,
        made: usize,
        age: Duration,
        came: &Result<Answer, SendError>,
        fraction: f64,
    ) -> Verdict {
        let retry_after = match came {
            Ok(Answer { status: 200..=299, .. }) => return Verdict::Delivered,
            Ok(Answer { status: 410, .. }) => return Verdict::GivenUp, // Gone
            Ok(Answer { status: 429 | 503, retry_after }) => retry_after.unwrap_or_default(),
            Ok(_) | Err(_) => Duration::ZERO,
        };
        let Some(pause) = self.pauses.get(made.saturating_sub(1)) else { return Verdict::GivenUp };
        if age >= self.max_age {
            return Verdict::GivenUp;
        }
        let pause = pause.mul_f64(1.0 - JITTER + 2.0 * JITTER * fraction);
        Verdict::Again(pause.max(retry_after.min(MAX_RETRY_AFTER)))
    }
}

/// Converts a try's result to the form that is stored and shown to the client.
pub fn result(came: &Result<Answer, SendError>) -> TryResult {
    match came {
        Ok(Answer { status: status @ 300..=399, .. }) => TryResult::Error(format!(
            "the receiver returned {status}: redirects are not followed, submit their target as the webhook_url"
        )),
        Ok(Answer { status, .. }) => TryResult::Status(*status),
        Err(error) => TryResult::Error(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECENT: Duration = Duration::from_secs(1);

    fn status(status: u16) -> Result<Answer, SendError> {
        Ok(Answer { status, retry_after: None })
    }

    #[test]
    fn the_standard_schedule_has_ten_tries_over_two_hours() {
        let schedule = Schedule::standard();
        let mut total = Duration::ZERO;
        for made in 1..=9 {
            let Verdict::Again(pause) = schedule.verdict(made, RECENT, &status(500), 0.5) else {
                panic!("try {made} was the last")
            };
            assert!(pause > total / 2, "pauses grow");
            total += pause;
        }
        assert_eq!(total.as_secs() / 60, 120);
        assert_eq!(schedule.verdict(10, RECENT, &status(500), 0.5), Verdict::GivenUp);
        let day = Duration::from_secs(86_400);
        assert_eq!(schedule.verdict(2, day, &status(500), 0.5), Verdict::GivenUp);
        assert_eq!(schedule.verdict(99, day, &status(200), 0.5), Verdict::Delivered);
    }

    #[test]
    fn each_http_status_maps_to_a_verdict() {
        let schedule = Schedule::standard();
        let verdict = |came| schedule.verdict(1, RECENT, &came, 0.5);
        let again = Verdict::Again(Duration::from_secs(5));
        for ok in [200, 201, 204, 299] {
            assert_eq!(verdict(status(ok)), Verdict::Delivered, "{ok}");
        }
        assert_eq!(verdict(status(410)), Verdict::GivenUp);
        for failed in [101, 301, 302, 308, 400, 401, 404, 429, 500, 503] {
            assert_eq!(verdict(status(failed)), again, "{failed}");
        }
        assert_eq!(verdict(Err(SendError::Connect)), again);
        let TryResult::Error(words) = result(&status(302)) else { panic!("no words") };
        assert!(words.contains("302") && words.contains("not followed"), "{words}");
        assert_eq!(result(&status(404)), TryResult::Status(404));
    }

    #[test]
    fn retry_after_is_obeyed_within_bounds() {
        let schedule = Schedule::standard();
        let ask = |status, seconds| {
            let retry_after = Some(Duration::from_secs(seconds));
            match schedule.verdict(1, RECENT, &Ok(Answer { status, retry_after }), 0.5) {
                Verdict::Again(pause) => pause.as_secs(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(ask(429, 60), 60);
        assert_eq!(ask(503, 1), 5, "never sooner than the schedule has it");
        assert_eq!(ask(429, u64::MAX), 3_600);
        assert_eq!(ask(500, 60), 5, "only those two ask");
    }

    #[test]
    fn jitter_changes_a_pause_by_a_tenth_at_most() {
        let schedule = Schedule::new(vec![Duration::from_secs(100)], Duration::from_secs(1_000));
        let pause = |fraction| schedule.verdict(1, RECENT, &status(500), fraction);
        assert_eq!(pause(0.0), Verdict::Again(Duration::from_secs(90)));
        assert_eq!(pause(1.0), Verdict::Again(Duration::from_secs(110)));
    }
}
