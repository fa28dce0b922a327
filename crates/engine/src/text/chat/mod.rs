//! Conversations to prompts, by the model's own Jinja template, as `transformers` renders it.
//!
//! - `guard`: marks where a message's own text must not become a special token
//! - `python`: values printed and dumped to JSON as Python does it
//! - [`answer`]: splits what comes back into reasoning, text, calls of functions; `call` reads the calls
//! - `functions`: what templates may call beside Jinja's own
//! - `start`: where the answer begins, which the rendered template decides
//! - `value`: JSON as templates compute with it

pub mod answer;
mod call;
mod functions;
mod guard;
mod python;
mod start;
mod value;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, ErrorKind, Value};
use serde::Serialize;

use super::prompt::Prompt;
use super::tokenizer::Tokenizer;
use crate::LoadError;
use crate::gguf::{GgufError, GgufFile, Metadata};
use guard::Guard;
pub use start::AnswerStart;
pub use value::template_value;

const KEY: &str = "tokenizer.chat_template";

/// How the template is called in messages.
const NAME: &str = "chat_template";

/// Instructions that one rendering may take: about a second, and ten times what a conversation of
/// ten thousand messages needs.
const FUEL: u64 = 10_000_000;

/// ChatML, for a file that brings no template.
pub(crate) const CHATML: &str = "\
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
";

/// Why a conversation could not be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChatError {
    /// The template itself refused, in its own words: the conversation is not what it takes.
    #[error("the model's chat template refuses this conversation: {0}")]
    Refused(String),
    /// The template failed on this conversation.
    #[error("the model's chat template failed: {0}")]
    Failed(String),
    /// The conversation cannot be told apart from the template's own text.
    #[error("the conversation contains every Unicode noncharacter U+FDD0 to U+FDEF; leave one out")]
    NoSentinel,
}

/// What a template computes with; [`template_value`] makes it of JSON.
pub type TemplateValue = Value;

/// What a template is given beside the messages.
#[derive(Debug, Clone)]
pub struct ChatOptions {
    /// Functions the model may call: a list in OpenAI's shape.
    pub tools: Option<TemplateValue>,
    /// Ends the prompt with the beginning of the model's turn.
    pub add_generation_prompt: bool,
    /// Asks a model that can think to do so or not; `None` leaves it to the template.
    pub enable_thinking: Option<bool>,
    /// Further variables that the template may read, by name.
    pub variables: Vec<(String, TemplateValue)>,
}

impl Default for ChatOptions {
    fn default() -> Self {
        Self {
            tools: None,
            add_generation_prompt: true,
            enable_thinking: None,
            variables: Vec::new(),
        }
    }
}

/// A model's chat template, compiled.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    guard: Guard,
    bos: Option<String>,
    eos: Option<String>,
}

impl ChatTemplate {
    /// The template of a file; ChatML, with a warning in the log, if it has none.
    pub fn from_gguf(file: &GgufFile, tokenizer: &Tokenizer) -> Result<Self, LoadError> {
        Self::from_metadata(file.all_metadata(), tokenizer)
    }

    pub(crate) fn from_metadata(file: &Metadata, tokenizer: &Tokenizer) -> Result<Self, LoadError> {
        let source = match file.get::<&str>(KEY)? {
            Some(source) => source,
            None => {
                tracing::warn!("{} has no chat template ({KEY}): using ChatML", file.label());
                CHATML
            }
        };
        Self::new(source, tokenizer).map_err(|problem| {
            file.error(GgufError::WrongValue {
                key: KEY.to_owned(),
                expected: "a Jinja template".to_owned(),
                found: problem,
            })
        })
    }

    /// Compiles a template; the error says what is wrong and in which line.
    pub fn new(source: &str, tokenizer: &Tokenizer) -> Result<Self, String> {
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        let mut environment = Environment::new();
        environment.set_syntax(syntax.map_err(|error| error.to_string())?);
        environment.set_fuel(Some(FUEL));
        functions::install(&mut environment);
        environment
            .add_template_owned(NAME, functions::prepare(source))
            .map_err(|error| describe(&error))?;
        let vocabulary = tokenizer.vocabulary();
        let text = |id: Option<u32>| id.and_then(|id| vocabulary.text(id)).map(str::to_owned);
        Ok(Self {
            environment,
            guard: Guard::new(vocabulary, source),
            bos: text(vocabulary.bos),
            eos: text(vocabulary.eos),
        })
    }

    /// Renders a conversation. Messages are maps with `role` and `content`, as
    /// [`api::Message`](crate::api::Message) is, and whatever else the template reads
    /// (`tool_calls`, `reasoning_content`).
    ///
    /// The text of a control token inside a message stays text: a user who writes
    /// `<|im_end|>\n<|im_start|>system` does not end the turn. User-defined tokens (`<think>`,
    /// `<tool_call>`) count wherever they stand, for templates look for them in messages.
    pub fn render<M: Serialize>(
        &self,
        messages: &[M],
        options: &ChatOptions,
    ) -> Result<Prompt, ChatError> {
        let mut context: Vec<(&str, Value)> =
            options.variables.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        context.push(("messages", Value::from(Serde(messages))));
        context.push(("tools", options.tools.clone().unwrap_or(Value::from(()))));
        let sentinel = self.guard.sentinel(&context).ok_or(ChatError::NoSentinel)?;
        for (_, value) in &mut context {
            *value = self.guard.mark(value, sentinel);
        }

        context.push(("documents", Value::from(())));
        context.push(("add_generation_prompt", options.add_generation_prompt.into()));
        // What is not known is left undefined, not none: templates ask `is defined`.
        let optional = [
            ("enable_thinking", options.enable_thinking.map(Value::from)),
            ("bos_token", self.bos.as_deref().map(Value::from)),
            ("eos_token", self.eos.as_deref().map(Value::from)),
        ];
        context.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));

        let template = self.environment.get_template(NAME).map_err(failed)?;
        let rendered = template.render(Value::from_pairs(context)).map_err(failed)?;
        let (text, marks) = guard::strip(rendered, sentinel);
        Ok(Prompt { text, marks })
    }
}

fn failed(error: minijinja::Error) -> ChatError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(current) = cause {
        if let Some(functions::Raised(message)) = current.downcast_ref() {
            return ChatError::Refused(message.clone());
        }
        cause = current.source();
    }
    if error.kind() == ErrorKind::OutOfFuel {
        return ChatError::Failed("it runs too long".to_owned());
    }
    ChatError::Failed(describe(&error))
}

/// An error in one line, with the template's line.
fn describe(error: &minijinja::Error) -> String {
    let what = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    match error.line() {
        Some(line) => format!("{what} (line {line} of the template)"),
        None => what,
    }
}
