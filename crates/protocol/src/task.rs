//! A client's request, validated, as the queue stores it.

use std::collections::BTreeMap;
use std::time::Duration;

use chat::{Constraint, Message, ModelId, Part, Sampling, Tool, ToolChoice};
use serde::{Deserialize, Serialize};

use crate::{Reuse, SkillUse, TaskId, TenantId, TraceContext, TraceId};

/// The unit of work. Immutable once submitted: state that changes is in the broker's own fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// The task's id.
    pub id: TaskId,
    /// The tenant that may access it.
    pub tenant: TenantId,
    /// The model that runs it.
    pub model: ModelId,
    /// Its priority lane.
    #[serde(default)]
    pub lane: Lane,
    /// What the task computes.
    #[serde(default, skip_serializing_if = "TaskKind::is_generate")]
    pub kind: TaskKind,
    /// The input of a generation or a count; empty for other kinds.
    #[serde(default, skip_serializing_if = "Prompt::is_empty")]
    pub prompt: Prompt,
    /// The sizes to which the prompt's images are resized, as far as the request says.
    #[serde(default, skip_serializing_if = "PixelLimits::is_empty")]
    pub pixels: PixelLimits,
    /// The number of answers to generate: 1 to [`Task::MAX_N`].
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub n: u8,
    /// The maximum number of generated tokens of each answer; at least 1 for a generation.
    pub max_tokens: u32,
    /// Texts that stop generation; the answer ends before the first one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// How tokens are sampled, as far as the request says. The gateway has checked the ranges.
    #[serde(default, skip_serializing_if = "Sampling::is_empty")]
    pub sampling: Sampling,
    /// The form of the answer: constraint, tools, thinking.
    #[serde(default, skip_serializing_if = "AnswerForm::is_plain")]
    pub form: AnswerForm,
    /// The maximum computing time of one attempt, in seconds (`TASK_TIME_LIMIT`).
    pub time_limit_s: u32,
    /// How long the outcome is kept after it was recorded, in seconds (`RESULT_TTL`).
    pub result_ttl_s: u32,
    /// The number of failed attempts after which the task fails (`MAX_ATTEMPTS`).
    pub max_attempts: u32,
    /// The backoff after the first failed attempt, in seconds: at most [`Task::MAX_RETRY_BACKOFF_S`]. `None` is the
    /// default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_backoff_s: Option<u32>,
    /// The client's label for its end user; stored, never interpreted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// The client's metadata; stored and returned, never interpreted. The gateway limits its size.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// The webhook to call at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
    /// How the answer is read, if a skill has written the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skill: Option<SkillUse>,
    /// Whether its answer may come from the result cache.
    #[serde(default, skip_serializing_if = "Reuse::is_allowed")]
    pub reuse: Reuse,
    /// The span that caused the task, if it belongs to a trace.
    #[serde(default, rename = "traceparent", skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceContext>,
}

impl Task {
    /// The largest `n`.
    pub const MAX_N: u8 = 8;
    /// The largest `retry_backoff_s`: an hour.
    pub const MAX_RETRY_BACKOFF_S: u32 = 3_600;
    /// The backoff after the first failed attempt of a task that sets none, in seconds.
    pub const DEFAULT_RETRY_BACKOFF_S: u32 = 1;

    /// Returns the id of the task's trace, if it has one.
    pub fn trace_id(&self) -> Option<TraceId> {
        self.trace.map(|trace| trace.trace_id)
    }

    /// Returns the number of answers to generate, within its bounds.
    pub fn choices(&self) -> u8 {
        self.n.clamp(1, Self::MAX_N)
    }

    /// Returns the backoff after the first failed attempt.
    pub fn retry_backoff(&self) -> Duration {
        Duration::from_secs(self.retry_backoff_s.unwrap_or(Self::DEFAULT_RETRY_BACKOFF_S).into())
    }
}

const fn one() -> u8 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
fn is_one(n: &u8) -> bool {
    *n == 1
}

/// The number of pixels to which each image of a prompt is resized. `None` is the model's; the worker's maximum applies
/// in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PixelLimits {
    /// The fewest pixels. Smaller images are enlarged.
    #[serde(default, rename = "min_pixels", skip_serializing_if = "Option::is_none")]
    pub min: Option<u64>,
    /// The most pixels. Larger images are reduced.
    #[serde(default, rename = "max_pixels", skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
}

