//! Compiles constraints to grammars.

use std::panic::AssertUnwindSafe;
use std::sync::LazyLock;

use chat::{Constraint, Tool};
use llguidance::api::GrammarInit;
use llguidance::derivre::RegexAst;
use llguidance::panic_utils::catch_unwind;
use llguidance::toktrie::{ApproximateTokEnv, InferenceCapabilities, TokEnv};
use llguidance::{ParserFactory, TokenParser};
use serde_json::{Value, json};

use crate::ConstraintError;
use crate::constraint::check_size;
use crate::json::regex::{
    AutomatonSize, anything, automaton_size, intersection, literal, not, one_of, sequence,
};
use crate::json::{Refusal, Schemas, WHITESPACE};
use crate::limits::{self, MAX_EXPRESSION_STATES};
use crate::rules::{GrammarError, Rules};

/// The maximum length, in characters, of the compiler's message that is passed on.
const MAX_REASON: usize = 500;
/// The maximum length of a pointer in messages.
const MAX_POINTER: usize = 200;

/// Compiles for a vocabulary of single bytes, which needs no model.
static BYTES: LazyLock<Option<ParserFactory>> =
    LazyLock::new(|| factory(&ApproximateTokEnv::single_byte_env(), &[]));

/// Checks whether a constraint is supported, and returns warnings about parts of it that are not enforced,
/// for its author. Takes up to some tens of milliseconds of computing.
///
/// # Errors
/// Returns why it is not: it is too large, a schema uses an unsupported keyword or has no values, a regular
/// expression is invalid or matches nothing, or following it costs more than allowed.
pub fn check(constraint: &Constraint) -> Result<Vec<String>, ConstraintError> {
    let Some(factory) = &*BYTES else {
        return Err(ConstraintError::new("the constraint checker could not be set up"));
    };
    parser(factory, constraint).map(|(_, warnings)| warnings)
}

/// Creates a compiler for a vocabulary; the masks of the token sets `slices` are precomputed.
pub(crate) fn factory(tokens: &TokEnv, slices: &[String]) -> Option<ParserFactory> {
    let mut factory = ParserFactory::new(tokens, InferenceCapabilities::default(), slices).ok()?;
    factory.quiet();
    *factory.limits_mut() = limits::parser();
    Some(factory)
}

/// Returns a parser for answers that satisfy the constraint, and warnings about parts not enforced.
pub(crate) fn parser(
    factory: &ParserFactory,
    constraint: &Constraint,
) -> Result<(TokenParser, Vec<String>), ConstraintError> {
    check_size(constraint)?;
    // Panics of the compiler are converted to errors.
    let mut written = None;
    let caught = catch_unwind(AssertUnwindSafe(|| {
        written = Some(grammar(constraint));
        Ok(())
    }));
    let refused = |problem: &Problem| refusal(constraint, problem);
    let unknown = |error: String| refused(&Problem::from(GrammarError(reason(&error))));
    caught.map_err(|error| unknown(error.to_string()))?;
    let written =
        written.unwrap_or_else(|| Err(GrammarError("the grammar is empty".to_owned()).into()));
    let (grammar, warnings) = written.map_err(|problem| refused(&problem))?;
    let parser = factory.create_parser_from_init_default(grammar);
    Ok((parser.map_err(|error| unknown(error.to_string()))?, warnings))
}

/// A problem of a constraint, and its place in a schema if there is one.
#[derive(Debug)]
struct Problem {
    problem: String,
    place: Option<(usize, String)>,
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let Refusal { document, pointer, problem } = refusal;
        Self { problem, place: Some((document, pointer)) }
    }
}

impl From<GrammarError> for Problem {
    fn from(GrammarError(problem): GrammarError) -> Self {
        Self { problem, place: None }
    }
}

fn refusal(constraint: &Constraint, problem: &Problem) -> ConstraintError {
    let Problem { problem, place } = problem;
    let kept = match constraint {
        Constraint::JsonObject | Constraint::JsonSchema(_) => "the schema can't be kept",
        Constraint::Regex(_) => "the regex can't be kept",
        Constraint::Choice(_) => "the choice can't be kept",
        Constraint::ToolCall(_) => "the functions can't be called",
        Constraint::AtMostOneCall => "the number of calls can't be limited",
    };
    let Some((document, pointer)) = place else {
        return ConstraintError::new(format!("{kept}: {problem}"));
    };
    let at = if pointer.is_empty() { "its root".to_owned() } else { short(pointer) };
    let (function, at) = match constraint {
        Constraint::ToolCall(functions) => {
            let name = functions.get(*document).map_or("", |function| &function.name);
            (Some(*document), format!("the parameters of '{name}', {at}"))
        }
        _ => (None, at),
    };
    ConstraintError::at(format!("{kept}: {problem} (at {at})"), pointer.clone(), function)
}

