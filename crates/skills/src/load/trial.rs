//! Tries the templates of a skill, so that a mistake in a branch is found before a request meets it.

use std::collections::BTreeMap;

use protocol::{SkillOutput, VisionFamily};
use serde_json::{Map, Value};
use toml::Spanned;

use crate::field::FieldKind;
use crate::file::{File, FileError, PromptRule, Source};
use crate::skill::Skill;
use crate::template::Given;

/// The most combinations of choices that are tried.
const MAX_TRIED: usize = 512;

/// Renders the templates with all combinations of choices and truth values, for all families, with and without a prompt.
pub(super) fn templates(source: Source<'_>, file: &File, skill: &Skill) -> Result<(), FileError> {
    let mut combinations = vec![BTreeMap::new()];
    for field in &skill.fields {
        let values: Vec<Value> = match &field.kind {
            FieldKind::Choice { choices } => {
                choices.iter().map(|text| Value::from(text.as_str())).collect()
            }
            FieldKind::Boolean => vec![true.into(), false.into()],
            other => vec![field.default.clone().unwrap_or_else(|| other.sample())],
        };
        combinations = combinations
            .into_iter()
            .flat_map(|chosen: BTreeMap<String, Value>| {
                values.iter().map(move |value| {
                    let mut chosen = chosen.clone();
                    chosen.insert(field.name.clone(), value.clone());
                    chosen
                })
            })
            .take(MAX_TRIED)
            .collect();
    }
    let prompts: &[Option<&str>] = match skill.prompt {
        PromptRule::None => &[None],
        PromptRule::Required => &[Some("x")],
        PromptRule::Optional => &[None, Some("x")],
    };
    let (images, videos) = (skill.images.1, skill.videos.1);
    for family in [VisionFamily::Qwen2Vl, VisionFamily::Qwen25Vl, VisionFamily::Qwen3Vl] {
        for (chosen, prompt) in combinations
            .iter()
            .flat_map(|chosen| prompts.iter().map(move |prompt| (chosen, *prompt)))
        {
            let empty = Map::new();
            let given = Given { prompt, values: &empty, images, videos, family };
            let written = skill.templates.render(&skill.parts(), &given, chosen);
            let problem = match written {
                Ok(written)
                    if written.user.is_empty() && images + videos == 0 && prompt.is_some() =>
                {
                    Some(("user", 1, "renders nothing, and the skill takes no images".to_owned()))
                }
                Ok(written)
                    if written.skill.output == SkillOutput::Actions && skill.actions.is_empty() =>
                {
                    Some((
                        "output",
                        1,
                        "a skill whose answers are actions must list them: answer.actions"
                            .to_owned(),
                    ))
                }
                Ok(_) => None,
                Err((template, error)) => Some((template, error.line, error.message)),
            };
            if let Some((template, line, message)) = problem {
                let (table, place) = match template {
                    "system" => ("prompt", file.prompt.system.as_ref()),
                    "user" => ("prompt", Some(&file.prompt.user)),
                    "schema" => ("answer", file.answer.schema.as_ref()),
                    _ => ("answer", file.answer.output.as_ref()),
                };
                let place = place.map_or(0..0, Spanned::span);
                return Err(source.wrong_within(
                    place,
                    line,
                    format!("{table}.{template}: {message}"),
                ));
            }
        }
    }
    Ok(())
}

/// Checks that the example is a request that the skill takes.
pub(super) fn example(source: Source<'_>, file: &File, skill: &Skill) -> Result<(), FileError> {
    let Some(example) = &file.example else { return Ok(()) };
    let given = Given {
        prompt: example.get_ref().prompt.as_deref(),
        values: &example.get_ref().fields,
        images: skill.images.0,
        videos: skill.videos.0,
        family: VisionFamily::Qwen3Vl,
    };
    skill.write(&given).map(drop).map_err(|problems| {
        let said =
            problems.first().map(|problem| format!("{}: {}", problem.field, problem.message));
        source.wrong(example.span(), format!("example: {}", said.unwrap_or_default()))
    })
}
