//! Reasoning before an answer that keeps a constraint: the constraint begins after `</think>`.

use grammar::{Constraint, ConstraintError};

use super::{Constrained, Constraints};
use crate::sample::AllowedTokens;
use crate::text::{THINK, THINK_END, Tokenizer};

/// What a model thinks before it answers.
#[derive(Debug)]
pub(crate) struct Reasoning {
    /// The tag that opens it, until that is written; none where the prompt has it.
    opening: Option<Constrained>,
    /// The end of what was written within it, as long as the tag that closes it.
    tail: String,
    /// All tokens but those that end an answer.
    going_on: Vec<u32>,
}

impl Reasoning {
    /// Before the first token. `is_open` says that the prompt ends within it.
    ///
    /// # Errors
    /// Why the model can't be held to write the tag.
    pub(crate) fn begin(
        is_open: bool,
        constraints: &Constraints,
        tokenizer: &Tokenizer,
    ) -> Result<Self, ConstraintError> {
        let tag = Constraint::Choice(vec![THINK.to_owned()]);
        let opening = if is_open { None } else { Some(constraints.begin(&tag, tokenizer)?) };
        let mut going_on = vec![u32::MAX; tokenizer.vocabulary().len().div_ceil(32)];
        for end in tokenizer.ends() {
            if let Some(word) = going_on.get_mut(*end as usize / 32) {
                *word &= !(1 << (end % 32));
            }
        }
        Ok(Self { opening, tail: String::new(), going_on })
    }

    /// Which tokens may come next.
    ///
    /// # Errors
    /// As [`Constrained::allowed`].
    pub(crate) fn allowed(&mut self) -> Result<AllowedTokens<'_>, ConstraintError> {
        match &mut self.opening {
            Some(opening) => opening.allowed(),
            None => Ok(AllowedTokens::new(&self.going_on)),
        }
    }

    /// Takes a token that was drawn, and the text that it made certain; true if reasoning ends with it.
    ///
    /// # Errors
    /// As [`Constrained::accept`].
    pub(crate) fn accept(&mut self, token: u32, text: &str) -> Result<bool, ConstraintError> {
        if let Some(opening) = &mut self.opening {
            if opening.accept(token)? {
                self.opening = None;
            }
            return Ok(false);
        }
        self.tail.push_str(text);
        let is_closed = self.tail.contains(THINK_END);
        let mut cut = self.tail.len().saturating_sub(THINK_END.len());
        while !self.tail.is_char_boundary(cut) {
            cut -= 1;
        }
        self.tail.drain(..cut);
        Ok(is_closed)
    }
}
