//! What follows from a try: done, again and when, or given up. Pure.

use std::time::Duration;

use queue::{TryResult, Verdict};

use crate::send::{Answer, SendError};

/// The longest patience that a receiver can ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3_600);
/// How much a pause may differ, to both sides.
const JITTER: f64 = 0.1;

/// How often, and for how long, a delivery is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// The pauses between tries; one fewer than there are tries.
    pauses: Vec<Duration>,
    /// How long after the task's end tries begin at all: a receiver that is slow and has thousands
    /// to hear is given up some day.
    max_age: Duration,
}

impl Schedule {
    /// Ten tries over two hours, close together at first. Those that wait behind others of a slow
    /// receiver are given up after a day.
    pub fn standard() -> Self {
        let pauses = [5, 15, 45, 120, 300, 600, 1_200, 2_100, 2_820];
        Self::new(pauses.map(Duration::from_secs).to_vec(), Duration::from_secs(24 * 60 * 60))
    }

    /// Another: as many tries as pauses and one more, none later than `max_age` after the end.
    pub fn new(pauses: Vec<Duration>, max_age: Duration) -> Self {
        Self { pauses, max_age }
    }

    /// What follows from the `made`-th real try (from 1), `age` after the task's end, which came to
    /// this. `fraction` is random, 0 to 1.
    pub fn verdict(
        &self,
        made: usize,
        age: Duration,
        came: &Result<Answer, SendError>,
        fraction: f64,
    ) -> Verdict {
        let patience = match came {
            Ok(Answer { status: 200..=299, .. }) => return Verdict::Delivered,
            Ok(Answer { status: 410, .. }) => return Verdict::GivenUp, // "Gone": wants no more
            Ok(Answer { status: 429 | 503, retry_after }) => retry_after.unwrap_or_default(),
            Ok(_) | Err(_) => Duration::ZERO,
        };
        let Some(pause) = self.pauses.get(made.saturating_sub(1)) else { return Verdict::GivenUp };
        if age >= self.max_age {
            return Verdict::GivenUp;
        }
        let pause = pause.mul_f64(1.0 - JITTER + 2.0 * JITTER * fraction);
        Verdict::Again(pause.max(patience.min(MAX_RETRY_AFTER)))
    }
}

/// What a try came to, as it is kept and shown.
pub fn result(came: &Result<Answer, SendError>) -> TryResult {
    match came {
        Ok(Answer { status: status @ 300..=399, .. }) => TryResult::Error(format!(
            "the receiver answered {status}: redirects are not followed, give the URL that they lead to"
        )),
        Ok(Answer { status, .. }) => TryResult::Status(*status),
        Err(error) => TryResult::Error(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YOUNG: Duration = Duration::from_secs(1);

    fn status(status: u16) -> Result<Answer, SendError> {
        Ok(Answer { status, retry_after: None })
    }

    #[test]
    fn ten_tries_over_two_hours() {
        let schedule = Schedule::standard();
        let mut total = Duration::ZERO;
        for made in 1..=9 {
            let Verdict::Again(pause) = schedule.verdict(made, YOUNG, &status(500), 0.5) else {
                panic!("try {made} was the last")
            };
            assert!(pause > total / 2, "pauses grow");
            total += pause;
        }
        assert_eq!(total.as_secs() / 60, 120);
        assert_eq!(schedule.verdict(10, YOUNG, &status(500), 0.5), Verdict::GivenUp);
        let day = Duration::from_secs(86_400);
        assert_eq!(schedule.verdict(2, day, &status(500), 0.5), Verdict::GivenUp);
        assert_eq!(schedule.verdict(99, day, &status(200), 0.5), Verdict::Delivered);
    }

    #[test]
    fn each_answer_has_its_consequence() {
        let schedule = Schedule::standard();
        let verdict = |came| schedule.verdict(1, YOUNG, &came, 0.5);
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
    fn patience_is_granted_within_bounds() {
        let schedule = Schedule::standard();
        let ask = |status, seconds| {
            let retry_after = Some(Duration::from_secs(seconds));
            match schedule.verdict(1, YOUNG, &Ok(Answer { status, retry_after }), 0.5) {
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
    fn pauses_differ_by_a_tenth_at_most() {
        let schedule = Schedule::new(vec![Duration::from_secs(100)], Duration::from_secs(1_000));
        let pause = |fraction| schedule.verdict(1, YOUNG, &status(500), fraction);
        assert_eq!(pause(0.0), Verdict::Again(Duration::from_secs(90)));
        assert_eq!(pause(1.0), Verdict::Again(Duration::from_secs(110)));
    }
}
