//! [`Skill`]: a skill that was checked, which writes the prompts of tasks.

use std::collections::BTreeMap;

use protocol::{PixelLimits, Sampling, SkillOutput, SkillUse};
use serde_json::{Map, Value, json};

use crate::field::{Field, FieldProblem};
use crate::file::{Example, PromptRule};
use crate::template::{Given, Templates, Written};

/// A skill.
#[derive(Debug, Clone, PartialEq)]
pub struct Skill {
    /// Its name, in paths.
    pub name: String,
    /// Its name for people.
    pub title: String,
    /// What it does.
    pub description: String,
    /// The fewest and the most images of a request.
    pub images: (usize, usize),
    /// The fewest and the most videos of a request.
    pub videos: (usize, usize),
    /// Whether a request has a prompt.
    pub prompt: PromptRule,
    /// The other fields of a request.
    pub fields: Vec<Field>,
    /// The sampling parameters that a request does not set.
    pub sampling: Sampling,
    /// The number of tokens of an answer if a request does not set it.
    pub max_tokens: Option<u32>,
    /// The sizes of images if a request does not set them.
    pub pixels: PixelLimits,
    /// A request and its answer.
    pub example: Option<Example>,
    pub(crate) templates: Templates,
    pub(crate) draw: bool,
    pub(crate) scale: u32,
    pub(crate) actions: Vec<String>,
    pub(crate) command: Option<String>,
}

impl Skill {
    /// Writes a task's prompt.
    ///
    /// # Errors
    /// If the request is not as the skill says: all problems.
    pub fn write(&self, given: &Given<'_>) -> Result<Written, Vec<FieldProblem>> {
        let mut problems = self.check_input(given);
        let values = match self.check_values(given.values) {
            Ok(values) => values,
            Err(more) => {
                problems.extend(more);
                BTreeMap::new()
            }
        };
        if !problems.is_empty() {
            return Err(problems);
        }
        // It was tried when the skill was loaded, but not with these values.
        self.templates.render(&self.parts(), given, &values).map_err(|(name, error)| {
            let message = format!("the skill can't write its {name} with these values: {error}");
            vec![FieldProblem::new("skill", "value_error", message)]
        })
    }

    /// Returns the names of the fields that are read by the skill: its own, and `prompt`.
    pub fn reads(&self, name: &str) -> bool {
        name == "prompt" || self.fields.iter().any(|field| field.name == name)
    }

    /// Returns the kinds that its answers may have.
    pub fn outputs(&self) -> Vec<SkillOutput> {
        let all = SkillOutput::ALL.into_iter();
        all.filter(|kind| self.templates.output.contains(kind.as_str())).collect()
    }

    /// Returns whether answers are drawn on images.
    pub fn draws(&self) -> bool {
        self.draw
    }

    /// Returns what a client must know to use it, the schema of requests included.
    pub fn describe(&self) -> Value {
        let mut properties = Map::new();
        if self.prompt != PromptRule::None {
            properties.insert("prompt".to_owned(), json!({"type": "string"}));
        }
        for field in &self.fields {
            properties.insert(field.name.clone(), field.schema());
        }
        let is_required = self.fields.iter().filter(|field| field.default.is_none());
        let mut required: Vec<&str> = is_required.map(|field| field.name.as_str()).collect();
        if self.prompt == PromptRule::Required {
            required.insert(0, "prompt");
        }
        let count = |(least, most): (usize, usize)| json!({"min": least, "max": most});
        let outputs: Vec<&str> = self.outputs().into_iter().map(SkillOutput::as_str).collect();
        let mut described = json!({
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "images": count(self.images),
            "videos": count(self.videos),
            "outputs": outputs,
            "draws": self.draw,
            "schema": {"type": "object", "properties": properties, "required": required},
            "sampling": self.sampling,
        });
        if let Some(most) = self.max_tokens {
            described["max_tokens"] = json!(most);
        }
        if !self.actions.is_empty() {
            described["actions"] = json!(self.actions);
        }
        if let Some(example) = &self.example {
            let mut request = example.fields.clone();
            if let Some(prompt) = &example.prompt {
                request.insert("prompt".to_owned(), json!(prompt));
            }
            described["example"] = json!({"request": request, "answer": example.answer});
        }
        described
    }

    pub(crate) fn parts(&self) -> SkillUse {
        SkillUse {
            name: self.name.clone(),
            output: SkillOutput::Text,
            scale: self.scale,
            actions: self.actions.clone(),
            draw: self.draw,
            command: self.command.clone(),
        }
    }

    fn check_input(&self, given: &Given<'_>) -> Vec<FieldProblem> {
        let mut problems = Vec::new();
        let counts = [("images", given.images, self.images), ("videos", given.videos, self.videos)];
        for (what, count, (least, most)) in counts {
            if count < least || count > most {
                let allowed = match (least, most) {
                    (0, 0) => "none".to_owned(),
                    _ if least == most => format!("{least}"),
                    _ => format!("{least} to {most}"),
                };
                let kind = if count < least { "too_short" } else { "too_long" };
                let name = &self.name;
                let message =
                    format!("the skill '{name}' takes {allowed} {what}, the request has {count}");
                problems.push(FieldProblem::new(what, kind, message));
            }
        }
        let prompt = given.prompt.filter(|prompt| !prompt.trim().is_empty());
        match (self.prompt, prompt) {
            (PromptRule::Required, None) => {
                problems.push(FieldProblem::new("prompt", "missing", "this field is required"));
            }
            (PromptRule::None, Some(_)) => {
                let message = format!("the skill '{}' takes no prompt", self.name);
                problems.push(FieldProblem::new("prompt", "extra_forbidden", message));
            }
            _ => {}
        }
        problems
    }

    /// Returns the values of all fields.
    fn check_values(
        &self,
        given: &Map<String, Value>,
    ) -> Result<BTreeMap<String, Value>, Vec<FieldProblem>> {
        let (mut values, mut problems) = (BTreeMap::new(), Vec::new());
        for field in &self.fields {
            let value = given.get(&field.name).filter(|value| !value.is_null());
            match value.or(field.default.as_ref()) {
                Some(value) => match field.kind.check(value) {
                    Ok(()) => {
                        values.insert(field.name.clone(), value.clone());
                    }
                    Err((kind, message)) => {
                        problems.push(FieldProblem::new(&field.name, kind, message));
                    }
                },
                None => {
                    let message = format!("this field is required: {}", field.description);
                    problems.push(FieldProblem::new(&field.name, "missing", message));
                }
            }
        }
        for name in given.keys().filter(|name| !self.reads(name)) {
            let names: Vec<&str> = self.fields.iter().map(|field| field.name.as_str()).collect();
            let message =
                format!("the skill '{}' has these fields: {}", self.name, names.join(", "));
            problems.push(FieldProblem::new(name, "extra_forbidden", message));
        }
        if problems.is_empty() { Ok(values) } else { Err(problems) }
    }
}
