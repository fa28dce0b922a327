//! The commands for skills: list, show, run, check.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use skills::registry::{built_in_file, files_of};
use skills::{FileError, ReadError, Skill};

use super::sampling::{SamplingArgs, Whole};
use super::task::{figures, print_result};
use super::visuals::{self, Part, Visuals};
use crate::client::{Client, Target};
use crate::output::Output;
use crate::table::{Align, table};
use crate::text::printable;

/// Examples below the help of `skill run`.
const RUN_EXAMPLES: &str = "Examples:
  qwen-queue skill run ocr --image page.png --set level=word --save words.png
  qwen-queue skill run spatial --image street.jpg --set objects='car, person' --json
  qwen-queue skill run computer --image screen.png 'Open the settings'";

/// A command for skills.
#[derive(Debug, Subcommand)]
pub(crate) enum SkillCommand {
    /// Print the skills of the gateway.
    List(Listed),
    /// Print what a skill takes and returns.
    Show(Shown),
    /// Run a skill and print what it found.
    #[command(after_help = RUN_EXAMPLES)]
    Run(Box<Run>),
    /// Check the files of own skills; needs no gateway.
    Check(Check),
    /// Print the file of a built-in skill, to begin your own with.
    File {
        /// The skill.
        name: String,
    },
}

/// All skills.
#[derive(Debug, Args)]
pub(crate) struct Listed {
    /// Print them as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// One skill.
#[derive(Debug, Args)]
pub(crate) struct Shown {
    /// The skill.
    name: String,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// A run of a skill.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The skill.
    name: String,
    /// The prompt, if the skill takes one.
    prompt: Option<String>,
    #[command(flatten)]
    visuals: Visuals,
    /// Set a field of the skill; may be repeated. The value is JSON, or else a text.
    #[arg(long = "set", value_name = "FIELD=VALUE", value_parser = field)]
    fields: Vec<(String, Value)>,
    /// Save the image with the answer drawn on it (PNG).
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Print the whole result as JSON, with the raw answer and metrics.
    #[arg(long)]
    json: bool,
    /// Generate at most this many tokens; -1: as many as the gateway allows.
    #[arg(long, allow_negative_numbers = true)]
    max_tokens: Option<Whole>,
    #[command(flatten)]
    sampling: SamplingArgs,
    /// The model that answers [default: the gateway's default model].
    #[arg(long)]
    model: Option<String>,
    /// The lane of the task: high, normal, low or batch [default: normal].
    #[arg(long)]
    priority: Option<String>,
    #[command(flatten)]
    target: Target,
}

/// Files to check.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The files, or folders of files.
    #[arg(required = true, value_name = "FILE|FOLDER")]
    paths: Vec<PathBuf>,
}

/// Reads `FIELD=VALUE`.
fn field(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("expected FIELD=VALUE")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| json!(value));
    Ok((name.trim().to_owned(), value))
}

/// Runs a command.
pub(crate) fn run(command: &SkillCommand, output: &mut Output) -> Result<()> {
    match command {
        SkillCommand::List(args) => list(args, output),
        SkillCommand::Show(args) => show(args, output),
        SkillCommand::Run(args) => args.run(output),
        SkillCommand::Check(args) => check(args, output),
        SkillCommand::File { name } => {
            let file = built_in_file(name);
            let file =
                file.with_context(|| format!("there is no built-in skill {}", printable(name)))?;
            Ok(output.answer(file)?)
        }
    }
}

fn list(args: &Listed, output: &mut Output) -> Result<()> {
    let listed = Client::new(&args.target)?.get("/api/v1/skills")?;
    if args.json {
        return Ok(output.line(&listed["skills"].to_string())?);
    }
    let columns = [("skill", Align::Left), ("takes", Align::Left), ("title", Align::Left)];
    let row = |skill: &Value| {
        let text = |name: &str| printable(skill[name].as_str().unwrap_or_default());
        [text("name"), visuals_of(skill), text("title")]
    };
    let rows: Vec<[String; 3]> =
        listed["skills"].as_array().into_iter().flatten().map(row).collect();
    Ok(output.answer(&table(&columns, &rows))?)
}

/// Describes how many images and videos a skill takes.
fn visuals_of(skill: &Value) -> String {
    let count = |what: &str| {
        let (least, most) = (skill[what]["min"].as_u64()?, skill[what]["max"].as_u64()?);
        let one = what.trim_end_matches('s');
        match (least, most) {
            (_, 0) => None,
            (1, 1) => Some(format!("1 {one}")),
            _ => Some(format!("{least} to {most} {what}")),
        }
    };
    let both: Vec<String> = ["images", "videos"].into_iter().filter_map(count).collect();
    if both.is_empty() { "none".to_owned() } else { both.join(", ") }
}

fn show(args: &Shown, output: &mut Output) -> Result<()> {
    let skill = Client::new(&args.target)?.get(&format!("/api/v1/skills/{}", args.name))?;
    if args.json {
        return Ok(output.line(&skill.to_string())?);
    }
    Ok(output.answer(&described(&skill))?)
}

