//! Managed API keys: who may do what, and how much. The key's text is shown once, when it is made; stores keep its
//! SHA-256 hash.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chat::ModelId;
use serde::{Deserialize, Serialize};

use crate::{Lane, TenantId, Timestamp};

/// Identifies a key in records, logs and usage without revealing it: `key_…` of a managed key, `env_…` of one of
/// `API_KEYS`, `jwt` of a token.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(String);

impl KeyId {
    /// Creates the id of a new managed key: `key_` and 32 hexadecimal digits.
    #[allow(clippy::new_without_default)] // a default that differs on every call misleads
    pub fn new() -> Self {
        Self(format!("key_{}", uuid::Uuid::now_v7().simple()))
    }

    /// Wraps an id. It must not contain a space, a colon or a control character.
    pub fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A right of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Submits tasks and batches, uploads files, cancels. Includes [`Self::Read`].
    Submit,
    /// Reads tasks, results, files, models and the owner's usage.
    Read,
    /// Opens the operators' routes. Includes neither of the others.
    Admin,
}

/// A managed key as the store keeps it and the API shows it. Its text is in neither.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Identifies the key.
    pub id: KeyId,
    /// The start of the key's text, to recognize it by.
    pub prefix: String,
    /// A name for people.
    pub name: String,
    /// The tenant whose tasks the key opens. Several keys may have one owner.
    pub owner: TenantId,
    /// What the key may do.
    pub scopes: BTreeSet<Scope>,
    /// The models that it may use; empty for all.
    #[serde(default)]
    pub models: BTreeSet<ModelId>,
    /// How much it may use.
    #[serde(flatten)]
    pub limits: KeyLimits,
    /// The most urgent lane that its tasks may have.
    #[serde(default = "highest")]
    pub highest_lane: Lane,
    /// The time from which the key is refused.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    /// Whether the key is refused until an operator unblocks it.
    #[serde(default)]
    pub blocked: bool,
    /// The time when it was made, by the broker's clock.
    pub created_at: Timestamp,
    /// The time of a recent request with it. Gateways report it every 10 s.
    #[serde(default)]
    pub last_used_at: Option<Timestamp>,
    /// The operator's notes; stored and shown, never interpreted.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

const fn highest() -> Lane {
    Lane::High
}

/// Limits on use. A limit that is not set does not hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeyLimits {
    /// Submitted tasks per minute.
    pub requests_per_minute: Option<u64>,
    /// Tokens per minute: of prompts, and generated.
    pub tokens_per_minute: Option<u64>,
    /// Tasks that wait or run.
    pub max_in_flight: Option<u64>,
    /// Tokens per day (UTC), without those of batches.
    pub tokens_per_day: Option<u64>,
    /// Tokens of batches per day (UTC).
    pub batch_tokens_per_day: Option<u64>,
}

/// What a key, owner and model used on one day (UTC). The ended tasks are counted, each once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UsageCounts {
    /// Tasks that ended, in whatever state.
    pub requests: u64,
    /// Tasks of these that failed.
    pub errors: u64,
    /// Tasks of these that were cancelled.
    pub cancelled: u64,
    /// Tokens of prompts.
    pub prompt_tokens: u64,
    /// Tokens of prompts that were found in the prefix cache.
    pub cached_tokens: u64,
    /// Tokens generated.
    pub completion_tokens: u64,
    /// Images read.
    pub images: u64,
    /// Milliseconds that tasks waited for their first start.
    pub wait_ms: u64,
    /// Milliseconds that the recorded attempts took.
    pub compute_ms: u64,
}

impl UsageCounts {
    /// Adds other amounts to these.
    pub fn add(&mut self, more: &Self) {
        let Self {
            requests,
            errors,
            cancelled,
            prompt_tokens,
            cached_tokens,
            completion_tokens,
            images,
            wait_ms,
            compute_ms,
        } = more;
        self.requests += requests;
        self.errors += errors;
        self.cancelled += cancelled;
        self.prompt_tokens += prompt_tokens;
        self.cached_tokens += cached_tokens;
        self.completion_tokens += completion_tokens;
        self.images += images;
        self.wait_ms += wait_ms;
        self.compute_ms += compute_ms;
    }
}

/// The use of one key for one model on one day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRow {
    /// The day, `YYYY-MM-DD`, on which the tasks ended (UTC).
    pub day: String,
    /// The owner of the tasks.
    pub owner: TenantId,
    /// The key that submitted them.
    pub key: KeyId,
    /// Their model.
    pub model: ModelId,
    /// The amounts.
    #[serde(flatten)]
    pub counts: UsageCounts,
}
