//! What a worker must be told.

use std::time::Duration;

use service::Settings;

/// How a worker behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long a lease lasts unless renewed.
    pub lease: Duration,
    /// How long it goes on with what it has when told to stop.
    pub drain: Duration,
}

impl From<&Settings> for Options {
    fn from(settings: &Settings) -> Self {
        Self { lease: settings.lease, drain: settings.drain }
    }
}
