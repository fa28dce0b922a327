//! [`Options`]: the worker's configuration.

use std::time::Duration;

use service::Settings;

/// Settings of a [`Worker`](crate::Worker).
#[derive(Debug, Clone)]
pub struct Options {
    /// Lease duration; leases are renewed while their tasks run.
    pub lease: Duration,
    /// The time for which running tasks may continue after shutdown was requested.
    pub drain: Duration,
}

impl From<&Settings> for Options {
    fn from(settings: &Settings) -> Self {
        Self { lease: settings.lease, drain: settings.drain }
    }
}
