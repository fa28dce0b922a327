//! The body of `POST /generate`.

use serde_json::Value;
use utoipa::ToSchema;

/// A prompt and how to answer it. Other fields are refused; `null` counts as not given.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)] // documents what `validate::generate` reads
pub(crate) struct GenerateBody {
    /// What to answer: one user turn through the model's chat template. Its length is limited in
    /// bytes of UTF-8 here, and by the worker to what the model's context holds.
    #[schema(min_length = 1, pattern = r"\S", example = "Why is the sky blue?", nullable = false)]
    prompt: Option<String>,
    /// A conversation to continue, instead of `prompt`: messages as OpenAI has them, with the roles
    /// system, developer, user, assistant and tool.
    #[schema(value_type = Object, required = false)]
    // spelled out in `document`
    messages: Option<Value>,
    /// At most this many tokens are generated; -1 stands for as many as the maximum.
    #[schema(minimum = 1, example = 512)]
    max_tokens: Option<u32>,
    /// From token numbers to what is added to their logits, -100 to 100: the ends forbid and force.
    #[schema(value_type = Object, required = false)]
    logit_bias: Option<Value>,
    /// Tell how likely each token of the answer was.
    #[schema(default = false)]
    logprobs: Option<bool>,
    /// Tell so many of the likeliest tokens at each place too; needs `logprobs`. An answer may have
    /// 16384 logprobs: `max_tokens * (1 + top_logprobs)` must not be more.
    #[schema(minimum = 0, default = 0, example = 5)]
    top_logprobs: Option<u32>,
    /// Generation ends before the first of these: a string, or up to 16, each of 1 to 256 bytes.
    #[schema(value_type = Object, required = false)]
    // its alternatives are spelled out in `document`
    stop: Option<Value>,
    /// What the answer must look like: text, any JSON object, or JSON of a schema.
    #[schema(value_type = Object, required = false)]
    // its alternatives are spelled out in `document`
    response_format: Option<Value>,
    /// The answer must match the whole of this regular expression (no look-around, no back-references).
    #[schema(min_length = 1, example = "[0-9]{3}-[a-z]+")]
    regex: Option<String>,
    /// The answer must be one of these texts.
    choice: Option<Vec<String>>,
    /// Functions that the model may call, as OpenAI has them.
    #[schema(value_type = Object, required = false)]
    // spelled out in `document`
    tools: Option<Value>,
    /// Whether it calls one: `auto`, `none`, `required`, or a function by name.
    #[schema(value_type = Object, required = false)]
    // spelled out in `document`
    tool_choice: Option<Value>,
    /// Asks a model that can think to do so or not; what it thinks is then told apart, as `reasoning`.
    enable_thinking: Option<bool>,
    /// Which model answers: the default, or another that a live worker serves.
    model: Option<String>,
    /// Send the prompt to the model untouched, without its chat template.
    #[schema(default = false)]
    raw: Option<bool>,
    /// Your label for your end user: kept with the task, never interpreted.
    #[schema(max_length = 256, example = "user-17")]
    user_id: Option<String>,
    /// Where to tell the end by a signed POST: http or https, a public host, no user name, at most 2048 bytes.
    #[schema(format = "uri", example = "https://example.org/hook")]
    webhook_url: Option<String>,
    /// How urgent it is. Lanes are served by weight: the less urgent wait longer, but never for ever.
    #[schema(default = "normal", example = "normal")]
    priority: Option<String>,
    /// Start no sooner than this many seconds from now.
    #[schema(minimum = 0, example = 60)]
    delay_s: Option<f64>,
    /// Start no sooner than this instant: RFC 3339, or seconds since 1970. Not together with `delay_s`.
    #[schema(value_type = Object, required = false)]
    // its alternatives are spelled out in `document`
    run_at: Option<Value>,
    /// Fail as `expired` if no worker has started it so many seconds from now.
    #[schema(minimum = 1, example = 600)]
    expires_in_s: Option<u32>,
    /// Your own notes, kept with the task and given back by `GET /status`.
    #[schema(value_type = Object, required = false)]
    metadata: Option<Value>,
    /// How long the result is kept after the end, in seconds.
    #[schema(minimum = 1)]
    result_ttl_s: Option<u32>,
    /// How long one attempt may compute, in seconds.
    #[schema(minimum = 1)]
    time_limit_s: Option<u32>,
}
