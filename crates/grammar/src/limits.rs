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

/// What the compiler may spend, and each step, in llguidance's own units: they bound the work and the
/// states kept, whatever the machine; how long that takes on one was not measured.
pub(crate) fn parser() -> ParserLimits {
    ParserLimits {
        max_items_in_row: 1_000,
        initial_lexer_fuel: 500_000,
        step_lexer_fuel: 200_000,
        step_max_items: 50_000,
        max_lexer_states: 10_000,
        max_grammar_size: 50_000,
        precompute_large_lexemes: true,
        // What the answer said so far belongs into no error and no log.
        verbose_errors: false,
    }
}
