//! Where a queued task stands, and when its outcome is likely: a formula over counters.

use protocol::{Estimate, Eta, Lane};

/// What is counted of a queued task's surroundings. Both brokers fill it in O(1) or O(log n).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Standing {
    pub(crate) lane: Lane,
    /// Whether it is in its lane's stream, rather than in its tenant's backlog or delayed.
    pub(crate) in_stream: bool,
    /// Tasks ahead of it in the stream; all of the stream's while it is not in it.
    pub(crate) stream_ahead: u64,
    /// Tasks ahead of it in its tenant's backlog.
    pub(crate) backlog_ahead: u64,
    /// Until it may be started.
    pub(crate) delay_ms: u64,
    /// Tenants that have tasks in its lane.
    pub(crate) tenants: u64,
    /// Tasks that wait in each lane of its model, in the order of [`Lane::ALL`].
    pub(crate) queued: [u64; 4],
    /// Tasks of its model that run.
    pub(crate) processing: u64,
    /// Tasks that the ready workers of its model can run at once.
    pub(crate) capacity: u64,
    /// Moving average of processing times; 0 when none was measured.
    pub(crate) service_ms: f64,
    /// Moving average of how far they are from that.
    pub(crate) service_dev: f64,
}

/// Turns of 16 that each lane has (`lanes.rs`).
const WEIGHTS: [u64; 4] = [10, 4, 1, 1];

impl Standing {
    pub(crate) fn estimate(&self) -> Estimate {
        let ahead = self.ahead();
        Estimate { position: ahead + 1, eta: self.eta(ahead) }
    }

    /// How many tasks are likely to be started before it.
    fn ahead(&self) -> u64 {
        let own = self.ahead_in_lane();
        let mine = Lane::ALL.iter().position(|lane| *lane == self.lane).unwrap_or(0);
        let mut weights = WEIGHTS;
        // The turns of empty lanes fall to the most urgent lane that has tasks.
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

    /// In its own lane: the stream, and for each task ahead of it in the backlog a round in which
    /// every tenant has its turn; never more than wait there.
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

    /// The tasks ahead go through the workers' places side by side; each place becomes free after
    /// one processing time on average. The range is two deviations wide on each side, which add up
    /// as those of independent tasks do, and a quarter of the wait for what no counter knows.
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
    fn alone_in_its_lane_a_task_waits_for_those_ahead() {
        let Estimate { position, eta } = standing().estimate();
        let eta = eta.unwrap();
        assert_eq!(position, 10);
        // Ten places must become free, two a second; then it runs for a second.
        assert!(eta.earliest_s < 6.0 && 6.0 < eta.latest_s, "{eta:?}");
        let idle = Standing { stream_ahead: 0, processing: 0, ..standing() };
        assert_eq!(idle.estimate().eta, Some(Eta { earliest_s: 1.0, latest_s: 1.0 }));
    }

    #[test]
    fn urgent_lanes_count_as_far_as_they_have_turns_and_tasks() {
        let position = |lane, queued| Standing { lane, queued, ..standing() }.estimate().position;
        assert_eq!(position(Lane::High, [10, 100, 0, 0]), 10 + 10 * 4 / 12);
        assert_eq!(position(Lane::Normal, [3, 10, 0, 0]), 13);
        assert_eq!(position(Lane::Batch, [1_000, 0, 0, 10]), 10 + 10 * 15);
    }

    #[test]
    fn a_backlog_goes_round_with_the_other_tenants() {
        let backlogged =
            Standing { in_stream: false, stream_ahead: 32, backlog_ahead: 100, ..standing() };
        let alone = Standing { queued: [0, 1_000, 0, 0], ..backlogged.clone() };
        assert_eq!(alone.estimate().position, 133);
        let shared = Standing { tenants: 2, queued: [0, 2_000, 0, 0], ..backlogged.clone() };
        assert_eq!(shared.estimate().position, 32 + 200 + 1 + 1);
        let few = Standing { tenants: 2, queued: [0, 150, 0, 0], ..backlogged };
        assert_eq!(few.estimate().position, 150, "never more than there are");
    }

    #[test]
    fn nothing_is_foretold_without_a_worker_or_a_measurement() {
        assert_eq!(Standing { capacity: 0, ..standing() }.estimate().eta, None);
        assert_eq!(Standing { service_ms: 0.0, ..standing() }.estimate().eta, None);
    }

    #[test]
    fn a_delayed_task_is_not_done_before_its_time() {
        let delayed = Standing { delay_ms: 60_000, ..standing() };
        assert!(delayed.estimate().eta.unwrap().earliest_s >= 60.0);
    }
}
