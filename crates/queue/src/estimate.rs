//! Computes a queued task's position and the likely time of its outcome from counters.

use protocol::{Estimate, Eta, Lane};

/// The counters that an estimate depends on. Both brokers read them in O(1) or O(log n).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Standing {
    pub(crate) lane: Lane,
    /// `true` if it is in its lane's stream, rather than in its tenant's backlog or delayed.
    pub(crate) in_stream: bool,
    /// Tasks ahead of it in the stream; the whole stream if it is not in it.
    pub(crate) stream_ahead: u64,
    /// Tasks ahead of it in its tenant's backlog.
    pub(crate) backlog_ahead: u64,
    /// Milliseconds until it may be started.
    pub(crate) delay_ms: u64,
    /// Tenants that have queued tasks in its lane.
    pub(crate) tenants: u64,
    /// Queued tasks of its model in each lane, in the order of [`Lane::ALL`].
    pub(crate) queued: [u64; 4],
    /// Running tasks of its model.
    pub(crate) processing: u64,
    /// Tasks that the ready workers of its model can run concurrently.
    pub(crate) capacity: u64,
    /// Moving average of processing times; 0 if none was measured.
    pub(crate) service_ms: f64,
    /// Moving average of their absolute deviation from it, in milliseconds.
    pub(crate) service_dev: f64,
}

/// The number of turns that each lane has of 16 (see `lanes.rs`).
const WEIGHTS: [u64; 4] = [10, 4, 1, 1];

impl Standing {
    pub(crate) fn estimate(&self) -> Estimate {
        let ahead = self.ahead();
        Estimate { position: ahead + 1, eta: self.eta(ahead) }
    }

    /// Returns how many tasks are likely to be started before it.
    fn ahead(&self) -> u64 {
        let own = self.ahead_in_lane();
        let mine = Lane::ALL.iter().position(|lane| *lane == self.lane).unwrap_or(0);
        let mut weights = WEIGHTS;
        // The turns of empty lanes go to the most urgent lane that has tasks.
        let busy = |lane: usize| lane == mine || self.queued[lane] > 0;
        let most_urgent = (0..4).find(|lane| busy(*lane)).unwrap_or(mine);
        for lane in (0..4).filter(|lane| !busy(*lane)) {
            weights[most_urgent] += std::mem::take(&mut weights[lane]);
        }
        let share = |lane: usize| {
            self.queued[lane]
                .min(own.saturating_add(1).saturating_mul(weights[lane]) / weights[mine])
        };
        own + (0..4).filter(|lane| *lane != mine).map(share).sum::<u64>()
    }

    /// Returns the tasks of its own lane that are likely to be started before it: the stream, plus
    /// one round per task ahead of it in the backlog, in which every tenant has one task started;
    /// at most all tasks of the lane.
    fn ahead_in_lane(&self) -> u64 {
        if self.in_stream {
            return self.stream_ahead;
        }
        let tenants = self.tenants.max(1);
        let mine = Lane::ALL.iter().position(|lane| *lane == self.lane).unwrap_or(0);
        let rounds = self.backlog_ahead.saturating_mul(tenants);
        let ahead = self.stream_ahead.saturating_add(rounds).saturating_add(tenants - 1);
        ahead.min(self.queued[mine].saturating_sub(1).max(self.stream_ahead))
    }

    /// Estimates the time to its outcome. The tasks ahead go through the workers' slots
    /// concurrently, and each slot becomes free after one average processing time. The range is two
    /// deviations wide on each side, combined as for independent tasks, plus a quarter of the wait
    /// for what the counters do not show.
    fn eta(&self, ahead: u64) -> Option<Eta> {
        if self.capacity == 0 || self.service_ms <= 0.0 {
            return None;
        }
        let (mean, deviation) = (self.service_ms / 1_000.0, self.service_dev / 1_000.0);
        let places = self.capacity as f64;
        let free = self.capacity.saturating_sub(self.processing);
        let rounds = (ahead + 1).saturating_sub(free) as f64 / places;
        let wait = rounds * mean;
        let doubt = wait / 4.0 + 2.0 * deviation * (rounds / places).sqrt();
        let delay = self.delay_ms as f64 / 1_000.0;
        Some(Eta {
            earliest_s: delay.max(wait - doubt) + (mean - 2.0 * deviation).max(0.0),
            latest_s: delay.max(wait + doubt) + mean + 2.0 * deviation,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing() -> Standing {
        Standing {
            lane: Lane::Normal,
            in_stream: true,
            stream_ahead: 9,
            backlog_ahead: 0,
            delay_ms: 0,
            tenants: 1,
            queued: [0, 10, 0, 0],
            processing: 2,
            capacity: 2,
            service_ms: 1_000.0,
            service_dev: 0.0,
        }
    }

    #[test]
    fn eta_counts_the_tasks_ahead_in_the_lane() {
        let Estimate { position, eta } = standing().estimate();
        let eta = eta.unwrap();
        assert_eq!(position, 10);
        // Ten slots must become free, two per second; then the task runs for a second.
        assert!(eta.earliest_s < 6.0 && 6.0 < eta.latest_s, "{eta:?}");
        let idle = Standing { stream_ahead: 0, processing: 0, ..standing() };
        assert_eq!(idle.estimate().eta, Some(Eta { earliest_s: 1.0, latest_s: 1.0 }));
    }

    #[test]
    fn position_counts_other_lanes_by_turns_and_queued_tasks() {
        let position = |lane, queued| Standing { lane, queued, ..standing() }.estimate().position;
        assert_eq!(position(Lane::High, [10, 100, 0, 0]), 10 + 10 * 4 / 12);
        assert_eq!(position(Lane::Normal, [3, 10, 0, 0]), 13);
        assert_eq!(position(Lane::Batch, [1_000, 0, 0, 10]), 10 + 10 * 15);
    }

    #[test]
    fn backlog_position_counts_turns_of_other_tenants() {
        let backlogged =
            Standing { in_stream: false, stream_ahead: 32, backlog_ahead: 100, ..standing() };
        let alone = Standing { queued: [0, 1_000, 0, 0], ..backlogged.clone() };
        assert_eq!(alone.estimate().position, 133);
        let shared = Standing { tenants: 2, queued: [0, 2_000, 0, 0], ..backlogged.clone() };
        assert_eq!(shared.estimate().position, 32 + 200 + 1 + 1);
        let few = Standing { tenants: 2, queued: [0, 150, 0, 0], ..backlogged };
        assert_eq!(few.estimate().position, 150, "at most as many as are queued");
    }

    #[test]
    fn eta_is_none_without_a_worker_or_a_measurement() {
        assert_eq!(Standing { capacity: 0, ..standing() }.estimate().eta, None);
        assert_eq!(Standing { service_ms: 0.0, ..standing() }.estimate().eta, None);
    }

    #[test]
    fn a_delayed_task_does_not_end_before_its_start_time() {
        let delayed = Standing { delay_ms: 60_000, ..standing() };
        assert!(delayed.estimate().eta.unwrap().earliest_s >= 60.0);
    }
}
