//! Computes counts and percentiles of ended tasks.
//!
//! The log's figures have two decimals, so counting the occurrences of each value gives exact percentiles in
//! little memory, for any number of lines.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use time::PrimitiveDateTime;

use super::entry::Entry;
use super::fields::rfc3339;
use crate::table::{Align, table};
use crate::text::{count, span};

/// Figures are counted in units of 1 / `SCALE`.
const SCALE: f64 = 100.0;

/// The totals of the entries added so far.
#[derive(Debug, Default)]
pub(super) struct Summary {
    first: Option<PrimitiveDateTime>,
    last: Option<PrimitiveDateTime>,
    success: u64,
    error: u64,
    cancelled: u64,
    /// The number of lines that can't be parsed.
    unread: u64,
    queue_wait: Figures,
    processing_time: Figures,
    total_time: Figures,
    tokens_per_sec: Figures,
    prompt_tokens: u64,
    completion_tokens: u64,
}

impl Summary {
    /// Adds an entry of `llm_requests.log`.
    pub(super) fn take(&mut self, entry: &Entry) {
        let (Some(at), Some(fields)) = (entry.at, &entry.fields) else {
            self.unread += 1;
            return;
        };
        match fields.text("status") {
            Some("success") => self.success += 1,
            Some("error") => self.error += 1,
            Some("cancelled") => self.cancelled += 1,
            _ => {
                self.unread += 1;
                return;
            }
        }
        self.first = Some(self.first.map_or(at, |first| first.min(at)));
        self.last = Some(self.last.map_or(at, |last| last.max(at)));
        for (name, figures) in [
            ("queue_wait", &mut self.queue_wait),
            ("processing_time", &mut self.processing_time),
            ("total_time", &mut self.total_time),
            ("tokens_per_sec", &mut self.tokens_per_sec),
        ] {
            fields.number(name).into_iter().for_each(|value| figures.take(value));
        }
        let tokens = |name| fields.get(name).and_then(Value::as_u64).unwrap_or(0);
        self.prompt_tokens = self.prompt_tokens.saturating_add(tokens("prompt_tokens"));
        self.completion_tokens = self.completion_tokens.saturating_add(tokens("completion_tokens"));
    }

    fn count(&self) -> u64 {
        self.success + self.error + self.cancelled
    }

    /// Formats the summary as JSON. Spans are in seconds; a figure without values is null.
    pub(super) fn json(&self) -> Value {
        json!({
            "from": self.first.map(rfc3339),
            "to": self.last.map(rfc3339),
            "count": self.count(),
            "success": self.success,
            "error": self.error,
            "cancelled": self.cancelled,
            "unreadable_lines": self.unread,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "queue_wait": self.queue_wait.json(),
            "processing_time": self.processing_time.json(),
            "total_time": self.total_time.json(),
            "tokens_per_sec": self.tokens_per_sec.json(),
        })
    }

    /// Formats the summary as text.
    pub(super) fn text(&self) -> String {
        let unread = match self.unread {
            0 => String::new(),
            unread => format!("{} could not be parsed\n", count(unread, "line")),
        };
        let (Some(first), Some(last)) = (self.first, self.last) else {
            return format!("no task ended in that time\n{unread}");
        };
        let share = self.success as f64 * 100.0 / self.count() as f64;
        let spans = |name: &str, figures: &Figures| figures.row(name, span);
        let rows = [
            spans("queue wait", &self.queue_wait),
            spans("processing", &self.processing_time),
            spans("total", &self.total_time),
            self.tokens_per_sec.row("tokens/s", |value| format!("{value:.2}")),
        ];
        let columns = [
            ("", Align::Left),
            ("p50", Align::Right),
            ("p95", Align::Right),
            ("max", Align::Right),
        ];
        format!(
            "{} ended from {first} to {last} UTC\n\
             {} success ({share:.1} %), {} error, {} cancelled\n\
             {} prompt + {} completion tokens\n{unread}\n{}",
            count(self.count(), "task"),
            self.success,
            self.error,
            self.cancelled,
            self.prompt_tokens,
            self.completion_tokens,
            table(&columns, &rows),
            first = plain(first),
            last = plain(last),
        )
    }
}

