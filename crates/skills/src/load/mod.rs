//! Checks the file of a skill: names, fields, sampling parameters; `trial` tries its templates.

mod trial;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use protocol::{Number, Range as Values, Sampling};
use toml::Spanned;

use crate::field::{Field, FieldKind, MAX_TEXT_CHARS};
use crate::file::{
    AnswerTable, FieldTable, FieldType, File, FileError, Input, ReadError, Source, text_of,
};
use crate::skill::Skill;
use crate::template::Templates;

/// The names of fields that requests have anyway.
const RESERVED: &[&str] = &[
    "prompt",
    "text",
    "messages",
    "raw",
    "model",
    "image",
    "images",
    "image_url",
    "video",
    "videos",
    "video_url",
    "max_tokens",
    "stop",
    "seed",
    "logprobs",
    "top_logprobs",
    "logit_bias",
    "response_format",
    "regex",
    "choice",
    "tools",
    "tool_choice",
    "enable_thinking",
    "min_pixels",
    "max_pixels",
    "user_id",
    "webhook_url",
    "priority",
    "delay_s",
    "run_at",
    "expires_in_s",
    "metadata",
    "result_ttl_s",
    "time_limit_s",
    "max_attempts",
    "retry_backoff_s",
    "skill",
    "family",
];
/// The most fields.
const MAX_FIELDS: usize = 32;
/// The most images or videos that a skill may take.
const MAX_VISUALS: usize = 1_000;

impl Skill {
    /// Reads and checks the file of a skill.
    ///
    /// # Errors
    /// If it can't be read, or something in it is wrong: the first problem, with its line.
    pub fn read(file: &Path) -> Result<Self, ReadError> {
        Ok(Self::parse(&text_of(file)?)?)
    }

    /// Checks the text of a skill's file.
    ///
    /// # Errors
    /// If something in it is wrong: the first problem, with its line.
    pub fn parse(text: &str) -> Result<Self, FileError> {
        let source = Source(text);
        skill(source, source.read()?)
    }
}

/// Checks the file of a skill.
fn skill(source: Source<'_>, file: File) -> Result<Skill, FileError> {
    let wrong = |place: Range<usize>, message: String| source.wrong(place, message);
    let name = file.name.get_ref();
    if !is_name(name, '-', 64) {
        let message = format!(
            "name: '{name}' must have at most 64 small letters, digits and '-', and begin with a letter or digit"
        );
        return Err(wrong(file.name.span(), message));
    }
    for (what, text, most) in
        [("title", &file.title, 80), ("description", &file.description, 1_000)]
    {
        let length = text.get_ref().trim().chars().count();
        if length == 0 || length > most {
            let message = format!("{what}: must have 1 to {most} characters, has {length}");
            return Err(wrong(text.span(), message));
        }
    }
    let fields = fields(source, &file)?;
    let (sampling, max_tokens) = sampling(source, &file.sampling)?;
    let Input { images, videos, prompt } = &file.input;
    check_answer(source, &file.answer)?;
    if let Some(pixels) = &file.pixels
        && pixels.get_ref().min.zip(pixels.get_ref().max).is_some_and(|(min, max)| min > max)
    {
        let message = "pixels: min_pixels must not exceed max_pixels".to_owned();
        return Err(wrong(pixels.span(), message));
    }
    let AnswerTable { output, schema, draw, command, .. } = &file.answer;
    let text =
        |written: &Option<Spanned<String>>| written.as_ref().map(|text| text.get_ref().clone());
    let skill = Skill {
        name: name.clone(),
        title: file.title.get_ref().trim().to_owned(),
        description: file.description.get_ref().trim().to_owned(),
        images: range(source, "images", images.as_ref())?,
        videos: range(source, "videos", videos.as_ref())?,
        prompt: *prompt,
        fields,
        sampling,
        max_tokens,
        pixels: file.pixels.as_ref().map(|pixels| *pixels.get_ref()).unwrap_or_default(),
        example: file.example.as_ref().map(|example| example.get_ref().clone()),
        templates: Templates {
            system: text(&file.prompt.system),
            user: file.prompt.user.get_ref().clone(),
            output: text(output).unwrap_or_else(|| "text".to_owned()),
            schema: text(schema),
        },
        draw: *draw,
        scale: file.answer.scale(),
        actions: file
            .answer
            .actions
            .as_ref()
            .map(|list| list.get_ref().clone())
            .unwrap_or_default(),
        command: text(command),
    };
    trial::templates(source, &file, &skill)?;
    trial::example(source, &file, &skill)?;
    Ok(skill)
}

/// Returns whether a text is a name: small letters, digits and one other character.
fn is_name(text: &str, other: char, most: usize) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= most
        && text.starts_with(is_plain)
        && text.chars().all(|c| is_plain(c) || c == other)
}

fn range(
    source: Source<'_>,
    what: &str,
    given: Option<&Spanned<[usize; 2]>>,
) -> Result<(usize, usize), FileError> {
    let Some(given) = given else { return Ok((0, 0)) };
    let [least, most] = *given.get_ref();
    if least > most || most > MAX_VISUALS {
        let message =
            format!("{what}: expected [least, most], at most {MAX_VISUALS}, got [{least}, {most}]");
        return Err(source.wrong(given.span(), message));
    }
    Ok((least, most))
}

