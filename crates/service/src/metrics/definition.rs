//! [`Definition`]: a metric's name, type, unit and labels, and how values are recorded.

use ::metrics::{
    Gauge, Label, Unit, counter, describe_counter, describe_gauge, describe_histogram,
};
use ::metrics::{gauge, histogram};

use super::handles;

/// The type of a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// A number of events since the process's start.
    Counter,
    /// A value at the time of the scrape.
    Gauge,
    /// A distribution. Holds the upper bounds of its buckets.
    Histogram(&'static [f64]),
}

/// A metric. All of them are in [`super::table`].
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    /// The name in the output. It ends with the unit, and with `_total` if it is a counter.
    pub name: &'static str,
    /// The type.
    pub kind: Kind,
    /// The unit; `None` for numbers of things.
    pub unit: Option<Unit>,
    /// The names of its labels. Their values are given in this order.
    pub labels: &'static [&'static str],
    /// A description in one line.
    pub help: &'static str,
}

/// The value of a metric at the time of a scrape.
#[derive(Debug, Clone)]
pub struct Reading {
    /// The metric: a gauge, or a counter whose total is counted elsewhere.
    pub of: &'static Definition,
    /// The values of its labels.
    pub labels: Vec<String>,
    /// The value.
    pub value: f64,
}

impl Reading {
    /// Creates a reading.
    pub fn new<const N: usize>(of: &'static Definition, labels: [&str; N], value: f64) -> Self {
        Self { of, labels: labels.map(str::to_owned).into(), value }
    }

    /// Records it with the current recorder.
    pub(super) fn record(&self) {
        let labels: Vec<&str> = self.labels.iter().map(String::as_str).collect();
        let labels = self.of.label(&labels);
        match self.of.kind {
            // A total is a whole number of events, far below 2^53.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            Kind::Counter => counter!(self.of.name, labels).absolute(self.value as u64),
            Kind::Gauge => gauge!(self.of.name, labels).set(self.value),
            Kind::Histogram(_) => histogram!(self.of.name, labels).record(self.value),
        }
    }
}

impl Definition {
    /// Adds to a counter.
    pub fn count(&self, labels: &[&str], by: u64) {
        debug_assert_eq!(self.kind, Kind::Counter, "{}", self.name);
        let find = || counter!(self.name, self.label(labels));
        handles::with(self.name, labels, find, |counter| counter.increment(by));
    }

    /// Adds a value to a histogram.
    pub fn observe(&self, labels: &[&str], value: f64) {
        debug_assert!(matches!(self.kind, Kind::Histogram(_)), "{}", self.name);
        let find = || histogram!(self.name, self.label(labels));
        handles::with(self.name, labels, find, |histogram| histogram.record(value));
    }

    /// Adds 1 to a gauge, until the returned guard is dropped.
    #[must_use]
    pub fn enter(&'static self) -> Entered {
        self.active(|gauge| gauge.increment(1.0));
        Entered(self)
    }

    /// Changes a gauge without labels.
    fn active(&self, change: impl Fn(&Gauge)) {
        handles::with(self.name, &[], || gauge!(self.name), change);
    }

    fn label(&self, values: &[&str]) -> Vec<Label> {
        debug_assert_eq!(self.labels.len(), values.len(), "{}", self.name);
        let pairs = self.labels.iter().zip(values);
        pairs.map(|(name, value)| Label::new(*name, (*value).to_owned())).collect()
    }

    /// Tells the current recorder what the metric is.
    pub(super) fn describe(&self) {
        let unit = self.unit.unwrap_or(Unit::Count);
        match self.kind {
            Kind::Counter => describe_counter!(self.name, unit, self.help),
            Kind::Gauge => describe_gauge!(self.name, unit, self.help),
            Kind::Histogram(_) => describe_histogram!(self.name, unit, self.help),
        }
    }
}

/// Counts something that goes on, in a gauge without labels.
#[derive(Debug)]
pub struct Entered(&'static Definition);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.active(|gauge| gauge.decrement(1.0));
    }
}