fn grammar(constraint: &Constraint) -> Result<(GrammarInit, Vec<String>), Problem> {
    let whitespace = || RegexAst::Regex(WHITESPACE.to_owned());
    let object = json!({"type": "object"});
    let schema = |schema: &Value| {
        let schemas = Schemas::read(&[schema])?;
        let mut rules = Rules::new(whitespace())?;
        let roots = schemas.write(&mut rules)?;
        let root = rules.one_of(roots)?;
        Ok((rules.finish(root)?, schemas.warnings()))
    };
    match constraint {
        Constraint::JsonObject => schema(&object),
        Constraint::JsonSchema(asked) => schema(asked),
        Constraint::Regex(regex) => text(&RegexAst::Regex(regex.clone())),
        Constraint::Choice(choices) => {
            text(&RegexAst::Or(choices.iter().map(|text| literal(text)).collect()))
        }
        Constraint::ToolCall(functions) => {
            let parameters = |one: &'_ Tool| one.parameters.clone().unwrap_or(object.clone());
            let parameters: Vec<Value> = functions.iter().map(parameters).collect();
            let documents: Vec<&Value> = parameters.iter().collect();
            let schemas = Schemas::read(&documents)?;
            Ok((calls(functions, &schemas)?, schemas.warnings()))
        }
        Constraint::AtMostOneCall => text(&at_most_one_call()),
    }
}

/// Returns a grammar for the texts that an expression matches.
fn text(expression: &RegexAst) -> Result<(GrammarInit, Vec<String>), Problem> {
    match automaton_size(expression, MAX_EXPRESSION_STATES)
        .map_err(|error| GrammarError(reason(&error)))?
    {
        AutomatonSize::States(_) => {}
        AutomatonSize::Empty => return Err(GrammarError("it matches no text".to_owned()).into()),
        AutomatonSize::TooLarge => {
            let problem = "it needs too many states: make it simpler";
            return Err(GrammarError(problem.to_owned()).into());
        }
    }
    let mut rules = Rules::new(RegexAst::NoMatch)?;
    let root = rules.lexeme(expression)?;
    Ok((rules.finish(root)?, Vec::new()))
}

/// Returns an expression for texts with at most one call, which ends them. `</tool_call>` ends the call in any place.
fn at_most_one_call() -> RegexAst {
    let without = |tag: &str| {
        intersection([anything(), not(sequence([anything(), literal(tag), anything()]))])
    };
    let call = sequence([literal("<tool_call>"), without("</tool_call>"), literal("</tool_call>")]);
    sequence([without("<tool_call>"), one_of([RegexAst::EmptyString, call])])
}

/// Returns a grammar for calls in the format of the Qwen families.
fn calls(functions: &[Tool], schemas: &Schemas<'_>) -> Result<GrammarInit, GrammarError> {
    let mut rules = Rules::new(RegexAst::NoMatch)?;
    let begin = rules.text("<tool_call>\n")?;
    let end = rules.text("\n</tool_call>")?;
    let call = rules.inner(RegexAst::Regex(WHITESPACE.to_owned()), |rules| {
        let arguments = schemas.write(rules)?;
        let mut calls = Vec::new();
        for (function, arguments) in functions.iter().zip(arguments) {
            let mut parts = Vec::new();
            let name = Value::from(function.name.as_str()).to_string();
            for text in ["{", "\"name\"", ":", name.as_str(), ",", "\"arguments\"", ":"] {
                parts.push(rules.text(text)?);
            }
            parts.push(arguments);
            parts.push(rules.text("}")?);
            calls.push(rules.sequence(parts)?);
        }
        rules.one_of(calls)
    })?;
    let root = rules.sequence(vec![begin, call, end])?;
    rules.finish(root)
}

/// Shortens a pointer for messages.
fn short(pointer: &str) -> String {
    match pointer.char_indices().nth(MAX_POINTER) {
        Some((end, _)) => format!("{}…", &pointer[..end]),
        None => pointer.to_owned(),
    }
}

/// Returns the compiler's message as one line of limited length.
pub(crate) fn reason(error: &str) -> String {
    let reason = error.split("<backtrace>").next().unwrap_or_default();
    let words: Vec<&str> = reason.split_whitespace().collect();
    words.join(" ").chars().take(MAX_REASON).collect()
}

#[cfg(test)]
mod tests;
