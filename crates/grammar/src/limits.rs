//! Limits on the cost of a constraint. Clients choose constraints, so they are untrusted.

use llguidance::api::ParserLimits;

/// The maximum length of a schema, in bytes of JSON.
pub const MAX_SCHEMA_BYTES: usize = 64 << 10;
/// The maximum length of a regular expression, in bytes.
pub const MAX_REGEX_BYTES: usize = 4 << 10;
/// The maximum number of texts of a choice.
pub const MAX_CHOICES: usize = 256;
/// The maximum length of each text, in bytes.
pub const MAX_CHOICE_BYTES: usize = 1 << 10;
/// The largest `minLength` and `maxLength` of strings: a lexer has some states for each character.
pub const MAX_LENGTH: usize = 2_000;

/// The maximum number of schemas within a schema.
pub(crate) const MAX_SCHEMAS: usize = 10_000;
/// The maximum number of alternatives of a value (`anyOf`, `oneOf`, and their combinations).
pub(crate) const MAX_ALTERNATIVES: usize = 300;
/// The maximum nesting of references and `allOf`s.
pub(crate) const MAX_DEPTH: usize = 200;
/// The maximum number of kinds of values, each with its own rules, in a grammar.
pub(crate) const MAX_KINDS: usize = 5_000;
/// The maximum number of different `patternProperties` of an object.
pub(crate) const MAX_PATTERNS: usize = 8;
/// The maximum number of classes of names that they form.
pub(crate) const MAX_NAME_CLASSES: usize = 24;
/// The maximum number of lexer states for one expression.
pub(crate) const MAX_EXPRESSION_STATES: usize = 4_000;
/// The maximum number of lexer states for all expressions.
pub(crate) const MAX_STATES: usize = 40_000;
/// The maximum number of rules and symbols of a grammar.
pub(crate) const MAX_SYMBOLS: usize = 30_000;

/// The limits of the compiler and of each step, in llguidance's units: they bound the work and the
/// stored states on any machine. Constraints that [`check`](crate::check) accepts stay below them.
pub(crate) fn parser() -> ParserLimits {
    ParserLimits {
        max_items_in_row: 10_000,
        initial_lexer_fuel: 1_000_000,
        step_lexer_fuel: 2_000_000,
        step_max_items: 1_000_000,
        max_lexer_states: 100_000,
        max_grammar_size: 200_000,
        precompute_large_lexemes: true,
        // The answer so far must not appear in errors or logs.
        verbose_errors: false,
    }
}
