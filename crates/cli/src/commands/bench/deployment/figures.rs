//! What a load showed: distributions of times, rates and errors.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::drive::{Outcome, Sample};
use super::schedule::{Loop, Schedule};
use crate::table::{Align, table};
use crate::text::printable;

/// The shares of the percentiles that are shown.
const SHARES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999)];
/// The number of points of the plot over time.
const SLICES: usize = 60;

/// Times that the figures have distributions of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Time {
    /// From when the request was due until it was accepted.
    Accept,
    /// In the queue, as the gateway says.
    Wait,
    /// Computing, as the gateway says.
    Processing,
    /// From when the request was due until its end was known.
    Total,
}

impl Time {
    pub(super) const ALL: [(&'static str, Self); 4] = [
        ("accept", Self::Accept),
        ("wait", Self::Wait),
        ("processing", Self::Processing),
        ("total", Self::Total),
    ];
}

/// Times in microseconds, with three significant digits.
type Times = Histogram<u64>;

/// A stretch of the load.
#[derive(Debug, Clone)]
pub(super) struct Slice {
    /// Its middle, in seconds since the beginning.
    pub(super) at: f64,
    /// Tasks completed per second.
    pub(super) per_second: f64,
    /// The median and the 95th percentile of the total times of requests that were due in it, in seconds.
    pub(super) total: Option<(f64, f64)>,
}

/// The figures of a load.
#[derive(Debug)]
pub(super) struct Figures {
    kind: Loop,
    times: [Times; 4],
    /// Requests after the ramp.
    pub(super) sent: usize,
    /// Tasks of all requests that completed, those of the ramp too.
    pub(super) ended: usize,
    completed: usize,
    tokens: u64,
    /// From the end of the ramp to the last end, in seconds.
    seconds: f64,
    errors: BTreeMap<String, (usize, String)>,
    pub(super) slices: Vec<Slice>,
}

impl Figures {
    pub(super) fn new(samples: &[Sample], schedule: &Schedule) -> Self {
        let mut figures = Self {
            kind: schedule.kind,
            times: std::array::from_fn(|_| Histogram::new(3).expect("1 to 5 digits are allowed")),
            sent: 0,
            ended: 0,
            completed: 0,
            tokens: 0,
            seconds: schedule.span.as_secs_f64(),
            errors: BTreeMap::new(),
            slices: Vec::new(),
        };
        for sample in samples {
            let is_completed = matches!(sample.outcome, Outcome::Completed { .. });
            figures.ended += usize::from(is_completed);
            if sample.due >= schedule.ramp {
                figures.add(sample, schedule.ramp);
            } else if let Outcome::Failed { kind, message } = &sample.outcome {
                figures.errors.entry(kind.clone()).or_insert_with(|| (0, message.clone()));
            }
        }
        figures.slices = slices(samples, schedule);
        figures
    }

    fn add(&mut self, sample: &Sample, ramp: Duration) {
        self.sent += 1;
        self.seconds = self.seconds.max((sample.ended.saturating_sub(ramp)).as_secs_f64());
        match &sample.outcome {
            Outcome::Completed { wait_s, processing_s, tokens } => {
                self.completed += 1;
                self.tokens += tokens;
                let since_due = |at: Duration| at.saturating_sub(sample.due).as_secs_f64();
                let (accepted, total) = (since_due(sample.accepted), since_due(sample.ended));
                for (times, seconds) in
                    self.times.iter_mut().zip([accepted, *wait_s, *processing_s, total])
                {
                    // It resizes itself, so no time is out of its range.
                    let recorded = times.record((seconds * 1e6) as u64);
                    debug_assert!(recorded.is_ok());
                }
            }
            Outcome::Failed { kind, message } => {
                self.errors.entry(kind.clone()).or_insert_with(|| (0, message.clone())).0 += 1;
            }
        }
    }

    fn times(&self, time: Time) -> &Times {
        &self.times[time as usize]
    }

    /// Returns a percentile in seconds; `None` if no task completed.
    pub(super) fn percentile(&self, time: Time, share: f64) -> Option<f64> {
        let times = self.times(time);
        (!times.is_empty()).then(|| times.value_at_quantile(share) as f64 / 1e6)
    }

