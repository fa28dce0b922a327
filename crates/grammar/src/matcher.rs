//! Follows one answer and says what may come next.

use std::fmt;
use std::sync::Arc;

use llguidance::earley::SlicedBiasComputer;
use llguidance::toktrie::SimpleVob;
use llguidance::{Matcher as Parser, ParserFactory};

use crate::compile::{factory, parser, reason};
use crate::vocabulary::{Token, environment};
use crate::{Constraint, ConstraintError};

/// Compiles constraints for one model's vocabulary. Cheap to clone.
#[derive(Clone)]
pub struct Grammars(Arc<ParserFactory>);

impl Grammars {
    /// For a vocabulary: its tokens by id, and which of them end an answer. Takes a moment for a
    /// large one.
    ///
    /// # Errors
    /// No token ends an answer, or the vocabulary can't be searched.
    pub fn new<'a>(
        tokens: impl Iterator<Item = Token<'a>>,
        ends: &[u32],
    ) -> Result<Self, ConstraintError> {
        let tokens = environment(tokens, ends)?;
        let factory = factory(&tokens, &SlicedBiasComputer::general_slices());
        let unusable = || ConstraintError::new("no constraints: the vocabulary is unusable");
        Ok(Self(Arc::new(factory.ok_or_else(unusable)?)))
    }

    /// Begins an answer that keeps the constraint.
    ///
    /// # Errors
    /// As [`check`](crate::check).
    pub fn begin(&self, constraint: &Constraint) -> Result<Matcher, ConstraintError> {
        let (parser, warnings) = parser(&self.0, constraint)?;
        Ok(Matcher { parser: Parser::new(Ok(parser)), warnings })
    }
}

impl fmt::Debug for Grammars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grammars").finish_non_exhaustive()
    }
}

/// Follows one answer, token by token.
pub struct Matcher {
    parser: Parser,
    warnings: Vec<String>,
}

impl Matcher {
    /// What of the constraint is no constraint, in words for who wrote it.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Which tokens may come next; those that end the answer, where it may end.
    ///
    /// # Errors
    /// The work that a token may cost does not suffice, or the answer has got where nothing may
    /// follow. The matcher is of no use after that.
    pub fn mask(&mut self) -> Result<Mask, ConstraintError> {
        self.parser.compute_mask_or_eos().map(Mask).map_err(|error| failed(&error.to_string()))
    }

    /// Takes the token that came; one that ends the answer is not taken but tells itself.
    ///
    /// # Errors
    /// As [`Self::mask`], or the mask did not have it.
    pub fn accept(&mut self, token: u32) -> Result<(), ConstraintError> {
        self.parser.consume_token(token).map_err(|error| failed(&error.to_string()))
    }

    /// Whether the answer is whole and nothing may follow.
    pub fn is_complete(&self) -> bool {
        self.parser.is_stopped() && !self.parser.is_error()
    }
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Matcher").field("complete", &self.is_complete()).finish_non_exhaustive()
    }
}

fn failed(error: &str) -> ConstraintError {
    ConstraintError::new(format!("the constraint could not be followed: {}", reason(error)))
}

/// A set of tokens.
#[derive(Clone)]
pub struct Mask(SimpleVob);

impl Mask {
    /// Whether a token is in it.
    pub fn contains(&self, token: u32) -> bool {
        (token as usize) < self.0.len() && self.0.is_allowed(token)
    }

    /// How many tokens are in it.
    pub fn count(&self) -> usize {
        self.0.num_set()
    }

    /// A bit for each token: token `t` is bit `t % 32` of word `t / 32`.
    pub fn words(&self) -> &[u32] {
        self.0.as_slice()
    }
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mask").field("count", &self.count()).finish_non_exhaustive()
    }
}
