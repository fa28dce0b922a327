//! The limits of requests.

use protocol::{ModelId, Timestamp};
use webhooks::Guard;

/// What the operator allows.
#[derive(Debug, Clone, Copy)]
pub struct Limits<'a> {
    /// How long, in bytes of UTF-8, a prompt may be.
    pub max_prompt_bytes: usize,
    /// How many tokens a task may ask for.
    pub max_new_tokens: u32,
    /// Which model answers when none is named.
    pub default_model: &'a ModelId,
    /// Which other models may be named.
    pub other_models: &'a [ModelId],
    /// How long, in seconds, a task may ask to compute; what it has if it does not ask.
    pub max_time_limit_s: u32,
    /// How long, in seconds, a task may ask to be kept; what it has if it does not ask.
    pub max_result_ttl_s: u32,
    /// Which webhooks are allowed.
    pub webhooks: Guard,
    /// What the clock says.
    pub now: Timestamp,
}
