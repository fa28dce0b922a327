//! [`Order`]: a validated request, in the form that every dialect submits.

mod images;

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::{
    AnswerForm, Lane, ModelId, PixelLimits, Prompt, Sampling, SkillUse, TaskKind, Webhook,
};
use queue::{PeriodicStep, Start};

pub use self::images::ImageRules;
pub(crate) use self::images::{OrderImages, PendingImage, Room, Source};

/// The retention time of a count's result, in seconds. Nobody but the waiting request reads it.
const COUNT_TTL_S: u32 = 60;

/// A validated request for a task.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// The model that runs the task.
    pub model: ModelId,
    /// The computation to run on the prompt.
    pub kind: TaskKind,
    /// The model's input.
    pub prompt: Prompt,
    /// The images of the prompt.
    pub images: OrderImages,
    /// The sizes to which images are resized, as far as the request says.
    pub pixels: PixelLimits,
    /// The number of answers to generate; at most [`protocol::Task::MAX_N`].
    pub n: u8,
    /// The maximum number of generated tokens of each answer.
    pub max_tokens: u32,
    /// Texts that stop generation.
    pub stop: Vec<String>,
    /// The sampling parameters that the request sets.
    pub sampling: Sampling,
    /// The skill that has written the prompt, and how the answer is read.
    pub skill: Option<SkillUse>,
    /// The form of the answer. `crate::submit` checks whether its constraint can be enforced.
    pub form: AnswerForm,
    /// The client's label for its end user.
    pub user_id: Option<String>,
    /// The webhook to call when the task ends.
    pub webhook: Option<Webhook>,
    /// Priority, start time, expiry, retention and retries.
    pub queueing: Queueing,
}

impl Order {
    /// Returns the order to count the tokens of the prompt instead. It is urgent, because it takes milliseconds.
    pub(crate) fn into_count(self) -> Self {
        let result_ttl_s = self.queueing.result_ttl_s.min(COUNT_TTL_S);
        let queueing = Queueing { lane: Some(Lane::High), result_ttl_s, ..self.queueing };
        Self { kind: TaskKind::Count, n: 1, webhook: None, queueing, ..self }
    }
}

/// The queueing options of a task.
#[derive(Debug, Clone, PartialEq)]
pub struct Queueing {
    /// The requested priority; `None` for the default.
    pub lane: Option<Lane>,
    /// The earliest start.
    pub start: Start,
    /// Maximum wait before the task expires.
    pub expires_in: Option<Duration>,
    /// The client's metadata.
    pub metadata: BTreeMap<String, String>,
    /// The retention time of the result, in seconds.
    pub result_ttl_s: u32,
    /// Maximum compute time of one attempt, in seconds.
    pub time_limit_s: u32,
    /// The number of failed attempts after which the task fails.
    pub max_attempts: u32,
    /// The backoff after the first failed attempt, in seconds; `None` for the default.
    pub retry_backoff_s: Option<u32>,
    /// The step of a periodic task that the submit takes.
    pub step: Option<Box<PeriodicStep>>,
}
