//! The body of `POST /generate`.

use serde_json::Value;
use utoipa::ToSchema;

/// A prompt and options of the answer. Unknown fields are refused; `null` counts as absent.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)] // documents what `validate::generate` reads
pub(crate) struct GenerateBody {
    /// The text of the user, which is put into the model's chat template. Its length is limited in
    /// bytes of UTF-8, and in tokens by the model's context.
    #[schema(min_length = 1, pattern = r"\S", example = "Why is the sky blue?", nullable = false)]
    prompt: Option<String>,
    /// A conversation to continue, instead of `prompt`: messages in OpenAI's format, with the roles
    /// system, developer, user, assistant and tool.
    #[schema(value_type = Object, required = false)]
    // spelled out in `document`
    messages: Option<Value>,
    /// Images that belong to `prompt`, before its text: each as a data URL, the id of a file or blob, or (if the server
    /// downloads images) a URL. With `raw`, each `<|image_pad|>` of the prompt takes the next one.
    #[schema(value_type = Object, required = false)]
    // spelled out in `document`
    images: Option<Value>,
    /// Videos that belong to `prompt`, in the same forms. Not with `raw`.
    #[schema(value_type = Object, required = false)]
    // spelled out in `document`
    videos: Option<Value>,
    /// The fewest pixels to which an image is resized.
    #[schema(minimum = 1, example = 65536)]
    min_pixels: Option<u32>,
    /// The most pixels to which an image is resized.
    #[schema(minimum = 1, example = 1003520)]
    max_pixels: Option<u32>,
    /// The maximum number of tokens to generate; -1 means the largest allowed number.
    #[schema(minimum = 1, example = 512)]
    max_tokens: Option<u32>,
    /// Maps token ids to values that are added to their logits: -100 forbids a token, 100 forces it.
    #[schema(value_type = Object, required = false)]
    logit_bias: Option<Value>,
    /// Returns the log probability of each token of the answer.
    #[schema(default = false)]
    logprobs: Option<bool>,
    /// The number of most likely tokens to return at each position; needs `logprobs`. An answer may have
    /// 16384 logprobs: `max_tokens * (1 + top_logprobs)` must not be more.
    #[schema(minimum = 0, default = 0, example = 5)]
    top_logprobs: Option<u32>,
    /// Texts that end the answer, without being part of it: a string or up to 16, each of 1 to 256 bytes.
    #[schema(value_type = Object, required = false)]
    // its alternatives are spelled out in `document`
    stop: Option<Value>,
    /// The format of the answer: text, any JSON object, or JSON that matches a schema.
    #[schema(value_type = Object, required = false)]
    // its alternatives are spelled out in `document`
    response_format: Option<Value>,
    /// A regular expression that the whole answer matches (no look-around, no back-references).
    #[schema(min_length = 1, example = "[0-9]{3}-[a-z]+")]
    regex: Option<String>,
    /// The texts of which the answer is one.
    choice: Option<Vec<String>>,
    /// Functions that the model may call, in OpenAI's format.
    #[schema(value_type = Object, required = false)]
    // spelled out in `document`
    tools: Option<Value>,
    /// Whether the model calls a function: `auto`, `none`, `required`, or a function by name.
    #[schema(value_type = Object, required = false)]
    // spelled out in `document`
    tool_choice: Option<Value>,
    /// Turns thinking on or off, for models that support it. The result then has it apart, in `reasoning`.
    enable_thinking: Option<bool>,
    /// The model, which a live worker serves, or the default model.
    model: Option<String>,
    /// Passes the prompt to the model as it is, without the chat template.
    #[schema(default = false)]
    raw: Option<bool>,
    /// A label of the end user. It is stored with the task.
    #[schema(max_length = 256, example = "user-17")]
    user_id: Option<String>,
    /// The URL that is notified of the task's end by a signed POST: http or https, a public host, no user name, at
    /// most 2048 bytes.
    #[schema(format = "uri", example = "https://example.org/hook")]
    webhook_url: Option<String>,
    /// The priority. Lanes are served by weight, so tasks of low priority wait longer, but not indefinitely.
    #[schema(default = "normal", example = "normal")]
    priority: Option<String>,
    /// The number of seconds before which the task does not start.
    #[schema(minimum = 0, example = 60)]
    delay_s: Option<f64>,
    /// The time before which the task does not start: RFC 3339, or seconds since 1970. Excludes `delay_s`.
    #[schema(value_type = Object, required = false)]
    // its alternatives are spelled out in `document`
    run_at: Option<Value>,
    /// The number of seconds after which the task fails as `expired` if no worker has started it.
    #[schema(minimum = 1, example = 600)]
    expires_in_s: Option<u32>,
    /// Data that is stored with the task and returned by `GET /status`.
    #[schema(value_type = Object, required = false)]
    metadata: Option<Value>,
    /// The number of seconds for which the result is kept.
    #[schema(minimum = 1)]
    result_ttl_s: Option<u32>,
    /// The maximum compute time of an attempt, in seconds.
    #[schema(minimum = 1)]
    time_limit_s: Option<u32>,
    /// The number of failed attempts after which the task fails: an attempt fails by an error that may pass, or because its
    /// worker is lost.
    #[schema(minimum = 1)]
    max_attempts: Option<u32>,
    /// The number of seconds between the first failed attempt and the next one, minus a random part of up to one half.
    /// It doubles with each further failure, up to a minute, or stays if it is longer. 0: the task is retried at once.
    /// After the first lost worker the task is retried at once in any case.
    #[schema(minimum = 0)]
    retry_backoff_s: Option<u32>,
}