/// Describes a skill.
fn described(skill: &Value) -> String {
    let text = |value: &Value| printable(value.as_str().unwrap_or_default());
    let mut told = format!(
        "{}: {}\n{}\n\n",
        text(&skill["name"]),
        text(&skill["title"]),
        text(&skill["description"])
    );
    told += &format!("takes    {}\n", visuals_of(skill));
    let outputs: Vec<String> =
        skill["outputs"].as_array().into_iter().flatten().map(text).collect();
    let drawn = if skill["draws"] == true { ", drawn on the image" } else { "" };
    told += &format!("returns  {}{drawn}\n", outputs.join(" or "));
    let required = &skill["schema"]["required"];
    for (name, field) in skill["schema"]["properties"].as_object().into_iter().flatten() {
        let is_required = required.as_array().into_iter().flatten().any(|of| of == name);
        let rule = match (is_required, &field["default"]) {
            (true, _) => " (required)".to_owned(),
            (false, Value::Null) => String::new(),
            (false, default) => format!(" (default: {})", printable(&plain(default))),
        };
        told += &format!("\n{}{rule}\n", printable(name));
        if let Some(description) = field["description"].as_str() {
            told += &format!("    {}\n", printable(description));
        }
        if let Some(choices) = field["enum"].as_array() {
            let choices: Vec<String> = choices.iter().map(plain).collect();
            told += &format!("    one of: {}\n", printable(&choices.join(", ")));
        }
    }
    told
}

/// Returns a text as it is, and everything else as JSON.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

impl Run {
    fn run(&self, output: &mut Output) -> Result<()> {
        let client = Client::new(&self.target)?;
        let parts = self.visuals.resolve(&client, output)?;
        let path = format!("/api/v1/skills/{}", self.name);
        let accepted = client.post(&path, &self.body(&parts)).inspect_err(|error| {
            if !error.may_succeed_later() {
                visuals::delete(&client, &parts);
            }
        })?;
        let task_id =
            accepted["task_id"].as_str().context("the gateway's response has no task_id")?;
        output.announced(task_id, |output| {
            let result = client.wait_for_result(task_id)?;
            self.print(&result, output)?;
            self.save(&client, &result, output)
        })
    }

    /// Creates the body of the request.
    fn body(&self, parts: &[Part]) -> Value {
        let mut body: Map<String, Value> = self.fields.iter().cloned().collect();
        for part in parts {
            let list = body.entry(part.field()).or_insert_with(|| json!([]));
            if let Value::Array(list) = list {
                list.push(json!(part.place()));
            }
        }
        let texts =
            [("prompt", &self.prompt), ("model", &self.model), ("priority", &self.priority)];
        for (name, value) in texts {
            body.extend(value.clone().map(|value| (name.to_owned(), json!(value))));
        }
        body.extend(self.max_tokens.map(|most| ("max_tokens".to_owned(), most.value())));
        body.extend(self.sampling.fields());
        Value::Object(body)
    }

    fn print(&self, result: &Value, output: &mut Output) -> Result<()> {
        let structured = &result["structured"];
        if self.json || result["status"] != "completed" || structured.is_null() {
            print_result(result, self.json, output)?;
        } else {
            match structured.as_str() {
                Some(text) => output.answer(&format!("{}\n", text.trim_end()))?,
                None => output.answer(&format!("{structured:#}\n"))?,
            }
            output.note(&figures(&result["metrics"]));
        }
        for warning in result["warnings"].as_array().into_iter().flatten() {
            output.note(&format!("[{}]", printable(warning.as_str().unwrap_or_default())));
        }
        Ok(())
    }

    fn save(&self, client: &Client, result: &Value, output: &mut Output) -> Result<()> {
        let Some(file) = &self.save else { return Ok(()) };
        let Some(path) = result["annotated_image"].as_str() else {
            output.note("[nothing is drawn: there is no image to save]");
            return Ok(());
        };
        let image = client.download(path).context("the drawn image can't be fetched")?;
        std::fs::write(file, image)
            .with_context(|| format!("{} can't be written", file.display()))?;
        output.note(&format!("[the drawn image is in {}]", file.display()));
        Ok(())
    }
}

/// Checks files, and those of folders.
fn check(args: &Check, output: &mut Output) -> Result<()> {
    let (mut wrong, mut right) = (0, 0);
    for path in &args.paths {
        for file in files(path)? {
            let name = file.display();
            match Skill::read(&file) {
                Ok(skill) => {
                    right += 1;
                    output.line(&format!("{name}: the skill '{}' is right", skill.name))?;
                }
                Err(ReadError::Wrong(FileError { line, message })) => {
                    wrong += 1;
                    output.line(&format!("{name}:{line}: {}", printable(&message)))?;
                }
                Err(ReadError::Unreadable(error)) => {
                    return Err(error).with_context(|| format!("{name} can't be read"));
                }
            }
        }
    }
    match wrong {
        0 if right == 0 => bail!("there is no file that ends in .toml"),
        0 => Ok(()),
        1 => bail!("one file is wrong"),
        _ => bail!("{wrong} files are wrong"),
    }
}

fn files(path: &Path) -> Result<Vec<PathBuf>> {
    match path.is_dir() {
        true => files_of(path).with_context(|| format!("{} can't be read", path.display())),
        false => Ok(vec![path.to_owned()]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_json_or_texts() {
        assert_eq!(field("level=word"), Ok(("level".into(), json!("word"))));
        assert_eq!(field("n=3"), Ok(("n".into(), json!(3))));
        assert_eq!(field("form={\"total\": \"\"}"), Ok(("form".into(), json!({"total": ""}))));
        assert_eq!(field("objects=a=b"), Ok(("objects".into(), json!("a=b"))));
        assert!(field("level").is_err());
    }

    #[test]
    fn a_skill_is_described_with_its_fields() {
        let skill = Skill::parse(built_in_file("ocr").unwrap()).unwrap().describe();
        let told = described(&skill);
        for part in [
            "ocr: Read text\n",
            "takes    1 image\n",
            "returns  text or json or boxes, drawn on the image\n",
            "\nlevel (default: line)\n    What to read",
            "    one of: page, line, word, form\n",
            "\nform (default: {})\n",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
    }
}
