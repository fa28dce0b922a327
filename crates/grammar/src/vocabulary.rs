//! A model's tokens, as the compiler knows them.

use std::sync::Arc;

use llguidance::toktrie::{ApproximateTokEnv, TokEnv, TokRxInfo, TokTrie};

use crate::ConstraintError;

/// What a token may add to an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// Nothing: it steers the model, or is not used. No constrained answer holds it, but for those
    /// that end it.
    Hidden,
}

/// `tokens` by id; `ends` are those that end an answer.
pub(crate) fn environment<'a>(
    tokens: impl Iterator<Item = Token<'a>>,
    ends: &[u32],
) -> Result<TokEnv, ConstraintError> {
    // What has no bytes is in no mask.
    let words: Vec<Vec<u8>> = tokens
        .map(|token| match token {
            // The compiler takes this first byte, which no UTF-8 has, for the mark of a special token.
            Token::Bytes([TokTrie::SPECIAL_TOKEN_MARKER, ..]) | Token::Hidden => Vec::new(),
            Token::Bytes(bytes) => bytes.to_vec(),
        })
        .collect();
    let refused = |problem: &str| Err(ConstraintError::new(format!("no constraints: {problem}")));
    let Ok(vocab_size) = u32::try_from(words.len()) else {
        return refused("the vocabulary is too large");
    };
    let Some(&end) = ends.first().filter(|_| ends.iter().all(|end| *end < vocab_size)) else {
        return refused("the vocabulary has no token that ends an answer");
    };
    let trie = TokTrie::from(&TokRxInfo::new(vocab_size, end), &words).with_eos_tokens(ends);
    // Answers may be cut into tokens in any way: the model, not the grammar, says how.
    Ok(Arc::new(ApproximateTokEnv::new(trie)))
}
