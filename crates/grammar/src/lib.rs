//! # grammar: constrains answers to a form
//!
//! A [`Constraint`](chat::Constraint) describes the form: any JSON object, JSON that matches a schema, a regular expression,
//! one of several texts, or a call of a function. [`check`] tests without a model whether a constraint is
//! supported. [`Grammars`] compiles it for a model's vocabulary, and a [`Matcher`] follows one answer and
//! returns, token by token, which tokens may come next.
//!
//! llguidance does the parsing. This crate translates schemas and limits the cost: it bounds the size of a
//! constraint before llguidance sees it, and llguidance's compiler, memory and steps ([`limits`]).
//!
//! It knows no model, queue or HTTP: the gateway uses it for checks, the engine for masks.

mod compile;
mod constraint;
mod json;
pub mod limits;
mod matcher;
mod rules;
mod vocabulary;

pub use compile::check;
pub use constraint::ConstraintError;
pub use matcher::{Grammars, Mask, Matcher};
pub use vocabulary::Token;
