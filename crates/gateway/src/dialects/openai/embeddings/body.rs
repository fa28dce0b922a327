//! Reads the body of a request for embeddings.

use protocol::{AnswerForm, ModelId, Prompt, Sampling, TaskKind};
use serde_json::Value;

use super::super::request::{self, inputs};
use crate::options::Options;
use crate::order::Order;
use crate::validate::fields::Fields;
use crate::validate::{FieldError, echo};

/// Maximum number of inputs, as in OpenAI's API.
const MAX_INPUTS: usize = 2048;
/// Maximum number of dimensions; a model with fewer refuses more.
const MAX_DIMENSIONS: u64 = 65_536;

/// The encoding of embeddings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// As arrays of numbers.
    Float,
    /// As the base64 of 32-bit floats, little-endian.
    Base64,
}

/// A request for embeddings.
#[derive(Debug)]
pub(super) struct EmbeddingRequest {
    pub(super) order: Order,
    pub(super) encoding: Encoding,
}

impl EmbeddingRequest {
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
        let inputs = inputs::read(&mut fields, "input", MAX_INPUTS, options.max_prompt_bytes);
        let encoding = encoding(&mut fields);
        let dimensions = fields.integer("dimensions", 1..=MAX_DIMENSIONS);
        let dimensions = dimensions.and_then(|dimensions| u32::try_from(dimensions).ok());
        let order = Order {
            skill: None,
            kind: TaskKind::Embed { inputs, dimensions },
            n: 1,
            prompt: Prompt::default(),
            images: Default::default(),
            pixels: Default::default(),
            max_tokens: 0,
            stop: Vec::new(),
            sampling: Sampling::default(),
            form: AnswerForm::default(),
            model,
            user_id: request::user(&mut fields),
            webhook: None,
            queueing: request::queueing(&mut fields, options),
        };
        fields.finish(Some(Self { order, encoding }))
    }
}

fn encoding(fields: &mut Fields<'_>) -> Encoding {
    match fields.get("encoding_format").map(Value::as_str) {
        None | Some(Some("float")) => Encoding::Float,
        Some(Some("base64")) => Encoding::Base64,
        Some(other) => {
            let other = other.map(echo).unwrap_or_default();
            let message = format!("must be float or base64, is '{other}'");
            fields.problem("encoding_format", "enum", message);
            Encoding::Float
        }
    }
}
