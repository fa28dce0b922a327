//! Converts a request's input to tokens, on the caller's thread.

use chat::{Constraint, Message, Number, Sampling};

use super::vision::Vision;
use crate::api::{EmbedRequest, GenerateError, Input, Request};
use crate::architecture::ModelConfig;
use crate::injected::Injected;
use crate::text::{AnswerStart, ChatOptions, ChatTemplate, Tokenizer, template_message};
use crate::vision::Visual;
use crate::vision::prompt::Expanded;

/// The maximum number of tokens that `<think>` and the text after it may be split into.
const MAX_OPENING_TOKENS: usize = 8;

/// A request's tokenized prompt.
#[derive(Debug)]
pub(super) struct ReadPrompt {
    pub(super) tokens: Vec<u32>,
    /// The rows that replace embeddings of some tokens.
    pub(super) injected: Injected,
    /// The maximum number of tokens to generate.
    pub(super) max_tokens: usize,
    /// Where the answer begins, which is where a constraint starts to apply.
    pub(super) start: AnswerStart,
}

/// A tokenized text to embed.
#[derive(Debug)]
pub(super) struct ReadText {
    pub(super) tokens: Vec<u32>,
    /// The rows that replace embeddings of some tokens.
    pub(super) injected: Injected,
    /// The requested length of the embedding.
    pub(super) dimensions: usize,
}

/// Converts requests to tokens, and refuses those that the model can't run.
#[derive(Debug)]
pub(super) struct PromptReader {
    /// The model's name in messages.
    pub(super) name: String,
    pub(super) tokenizer: Tokenizer,
    pub(super) template: ChatTemplate,
    pub(super) config: ModelConfig,
    /// The length of an embedding, if the model computes them.
    pub(super) embedding_length: Option<usize>,
    pub(super) context_length: usize,
    /// `None` if the engine sees no images.
    pub(super) vision: Option<Vision>,
}

impl PromptReader {
    /// Reads the prompt of a request. Waits until its images are encoded, or `given_up` returns true.
    pub(super) fn read(
        &self,
        request: &Request,
        given_up: &dyn Fn() -> bool,
    ) -> Result<ReadPrompt, GenerateError> {
        check_sampling(&request.sampling, self.config.vocab)?;
        if request.max_tokens == 0 {
            return Err(invalid("max_tokens is 0; set it to at least 1"));
        }
        let (Expanded { tokens, starts }, start) = self.prompt(request)?;
        let end = &tokens[tokens.len().saturating_sub(MAX_OPENING_TOKENS)..];
        let start = start.unwrap_or_else(|| AnswerStart::of(&self.tokenizer.decode(end)));
        let (prompt_tokens, context_length) = (tokens.len(), self.context_length);
        if prompt_tokens >= context_length {
            return Err(GenerateError::ContextLengthExceeded { prompt_tokens, context_length });
        }
        let injected = self.injected(&request.input, tokens.len(), &starts, given_up)?;
        let max_tokens = request.max_tokens.min(context_length - prompt_tokens);
        Ok(ReadPrompt { tokens, injected, max_tokens, start })
    }

    /// Returns the number of tokens of a request's prompt, even if they do not fit into the context.
    pub(super) fn count(&self, request: &Request) -> Result<usize, GenerateError> {
        Ok(self.prompt(request)?.0.tokens.len())
    }

    /// Returns the tokens of a request's prompt, and where the answer begins if the template shows it.
    fn prompt(&self, request: &Request) -> Result<(Expanded, Option<AnswerStart>), GenerateError> {
        if self.embedding_length.is_some() {
            return Err(invalid("this is an embedding model: it writes no text; choose another"));
        }
        let Some((messages, images)) = conversation(&request.input) else {
            return Ok((self.tokens(&request.input, &request.chat)?, None));
        };
        let allows_reasoning = request.constraint.as_ref().is_none_or(Constraint::allows_reasoning);
        if allows_reasoning {
            return Ok((self.tokens(&request.input, &request.chat)?, None));
        }
        let messages = self.template_messages(messages, images)?;
        let rendered = self.template.render_constrained(&messages, &request.chat);
        let (prompt, start) = rendered.map_err(invalid)?;
        let tokens = self.tokenizer.encode_prompt(&prompt).map_err(invalid)?;
        Ok((self.expand(tokens, images)?, Some(start)))
    }

    /// Reads a text to embed.
    pub(super) fn read_whole(&self, request: &EmbedRequest) -> Result<ReadText, GenerateError> {
        let Some(length) = self.embedding_length else {
            return Err(invalid(
                "this model makes no embeddings; choose an embedding model, such as \
                 Qwen3-Embedding, as a file that tells its pooling type",
            ));
        };
        let dimensions = request.dimensions.unwrap_or(length);
        if !(1..=length).contains(&dimensions) {
            return Err(invalid(format!("dimensions is {dimensions}; set it from 1 to {length}")));
        }
        let Expanded { tokens, starts } = match &request.input {
            Input::Text(text) => {
                self.expand(self.tokenizer.encode_whole(text).map_err(invalid)?, &[])?
            }
            input => self.tokens(input, &ChatOptions::default())?,
        };
        let (prompt_tokens, context_length) = (tokens.len(), self.context_length);
        if prompt_tokens > context_length {
            return Err(GenerateError::ContextLengthExceeded { prompt_tokens, context_length });
        }
        let injected = self.injected(&request.input, tokens.len(), &starts, &|| false)?;
        Ok(ReadText { tokens, injected, dimensions })
    }