/// Formats an instant as `2025-11-21 15:30:45`.
fn plain(at: PrimitiveDateTime) -> String {
    rfc3339(at).replace('T', " ").replace('Z', "")
}

/// The number of occurrences of each value, in units of 1 / [`SCALE`].
#[derive(Debug, Default)]
struct Figures {
    counts: BTreeMap<u64, u64>,
    total: u64,
}

impl Figures {
    fn take(&mut self, value: f64) {
        // The conversion saturates, so a negative value counts as 0.
        *self.counts.entry((value * SCALE).round() as u64).or_default() += 1;
        self.total += 1;
    }

    /// Returns the smallest value that is not exceeded by `share` of all values (nearest rank), or `None` without
    /// values.
    fn percentile(&self, share: f64) -> Option<f64> {
        let rank = (share * self.total as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let reached = self.counts.iter().find(|(_, count)| {
            seen += **count;
            seen >= rank
        });
        reached.map(|(value, _)| *value as f64 / SCALE)
    }

    fn json(&self) -> Value {
        match (self.percentile(0.5), self.percentile(0.95), self.percentile(1.0)) {
            (Some(p50), Some(p95), Some(max)) => json!({"p50": p50, "p95": p95, "max": max}),
            _ => Value::Null,
        }
    }

    fn row(&self, name: &str, show: impl Fn(f64) -> String) -> [String; 4] {
        let shown = |share| self.percentile(share).map_or_else(crate::text::dash, &show);
        [name.to_owned(), shown(0.5), shown(0.95), shown(1.0)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::entry::{Assembler, Log};

    fn summary(lines: &[String]) -> Summary {
        let mut assembler = Assembler::new(Log::Requests);
        let mut summary = Summary::default();
        lines.iter().for_each(|line| summary.take(&assembler.push(line.clone()).unwrap()));
        summary
    }

    #[test]
    fn summary_has_counts_and_exact_percentiles() {
        let mut lines: Vec<String> = (1..=100)
            .map(|n| {
                format!(
                    "[2025-11-21 15:30:{:02}] task_id=t{n} status=success prompt_tokens=5 completion_tokens=7 tokens_per_sec={n}.50 queue_wait=0.0{}s processing_time={n}.00s total_time={n}.00s",
                    n % 60,
                    n % 2
                )
            })
            .collect();
        lines.push("[2025-11-21 15:31:00] task_id=e status=error error_message=\"x\" queue_wait=0.00s processing_time=0.50s total_time=0.50s".into());
        lines.push("[2025-11-21 15:29:00] task_id=c status=cancelled queue_wait=9.00s processing_time=0.00s total_time=9.00s".into());
        lines.push("nonsense".into());
        let summary = summary(&lines);
        let json = summary.json();
        assert_eq!(
            (
                &json["count"],
                &json["success"],
                &json["error"],
                &json["cancelled"],
                &json["unreadable_lines"]
            ),
            (&json!(102), &json!(100), &json!(1), &json!(1), &json!(1))
        );
        assert_eq!(json["tokens_per_sec"], json!({"p50": 50.5, "p95": 95.5, "max": 100.5}));
        assert_eq!(json["processing_time"]["p50"], 49.0);
        assert_eq!(
            (&json["from"], &json["to"]),
            (&json!("2025-11-21T15:29:00Z"), &json!("2025-11-21T15:31:00Z"))
        );
        assert_eq!(
            (&json["prompt_tokens"], &json["completion_tokens"]),
            (&json!(500), &json!(700))
        );
        let text = summary.text();
        assert!(text.starts_with("102 tasks ended from 2025-11-21 15:29:00 to 2025-11-21 15:31:00 UTC\n100 success (98.0 %), 1 error, 1 cancelled\n"), "{text}");
        assert!(text.contains("\ntokens/s    50.50  95.50  100.50\n"), "{text}");
    }

    #[test]
    fn empty_summary_has_no_figures() {
        assert_eq!(Summary::default().text(), "no task ended in that time\n");
        assert_eq!(Summary::default().json()["queue_wait"], Value::Null);
    }
}
