//! Shorthands for regular expressions, and the cost of their automata.

use std::collections::HashSet;

use llguidance::derivre::{JsonQuoteOptions, RegexAst, RegexBuilder};

/// The maximum cost of examining one expression, in derivre's units of some hundred nanoseconds.
const FUEL: u64 = 1_000_000;

pub(crate) fn literal(text: &str) -> RegexAst {
    RegexAst::Literal(text.to_owned())
}

/// Parses `pattern`, which is a constant of this crate or built from valid parts, so it is valid.
pub(super) fn regex(pattern: &str) -> RegexAst {
    RegexAst::Regex(pattern.to_owned())
}

pub(crate) fn sequence<const N: usize>(parts: [RegexAst; N]) -> RegexAst {
    RegexAst::Concat(parts.into())
}

pub(crate) fn one_of(options: impl IntoIterator<Item = RegexAst>) -> RegexAst {
    let mut options: Vec<RegexAst> = options.into_iter().collect();
    if options.len() == 1 { options.swap_remove(0) } else { RegexAst::Or(options) }
}

pub(crate) fn intersection(parts: impl IntoIterator<Item = RegexAst>) -> RegexAst {
    let mut parts: Vec<RegexAst> = parts.into_iter().collect();
    if parts.len() == 1 { parts.swap_remove(0) } else { RegexAst::And(parts) }
}

pub(crate) fn not(one: RegexAst) -> RegexAst {
    RegexAst::Not(Box::new(one))
}

/// Returns an expression for any text.
pub(crate) fn anything() -> RegexAst {
    regex("(?s:.*)")
}

/// Returns an expression for the JSON strings of these texts, with every valid escape of characters that
/// must be escaped.
pub(super) fn quoted(texts: RegexAst) -> RegexAst {
    RegexAst::JsonQuote(Box::new(texts), JsonQuoteOptions::regular())
}

/// The size of an expression's automaton.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AutomatonSize {
    /// It matches nothing.
    Empty,
    /// A lexer has this many states for it.
    States(usize),
    /// It has more states than allowed, or takes too much work to examine.
    TooLarge,
}

/// Examines an expression by computing everything that a lexer may ever compute for it.
pub(crate) fn automaton_size(
    expression: &RegexAst,
    max_states: usize,
) -> Result<AutomatonSize, String> {
    let mut builder = RegexBuilder::new();
    let built = builder.mk(expression).map_err(|error| error.to_string())?;
    let Ok(mut automaton) = builder.into_regex_limited(built, FUEL) else {
        return Ok(AutomatonSize::TooLarge);
    };
    if automaton.always_empty() {
        return Ok(AutomatonSize::Empty);
    }
    // One byte of each class of bytes that the expression does not distinguish.
    let mut classes = HashSet::new();
    let bytes: Vec<u8> =
        (0..=255).filter(|byte| classes.insert(automaton.alpha().map(*byte))).collect();
    let first = automaton.initial_state();
    let (mut seen, mut left) = (HashSet::from([first]), vec![first]);
    while let Some(state) = left.pop() {
        for byte in &bytes {
            let next = automaton.transition(state, *byte);
            if !next.is_dead() && seen.insert(next) {
                left.push(next);
            }
        }
        if seen.len() > max_states || automaton.cost() > FUEL || automaton.alpha().has_error() {
            return Ok(AutomatonSize::TooLarge);
        }
    }
    Ok(AutomatonSize::States(seen.len()))
}

/// Returns whether a text matches, or `None` if that takes too much work.
pub(super) fn matches(expression: &RegexAst, text: &str) -> Option<bool> {
    let mut builder = RegexBuilder::new();
    let built = builder.mk(expression).ok()?;
    Some(builder.into_regex_limited(built, FUEL).ok()?.is_match(text))
}