    /// Returns the encoder of images.
    ///
    /// # Errors
    /// If the model has none.
    pub(super) fn vision(&self) -> Result<&Vision, GenerateError> {
        self.vision.as_ref().ok_or_else(|| {
            invalid(format!(
                "the model {} takes no images here: start it with its projector (mmproj), if it has one",
                self.name
            ))
        })
    }

    /// Returns the checked rows that an input injects into a prompt of `tokens` tokens, those of its images from
    /// `starts` on. Waits until the images are encoded, or `given_up` returns true.
    fn injected(
        &self,
        input: &Input,
        tokens: usize,
        starts: &[usize],
        given_up: &dyn Fn() -> bool,
    ) -> Result<Injected, GenerateError> {
        let rows = match input {
            Input::Injected { rows, .. } => rows.clone(),
            Input::Images { images, .. } => self.vision()?.encode(images, starts, given_up)?,
            _ => return Ok(Injected::default()),
        };
        let ModelConfig { hidden, deepstack_layers, .. } = self.config;
        Injected::new(rows, tokens, hidden, deepstack_layers).map_err(invalid)
    }

    fn check(&self, tokens: &[u32]) -> Result<(), GenerateError> {
        if tokens.is_empty() {
            return Err(invalid("the input is empty"));
        }
        if let Some(token) = tokens.iter().find(|token| **token as usize >= self.config.vocab) {
            let most = self.config.vocab - 1;
            return Err(invalid(format!("token {token} is unknown; the model's go to {most}")));
        }
        Ok(())
    }

    /// Returns the checked tokens of an input, and where the rows of its images begin.
    fn tokens(&self, input: &Input, chat: &ChatOptions) -> Result<Expanded, GenerateError> {
        let (prompt, images) = match input {
            Input::Images { prompt, images } => (&**prompt, images.as_slice()),
            input => (input, [].as_slice()),
        };
        let tokens = match prompt {
            Input::Tokens(tokens) => tokens.clone(),
            Input::Text(text) => self.tokenizer.encode(text).map_err(invalid)?,
            Input::Chat(messages) => {
                let messages = self.template_messages(messages, images)?;
                let prompt = self.template.render(&messages, chat).map_err(invalid)?;
                self.tokenizer.encode_prompt(&prompt).map_err(invalid)?
            }
            Input::Injected { tokens, .. } if images.is_empty() => {
                self.check(tokens)?;
                return Ok(Expanded { tokens: tokens.clone(), starts: Vec::new() });
            }
            Input::Injected { .. } | Input::Images { .. } => {
                return Err(invalid("a prompt has either images or rows, and its images once"));
            }
        };
        self.expand(tokens, images)
    }

    /// Returns messages in the shape that templates expect. Each image part needs one of `images`.
    fn template_messages(
        &self,
        messages: &[Message],
        images: &[Visual],
    ) -> Result<Vec<serde_json::Value>, GenerateError> {
        let parts = messages.iter().flat_map(|message| &message.parts);
        let places = parts.filter(|part| part.visual().is_some()).count();
        if places > 0 {
            self.vision()?;
        }
        if places != images.len() {
            let given = images.len();
            return Err(invalid(format!(
                "the conversation has places for {places} images, the request has {given} images"
            )));
        }
        Ok(messages.iter().map(template_message).collect())
    }

    /// Checks tokens and replaces the pad of each image by as many as it has rows.
    fn expand(&self, tokens: Vec<u32>, images: &[Visual]) -> Result<Expanded, GenerateError> {
        self.check(&tokens)?;
        if images.is_empty() && self.vision.is_none() {
            return Ok(Expanded { tokens, starts: Vec::new() });
        }
        let encode = |text: &str| self.tokenizer.encode(text).map_err(invalid);
        self.vision()?.expand(&tokens, images, &encode)
    }
}

/// Returns the messages and the images of a conversation; `None` for other inputs.
fn conversation(input: &Input) -> Option<(&[Message], &[Visual])> {
    match input {
        Input::Chat(messages) => Some((messages, &[])),
        Input::Images { prompt, images } => match &**prompt {
            Input::Chat(messages) => Some((messages, images)),
            _ => None,
        },
        _ => None,
    }
}

fn check_sampling(sampling: &Sampling, vocab: usize) -> Result<(), GenerateError> {
    for field in Sampling::FIELDS {
        if let Some(Number::Fraction(number)) = sampling.get(field.name)
            && (number.is_nan() || field.range.check(number.into()).is_err())
        {
            let (name, allowed) = (field.name, field.range.allowed());
            return Err(invalid(format!("{name} is {number}; set it {allowed}")));
        }
    }
    for (token, bias) in &sampling.logit_bias {
        if *token as usize >= vocab {
            let most = vocab - 1;
            let problem = format!("logit_bias has token {token}; the model's go to {most}");
            return Err(invalid(problem));
        }
        if !bias.is_finite() {
            let problem = format!("logit_bias of token {token} is {bias}; set a finite number");
            return Err(invalid(problem));
        }
    }
    if let Some(top) = sampling.logprobs.filter(|top| *top > Sampling::MAX_TOP_LOGPROBS) {
        let most = Sampling::MAX_TOP_LOGPROBS;
        return Err(invalid(format!("logprobs of {top} tokens at each place; at most {most}")));
    }
    Ok(())
}

fn invalid(problem: impl ToString) -> GenerateError {
    GenerateError::InvalidRequest(problem.to_string())
}
