//! Whether an answer may come from the result cache, and whether it did.

use serde::{Deserialize, Serialize};

/// What a request says about the result cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reuse {
    /// The answer may come from the cache, and may be stored there.
    #[default]
    Allowed,
    /// The answer is computed, and replaces the stored one (`Cache-Control: no-cache`).
    Refresh,
    /// The answer is computed and not stored (`Cache-Control: no-store`).
    Off,
}

impl Reuse {
    /// Returns whether the answer may come from the cache and may be stored there.
    #[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
    pub fn is_allowed(&self) -> bool {
        *self == Self::Allowed
    }
}

/// Where an answer came from, if the result cache was searched for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheStatus {
    /// From the cache: nothing was computed.
    Hit,
    /// It was computed, since the cache did not have it.
    Miss,
}

impl CacheStatus {
    /// Returns the name in headers, results and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
        }
    }
}
