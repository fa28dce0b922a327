//! From a constraint to a grammar.

use std::sync::LazyLock;

use llguidance::api::{GrammarWithLexer, TopLevelGrammar};
use llguidance::toktrie::{ApproximateTokEnv, InferenceCapabilities, TokEnv};
use llguidance::{JsonCompileOptions, ParserFactory, TokenParser};
use serde_json::{Value, json};

use crate::{Constraint, ConstraintError, Function, limits};

/// Between the parts of JSON: nothing, one space, or a new line and its indentation. More would be
/// valid JSON too, but a weak model fills an answer with it.
const WHITESPACE: &str = r"[ ]|\n[ ]{0,32}|\n\t{0,8}";
/// How much, in characters, of the compiler's reason is passed on.
const MAX_REASON: usize = 500;

/// Compiles against single bytes, which is what a grammar can be without a model.
static BYTES: LazyLock<Option<ParserFactory>> =
    LazyLock::new(|| factory(&ApproximateTokEnv::single_byte_env(), &[]));

/// Whether a constraint can be kept. Takes up to some tens of milliseconds of computing.
///
/// # Errors
/// Why not: it is too large, a schema uses a keyword that is not supported or describes nothing, a
/// regular expression is none, or compiling it takes more than is allowed.
pub fn check(constraint: &Constraint) -> Result<(), ConstraintError> {
    let Some(factory) = &*BYTES else {
        return Err(ConstraintError::new("the checker could not be set up"));
    };
    parser(factory, constraint).map(drop)
}

/// A compiler for a vocabulary; `slices` are sets of tokens whose masks are kept.
pub(crate) fn factory(tokens: &TokEnv, slices: &[String]) -> Option<ParserFactory> {
    let mut factory = ParserFactory::new(tokens, InferenceCapabilities::default(), slices).ok()?;
    factory.quiet();
    *factory.limits_mut() = limits::parser();
    Some(factory)
}

/// What follows an answer that keeps the constraint.
pub(crate) fn parser(
    factory: &ParserFactory,
    constraint: &Constraint,
) -> Result<TokenParser, ConstraintError> {
    constraint.check_size()?;
    // Panics of the compiler come back as errors.
    factory.create_parser(grammar(constraint)).map_err(|error| {
        let reason = reason(&error.to_string());
        ConstraintError::new(match constraint {
            Constraint::JsonObject => reason,
            Constraint::JsonSchema(_) => format!("the schema can't be kept: {reason}"),
            Constraint::Regex(_) => format!("the regex can't be kept: {reason}"),
            Constraint::Choice(_) => format!("the choice can't be kept: {reason}"),
            Constraint::ToolCall(_) => format!("the functions can't be called: {reason}"),
        })
    })
}

fn grammar(constraint: &Constraint) -> TopLevelGrammar {
    TopLevelGrammar::from_grammar(match constraint {
        Constraint::JsonObject => json_schema(json!({"type": "object"})),
        Constraint::JsonSchema(schema) => json_schema(schema.clone()),
        Constraint::Regex(regex) => GrammarWithLexer::from_regex(regex),
        Constraint::Choice(choices) => {
            let texts: Vec<String> =
                choices.iter().map(|text| regex_syntax::escape(text)).collect();
            GrammarWithLexer::from_regex(&texts.join("|"))
        }
        // The schemas are JSON in the midst of a grammar, which knows where JSON ends.
        Constraint::ToolCall(functions) => {
            let calls: Vec<String> =
                functions.iter().map(|one| format!("%json {}", call(one))).collect();
            GrammarWithLexer::from_lark(format!(
                "start: \"<tool_call>\\n\" call \"\\n</tool_call>\"\ncall: {}\n",
                calls.join(" | ")
            ))
        }
    })
}

/// The schema of a call.
fn call(function: &Function) -> Value {
    let mut schema = json!({
        "type": "object",
        "properties": {
            "name": {"const": function.name},
            "arguments": function.parameters.clone().unwrap_or_else(|| json!({"type": "object"})),
        },
        "required": ["name", "arguments"],
        "additionalProperties": false,
    });
    // References within the parameters are meant from their own root.
    if let Some(parameters) = &function.parameters {
        for name in ["$defs", "definitions"] {
            if let Some(definitions) = parameters.get(name) {
                schema[name] = definitions.clone();
            }
        }
    }
    options().apply_to(&mut schema);
    schema
}

fn options() -> JsonCompileOptions {
    JsonCompileOptions {
        whitespace_pattern: Some(WHITESPACE.to_owned()),
        ..JsonCompileOptions::default()
    }
}

/// `schema` is an object; options that it may bring for the compiler itself are not heard.
fn json_schema(mut schema: Value) -> GrammarWithLexer {
    options().apply_to(&mut schema);
    GrammarWithLexer::from_json_schema(schema)
}

/// The compiler's reason in one line of bounded length.
pub(crate) fn reason(error: &str) -> String {
    let reason = error.split("<backtrace>").next().unwrap_or_default();
    let words: Vec<&str> = reason.split_whitespace().collect();
    words.join(" ").chars().take(MAX_REASON).collect()
}

#[cfg(test)]
#[path = "compile_tests.rs"]
mod tests;
