//! What a worker must be told.

use std::time::Duration;

use protocol::ModelId;
use service::Settings;

/// How a worker behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// The public name of the model that it serves.
    pub model: ModelId,
    /// How long a lease lasts unless renewed.
    pub lease: Duration,
    /// How long it goes on with what it has when told to stop.
    pub drain: Duration,
}

impl From<&Settings> for Options {
    fn from(settings: &Settings) -> Self {
        Self { model: settings.model_id(), lease: settings.lease, drain: settings.drain }
    }
}
