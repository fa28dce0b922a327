//! Lets a skill write the prompt of a request: checks the request's fields against those of the skill.

use protocol::{Constraint, Message, Part, Prompt, Role, Sampling, VisionFamily, VisualKind};
use serde_json::{Map, Value, json};
use skills::{Given, Skill};

use super::form::Picture;
use super::generate::generate_with;
use super::{FieldError, Limits, Loc};
use crate::order::Order;

/// The fields of `POST /generate` that a skill decides on.
const DECIDED: [&str; 8] =
    ["messages", "raw", "tools", "tool_choice", "response_format", "regex", "choice", "logit_bias"];
/// Other names of the fields with images and videos.
const SINGULAR: [(&str, &str); 2] = [("image", "images"), ("video", "videos")];

/// How a request uses a skill.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SkillRequest<'a> {
    pub(crate) skill: &'a Skill,
    /// The values of its fields.
    pub(crate) values: &'a Map<String, Value>,
    /// The path to these values in the request.
    pub(crate) at: &'a [Loc],
    /// The family of the model.
    pub(crate) family: VisionFamily,
    /// Whether the request sets the length of the answer.
    pub(crate) sets_length: bool,
    /// Maximum length of an answer.
    pub(crate) max_new_tokens: u32,
}

/// Validates the request of a skill's own route, with the images of its form.
///
/// # Errors
/// If the body is invalid: all problems.
pub(crate) fn skill_request(
    body: &Value,
    given: Vec<Picture>,
    limits: &Limits<'_>,
    skill: &Skill,
    family: VisionFamily,
) -> Result<Order, Vec<FieldError>> {
    let problem = |name: &str, kind, message: String| {
        FieldError::new(["body".into(), Loc::Name(super::echo(name))], kind, message)
    };
    let Value::Object(body) = body else {
        let message = format!("expected a JSON object, got {}", super::type_name(body));
        return Err(vec![FieldError::new(["body".into()], "dict_type", message)]);
    };
    let (mut values, mut rest, mut problems) = (Map::new(), Map::new(), Vec::new());
    for (name, value) in body {
        if DECIDED.contains(&name.as_str()) {
            let message = format!("the skill '{}' decides on this field", skill.name);
            problems.push(problem(name, "extra_forbidden", message));
        } else if name != "prompt" && skill.reads(name) {
            values.insert(name.clone(), value.clone());
        } else {
            let singular = SINGULAR.iter().find(|(singular, _)| singular == name);
            let known_as = singular.map_or(name.as_str(), |(_, plural)| *plural);
            if rest.insert(known_as.to_owned(), value.clone()).is_some() {
                let message = format!("another name of {known_as}, which is there too");
                problems.push(problem(name, "value_error", message));
            }
        }
    }
    // The prompt is required where the skill says so. Until it has written the prompt, this text has its place.
    if rest.get("prompt").is_none_or(is_blank) {
        rest.insert("prompt".to_owned(), json!(NO_PROMPT));
    }
    let has_prompt = body.get("prompt").is_some_and(|prompt| !is_blank(prompt));
    let sets_length = rest.contains_key("max_tokens");
    let order = match generate_with(&Value::Object(rest), given, limits) {
        Ok(order) if problems.is_empty() => order,
        Ok(_) => return Err(problems),
        Err(more) => return Err([problems, more].concat()),
    };
    let request = SkillRequest {
        skill,
        values: &values,
        at: &["body".into()],
        family,
        sets_length,
        max_new_tokens: limits.max_new_tokens,
    };
    let mut order = order;
    if !has_prompt {
        drop_texts(&mut order.prompt);
    }
    apply(&mut order, &request)?;
    Ok(order)
}

/// Stands for a prompt that the request does not have.
const NO_PROMPT: &str = "-";

fn is_blank(value: &Value) -> bool {
    value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty())
}

fn drop_texts(prompt: &mut Prompt) {
    if let Prompt::Chat(messages) = prompt {
        for message in messages {
            message.parts.retain(|part| !matches!(part, Part::Text { .. }));
        }
    }
}

/// Lets the skill rewrite the last turn of a conversation, whose text is the skill's prompt; sets what the request does
/// not set.
///
/// # Errors
/// If the request is not as the skill says, or does not end with the user's turn.
pub(crate) fn apply(order: &mut Order, request: &SkillRequest<'_>) -> Result<(), Vec<FieldError>> {
    let SkillRequest { skill, values, at, family, .. } = *request;
    let problem = |field: &str, kind, message: String| {
        let path =
            at.iter().cloned().chain((!field.is_empty()).then(|| Loc::Name(super::echo(field))));
        FieldError { loc: path.collect(), kind, message }
    };
    let counts = |kind| order.prompt.visuals().iter().filter(|(of, _)| *of == kind).count();
    let (images, videos) = (counts(VisualKind::Image), counts(VisualKind::Video));
    let last = match &mut order.prompt {
        Prompt::Chat(messages) => {
            messages.iter_mut().next_back().filter(|last| last.role == Role::User)
        }
        _ => None,
    };
    let Some(last) = last else {
        let message = "a skill needs a conversation that ends with the user's turn".to_owned();
        return Err(vec![problem("", "value_error", message)]);
    };
    let text_of = |part: &Part| match part {
        Part::Text { text } => Some(text.clone()),
        _ => None,
    };
    let texts: Vec<String> = last.parts.iter().filter_map(text_of).collect();
    let prompt = Some(texts.join("\n")).filter(|text| !text.trim().is_empty());
    let given = Given { prompt: prompt.as_deref(), values, images, videos, family };
    let written = skill.write(&given).map_err(|problems| {
        let told =
            |told: skills::field::FieldProblem| problem(&told.field, told.kind, told.message);
        problems.into_iter().map(told).collect::<Vec<FieldError>>()
    })?;
    last.parts.retain(|part| !matches!(part, Part::Text { .. }));
    last.parts.push(Part::Text { text: written.user });
    if let (Some(system), Prompt::Chat(messages)) = (written.system, &mut order.prompt) {
        add_system(messages, system);
    }
    for field in Sampling::FIELDS {
        if order.sampling.get(field.name).is_none() {
            order.sampling.set(field.name, skill.sampling.get(field.name));
        }
    }
    if let Some(length) = skill.max_tokens.filter(|_| !request.sets_length) {
        order.max_tokens = length.min(request.max_new_tokens);
    }
    if order.pixels.is_empty() {
        order.pixels = skill.pixels;
    }
    if order.form.constraint.is_none() {
        order.form.constraint = written.schema.map(Constraint::JsonSchema);
    }
    order.form.split = true;
    order.skill = Some(written.skill);
    Ok(())
}

/// Puts the skill's system prompt before that of the request.
fn add_system(messages: &mut Vec<Message>, system: String) {
    match messages.first_mut().filter(|first| first.role == Role::System) {
        Some(first) => first.parts.insert(0, Part::Text { text: format!("{system}\n\n") }),
        None => {
            let parts = vec![Part::Text { text: system }];
            messages.insert(0, Message { role: Role::System, parts, name: None });
        }
    }
}
