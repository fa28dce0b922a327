//! Log probabilities of an answer's tokens, in the format of OpenAI's chat completions.

use serde::{Deserialize, Serialize};

use crate::number;

/// The value used for a probability of zero, and the smallest one.
const LEAST: f32 = -9999.0;

/// The log probabilities of an answer's tokens.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Logprobs {
    /// The tokens, in order. Those of a stop string are not among them.
    pub content: Vec<TokenLogprobs>,
}

/// The log probability of one token of the answer, and the most likely alternatives in its position.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TokenLogprobs {
    /// The token of the answer.
    #[serde(flatten)]
    pub drawn: TokenLogprob,
    /// The most likely tokens in its position, most likely first; as many as were requested.
    pub top_logprobs: Vec<TokenLogprob>,
}

/// A token and its log probability.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TokenLogprob {
    /// The token's text, with U+FFFD for incomplete characters.
    #[cfg_attr(feature = "schema", schema(example = " worker"))]
    pub token: String,
    /// The natural logarithm of its probability in the model's own distribution: the softmax of the logits
    /// before bias, penalties, constraint and temperature. At least -9999, which stands for zero probability.
    #[serde(deserialize_with = "number::read_f32")]
    #[cfg_attr(feature = "schema", schema(maximum = 0, example = -0.31))]
    pub logprob: f32,
    /// The token's text as bytes, which may be part of a character. A control token has its name here, though it
    /// adds nothing to the text.
    pub bytes: Vec<u8>,
    /// The token's number in the model's vocabulary. Not stored: `None` outside of the engine.
    #[serde(skip)]
    pub id: Option<u32>,
}

impl TokenLogprob {
    /// Creates a token with the text `bytes`.
    pub fn new(bytes: Vec<u8>, logprob: f32) -> Self {
        let token = String::from_utf8_lossy(&bytes).into_owned();
        // `max` also replaces NaN, which JSON can't represent.
        Self { token, logprob: logprob.max(LEAST), bytes, id: None }
    }

    /// Returns the token with its number in the vocabulary.
    pub fn with_id(self, id: u32) -> Self {
        Self { id: Some(id), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_look_as_openai_writes_them() {
        let logprobs = Logprobs {
            content: vec![TokenLogprobs {
                drawn: TokenLogprob::new("é".into(), -0.25),
                top_logprobs: vec![TokenLogprob::new(vec![0xf0, 0x9f], f32::NEG_INFINITY)],
            }],
        };
        let json = serde_json::to_value(&logprobs).unwrap();
        let expected = serde_json::json!({"content": [{
            "token": "é", "logprob": -0.25, "bytes": [195, 169],
            "top_logprobs": [{"token": "\u{fffd}", "logprob": -9999.0, "bytes": [240, 159]}]
        }]});
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_value::<Logprobs>(json).unwrap(), logprobs);
        assert_eq!(TokenLogprob::new(vec![], f32::NAN).logprob, LEAST);
    }

    #[test]
    fn a_logprob_travels_to_the_bit() {
        for logprob in [-0.1, -1.0e-7, -12.345_678, f32::MIN_POSITIVE] {
            let token =
                TokenLogprobs { drawn: TokenLogprob::new(vec![65], logprob), top_logprobs: vec![] };
            let text = serde_json::to_string(&token).unwrap();
            assert_eq!(serde_json::from_str::<TokenLogprobs>(&text).unwrap(), token, "{text}");
        }
    }
}