/// Checks the fields, and puts them in the order of the file.
fn fields(source: Source<'_>, file: &File) -> Result<Vec<Field>, FileError> {
    let mut tables: Vec<(&String, &Spanned<FieldTable>)> = file.fields.iter().collect();
    tables.sort_by_key(|(_, table)| table.span().start);
    let mut fields = Vec::new();
    for (name, table) in tables {
        let wrong =
            |message: String| source.wrong(table.span(), format!("fields.{name}: {message}"));
        if fields.len() == MAX_FIELDS {
            return Err(wrong(format!("a skill has at most {MAX_FIELDS} fields")));
        }
        if !is_name(name, '_', 32) || name.starts_with(|c: char| c.is_ascii_digit()) {
            let message = "the name must have at most 32 small letters, digits and '_', and begin with a letter";
            return Err(wrong(message.to_owned()));
        }
        let is_taken = Sampling::FIELDS.iter().any(|field| field.name == name);
        if is_taken || RESERVED.contains(&name.as_str()) {
            return Err(wrong("all requests have a field of this name; use another".to_owned()));
        }
        let FieldTable { description, default, .. } = table.get_ref();
        if description.trim().is_empty() {
            return Err(wrong("the description is empty".to_owned()));
        }
        let kind = kind(table.get_ref()).map_err(wrong)?;
        if let Some(value) = default {
            let checked = kind.check(value);
            checked.map_err(|(_, message)| wrong(format!("the default {value}: {message}")))?;
        }
        let (description, default) = (description.trim().to_owned(), default.clone());
        fields.push(Field { name: name.clone(), description, kind, default });
    }
    Ok(fields)
}

/// Returns the values of a field, whose limits must fit its type.
fn kind(table: &FieldTable) -> Result<FieldKind, String> {
    let FieldTable { kind, choices, min, max, max_chars, .. } = table;
    let has_bounds = min.is_some() || max.is_some();
    let is_number = matches!(kind, FieldType::Integer | FieldType::Number);
    if has_bounds && !is_number {
        return Err("min and max belong to the types integer and number".to_owned());
    }
    if min.zip(*max).is_some_and(|(min, max)| min > max) {
        return Err("min must not exceed max".to_owned());
    }
    if max_chars.is_some() && *kind != FieldType::Text {
        return Err("max_chars belongs to the type text".to_owned());
    }
    if choices.is_some() != (*kind == FieldType::Choice) {
        return Err("choices belong to the type choice, which must have them".to_owned());
    }
    let whole = |bound: &Option<f64>| match bound {
        Some(bound) if bound.fract() != 0.0 || bound.abs() > 9e15 => {
            Err("min and max of an integer must be whole numbers".to_owned())
        }
        bound => Ok(bound.map(|bound| bound as i64)),
    };
    Ok(match kind {
        FieldType::Text => match max_chars.unwrap_or(MAX_TEXT_CHARS) {
            0 => return Err("max_chars must be at least 1".to_owned()),
            max_chars => FieldKind::Text { max_chars },
        },
        FieldType::Choice => match choices.clone().unwrap_or_default() {
            choices if choices.is_empty() || choices.len() > 64 => {
                return Err(format!("expected 1 to 64 choices, got {}", choices.len()));
            }
            choices => FieldKind::Choice { choices },
        },
        FieldType::Integer => FieldKind::Integer { min: whole(min)?, max: whole(max)? },
        FieldType::Number => FieldKind::Number { min: *min, max: *max },
        FieldType::Boolean => FieldKind::Boolean,
        FieldType::Object => FieldKind::Object,
    })
}

/// Reads the sampling parameters.
fn sampling(
    source: Source<'_>,
    table: &BTreeMap<String, Spanned<f64>>,
) -> Result<(Sampling, Option<u32>), FileError> {
    let (mut sampling, mut max_tokens) = (Sampling::default(), None);
    for (name, value) in table {
        let number = *value.get_ref();
        let wrong =
            |message: String| source.wrong(value.span(), format!("sampling.{name}: {message}"));
        if name == "max_tokens" {
            if number.fract() != 0.0 || !(1.0..=1e6).contains(&number) {
                return Err(wrong("must be a whole number from 1 to 1,000,000".to_owned()));
            }
            max_tokens = Some(number as u32);
            continue;
        }
        let Some(field) = Sampling::FIELDS.iter().find(|field| field.name == name) else {
            let names: Vec<&str> = Sampling::FIELDS.iter().map(|field| field.name).collect();
            let message = format!("is no parameter; expected max_tokens, {}", names.join(", "));
            return Err(wrong(message));
        };
        let is_whole = matches!(field.range, Values::Whole { .. });
        if field.range.check(number).is_err()
            || !number.is_finite()
            || is_whole && number.fract() != 0.0
        {
            return Err(wrong(format!("must be {}", field.range.allowed())));
        }
        let number = match is_whole {
            true => Number::Whole(number as u64),
            false => field.range.fraction(number),
        };
        sampling.set(name, Some(number));
    }
    Ok((sampling, max_tokens))
}

fn check_answer(source: Source<'_>, answer: &AnswerTable) -> Result<(), FileError> {
    if let Some(scale) = &answer.scale
        && !(1..=100_000).contains(scale.get_ref())
    {
        return Err(source.wrong(scale.span(), "answer.scale: must be from 1 to 100,000"));
    }
    if let Some(command) = &answer.command
        && !is_name(&command.get_ref().replace('_', "-"), '-', 64)
    {
        let message = "answer.command: expected the name of a file in SKILL_COMMANDS: small letters, digits, '-', '_'";
        return Err(source.wrong(command.span(), message));
    }
    if let Some(actions) = &answer.actions {
        let list = actions.get_ref();
        if list.is_empty() || list.len() > 64 || !list.iter().all(|name| is_name(name, '_', 64)) {
            let message = "answer.actions: expected 1 to 64 names of small letters, digits and '_'";
            return Err(source.wrong(actions.span(), message));
        }
    }
    Ok(())
}
