//! Throughput and history out of an overview's counters, on the queue's own clock.

use std::collections::{HashMap, VecDeque};

use crate::client::admin::Overview;

/// Throughput is told over so many milliseconds: long enough to be read, short enough to be news.
const WINDOW_MS: u64 = 10_000;
/// Samples kept for the charts.
const HISTORY: usize = 600;

/// One look, for the charts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sample {
    /// Tasks that ended per second since the look before.
    pub(super) throughput: f64,
    /// Tasks that wait.
    pub(super) depth: u64,
}

/// What two or more looks say together.
#[derive(Debug, Default)]
pub(super) struct Rates {
    /// Ended tasks by model, at instants; the oldest some [`WINDOW_MS`] old.
    looks: VecDeque<(u64, HashMap<String, u64>)>,
    history: VecDeque<Sample>,
}

impl Rates {
    /// Takes in a look. Looks that are not later than the last one change nothing.
    pub(super) fn take(&mut self, overview: &Overview) {
        let ended = |(model, ended): (&str, u64)| (model.to_owned(), ended);
        let counters = overview.queues.iter().map(|q| ended((&q.model, q.ended())));
        let counters: HashMap<_, _> = counters.collect();
        let mut throughput = None;
        if let Some((at, before)) = self.looks.back() {
            if overview.at <= *at {
                return;
            }
            if before.iter().any(|(model, ended)| counters.get(model).is_none_or(|now| now < ended))
            {
                self.looks.clear(); // the store was emptied: counters begin anew
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
        self.looks.push_back((overview.at, counters));
        // The oldest look is the last one that is at least a window old.
        while self.looks.get(1).is_some_and(|(at, _)| at + WINDOW_MS <= overview.at) {
            self.looks.pop_front();
        }
    }

    /// Tasks of a model that ended per second, lately; none after a single look.
    pub(super) fn of(&self, model: &str) -> Option<f64> {
        let ((from, before), (to, now)) = (self.looks.front()?, self.looks.back()?);
        let ended = now.get(model)?.checked_sub(*before.get(model).unwrap_or(&0))?;
        (to > from).then(|| per_second(ended, to - from))
    }

    /// Tasks that ended per second, lately, of all models.
    pub(super) fn total(&self) -> Option<f64> {
        let (_, now) = self.looks.back()?;
        now.keys().map(|model| self.of(model)).sum()
    }

    /// The latest samples, oldest first.
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

    fn look(at: u64, completed: u64) -> Overview {
        let queue = Queue { model: "demo".into(), completed, delayed: 3, ..Queue::default() };
        Overview { at, queues: vec![queue], ..Overview::default() }
    }

    #[test]
    fn throughput_is_told_over_a_window() {
        let mut rates = Rates::default();
        rates.take(&look(1_000, 100));
        assert_eq!((rates.of("demo"), rates.history().len()), (None, 0), "one look is no rate");
        rates.take(&look(3_000, 110));
        assert_eq!(rates.of("demo"), Some(5.0));
        assert_eq!((rates.of("other"), rates.total()), (None, Some(5.0)));
        for second in 4..=40 {
            rates.take(&look(second * 1_000, 110));
        }
        assert_eq!(rates.of("demo"), Some(0.0), "what is past is past");
        let samples: Vec<_> = rates.history().take(2).copied().collect();
        assert_eq!(samples[0], Sample { throughput: 5.0, depth: 3 });
        assert_eq!(samples[1].throughput, 0.0);
    }

    #[test]
    fn counters_that_begin_anew_are_no_negative_rate() {
        let mut rates = Rates::default();
        rates.take(&look(1_000, 100));
        rates.take(&look(1_000, 100));
        rates.take(&look(2_000, 0));
        assert_eq!((rates.of("demo"), rates.history().len()), (None, 0));
        rates.take(&look(4_000, 4));
        assert_eq!(rates.of("demo"), Some(2.0));
    }

    #[test]
    fn history_is_bounded() {
        let mut rates = Rates::default();
        for second in 0..HISTORY as u64 + 50 {
            rates.take(&look(second * 1_000, second));
        }
        assert_eq!(rates.history().len(), HISTORY);
        assert!(rates.looks.len() <= 12, "{}", rates.looks.len());
    }
}
