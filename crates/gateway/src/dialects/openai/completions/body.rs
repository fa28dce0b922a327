//! Reads the body of a completion.

use protocol::{AnswerForm, ModelId, Prompt, Task, TaskKind};
use serde_json::{Value, json};

use super::super::request::tools::{self, Nesting};
use super::super::request::{self, inputs, sampling};
use super::reply::CompletionReply;
use crate::options::Options;
use crate::order::Order;
use crate::validate::FieldError;
use crate::validate::fields::Fields;

/// Maximum number of prompts in one request.
const MAX_PROMPTS: usize = 32;
/// Default `max_tokens`, as in OpenAI's API.
const DEFAULT_MAX_TOKENS: u32 = 16;
/// Maximum `logprobs`, as in OpenAI's API.
const MAX_LOGPROBS: u64 = 5;

/// A request for completions.
#[derive(Debug)]
pub(super) struct CompletionRequest {
    /// One for each prompt.
    pub(super) orders: Vec<Order>,
    /// The form of the response.
    pub(super) reply: CompletionReply,
    /// Whether the completions are streamed.
    pub(super) stream: bool,
    /// Whether the stream ends with the usage.
    pub(super) include_usage: bool,
}

impl CompletionRequest {
    /// Reads a body whose model is already resolved.
    ///
    /// # Errors
    /// If the body is invalid. Returns all problems at once.
    pub(super) fn read(
        body: &Value,
        model: ModelId,
        options: &Options,
    ) -> Result<Self, Vec<FieldError>> {
        let mut fields = Fields::lenient(body)?;
        let prompts = inputs::read(&mut fields, "prompt", MAX_PROMPTS, options.max_prompt_bytes);
        let logprobs = fields.integer("logprobs", 0..=MAX_LOGPROBS);
        let logprobs = logprobs.and_then(|top| u32::try_from(top).ok());
        let mut sampled =
            sampling::read(&mut fields, &["max_tokens"], options.max_new_tokens, logprobs);
        if fields.get("max_tokens").is_none() {
            sampled.max_tokens = sampled.max_tokens.min(DEFAULT_MAX_TOKENS);
        }
        let constraint = {
            let format = fields.get("response_format");
            tools::format(&mut fields, &["response_format"], format, Nesting::Function)
        };
        let n = fields.integer("n", 1..=u64::from(Task::MAX_N)).unwrap_or(1);
        let best_of = [json!(1), json!(n)];
        let no_suffix = [json!("")];
        request::refuse(
            &mut fields,
            &[
                (
                    "best_of",
                    &best_of,
                    "all n answers are returned, and none is chosen; leave it out",
                ),
                ("suffix", &no_suffix, "the models continue a text and insert none"),
            ],
        );
        let echoes = fields.boolean("echo").unwrap_or(false);
        let echo = if echoes { echo(&mut fields, &prompts, logprobs) } else { Vec::new() };
        let stream = fields.boolean("stream").unwrap_or(false);
        let include_usage = fields.get("stream_options");
        let include_usage = include_usage.and_then(|options| options.get("include_usage"));
        let include_usage = include_usage.and_then(Value::as_bool).unwrap_or(false);
        let n = u8::try_from(n).unwrap_or(Task::MAX_N);
        let base = Order {
            skill: None,
            kind: TaskKind::Generate,
            n,
            prompt: Prompt::default(),
            images: Default::default(),
            pixels: Default::default(),
            max_tokens: sampled.max_tokens,
            stop: sampled.stop,
            sampling: sampled.sampling,
            form: AnswerForm { constraint, ..AnswerForm::default() },
            model: model.clone(),
            user_id: request::user(&mut fields),
            webhook: None,
            queueing: request::queueing(&mut fields, options),
        };
        let orders = prompts.into_iter().map(|prompt| Order { prompt, ..base.clone() }).collect();
        let reply = CompletionReply { model, n: n.into(), echo };
        fields.finish(Some(Self { orders, reply, stream, include_usage }))
    }
}

/// Returns the texts that precede the completions of each prompt.
fn echo(fields: &mut Fields<'_>, prompts: &[Prompt], logprobs: Option<u32>) -> Vec<String> {
    if logprobs.is_some() {
        let message = "not supported: not together with logprobs, which the prompt has none of";
        fields.problem("echo", "unsupported_parameter", message);
    }
    let mut texts = Vec::with_capacity(prompts.len());
    for prompt in prompts {
        match prompt {
            Prompt::Raw(text) => texts.push(text.clone()),
            _ => {
                let message = "not supported: only prompts of text are echoed, not token ids";
                fields.problem("echo", "unsupported_parameter", message);
                break;
            }
        }
    }
    texts
}
