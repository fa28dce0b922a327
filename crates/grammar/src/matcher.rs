//! Follows one answer and returns which tokens may come next.

use std::fmt;
use std::sync::Arc;

use chat::Constraint;
use llguidance::earley::SlicedBiasComputer;
use llguidance::toktrie::SimpleVob;
use llguidance::{Matcher as Parser, ParserFactory};

use crate::ConstraintError;
use crate::compile::{factory, parser, reason};
use crate::vocabulary::{Token, environment};

/// Compiles constraints for one model's vocabulary. Cheap to clone.
#[derive(Clone)]
pub struct Grammars(Arc<ParserFactory>);

impl Grammars {
    /// Creates the compiler for a vocabulary: its tokens by id, and those that end an answer. Takes a
    /// moment for a large one.
    ///
    /// # Errors
    /// Returns an error if no token ends an answer, or the vocabulary can't be indexed.
    pub fn new<'a>(
        tokens: impl Iterator<Item = Token<'a>>,
        ends: &[u32],
    ) -> Result<Self, ConstraintError> {
        let tokens = environment(tokens, ends)?;
        let factory = factory(&tokens, &SlicedBiasComputer::general_slices());
        let unusable = || {
            ConstraintError::new(
                "constraints are not available: the model's vocabulary can't be used",
            )
        };
        Ok(Self(Arc::new(factory.ok_or_else(unusable)?)))
    }

    /// Starts an answer that must satisfy the constraint.
    ///
    /// # Errors
    /// Returns the same errors as [`check`](crate::check).
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
    /// Returns warnings about parts of the constraint that are not enforced, for its author.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Returns the tokens that may come next, including end tokens if the answer may end here.
    ///
    /// # Errors
    /// Returns an error if the work per token exceeds its limit, or no token may follow. The matcher is
    /// unusable after that.
    pub fn mask(&mut self) -> Result<Mask, ConstraintError> {
        self.parser.compute_mask_or_eos().map(Mask).map_err(|error| failed(&error.to_string()))
    }

    /// Accepts the next token of the answer. An end token does not change the state.
    ///
    /// # Errors
    /// Returns the errors of [`Self::mask`], and one for a token that is not in the mask.
    pub fn accept(&mut self, token: u32) -> Result<(), ConstraintError> {
        self.parser.consume_token(token).map_err(|error| failed(&error.to_string()))
    }

    /// Returns whether the answer is complete and nothing may follow.
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
    /// Returns whether a token is in the set.
    pub fn contains(&self, token: u32) -> bool {
        (token as usize) < self.0.len() && self.0.is_allowed(token)
    }

    /// Returns the number of tokens in the set.
    pub fn count(&self) -> usize {
        self.0.num_set()
    }

    /// Returns one bit per token: token `t` is bit `t % 32` of word `t / 32`.
    pub fn words(&self) -> &[u32] {
        self.0.as_slice()
    }
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mask").field("count", &self.count()).finish_non_exhaustive()
    }
}
