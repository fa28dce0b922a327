//! The templates of a skill: what they are given, and what they write.

use std::collections::BTreeMap;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior};
use protocol::{SkillOutput, SkillUse, VisionFamily};
use serde_json::{Map, Value};

/// The steps that a template may take. A prompt takes a few hundred.
const FUEL: u64 = 100_000;

/// What a request says to a skill.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// The prompt, if there is one.
    pub prompt: Option<&'a str>,
    /// The values of fields.
    pub values: &'a Map<String, Value>,
    /// The number of images.
    pub images: usize,
    /// The number of videos.
    pub videos: usize,
    /// The family of the model.
    pub family: VisionFamily,
}

/// A task's part that a skill has written.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// The system message.
    pub system: Option<String>,
    /// The text of the user's turn, which follows its images.
    pub user: String,
    /// The schema that the answer must satisfy.
    pub schema: Option<Value>,
    /// How the answer is read.
    pub skill: SkillUse,
}

/// The templates of a skill (minijinja).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Templates {
    pub(crate) system: Option<String>,
    pub(crate) user: String,
    /// The name of the output's kind.
    pub(crate) output: String,
    /// A JSON schema, or nothing.
    pub(crate) schema: Option<String>,
}

/// Why a template can't be used: the line within it, from 1, and the reason.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct TemplateError {
    pub(crate) line: usize,
    pub(crate) message: String,
}

impl Templates {
    /// Renders all. Errors name the template.
    pub(crate) fn render(
        &self,
        parts: &SkillUse,
        given: &Given<'_>,
        values: &BTreeMap<String, Value>,
    ) -> Result<Written, (&'static str, TemplateError)> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        let mut syntax = SyntaxConfig::builder();
        syntax.trim_blocks(true).lstrip_blocks(true);
        // Without delimiters of its own it can't be invalid.
        environment.set_syntax(syntax.build().unwrap_or_default());
        let prompt = given.prompt.map(str::trim).unwrap_or_default();
        let mut context: BTreeMap<&str, minijinja::Value> =
            values.iter().map(|(name, value)| (name.as_str(), variable(value))).collect();
        context.insert("prompt", prompt.into());
        context.insert("family", given.family.as_str().into());
        context.insert("images", given.images.into());
        context.insert("videos", given.videos.into());
        let render = |name: &'static str, template: &str| {
            environment.render_str(template, &context).map_err(|error| {
                let reason = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
                (name, TemplateError { line: error.line().unwrap_or(1), message: reason })
            })
        };
        let wrong =
            |name: &'static str, message: String| (name, TemplateError { line: 1, message });
        let output = render("output", &self.output)?;
        let names = || SkillOutput::ALL.map(SkillOutput::as_str).join(", ");
        let output = SkillOutput::ALL
            .into_iter()
            .find(|kind| kind.as_str() == output.trim())
            .ok_or_else(|| {
                wrong(
                    "output",
                    format!("'{}' is no output: expected one of {}", output.trim(), names()),
                )
            })?;
        let schema = match &self.schema {
            Some(template) => match render("schema", template)?.trim() {
                "" => None,
                text => Some(serde_json::from_str::<Value>(text).map_err(|error| {
                    wrong("schema", format!("what it renders is not JSON: {error}"))
                })?),
            },
            None => None,
        };
        let system = self.system.as_ref().map(|template| render("system", template)).transpose()?;
        let system = system.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let user = render("user", &self.user)?.trim().to_owned();
        Ok(Written { system, user, schema, skill: SkillUse { output, ..parts.clone() } })
    }
}

/// Converts a value for templates. serde_json's numbers are not numbers to other formats, because they keep their digits.
fn variable(value: &Value) -> minijinja::Value {
    match value {
        Value::Number(number) => match number.as_i64() {
            Some(whole) => whole.into(),
            None => number.as_f64().unwrap_or_default().into(),
        },
        Value::Array(items) => items.iter().map(variable).collect(),
        Value::Object(fields) => {
            let pairs = fields.iter().map(|(name, value)| (name.as_str(), variable(value)));
            minijinja::Value::from_pairs(pairs)
        }
        Value::String(text) => text.as_str().into(),
        Value::Bool(value) => (*value).into(),
        Value::Null => ().into(),
    }
}
