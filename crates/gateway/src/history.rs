//! Keeps the queues' counters of the last hours in memory, for the monitor's plots.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use queue::Overview;

use crate::operators::{HistoryReply, PastQueueReply, PointReply};

/// The time between samples, in seconds.
pub(crate) const INTERVAL: u64 = 10;
/// Samples that are kept: six hours and the one before.
const SAMPLES: usize = 6 * 60 * 6 + 1;
/// Maximum number of points in a reply.
const POINTS: usize = 360;

/// The latest samples, from the oldest.
#[derive(Debug, Default)]
pub(crate) struct History {
    samples: Mutex<VecDeque<Sample>>,
}

/// The counters at one time.
#[derive(Debug, Clone)]
struct Sample {
    /// By the queue's clock.
    at_ms: u64,
    workers: u64,
    models: BTreeMap<String, Counts>,
}

/// One model's counters. Ended tasks are counted since the queue exists.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    queued: u64,
    delayed: u64,
    processing: u64,
    capacity: u64,
    completed: u64,
    failed: u64,
    cancelled: u64,
    service_ms: f64,
}

impl History {
    /// Adds the queues as they are now. `label` is the name of a model in replies.
    pub(crate) fn add<'a>(
        &self,
        overview: &'a Overview,
        workers: usize,
        label: impl Fn(&'a str) -> &'a str,
    ) {
        self.push(Sample::of(overview, workers, label));
    }

    fn push(&self, sample: Sample) {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() == SAMPLES {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    /// Returns the points of the last `minutes`, at most 360: of longer times several samples become one point.
    pub(crate) fn reply(&self, minutes: u64) -> HistoryReply {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = (minutes * 60 / INTERVAL) as usize;
        let step = wanted.div_ceil(POINTS).max(1);
        let interval = INTERVAL * step as u64;
        let latest = samples.back().map_or(0, |sample| sample.at_ms);
        let oldest = latest.saturating_sub(minutes * 60_000);
        // Counted from the latest, so that each point has the same distance from the one before.
        let mut chosen: Vec<&Sample> = samples.iter().rev().step_by(step).collect();
        chosen.reverse();
        let points = chosen.windows(2).filter_map(|pair| {
            let [before, after] = pair else { return None };
            // Over a longer gap the ended tasks can't be assigned to a time.
            let is_gap = after.at_ms.saturating_sub(before.at_ms) > 2_500 * interval;
            (after.at_ms > oldest && !is_gap).then(|| after.since(before))
        });
        HistoryReply { interval_seconds: interval, points: points.collect() }
    }
}

impl Sample {
    fn of<'a>(overview: &'a Overview, workers: usize, label: impl Fn(&'a str) -> &'a str) -> Self {
        let mut models: BTreeMap<String, Counts> = BTreeMap::new();
        for queue in &overview.queues {
            let counts = models.entry(label(queue.model.as_str()).to_owned()).or_default();
            counts.queued += queue.queued.iter().sum::<u64>();
            counts.delayed += queue.delayed;
            counts.processing += queue.processing;
            counts.capacity += queue.capacity;
            counts.completed += queue.completed;
            counts.failed += queue.failed;
            counts.cancelled += queue.cancelled;
            counts.service_ms = queue.service_ms;
        }
        Self { at_ms: overview.at.as_millis(), workers: workers as u64, models }
    }

    /// Returns the point of this sample, with the tasks that ended since the one before.
    fn since(&self, before: &Self) -> PointReply {
        let models = self.models.iter().map(|(model, now)| {
            let then = before.models.get(model).copied().unwrap_or_default();
            PastQueueReply {
                model: model.clone(),
                queued: now.queued,
                delayed: now.delayed,
                processing: now.processing,
                capacity: now.capacity,
                // Counters begin anew if the store is emptied.
                completed: now.completed.saturating_sub(then.completed),
                failed: now.failed.saturating_sub(then.failed),
                cancelled: now.cancelled.saturating_sub(then.cancelled),
                service_seconds: (now.service_ms > 0.0).then(|| now.service_ms.round() / 1000.0),
            }
        });
        PointReply { at: self.at_ms, workers: self.workers, models: models.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(second: u64, completed: u64) -> Sample {
        let counts = Counts { queued: second, completed, service_ms: 1_500.0, ..Counts::default() };
        Sample { at_ms: second * 1000, workers: 1, models: [("demo".into(), counts)].into() }
    }

    fn history(samples: impl IntoIterator<Item = Sample>) -> History {
        let history = History::default();
        samples.into_iter().for_each(|sample| history.push(sample));
        history
    }

    #[test]
    fn a_point_has_the_tasks_that_ended_since_the_one_before() {
        let history = history((0..10).map(|n| sample(10 * n, 3 * n)));
        let reply = history.reply(1);
        assert_eq!(reply.interval_seconds, 10);
        assert_eq!(reply.points.len(), 6);
        assert_eq!(reply.points.last().unwrap().at, 90_000);
        for point in &reply.points {
            assert_eq!(point.models[0].completed, 3);
            assert_eq!(point.models[0].service_seconds, Some(1.5));
        }
    }

    #[test]
    fn longer_times_have_fewer_points_and_lose_no_ended_task() {
        let history = history((0..SAMPLES as u64 + 50).map(|n| sample(10 * n, 3 * n)));
        let reply = history.reply(360);
        assert_eq!((reply.interval_seconds, reply.points.len()), (60, 360));
        let ended: u64 = reply.points.iter().map(|point| point.models[0].completed).sum();
        assert_eq!(ended, 3 * (SAMPLES as u64 - 1));
    }

    #[test]
    fn a_gap_has_no_points_and_a_store_that_was_emptied_counts_from_zero() {
        let history = history([sample(0, 5), sample(10, 6), sample(300, 90), sample(310, 2)]);
        let points = history.reply(60).points;
        let ended: Vec<_> = points.iter().map(|p| (p.at, p.models[0].completed)).collect();
        assert_eq!(ended, [(10_000, 1), (310_000, 0)]);
    }
}
