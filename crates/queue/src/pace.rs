//! Estimates when a full queue will have room again, and averages processing times.

/// The processing time assumed until the first task of a model has finished, in milliseconds.
const UNMEASURED_MS: f64 = 5_000.0;

/// The weight of the latest processing time in the moving average.
pub(crate) const LATEST_WEIGHT: f64 = 0.2;

/// The processing time recorded for a task that took less than a millisecond: an average of 0 means
/// that nothing was measured.
pub(crate) const SHORTEST_MS: f64 = 0.5;

/// The counters of a model that determine how fast its queue drains.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) queued: u64,
    pub(crate) processing: u64,
    /// Moving average of processing times in milliseconds; 0 if none was measured.
    pub(crate) service_ms: f64,
}

impl Pace {
    /// Returns the seconds until a tenth of the queue is likely done, 1 to 120. A tenth, so that
    /// the refused clients do not all return for the first free place. 120, since the OpenAI client
    /// gives up on longer waits.
    pub(crate) fn retry_after_s(&self) -> u32 {
        let service_ms = if self.service_ms > 0.0 { self.service_ms } else { UNMEASURED_MS };
        let ahead = (self.queued as f64 / 10.0).max(1.0);
        let seconds = service_ms * ahead / (self.processing.max(1) as f64) / 1_000.0;
        seconds.ceil().clamp(1.0, 120.0) as u32
    }
}

/// Returns how many of the queued tasks a claimant with room for `most` gets. If the ready workers
/// have more room than tasks are queued, the claimant gets its share, so that the others get tasks
/// too. (`finish_and_claim.lua` computes the same.)
pub(crate) fn part(most: u64, queued: u64, capacity: u64, processing: u64) -> u64 {
    let room = capacity.saturating_sub(processing).max(most).max(1);
    queued.saturating_mul(most).div_ceil(room).clamp(1, most.max(1))
}

/// Returns the moving average after one more processing time.
pub(crate) fn next_average(average_ms: f64, latest_ms: f64) -> f64 {
    if average_ms > 0.0 { average_ms + LATEST_WEIGHT * (latest_ms - average_ms) } else { latest_ms }
}

/// Returns the moving average of deviations after one more processing time. After the first it is
/// half of that time.
pub(crate) fn next_deviation(deviation_ms: f64, average_ms: f64, latest_ms: f64) -> f64 {
    if average_ms > 0.0 {
        deviation_ms + LATEST_WEIGHT * ((latest_ms - average_ms).abs() - deviation_ms)
    } else {
        latest_ms / 2.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_depends_on_depth_and_service_time_within_bounds() {
        let wait = |queued, processing, service_ms| {
            Pace { queued, processing, service_ms }.retry_after_s()
        };
        assert_eq!(wait(1, 0, 0.0), 5, "nothing measured yet");
        assert_eq!(wait(100, 2, 4_000.0), 20);
        assert_eq!(wait(1, 8, 10.0), 1);
        assert_eq!(wait(1_000_000, 1, 60_000.0), 120);
    }

    #[test]
    fn claimant_gets_a_fair_share_of_few_tasks_and_its_full_batch_of_many() {
        assert_eq!(part(8, 4, 16, 0), 2);
        assert_eq!(part(8, 1, 16, 0), 1);
        assert_eq!(part(8, 16, 16, 0), 8);
        assert_eq!(part(8, 1_000, 16, 8), 8);
        assert_eq!(part(8, 5, 0, 3), 5, "without reports there are no other workers to share with");
        assert_eq!(part(1, 0, 4, 0), 1);
    }

    #[test]
    fn service_time_average_moves_towards_the_latest_measurement() {
        assert_eq!(next_average(0.0, 800.0), 800.0);
        assert_eq!(next_average(1_000.0, 2_000.0), 1_200.0);
    }
}
