//! Checks the sizes of constraints, and defines the error for unsupported ones.

use chat::{Constraint, Tool};

use crate::limits::{MAX_CHOICE_BYTES, MAX_CHOICES, MAX_REGEX_BYTES, MAX_SCHEMA_BYTES};

/// The reason why a constraint is not supported, for its author.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct ConstraintError {
    problem: String,
    pointer: Option<String>,
    function: Option<usize>,
}

impl ConstraintError {
    /// Creates an error with a message for the constraint's author.
    pub fn new(problem: impl Into<String>) -> Self {
        Self { problem: problem.into(), pointer: None, function: None }
    }

    /// Creates an error about one place in a schema.
    pub(crate) fn at(problem: String, pointer: String, function: Option<usize>) -> Self {
        Self { problem, pointer: Some(pointer), function }
    }

    /// Returns the place of the problem as a JSON pointer, if it is one place in a schema.
    pub fn pointer(&self) -> Option<&str> {
        self.pointer.as_deref()
    }

    /// Returns the index of the function whose parameters have the problem.
    pub fn function(&self) -> Option<usize> {
        self.function
    }
}

/// Checks sizes and kinds, without compiling.
pub(crate) fn check_size(constraint: &Constraint) -> Result<(), ConstraintError> {
    let problem = match constraint {
        Constraint::JsonObject | Constraint::AtMostOneCall => None,
        Constraint::JsonSchema(schema) if !schema.is_object() => {
            Some("the schema must be a JSON object, such as {\"type\": \"object\"}".to_owned())
        }
        Constraint::JsonSchema(schema) => {
            let bytes = schema.to_string().len();
            (bytes > MAX_SCHEMA_BYTES)
                .then(|| format!("the schema has {bytes} bytes, allowed are {MAX_SCHEMA_BYTES}"))
        }
        Constraint::Regex(regex) if regex.is_empty() => Some("the regex is empty".to_owned()),
        Constraint::Regex(regex) => (regex.len() > MAX_REGEX_BYTES)
            .then(|| format!("the regex has {} bytes, allowed are {MAX_REGEX_BYTES}", regex.len())),
        Constraint::Choice(choices) => choice_problem(choices),
        Constraint::ToolCall(functions) => functions_problem(functions),
    };
    problem.map_or(Ok(()), |problem| Err(ConstraintError::new(problem)))
}

fn functions_problem(functions: &[Tool]) -> Option<String> {
    if functions.is_empty() {
        return Some("tools is empty, so there is no function to call".to_owned());
    }
    let parameters = || functions.iter().filter_map(|function| function.parameters.as_ref());
    if parameters().any(|schema| !schema.is_object()) {
        return Some("the parameters of a function must be a JSON object".to_owned());
    }
    let bytes: usize = parameters().map(|schema| schema.to_string().len()).sum();
    (bytes > MAX_SCHEMA_BYTES).then(|| {
        format!("the functions' parameters have {bytes} bytes, allowed are {MAX_SCHEMA_BYTES}")
    })
}

fn choice_problem(choices: &[String]) -> Option<String> {
    if choices.is_empty() || choices.len() > MAX_CHOICES {
        return Some(format!("a choice has 1 to {MAX_CHOICES} texts, this one {}", choices.len()));
    }
    if choices.iter().any(String::is_empty) {
        return Some("a choice must not be the empty text".to_owned());
    }
    let long = choices.iter().find(|choice| choice.len() > MAX_CHOICE_BYTES)?;
    Some(format!(
        "a text of a choice must have at most {MAX_CHOICE_BYTES} bytes, but one has {}",
        long.len()
    ))
}