impl PixelLimits {
    /// Returns whether nothing is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The computation that a task requests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// An answer to the task's prompt.
    #[default]
    Generate,
    /// The number of tokens of the prompt of such an answer, as `usage.prompt_tokens` of an empty completion.
    Count,
    /// The embedding of each input, in order.
    Embed {
        /// The inputs; at least one.
        inputs: Vec<Prompt>,
        /// The number of dimensions to keep, or `None` for all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dimensions: Option<u32>,
    },
}

impl TaskKind {
    /// Returns whether an answer is generated.
    pub fn is_generate(&self) -> bool {
        *self == Self::Generate
    }
}

/// The form of an answer; plain text by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerForm {
    /// The constraint that the answer must satisfy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constraint: Option<Constraint>,
    /// Functions that the model may call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<Tool>,
    /// Whether the model must, may or must not call a function.
    #[serde(default, skip_serializing_if = "ToolChoice::is_auto")]
    pub tool_choice: ToolChoice,
    /// Turns thinking on or off, if the model supports it; `None` leaves it to the chat template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable_thinking: Option<bool>,
    /// Whether the answer is split into reasoning, text and calls.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub split: bool,
    /// Whether the answer has at most one call (`parallel_tool_calls: false`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub one_call: bool,
    /// Whether the answer begins with the prompt's text. Has no effect on a conversation.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub echo: bool,
}

impl AnswerForm {
    /// Returns whether nothing is set.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the constraint on the answer: the requested one, or that it must be a call, or that it has at most one.
    pub fn effective_constraint(&self) -> Option<Constraint> {
        let asked = self.constraint.clone();
        let limited = self.one_call && !self.tools.is_empty();
        asked
            .or_else(|| Constraint::of_choice(&self.tool_choice, &self.tools))
            .or_else(|| limited.then_some(Constraint::AtMostOneCall))
    }
}

/// The receiver of a signed POST at the task's end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    /// An `http` or `https` URL, checked by the gateway.
    pub url: String,
    /// The format of the body.
    #[serde(default, skip_serializing_if = "WebhookForm::is_task")]
    pub form: WebhookForm,
}

/// The format of a webhook's body, by the API that the task came from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookForm {
    /// The native API's: the result, in an envelope.
    #[default]
    Task,
    /// OpenAI's: an event that names the response.
    Response,
    /// RunPod's: the job.
    Job,
    /// Replicate's: the prediction.
    Prediction,
}

impl WebhookForm {
    /// Returns the name in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Response => "response",
            Self::Job => "job",
            Self::Prediction => "prediction",
        }
    }

    /// Returns whether it is the native API's.
    #[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
    pub fn is_task(&self) -> bool {
        *self == Self::Task
    }
}

/// The model's input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prompt {
    /// Messages that are rendered with the model's chat template.
    Chat(Vec<Message>),
    /// Messages of which the answer continues the last one ([`Message::can_be_continued`]). A variant of its own, so
    /// that a worker from before it refuses the task instead of beginning a new turn.
    Continued(Vec<Message>),
    /// Text that is passed to the model unchanged.
    Raw(String),
    /// Text that is passed to the model unchanged, in which each `<|image_pad|>` takes the next image. A variant of its
    /// own, so that a worker from before it refuses the task instead of ignoring the images.
    RawImages {
        /// The text.
        text: String,
        /// The names under which the images' bytes are stored, as in [`Part::Image`].
        images: Vec<String>,
    },
    /// Token ids of the model's vocabulary.
    Tokens(Vec<u32>),
}

impl Default for Prompt {
    /// Returns a conversation without messages.
    fn default() -> Self {
        Self::Chat(Vec::new())
    }
}

impl Prompt {
    /// Returns a prompt with one user turn.
    pub fn user(text: impl Into<String>) -> Self {
        Self::Chat(vec![Message::user(text)])
    }

