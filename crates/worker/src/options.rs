//! [`Options`]: the worker's configuration.

use std::path::PathBuf;
use std::time::Duration;

use engine::vision::ImageLimits;
use media::video::VideoLimits;
use service::Settings;

/// Settings of a [`Worker`](crate::Worker).
#[derive(Debug, Clone)]
pub struct Options {
    /// Lease duration; leases are renewed while their tasks run.
    pub lease: Duration,
    /// The time for which running tasks may continue after shutdown was requested.
    pub drain: Duration,
    /// The largest image of a prompt.
    pub images: ImageLimits,
    /// The largest video of a prompt.
    pub videos: VideoLimits,
    /// The folder of the commands that read answers of skills.
    pub skill_commands: Option<PathBuf>,
    /// The result cache; `None` if it is off.
    pub results: Option<ResultCacheOptions>,
}

/// How answers are kept for later tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResultCacheOptions {
    /// How long each is kept.
    pub ttl: Duration,
    /// The maximum size of all together.
    pub max_bytes: u64,
}

impl From<&Settings> for Options {
    fn from(settings: &Settings) -> Self {
        Self {
            lease: settings.lease,
            drain: settings.drain,
            images: ImageLimits { max_bytes: settings.max_image_bytes, ..ImageLimits::default() },
            videos: VideoLimits { max_bytes: settings.max_video_bytes, ..VideoLimits::default() },
            skill_commands: settings.skill_commands.clone(),
            results: settings.result_cache.then_some(ResultCacheOptions {
                ttl: settings.result_cache_ttl,
                max_bytes: settings.result_cache_max_bytes,
            }),
        }
    }
}