    /// Returns completed tasks per second.
    pub(super) fn per_second(&self) -> f64 {
        self.completed as f64 / self.seconds.max(f64::MIN_POSITIVE)
    }

    /// Returns the share of requests that did not complete.
    pub(super) fn error_share(&self) -> f64 {
        (self.sent - self.completed) as f64 / self.sent.max(1) as f64
    }

    /// Returns a message of an error.
    pub(super) fn first_error(&self) -> String {
        let first = self.errors.iter().next();
        first.map_or_else(
            || "no request was due".to_owned(),
            |(kind, (_, message))| printable(if message.is_empty() { kind } else { message }),
        )
    }

    /// Formats the figures for people.
    pub(super) fn text(&self) -> String {
        let load = match self.kind {
            Loop::Open { per_second } => format!("open loop, {per_second} requests a second"),
            Loop::Closed { clients } => format!("closed loop, {clients} clients"),
        };
        let mut text = format!(
            "{load}: {} requests, {} completed ({:.1} %), {:.2} tasks and {:.1} tokens a second\n\n",
            self.sent,
            self.completed,
            100.0 * (1.0 - self.error_share()),
            self.per_second(),
            self.tokens as f64 / self.seconds.max(f64::MIN_POSITIVE),
        );
        let headings = SHARES.map(|(name, _)| (name, Align::Right));
        let columns = [&[("", Align::Left)][..], &headings, &[("max", Align::Right)]].concat();
        let rows = Time::ALL.map(|(name, time)| {
            let shares = SHARES.iter().map(|(_, share)| self.percentile(time, *share));
            let most = self.percentile(time, 1.0);
            let cells = shares.chain([most]).map(|seconds| seconds.map_or("–".into(), short));
            [name.to_owned()].into_iter().chain(cells).collect::<Vec<String>>()
        });
        text += &table(&columns, &rows);
        let failed = self.errors.iter().filter(|(_, (count, _))| *count > 0);
        for (at, (kind, (count, message))) in failed.enumerate() {
            let lead = if at == 0 { "\n" } else { "" };
            let kind = printable(kind);
            writeln!(text, "{lead}{count} × {kind}: {}", printable(message))
                .expect("writing to a String can't fail");
        }
        if matches!(self.kind, Loop::Closed { .. }) {
            text += "\nIn a closed loop a slow server gets fewer requests, so times look better than at a fixed rate (--rate).\n";
        }
        text
    }

