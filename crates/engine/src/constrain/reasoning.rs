//! Reasoning before a constrained answer: the constraint applies after `</think>`.

use grammar::{Constraint, ConstraintError};

use super::{Constrained, Constraints};
use crate::sample::AllowedTokens;
use crate::text::{THINK, THINK_END, Tokenizer};

/// The state of a sequence's reasoning.
#[derive(Debug)]
pub(crate) struct Reasoning {
    /// Constrains the answer to the opening tag, until that is complete. `None` from then on, and if the prompt
    /// has the tag.
    opening: Option<Constrained>,
    /// The last bytes of the reasoning, at most as long as the closing tag.
    tail: String,
    /// The mask of all tokens except those that end an answer.
    going_on: Vec<u32>,
}

impl Reasoning {
    /// Creates the state before the first token. `is_open` is whether the prompt ends inside reasoning, after the
    /// opening tag.
    ///
    /// # Errors
    /// If the opening tag cannot be compiled to a constraint.
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

    /// Returns the tokens that may come next.
    ///
    /// # Errors
    /// As [`Constrained::allowed`].
    pub(crate) fn allowed(&mut self) -> Result<AllowedTokens<'_>, ConstraintError> {
        match &mut self.opening {
            Some(opening) => opening.allowed(),
            None => Ok(AllowedTokens::new(&self.going_on)),
        }
    }

    /// Records a sampled token and the text that it completes. Returns whether reasoning ends with it.
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
