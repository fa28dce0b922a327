//! Computes throughput and history from the counters of overviews, by the queue's clock.

use std::collections::{HashMap, VecDeque};

use crate::client::admin::Overview;

/// The window of the throughput, in milliseconds.
const WINDOW_MS: u64 = 10_000;
/// Samples kept for the charts.
const HISTORY: usize = 600;

/// A point of the charts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sample {
    /// Tasks that ended per second since the overview before.
    pub(super) throughput: f64,
    /// Tasks that are queued, delayed ones included.
    pub(super) depth: u64,
}

/// The rates computed from the latest overviews.
#[derive(Debug, Default)]
pub(super) struct Rates {
    /// Overviews of the last [`WINDOW_MS`]: time in ms, and the number of ended tasks by model.
    snapshots: VecDeque<(u64, HashMap<String, u64>)>,
    history: VecDeque<Sample>,
}

impl Rates {
    /// Adds an overview. Ignores one that is not later than the last.
    pub(super) fn take(&mut self, overview: &Overview) {
        let ended = |(model, ended): (&str, u64)| (model.to_owned(), ended);
        let counters = overview.queues.iter().map(|q| ended((&q.model, q.ended())));
        let counters: HashMap<_, _> = counters.collect();
        let mut throughput = None;
        if let Some((at, before)) = self.snapshots.back() {
            if overview.at <= *at {
                return;
            }
            if before.iter().any(|(model, ended)| counters.get(model).is_none_or(|now| now < ended))
            {
                self.snapshots.clear(); // the store was emptied, so counters restarted
            } else {
                let fresh =
                    counters.iter().map(|(model, now)| now - before.get(model).unwrap_or(&0));
                throughput = Some(per_second(fresh.sum(), overview.at - at));
            }
        }
        let depth = overview.queues.iter().map(|q| q.queued.total() + q.delayed).sum();
        if let Some(throughput) = throughput {
            self.history.push_back(Sample { throughput, depth });
        }
        while self.history.len() > HISTORY {
            self.history.pop_front();
        }
        self.snapshots.push_back((overview.at, counters));
        // Keeps one overview that is at least a window old.
        while self.snapshots.get(1).is_some_and(|(at, _)| at + WINDOW_MS <= overview.at) {
            self.snapshots.pop_front();
        }
    }

    /// Returns the tasks of a model that ended per second within the window, or `None` after a
    /// single overview.
    pub(super) fn of(&self, model: &str) -> Option<f64> {
        let ((from, before), (to, now)) = (self.snapshots.front()?, self.snapshots.back()?);
        let ended = now.get(model)?.checked_sub(*before.get(model).unwrap_or(&0))?;
        (to > from).then(|| per_second(ended, to - from))
    }

    /// Returns the tasks of all models that ended per second within the window.
    pub(super) fn total(&self) -> Option<f64> {
        let (_, now) = self.snapshots.back()?;
        now.keys().map(|model| self.of(model)).sum()
    }

    /// Returns the samples for the charts, oldest first.
    pub(super) fn history(&self) -> impl DoubleEndedIterator<Item = &Sample> + ExactSizeIterator {
        self.history.iter()
    }
}

fn per_second(count: u64, millis: u64) -> f64 {
    count as f64 * 1_000.0 / millis as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::admin::Queue;

    fn overview(at: u64, completed: u64) -> Overview {
        let queue = Queue { model: "demo".into(), completed, delayed: 3, ..Queue::default() };
        Overview { at, queues: vec![queue], ..Overview::default() }
    }

    #[test]
    fn throughput_is_computed_over_a_window() {
        let mut rates = Rates::default();
        rates.take(&overview(1_000, 100));
        assert_eq!(
            (rates.of("demo"), rates.history().len()),
            (None, 0),
            "one overview gives no rate"
        );
        rates.take(&overview(3_000, 110));
        assert_eq!(rates.of("demo"), Some(5.0));
        assert_eq!((rates.of("other"), rates.total()), (None, Some(5.0)));
        for second in 4..=40 {
            rates.take(&overview(second * 1_000, 110));
        }
        assert_eq!(rates.of("demo"), Some(0.0), "ended tasks leave the window");
        let samples: Vec<_> = rates.history().take(2).copied().collect();
        assert_eq!(samples[0], Sample { throughput: 5.0, depth: 3 });
        assert_eq!(samples[1].throughput, 0.0);
    }

    #[test]
    fn restarted_counters_give_no_negative_rate() {
        let mut rates = Rates::default();
        rates.take(&overview(1_000, 100));
        rates.take(&overview(1_000, 100));
        rates.take(&overview(2_000, 0));
        assert_eq!((rates.of("demo"), rates.history().len()), (None, 0));
        rates.take(&overview(4_000, 4));
        assert_eq!(rates.of("demo"), Some(2.0));
    }

    #[test]
    fn history_is_bounded() {
        let mut rates = Rates::default();
        for second in 0..HISTORY as u64 + 50 {
            rates.take(&overview(second * 1_000, second));
        }
        assert_eq!(rates.history().len(), HISTORY);
        assert!(rates.snapshots.len() <= 12, "{}", rates.snapshots.len());
    }
}
