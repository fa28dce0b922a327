//! Limits of requests.

use protocol::{ModelId, Timestamp};
use webhooks::Guard;

use crate::order::ImageRules;

/// The limits that the configuration sets.
#[derive(Debug, Clone, Copy)]
pub struct Limits<'a> {
    /// Maximum length of a prompt, in bytes of UTF-8.
    pub max_prompt_bytes: usize,
    /// Maximum `max_tokens` of a task.
    pub max_new_tokens: u32,
    /// The model for requests that name none.
    pub default_model: &'a ModelId,
    /// Further models that requests may name.
    pub other_models: &'a [ModelId],
    /// Maximum and default compute time of an attempt, in seconds.
    pub max_time_limit_s: u32,
    /// Maximum and default retention of a result, in seconds.
    pub max_result_ttl_s: u32,
    /// Maximum and default number of failed attempts after which a task fails.
    pub max_attempts: u32,
    /// Decides which webhook URLs are allowed.
    pub webhooks: Guard,
    /// The images of requests.
    pub images: ImageRules,
    /// The current time.
    pub now: Timestamp,
}
