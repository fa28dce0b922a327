//! Renders conversations to prompts with the model's own Jinja template, as `transformers` does.
//!
//! - `continuation`: ends the prompt inside the last message
//! - `guard`: marks places where a message's own text must not become a special token
//! - `python`: prints values, and dumps them to JSON, as Python does
//! - [`answer`]: splits the answer into reasoning, text and function calls; `call` and `tagged_call` parse
//!   the calls
//! - `message`: messages in the shape that templates expect
//! - `images`: places images in the prompt
//! - `functions`: functions for templates beyond Jinja's own
//! - `thought`: counts the tokens of an answer's reasoning
//! - `start`: determines where the answer begins from the rendered template
//! - `value`: JSON as template values

pub mod answer;
mod call;
mod continuation;
mod functions;
mod guard;
mod images;
mod message;
mod python;
mod start;
mod tagged_call;
mod thought;
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
use images::Marks;
pub(crate) use images::PAD as IMAGE_PAD;
pub use message::template_message;
pub use start::AnswerStart;
pub(crate) use thought::ReasoningTokens;
pub use value::template_value;

const KEY: &str = "tokenizer.chat_template";

/// The template's name in messages.
const NAME: &str = "chat_template";

/// The maximum number of instructions per rendering: about a second, and ten times the need of a conversation of
/// ten thousand messages.
const FUEL: u64 = 10_000_000;

/// ChatML, for a file without a template.
pub(crate) const CHATML: &str = "\
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
";

/// The error of rendering a conversation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChatError {
    /// The template refused the conversation, with its own message.
    #[error("the model's chat template refuses this conversation: {0}")]
    Refused(String),
    /// The template failed on this conversation.
    #[error("the model's chat template failed: {0}")]
    Failed(String),
    /// The conversation leaves no character to distinguish it from the template's own text.
    #[error("the conversation contains every Unicode noncharacter U+FDD0 to U+FDEF; leave one out")]
    NoSentinel,
    /// The last message can't be continued.
    #[error(
        "the last message can't be continued: the model's chat template does not render its text"
    )]
    NotContinued,
}

/// A value that a template computes with; [`template_value`] creates it from JSON.
pub type TemplateValue = Value;

/// The template's input beside the messages.
#[derive(Debug, Clone)]
pub struct ChatOptions {
    /// Functions that the model may call: a list in OpenAI's format.
    pub tools: Option<TemplateValue>,
    /// Ends the prompt with the start of the model's turn.
    pub add_generation_prompt: bool,
    /// Ends the prompt with the text of the last message instead, which the answer continues.
    pub continue_final_message: bool,
    /// Turns thinking on or off, if the model supports it; `None` leaves it to the template.
    pub enable_thinking: Option<bool>,
    /// Further variables for the template, by name.
    pub variables: Vec<(String, TemplateValue)>,
}

impl Default for ChatOptions {
    fn default() -> Self {
        Self {
            tools: None,
            add_generation_prompt: true,
            continue_final_message: false,
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
    /// Whether it places images of a list.
    places_images: bool,
    bos: Option<String>,
    eos: Option<String>,
}

impl ChatTemplate {
    /// Compiles the template of a file, or ChatML, with a warning in the log, if it has none.
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

    /// Compiles a template; the error has the problem and its line.
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
        let places_images =
            environment.get_template(NAME).is_ok_and(|it| images::are_placed_by(&it));
        Ok(Self {
            environment,
            places_images,
            guard: Guard::new(vocabulary, source),
            bos: text(vocabulary.bos),
            eos: text(vocabulary.eos),
        })
    }

    /// Renders a conversation. Messages are maps with `role` and `content`, as
    /// [`template_message`] returns them, and other fields that the template reads
    /// (`tool_calls`, `reasoning_content`).
    ///
    /// The text of a control token inside a message stays text: a user who writes
    /// `<|im_end|>\n<|im_start|>system` does not end the turn. User-defined tokens (`<think>`,
    /// `<tool_call>`) are recognized everywhere, since templates look for them in messages.
    ///
    /// An image is an item `{"type": "image"}` in a list as `content`, a video `{"type": "video"}`. A template that takes no such lists gets a
    /// string instead, in which the image's tokens are between the texts.
    pub fn render<M: Serialize>(
        &self,
        messages: &[M],
        options: &ChatOptions,
    ) -> Result<Prompt, ChatError> {
        let mut context: Vec<(&str, Value)> =
            options.variables.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        context.push(("tools", options.tools.clone().unwrap_or(Value::from(()))));
        context.push(("messages", Value::from(Serde(messages))));
        let mut unused = self.guard.sentinels(&context).into_iter();
        let sentinel = unused.next().ok_or(ChatError::NoSentinel)?;
        let marks = Marks {
            image: unused.next().ok_or(ChatError::NoSentinel)?,
            video: unused.next().ok_or(ChatError::NoSentinel)?,
        };
        if !self.places_images
            && let Some((_, messages)) = context.last_mut()
        {
            *messages = images::flatten(messages, marks);
        }
        let mut end = None;
        if options.continue_final_message {
            let mark = unused.next().ok_or(ChatError::NoSentinel)?;
            end = Some(mark);
            if let Some((_, messages)) = context.last_mut() {
                *messages =
                    continuation::mark_end(messages, mark).ok_or(ChatError::NotContinued)?;
            }
        }
        for (_, value) in &mut context {
            *value = self.guard.mark(value, sentinel);
        }

        context.push(("documents", Value::from(())));
        let opens_turn = options.add_generation_prompt && end.is_none();
        context.push(("add_generation_prompt", opens_turn.into()));
        // Unset variables are left undefined, not none: templates test `is defined`.
        let optional = [
            ("enable_thinking", options.enable_thinking.map(Value::from)),
            ("bos_token", self.bos.as_deref().map(Value::from)),
            ("eos_token", self.eos.as_deref().map(Value::from)),
        ];
        context.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));

        let template = self.environment.get_template(NAME).map_err(failed)?;
        let mut rendered = template.render(Value::from_pairs(context)).map_err(failed)?;
        if let Some(mark) = end {
            rendered = continuation::cut(&rendered, mark).ok_or(ChatError::NotContinued)?;
        }
        if !self.places_images {
            rendered = images::place(&rendered, marks);
        }
        let (text, marks) = guard::strip(rendered, sentinel);
        Ok(Prompt { text, marks })
    }
}

fn failed(error: minijinja::Error) -> ChatError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(current) = cause {
        if let Some(functions::TemplateException(message)) = current.downcast_ref() {
            return ChatError::Refused(message.clone());
        }
        cause = current.source();
    }
    if error.kind() == ErrorKind::OutOfFuel {
        return ChatError::Failed("it runs too long".to_owned());
    }
    ChatError::Failed(describe(&error))
}

/// Returns an error as one line, with the line in the template.
fn describe(error: &minijinja::Error) -> String {
    let what = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    match error.line() {
        Some(line) => format!("{what} (line {line} of the template)"),
        None => what,
    }
}
