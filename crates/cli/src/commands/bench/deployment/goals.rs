//! Goals of a load, such as `total.p95<5s`, and whether they are met.

use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};

use super::figures::{Figures, Time, short};

/// A bound of a figure.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Goal {
    text: String,
    figure: Figure,
    /// `true` if the figure must be below the bound, `false` if above.
    is_upper: bool,
    /// In seconds, as a share, or per second.
    bound: f64,
}

/// A figure that a goal can bound.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Figure {
    Percentile(Time, f64),
    Errors,
    Rate,
}

/// Whether a goal is met.
#[derive(Debug)]
pub(super) struct Verdict {
    goal: Goal,
    /// The figure; `None` if no task completed.
    found: Option<f64>,
    pub(super) is_met: bool,
}

const FORMS: &str = "accept, wait, processing or total with p50 to p99.9 or max and a time (total.p95<5s, wait.max<500ms), \
                     errors with a share (errors<1%), or rate with tasks per second (rate>10)";

impl FromStr for Goal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("a goal is {FORMS}");
        let at = text.find(['<', '>']).ok_or_else(wrong)?;
        let is_upper = text[at..].starts_with('<');
        let name = text[..at].trim();
        let bound = text[at + 1..].trim().trim_start_matches('=').trim();
        let (figure, bound) = match name {
            "errors" => (Figure::Errors, share(bound)),
            "rate" => (Figure::Rate, number(bound)),
            _ => (percentile(name).ok_or_else(wrong)?, seconds(bound)),
        };
        let bound = bound.ok_or_else(wrong)?;
        Ok(Self { text: text.to_owned(), figure, is_upper, bound })
    }
}

fn percentile(name: &str) -> Option<Figure> {
    let (time, share) = name.split_once('.')?;
    let (_, time) = Time::ALL.into_iter().find(|(known, _)| *known == time)?;
    let share = match share {
        "max" => 1.0,
        _ => {
            number(share.strip_prefix('p')?).filter(|share| (0.0..=100.0).contains(share))? / 100.0
        }
    };
    Some(Figure::Percentile(time, share))
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)
}

fn share(text: &str) -> Option<f64> {
    number(text.strip_suffix('%')?).map(|share| share / 100.0)
}

fn seconds(text: &str) -> Option<f64> {
    match text.strip_suffix("ms") {
        Some(ms) => number(ms).map(|ms| ms / 1e3),
        None => number(text.strip_suffix('s')?),
    }
}

impl Goal {
    /// Compares the goal with the figures. It is missed if no task completed.
    pub(super) fn judge(&self, figures: &Figures) -> Verdict {
        let found = match self.figure {
            Figure::Percentile(time, share) => figures.percentile(time, share),
            Figure::Errors => Some(figures.error_share()),
            Figure::Rate => Some(figures.per_second()),
        };
        let keeps =
            |found: f64| if self.is_upper { found <= self.bound } else { found >= self.bound };
        let is_met = figures.ended > 0 && found.is_some_and(keeps);
        Verdict { goal: self.clone(), found, is_met }
    }

    fn format(&self, figure: f64) -> String {
        match self.figure {
            Figure::Percentile(..) => short(figure),
            Figure::Errors => format!("{:.2}%", 100.0 * figure),
            Figure::Rate => format!("{figure:.2}"),
        }
    }
}

impl Verdict {
    pub(super) fn json(&self) -> Value {
        json!({"goal": self.goal.text, "found": self.found, "met": self.is_met})
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.is_met { "met" } else { "MISSED" };
        let found = self
            .found
            .map_or_else(|| "nothing completed".to_owned(), |found| self.goal.format(found));
        write!(f, "{verdict}: {} ({found})", self.goal.text)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::drive::{Outcome, Sample};
    use super::super::schedule::{Loop, Schedule};
    use super::*;

    #[test]
    fn goals_are_judged_by_their_figure() {
        let ms = Duration::from_millis;
        let completed = Outcome::Completed { wait_s: 0.1, processing_s: 0.4, tokens: 1 };
        let failed = Outcome::Failed { kind: "500".into(), message: String::new() };
        let sample = |outcome| Sample { due: ms(0), accepted: ms(10), ended: ms(600), outcome };
        let schedule = Schedule { kind: Loop::Closed { clients: 1 }, ramp: ms(0), span: ms(1_000) };
        let samples = [completed.clone(), completed.clone(), completed, failed].map(sample);
        let figures = Figures::new(&samples, &schedule);
        for (goal, is_met) in [
            ("total.p95<1s", true),
            ("total.p95 <= 500ms", false),
            ("wait.max<0.2s", true),
            ("accept.p99.9<5ms", false),
            ("errors<30%", true),
            ("errors<1%", false),
            ("rate>2", true),
            ("rate>4", false),
        ] {
            let verdict = goal.parse::<Goal>().unwrap().judge(&figures);
            assert_eq!(verdict.is_met, is_met, "{verdict}");
        }
        let none = Figures::new(&[], &schedule);
        assert!(!"errors<1%".parse::<Goal>().unwrap().judge(&none).is_met, "nothing was measured");
    }

    #[test]
    fn wrong_goals_say_what_is_allowed() {
        for goal in [
            "",
            "total",
            "total<5s",
            "total.p95<5",
            "total.p101<5s",
            "wait.q5<5s",
            "errors<1",
            "errors<x%",
            "rate>-1",
            "speed>1",
        ] {
            let error = goal.parse::<Goal>().unwrap_err();
            assert!(error.contains("total.p95<5s"), "{goal}: {error}");
        }
    }
}
