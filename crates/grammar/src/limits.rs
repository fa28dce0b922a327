//! What a constraint may cost. A client chooses it, so nothing about it is trusted.

use llguidance::api::ParserLimits;

/// How long, in bytes of JSON, a schema may be.
pub const MAX_SCHEMA_BYTES: usize = 64 << 10;
/// How long, in bytes, a regular expression may be.
pub const MAX_REGEX_BYTES: usize = 4 << 10;
/// How many texts a choice may have.
pub const MAX_CHOICES: usize = 256;
/// How long, in bytes, each of them may be.
pub const MAX_CHOICE_BYTES: usize = 1 << 10;
/// The largest `minLength` and `maxLength` of strings: a lexer has some states for each character.
pub const MAX_LENGTH: usize = 2_000;

/// How many schemas a schema may consist of.
pub(crate) const MAX_PLACES: usize = 10_000;
/// How many alternatives (`anyOf`, `oneOf`, and what they make of one another) one value may have.
pub(crate) const MAX_ALTERNATIVES: usize = 300;
/// How many references and `allOf`s may follow one another.
pub(crate) const MAX_DEPTH: usize = 200;
/// How many kinds of values, each with rules of its own, an answer may consist of.
pub(crate) const MAX_KINDS: usize = 5_000;
/// How many different `patternProperties` an object may have.
pub(crate) const MAX_PATTERNS: usize = 8;
/// How many classes of names they may make.
pub(crate) const MAX_NAME_CLASSES: usize = 24;
/// How many states a lexer may have for one expression.
pub(crate) const MAX_STATES_OF_ONE: usize = 4_000;
/// How many for all of them.
pub(crate) const MAX_STATES: usize = 40_000;
/// How many rules and symbols a grammar may have.
pub(crate) const MAX_SYMBOLS: usize = 30_000;

/// What the compiler may spend, and each step, in llguidance's own units: they bound the work and the
/// states kept, whatever the machine. What [`check`](crate::check) accepts stays below them.
pub(crate) fn parser() -> ParserLimits {
    ParserLimits {
        max_items_in_row: 10_000,
        initial_lexer_fuel: 1_000_000,
        step_lexer_fuel: 2_000_000,
        step_max_items: 1_000_000,
        max_lexer_states: 100_000,
        max_grammar_size: 200_000,
        precompute_large_lexemes: true,
        // What the answer said so far belongs into no error and no log.
        verbose_errors: false,
    }
}