    /// Returns whether it is a conversation without messages.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Chat(messages) if messages.is_empty())
    }

    /// Returns its images and videos in the order of the prompt: what each is, and the name under which its bytes are
    /// stored.
    pub fn visuals<'a>(&'a self) -> Vec<(VisualKind, &'a str)> {
        match self {
            Self::Chat(messages) | Self::Continued(messages) => {
                let parts = messages.iter().flat_map(|message| &message.parts);
                let visual = |part: &'a Part| match part {
                    Part::Image { blob } => Some((VisualKind::Image, blob.as_str())),
                    Part::Video { blob } => Some((VisualKind::Video, blob.as_str())),
                    _ => None,
                };
                parts.filter_map(visual).collect()
            }
            Self::RawImages { images, .. } => {
                images.iter().map(|name| (VisualKind::Image, name.as_str())).collect()
            }
            Self::Raw(_) | Self::Tokens(_) => Vec::new(),
        }
    }

    /// Returns the number of images in it.
    pub fn images(&self) -> usize {
        self.image_blobs().len()
    }

    /// Returns the names under which the bytes of its images are stored, in the order of the prompt.
    pub fn image_blobs(&self) -> Vec<&str> {
        let visuals = self.visuals().into_iter();
        visuals.filter(|(kind, _)| *kind == VisualKind::Image).map(|(_, name)| name).collect()
    }
}

/// What a part of a prompt that is seen is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VisualKind {
    /// An image.
    Image,
    /// A video.
    Video,
}

impl VisualKind {
    /// Returns the word for it in messages.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Video => "video",
        }
    }
}

/// A task's priority. Lanes are served by weight, so none starves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    /// Interactive: a user waits for the answer.
    High,
    /// The default.
    #[default]
    Normal,
    /// Runs when there is capacity.
    Low,
    /// Bulk work.
    Batch,
}

impl Lane {
    /// All lanes, most urgent first.
    pub const ALL: [Self; 4] = [Self::High, Self::Normal, Self::Low, Self::Batch];

    /// Returns the name on the wire and in keys.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
            Self::Batch => "batch",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record;

