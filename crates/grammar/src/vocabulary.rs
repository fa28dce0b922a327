//! A model's tokens in the compiler's form.

use std::sync::Arc;

use llguidance::toktrie::{ApproximateTokEnv, TokEnv, TokRxInfo, TokTrie};

use crate::ConstraintError;

/// The text that a token adds to an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// No text: a control token, or unused. Constrained answers contain none, except those that end
    /// them.
    Hidden,
}

/// Builds the compiler's vocabulary from `tokens` by id; `ends` are those that end an answer.
pub(crate) fn environment<'a>(
    tokens: impl Iterator<Item = Token<'a>>,
    ends: &[u32],
) -> Result<TokEnv, ConstraintError> {
    // A token without bytes is in no mask.
    let words: Vec<Vec<u8>> = tokens
        .map(|token| match token {
            // The compiler takes this first byte, which UTF-8 never uses, as the mark of a special token.
            Token::Bytes([TokTrie::SPECIAL_TOKEN_MARKER, ..]) | Token::Hidden => Vec::new(),
            Token::Bytes(bytes) => bytes.to_vec(),
        })
        .collect();
    let refused = |problem: &str| {
        Err(ConstraintError::new(format!("constraints are not available: {problem}")))
    };
    let Ok(vocab_size) = u32::try_from(words.len()) else {
        return refused("the vocabulary is too large");
    };
    let Some(&end) = ends.first().filter(|_| ends.iter().all(|end| *end < vocab_size)) else {
        return refused("the vocabulary has no token that ends an answer");
    };
    let trie = TokTrie::from(&TokRxInfo::new(vocab_size, end), &words).with_eos_tokens(ends);
    // An answer may be tokenized in any way: the model, not the grammar, decides.
    Ok(Arc::new(ApproximateTokEnv::new(trie)))
}
