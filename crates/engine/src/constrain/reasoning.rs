//! Reasoning before a constrained answer: the constraint applies after `</think>`.

use chat::Constraint;
use grammar::ConstraintError;

use super::{Constrained, Constraints};
use crate::sample::AllowedTokens;
use crate::text::{AnswerStart, THINK, THINK_END, Tokenizer};

/// The state of a sequence's reasoning.
#[derive(Debug)]
pub(crate) struct Reasoning {
    /// Constrains the answer to the opening tag, until that is complete. `None` from then on, and if the prompt
    /// has the tag.
    opening: Option<Constrained>,
    /// The last bytes of the reasoning, at most as long as the closing tag.
    tail: String,
    tokenizer: Tokenizer,
    /// The tokens that may come next.
    allowed: Vec<u32>,
    /// The length of the tag's prefix at the end of the tail, for which `allowed` was computed.
    begun: usize,
}

impl Reasoning {
    /// Creates the state before the first token of an answer that begins after reasoning.
    ///
    /// # Errors
    /// Returns an error if the opening tag can't be compiled to a constraint.
    pub(crate) fn begin(
        start: AnswerStart,
        constraints: &Constraints,
        tokenizer: &Tokenizer,
    ) -> Result<Self, ConstraintError> {
        let tag = Constraint::Choice(vec![THINK.to_owned()]);
        let opening = match start {
            AnswerStart::BeforeReasoning => Some(constraints.begin(&tag, tokenizer)?),
            AnswerStart::AtFirstToken | AnswerStart::InsideReasoning => None,
        };
        let tokenizer = tokenizer.clone();
        let allowed = tokens_after(0, &tokenizer);
        Ok(Self { opening, tail: String::new(), tokenizer, allowed, begun: 0 })
    }

    /// Returns the tokens that may come next.
    ///
    /// # Errors
    /// Returns the errors of [`Constrained::allowed`].
    pub(crate) fn allowed(&mut self) -> Result<AllowedTokens<'_>, ConstraintError> {
        match &mut self.opening {
            Some(opening) => opening.allowed(),
            None => Ok(AllowedTokens::new(&self.allowed)),
        }
    }

    /// Records a sampled token and the text that it completes. Returns whether reasoning ends with it.
    ///
    /// # Errors
    /// Returns the errors of [`Constrained::accept`].
    pub(crate) fn accept(&mut self, token: u32, text: &str) -> Result<bool, ConstraintError> {
        if let Some(opening) = &mut self.opening {
            if opening.accept(token)? {
                self.opening = None;
            }
            return Ok(false);
        }
        self.tail.push_str(text);
        if self.tail.contains(THINK_END) {
            return Ok(true);
        }
        let mut cut = self.tail.len().saturating_sub(THINK_END.len());
        while !self.tail.is_char_boundary(cut) {
            cut -= 1;
        }
        self.tail.drain(..cut);
        let begun = (1..THINK_END.len()).rev().find(|end| self.tail.ends_with(&THINK_END[..*end]));
        let begun = begun.unwrap_or(0);
        if begun != self.begun {
            self.allowed = tokens_after(begun, &self.tokenizer);
            self.begun = begun;
        }
        Ok(false)
    }
}

/// Returns the tokens that may follow after the first `begun` bytes of `</think>`: all but end tokens, and those
/// that close the reasoning and continue, since the constraint would not see the rest of such a token.
fn tokens_after(begun: usize, tokenizer: &Tokenizer) -> Vec<u32> {
    let (tag, rest) = (THINK_END.as_bytes(), &THINK_END.as_bytes()[begun..]);
    let goes_on = |bytes: &[u8]| {
        let closes = bytes.len() > rest.len() && begun > 0 && bytes.starts_with(rest);
        closes
            || bytes
                .windows(tag.len())
                .position(|window| window == tag)
                .is_some_and(|at| at + tag.len() < bytes.len())
    };
    let mut allowed = vec![u32::MAX; tokenizer.vocabulary().len().div_ceil(32)];
    let mut forbid = |token: usize| {
        if let Some(word) = allowed.get_mut(token / 32) {
            *word &= !(1 << (token % 32));
        }
    };
    for (token, (bytes, _)) in tokenizer.pieces().enumerate() {
        if goes_on(bytes) {
            forbid(token);
        }
    }
    tokenizer.ends().iter().for_each(|end| forbid(*end as usize));
    allowed
}