    fn task(text: &str) -> Task {
        let id = "0192f0c1-2345-7abc-8def-0123456789ab";
        record::decode(&format!(
            r#"{{"v":2,"id":"{id}","tenant":"t","model":"demo",{text},"max_tokens":5,
                "time_limit_s":1,"result_ttl_s":2,"max_attempts":3}}"#
        ))
        .unwrap()
    }

    #[test]
    fn backoff_is_stored_only_if_the_task_sets_one() {
        let plain = task(r#""prompt":{"raw":"a"}"#);
        assert_eq!((plain.retry_backoff_s, plain.retry_backoff()), (None, Duration::from_secs(1)));
        assert!(!record::encode(&plain).unwrap().contains("retry_backoff_s"));
        let own = task(r#""prompt":{"raw":"a"},"retry_backoff_s":0"#);
        assert_eq!((own.retry_backoff_s, own.retry_backoff()), (Some(0), Duration::ZERO));
        assert_eq!(record::decode::<Task>(&record::encode(&own).unwrap()).unwrap(), own);
    }

    #[test]
    fn what_a_task_says_about_the_cache_is_stored_only_if_it_says_something() {
        let plain = task(r#""prompt":{"raw":"a"}"#);
        assert_eq!(plain.reuse, Reuse::Allowed);
        assert!(!record::encode(&plain).unwrap().contains("reuse"));
        for (name, reuse) in [("refresh", Reuse::Refresh), ("off", Reuse::Off)] {
            let said = task(&format!(r#""prompt":{{"raw":"a"}},"reuse":"{name}""#));
            assert_eq!(said.reuse, reuse);
            let stored = record::encode(&said).unwrap();
            assert_eq!(record::decode::<Task>(&stored).unwrap(), said, "{stored}");
        }
    }

    #[test]
    fn the_trace_is_stored_only_if_there_is_one() {
        let plain = task(r#""prompt":{"raw":"a"}"#);
        assert_eq!((plain.trace, plain.trace_id()), (None, None));
        assert!(!record::encode(&plain).unwrap().contains("trace"));
        let text = r#""traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01""#;
        let traced = task(&format!(r#""prompt":{{"raw":"a"}},{text}"#));
        let stored = record::encode(&traced).unwrap();
        assert!(stored.contains(text), "{stored}");
        assert_eq!(record::decode::<Task>(&stored).unwrap(), traced);
    }

    #[test]
    fn inputs_to_embed_are_stored_as_text_or_tokens() {
        let text = r#""kind":{"embed":{"inputs":[{"raw":"a"},{"tokens":[1,2]}],"dimensions":8}}"#;
        let embed = task(text);
        let inputs = vec![Prompt::Raw("a".into()), Prompt::Tokens(vec![1, 2])];
        assert_eq!(embed.kind, TaskKind::Embed { inputs, dimensions: Some(8) });
        assert!(embed.prompt.is_empty());
        let stored = record::encode(&embed).unwrap();
        assert!(stored.contains(text) && !stored.contains("prompt"), "{stored}");
        assert_eq!(record::decode::<Task>(&stored).unwrap(), embed);
    }

    #[test]
    fn images_travel_with_their_limits() {
        let text = concat!(
            r#""prompt":{"raw_images":{"text":"<|image_pad|>","images":["a"]}},"#,
            r#""pixels":{"max_pixels":65536}"#
        );
        let raw = task(text);
        let prompt = Prompt::RawImages { text: "<|image_pad|>".into(), images: vec!["a".into()] };
        assert_eq!((raw.prompt.clone(), raw.prompt.images()), (prompt, 1));
        assert_eq!(raw.pixels, PixelLimits { min: None, max: Some(65_536) });
        let stored = record::encode(&raw).unwrap();
        assert!(stored.contains(text), "{stored}");
        assert_eq!(record::decode::<Task>(&stored).unwrap(), raw);
        let image = |blob: &str| Part::Image { blob: blob.into() };
        let text = Part::Text { text: "x".into() };
        let message = |parts| Message { role: chat::Role::User, parts, name: None };
        let messages = vec![message(vec![image("a"), text, image("b")]), message(vec![image("a")])];
        assert_eq!(Prompt::Chat(messages).image_blobs(), ["a", "b", "a"]);
    }

    #[test]
    fn a_skill_travels_with_what_it_sets() {
        let prompt = r#""prompt":{"raw":"a"}"#;
        assert_eq!(task(prompt).skill, None);
        let plain = r#""skill":{"name":"ocr","output":"boxes"}"#;
        let set = concat!(
            r#""skill":{"name":"mine","output":"actions","scale":999,"actions":["click"],"#,
            r#""draw":true,"command":"reader"}"#
        );
        for (text, scale) in [(plain, SkillUse::SCALE), (set, 999)] {
            let read = task(&format!("{prompt},{text}"));
            assert_eq!(read.skill.as_ref().map(|skill| skill.scale), Some(scale));
            let stored = record::encode(&read).unwrap();
            assert!(stored.contains(text), "{stored}");
            assert_eq!(record::decode::<Task>(&stored).unwrap(), read);
        }
    }

    #[test]
    fn a_kind_that_this_build_does_not_know_is_no_generation() {
        let prompt = r#""prompt":{"raw":"a"}"#;
        let count = task(&format!(r#"{prompt},"kind":"count""#));
        assert_eq!(count.kind, TaskKind::Count);
        assert!(record::encode(&count).unwrap().contains(r#""kind":"count""#));
        // As a build from before a kind reads it: an error, never the default.
        for kind in [r#""translate""#, r#"{"translate":{"to":"en"}}"#] {
            let text = record::encode(&count).unwrap().replace(r#""count""#, kind);
            let error = record::decode::<Task>(&text).unwrap_err();
            assert!(error.to_string().contains("unknown variant"), "{error}");
        }
    }

    #[test]
    fn a_task_has_one_answer_unless_it_says_more() {
        let prompt = r#""prompt":{"raw":"a"}"#;
        let plain = task(prompt);
        assert_eq!((plain.n, plain.prompt.clone()), (1, Prompt::Raw("a".into())));
        assert!(!record::encode(&plain).unwrap().contains(r#""n""#));
        let several = task(&format!(r#"{prompt},"n":3"#));
        assert_eq!(several, Task { n: 3, ..plain });
        let stored = record::encode(&several).unwrap();
        assert_eq!(record::decode::<Task>(&stored).unwrap(), several);
    }
}
