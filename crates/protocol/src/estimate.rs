//! How long a queued task is likely to wait.

use serde::{Deserialize, Serialize};

/// Where a queued task stands, from counters. An estimate, never a promise: more urgent work may
/// come, tasks ahead may be cancelled, workers may come and go.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// How many tasks of its model are likely to be started up to and including this one; 1 is next.
    pub position: u64,
    /// When its outcome is likely; none while nothing was measured or no worker is ready for it.
    pub eta: Option<Eta>,
}

/// A range that the time to an outcome is likely to lie in, in seconds from now.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Eta {
    /// Hardly sooner than this.
    pub earliest_s: f64,
    /// Hardly later than this.
    pub latest_s: f64,
}
