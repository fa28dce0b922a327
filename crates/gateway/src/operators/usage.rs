//! `GET /admin/usage`: what owners, keys and models used.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What the rows of a report are summed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// The owner of the tasks.
    Owner,
    /// The key that submitted them.
    Key,
    /// Their model.
    Model,
    /// The day on which they ended.
    Day,
}

impl Group {
    /// All of them, in the order in which rows are sorted.
    pub const ALL: [Self; 4] = [Self::Day, Self::Owner, Self::Key, Self::Model];

    /// Returns its name, as in a query.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Key => "key",
            Self::Model => "model",
            Self::Day => "day",
        }
    }
}

/// What was used in some days.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct UsageReply {
    /// The first day (UTC).
    #[schema(format = "date", example = "2025-11-01", required = true)]
    pub from: String,
    /// The last day.
    #[schema(format = "date", example = "2025-11-30", required = true)]
    pub to: String,
    /// What the rows are summed by.
    #[schema(required = true)]
    pub group_by: Vec<Group>,
    /// The sums, in the order of day, owner, key and model.
    #[schema(required = true)]
    pub rows: Vec<UsageSum>,
    /// The sum of all rows.
    #[schema(required = true)]
    pub total: UsageAmounts,
}

/// What was used by a group of tasks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct UsageSum {
    /// The owner, if grouped by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub owner: Option<String>,
    /// The id of the key, if grouped by it: `key_…` of a managed key, `env_…` of one of `API_KEYS`, `jwt` of a token,
    /// `none` of tasks from before keys were counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub key: Option<String>,
    /// The model, if grouped by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub model: Option<String>,
    /// The day on which the tasks ended (UTC), if grouped by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub day: Option<String>,
    /// The amounts.
    #[serde(flatten)]
    pub counts: UsageAmounts,
}

/// Amounts of use. Each ended task counts once.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct UsageAmounts {
    /// Tasks that ended, in whatever state.
    #[schema(required = true)]
    pub requests: u64,
    /// Tasks of these that failed.
    #[schema(required = true)]
    pub errors: u64,
    /// Tasks of these that were cancelled.
    #[schema(required = true)]
    pub cancelled: u64,
    /// Tokens of prompts.
    #[schema(required = true)]
    pub prompt_tokens: u64,
    /// Tokens of prompts that were found in the prefix cache.
    #[schema(required = true)]
    pub cached_tokens: u64,
    /// Generated tokens.
    #[schema(required = true)]
    pub completion_tokens: u64,
    /// Images read.
    #[schema(required = true)]
    pub images: u64,
    /// Seconds that tasks waited for their first start.
    #[schema(required = true)]
    pub wait_s: f64,
    /// Seconds that attempts took.
    #[schema(required = true)]
    pub compute_s: f64,
}