    /// Returns the figures as JSON; times in seconds.
    pub(super) fn json(&self) -> Value {
        let times = Time::ALL.map(|(name, time)| {
            let shares = SHARES.iter().chain(&[("max", 1.0)]);
            let shares = shares
                .map(|(name, share)| ((*name).to_owned(), json!(self.percentile(time, *share))));
            let mean = self.times(time).mean() / 1e6;
            let mut figures: serde_json::Map<String, Value> = shares.collect();
            figures.insert("mean".to_owned(), json!(mean));
            (name.to_owned(), Value::Object(figures))
        });
        let slices = self.slices.iter().map(|slice| {
            json!({"at": slice.at, "per_second": slice.per_second,
                   "p50": slice.total.map(|total| total.0), "p95": slice.total.map(|total| total.1)})
        });
        let errors = self.errors.iter().map(|(kind, (count, _))| (kind.clone(), json!(count)));
        json!({
            "loop": match self.kind {
                Loop::Open { per_second } => json!({"rate": per_second}),
                Loop::Closed { clients } => json!({"clients": clients}),
            },
            "requests": self.sent,
            "completed": self.completed,
            "seconds": self.seconds,
            "tasks_per_second": self.per_second(),
            "tokens_per_second": self.tokens as f64 / self.seconds.max(f64::MIN_POSITIVE),
            "times": times.into_iter().collect::<serde_json::Map<_, _>>(),
            "errors": errors.collect::<serde_json::Map<_, _>>(),
            "over_time": slices.collect::<Vec<_>>(),
        })
    }
}

/// Formats seconds with three significant digits.
pub(super) fn short(seconds: f64) -> String {
    match seconds {
        s if s < 0.001 => format!("{:.0}µs", s * 1e6),
        s if s < 1.0 => format!("{:.*}ms", if s < 0.01 { 2 } else { 0 }, s * 1e3),
        s if s < 10.0 => format!("{s:.2}s"),
        s => format!("{s:.1}s"),
    }
}

fn slices(samples: &[Sample], schedule: &Schedule) -> Vec<Slice> {
    let last = samples.iter().map(|sample| sample.ended).max().unwrap_or_default();
    let length = (last.max(schedule.end()).as_secs_f64() / SLICES as f64).max(1e-3);
    let slice_of = |at: Duration| ((at.as_secs_f64() / length) as usize).min(SLICES - 1);
    let mut ended = [0_usize; SLICES];
    let mut totals: Vec<Vec<f64>> = vec![Vec::new(); SLICES];
    for sample in samples {
        if matches!(sample.outcome, Outcome::Completed { .. }) {
            ended[slice_of(sample.ended)] += 1;
            let total = sample.ended.saturating_sub(sample.due).as_secs_f64();
            totals[slice_of(sample.due)].push(total);
        }
    }
    let slice = |(at, mut totals): (usize, Vec<f64>)| {
        totals.sort_by(f64::total_cmp);
        let share =
            |part: f64| totals.get(((totals.len() as f64 * part) as usize).min(totals.len() - 1));
        let total =
            if totals.is_empty() { None } else { share(0.5).copied().zip(share(0.95).copied()) };
        Slice { at: (at as f64 + 0.5) * length, per_second: ended[at] as f64 / length, total }
    };
    totals.into_iter().enumerate().map(slice).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn completed(due: u64, accepted: u64, ended: u64) -> Sample {
        let outcome = Outcome::Completed { wait_s: 0.25, processing_s: 0.5, tokens: 10 };
        Sample { due: ms(due), accepted: ms(accepted), ended: ms(ended), outcome }
    }

    fn schedule() -> Schedule {
        Schedule { kind: Loop::Open { per_second: 1.0 }, ramp: ms(1_000), span: ms(4_000) }
    }

    #[test]
    fn times_count_from_when_a_request_was_due_and_the_ramp_is_left_out() {
        let refused = Outcome::Failed { kind: "429".into(), message: "too many".into() };
        let samples = [
            completed(500, 501, 90_000),
            completed(1_000, 3_000, 4_000),
            completed(2_000, 2_100, 5_000),
            Sample { due: ms(3_000), accepted: ms(3_001), ended: ms(3_001), outcome: refused },
        ];
        let figures = Figures::new(&samples, &schedule());
        assert_eq!((figures.sent, figures.completed, figures.ended), (3, 2, 3));
        let near = |time, share, expected: f64| {
            let found = figures.percentile(time, share).unwrap();
            assert!((found / expected - 1.0).abs() < 0.002, "{time:?} {share}: {found}");
        };
        near(Time::Accept, 1.0, 2.0);
        near(Time::Accept, 0.5, 0.1);
        near(Time::Wait, 0.5, 0.25);
        near(Time::Total, 1.0, 3.0);
        assert!((figures.error_share() - 1.0 / 3.0).abs() < 1e-9);
        assert!((figures.per_second() - 0.5).abs() < 1e-9, "two in four seconds");
        let json = figures.json();
        assert_eq!(json["errors"]["429"], 1);
        assert!(figures.text().contains("1 × 429: too many"), "{}", figures.text());
    }

    #[test]
    fn a_load_without_an_end_has_figures_too() {
        let figures = Figures::new(&[], &schedule());
        assert_eq!((figures.percentile(Time::Total, 0.5), figures.per_second()), (None, 0.0));
        assert!(figures.text().contains('–'));
        assert_eq!(figures.json()["times"]["total"]["p50"], Value::Null);
    }

    #[test]
    fn seconds_have_three_digits() {
        let texts = [0.0000421, 0.0042, 0.42, 4.2, 42.0].map(short);
        assert_eq!(texts, ["42µs", "4.20ms", "420ms", "4.20s", "42.0s"]);
    }
}
