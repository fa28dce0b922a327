//! Estimates of how long a queued task will wait.

use serde::{Deserialize, Serialize};

/// A queued task's position and ETA, computed from counters. Only an estimate: more urgent tasks
/// may come, tasks ahead may be cancelled, workers may come and go.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// How many tasks of its model are likely to be started up to and including this one; 1 means
    /// next.
    pub position: u64,
    /// When the outcome is likely; `None` if no processing time was measured yet or no worker is
    /// ready for the model.
    pub eta: Option<Eta>,
}

/// The range in which the time to an outcome is likely to lie, in seconds from now.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Eta {
    /// The lower bound.
    pub earliest_s: f64,
    /// The upper bound.
    pub latest_s: f64,
}
