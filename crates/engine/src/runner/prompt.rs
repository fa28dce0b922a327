//! Converts a request's input to tokens, on the caller's thread.

use chat::{Message, Number, Sampling};

use super::vision::Vision;
use crate::api::{EmbedRequest, GenerateError, Input, Request};
use crate::architecture::ModelConfig;
use crate::injected::Injected;
use crate::text::{AnswerStart, ChatOptions, ChatTemplate, Tokenizer, template_message};

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
    /// Reads the prompt of a request.
    pub(super) fn read(&self, request: &Request) -> Result<ReadPrompt, GenerateError> {
        check_sampling(&request.sampling, self.config.vocab)?;
        if request.max_tokens == 0 {
            return Err(invalid("max_tokens is 0; set it to at least 1"));
        }
        let (tokens, start) = self.prompt(request)?;
        let end = &tokens[tokens.len().saturating_sub(MAX_OPENING_TOKENS)..];
        let start = start.unwrap_or_else(|| AnswerStart::of(&self.tokenizer.decode(end)));
        let (prompt_tokens, context_length) = (tokens.len(), self.context_length);
        if prompt_tokens >= context_length {
            return Err(GenerateError::ContextLengthExceeded { prompt_tokens, context_length });
        }
        let injected = self.injected(&request.input, tokens.len())?;
        let max_tokens = request.max_tokens.min(context_length - prompt_tokens);
        Ok(ReadPrompt { tokens, injected, max_tokens, start })
    }

    /// Returns the number of tokens of a request's prompt, even if they do not fit into the context.
    pub(super) fn count(&self, request: &Request) -> Result<usize, GenerateError> {
        Ok(self.prompt(request)?.0.len())
    }

    /// Returns the tokens of a request's prompt, and where the answer begins if the template shows it.
    fn prompt(&self, request: &Request) -> Result<(Vec<u32>, Option<AnswerStart>), GenerateError> {
        if self.embedding_length.is_some() {
            return Err(invalid("this is an embedding model: it writes no text; choose another"));
        }
        let (tokens, start) = match (&request.input, &request.constraint) {
            (Input::Chat(messages), Some(constraint)) if !constraint.allows_reasoning() => {
                let rendered = self
                    .template
                    .render_constrained(&to_template_messages(messages)?, &request.chat);
                let (prompt, start) = rendered.map_err(invalid)?;
                (self.tokenizer.encode_prompt(&prompt).map_err(invalid)?, Some(start))
            }
            (input, _) => (self.tokens(input, &request.chat)?, None),
        };
        self.check(&tokens)?;
        Ok((tokens, start))
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
        let tokens = match &request.input {
            Input::Text(text) => self.tokenizer.encode_whole(text).map_err(invalid)?,
            input => self.tokens(input, &ChatOptions::default())?,
        };
        self.check(&tokens)?;
        let (prompt_tokens, context_length) = (tokens.len(), self.context_length);
        if prompt_tokens > context_length {
            return Err(GenerateError::ContextLengthExceeded { prompt_tokens, context_length });
        }
        let injected = self.injected(&request.input, tokens.len())?;
        Ok(ReadText { tokens, injected, dimensions })
    }

    fn vision(&self) -> Result<&Vision, GenerateError> {
        self.vision.as_ref().ok_or_else(|| {
            invalid("this model sees no images here: start it with its projector (mmproj), if it has one")
        })
    }

    /// Returns the checked rows that an input injects into a prompt of `tokens` tokens. Waits until its images are
    /// encoded.
    fn injected(&self, input: &Input, tokens: usize) -> Result<Injected, GenerateError> {
        let rows = match input {
            Input::Injected { rows, .. } => rows.clone(),
            Input::Images { tokens, images } => {
                let vision = self.vision()?;
                vision.encode(images, &vision.expand(tokens, images)?.starts)?
            }
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

    fn tokens(&self, input: &Input, chat: &ChatOptions) -> Result<Vec<u32>, GenerateError> {
        match input {
            Input::Tokens(tokens) | Input::Injected { tokens, .. } => Ok(tokens.clone()),
            Input::Images { tokens, images } => Ok(self.vision()?.expand(tokens, images)?.tokens),
            Input::Text(text) => self.tokenizer.encode(text).map_err(invalid),
            Input::Chat(messages) => {
                let prompt = self
                    .template
                    .render(&to_template_messages(messages)?, chat)
                    .map_err(invalid)?;
                self.tokenizer.encode_prompt(&prompt).map_err(invalid)
            }
        }
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

fn to_template_messages(messages: &[Message]) -> Result<Vec<serde_json::Value>, GenerateError> {
    messages.iter().map(|message| template_message(message).map_err(invalid)).collect()
}

fn invalid(problem: impl ToString) -> GenerateError {
    GenerateError::InvalidRequest(problem.to_string())
}
