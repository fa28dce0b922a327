//! # grammar: what an answer must look like
//!
//! A [`Constraint`] says it: any JSON object, JSON of a schema, a regular expression, one of several
//! texts, a call of a function. [`check`] tells whether it can be kept, without a model; [`Grammars`] keeps it over a model's
//! vocabulary: a [`Matcher`] follows one answer and says, token by token, what may come next.
//!
//! The work is llguidance's. What stands here is what it may cost: sizes are bounded before it sees a
//! constraint, and so are its compiler, its memory and each of its steps ([`limits`]).
//!
//! No model, no queue, no HTTP: the gateway checks with it, the engine computes with it.

mod compile;
mod constraint;
mod json;
pub mod limits;
mod matcher;
mod rules;
mod vocabulary;

pub use compile::check;
pub use constraint::{Constraint, ConstraintError, Function};
pub use matcher::{Grammars, Mask, Matcher};
pub use vocabulary::Token;
