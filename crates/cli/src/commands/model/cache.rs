//! Downloads models to the cache of Hugging Face's tools, lists them and removes them.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use clap::Args;
use engine::source::cached::{self, CachedFormat, CachedModel};
use engine::source::{self, SourceOptions};
use engine::{Checkpoint, ModelFile, Quantization};
use serde_json::{Value, json};

use crate::commands::operate::{confirm, print_json};
use crate::output::Output;
use crate::table::{Align, Column, table};
use crate::text::{bytes, count, dash, instant, printable};

/// The columns of `model list`.
const COLUMNS: [Column; 5] = [
    ("name", Align::Left),
    ("revision", Align::Left),
    ("format", Align::Left),
    ("size", Align::Right),
    ("last used", Align::Left),
];
/// The columns of the files in `model show`.
const FILE_COLUMNS: [Column; 2] = [("file", Align::Left), ("size", Align::Right)];
/// The number of characters of a commit that are printed for people.
const COMMIT_CHARS: usize = 12;

/// The arguments of `model pull`.
#[derive(Debug, Args)]
pub(crate) struct Pull {
    /// A repository: owner/name, with optional @revision and :quant, or the address of its page.
    name: String,
}

/// The arguments of `model list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// The arguments of `model show`.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// A name as in `model list`, a path of a file or folder, or demo.
    name: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// The arguments of `model remove`.
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// A name as in `model list`; owner/name alone removes all of the repository.
    name: String,
    /// Don't ask for confirmation.
    #[arg(long, short)]
    yes: bool,
}

/// Downloads a model, and prints where it is.
pub(super) fn pull(args: &Pull, options: &SourceOptions, output: &mut Output) -> Result<()> {
    let path = match source::resolve(&args.name, options)? {
        ModelFile::Path(path) => path,
        ModelFile::Safetensors { folder, .. } => folder,
        ModelFile::Embedded { name, .. } => {
            bail!("{name} is part of this program: there is nothing to download")
        }
    };
    Ok(output.line(&printable(&path.display().to_string()))?)
}

/// Lists the models in the cache.
pub(super) fn list(args: &List, options: &SourceOptions, output: &mut Output) -> Result<()> {
    let models = cached::list(options)?;
    if args.json {
        let models: Vec<Value> = models.iter().map(of_cache).collect();
        return print_json(output, &json!({ "models": models }));
    }
    if models.is_empty() {
        output.note("the cache has no models: `qwen-queue model pull` downloads one");
        return Ok(());
    }
    let rows: Vec<_> = models.iter().map(row).collect();
    Ok(output.print(&table(&COLUMNS, &rows))?)
}

/// Shows a model's files, and what its configuration says.
pub(super) fn show(args: &Show, options: &SourceOptions, output: &mut Output) -> Result<()> {
    let (mut shown, file) = match cached::find(&args.name, options) {
        Ok(models) => match &models[..] {
            [model] => (of_cache(model), model.model_file(quantization(options))),
            several => {
                let names: Vec<&str> = several.iter().map(|model| model.name.as_str()).collect();
                bail!(
                    "{} stands for several models; name one of them: {}",
                    args.name,
                    names.join(", ")
                )
            }
        },
        Err(missing) => {
            let offline = SourceOptions { offline: true, ..options.clone() };
            match source::resolve(&args.name, &offline) {
                Ok(file) => (json!({ "name": args.name }), Some(file)),
                Err(source::SourceError::Unreachable { .. }) => return Err(missing.into()),
                Err(error) => return Err(error.into()),
            }
        }
    };
    if let Some(file) = file {
        match file.open().and_then(|checkpoint| describe(&checkpoint)) {
            Ok(Value::Object(config)) => {
                for (name, value) in config {
                    shown[name] = value;
                }
            }
            Ok(_) => {}
            Err(error) => shown["problem"] = json!(error.to_string()),
        }
    }
    if args.json { print_json(output, &shown) } else { Ok(output.print(&page(&shown))?) }
}

/// Removes models from the cache.
pub(super) fn remove(args: &Remove, options: &SourceOptions, output: &mut Output) -> Result<()> {
    let models = cached::find(&args.name, options)?;
    if !args.yes {
        let names: Vec<String> = models
            .iter()
            .map(|model| format!("{} ({})", printable(&model.name), bytes(model.bytes())))
            .collect();
        confirm(&format!("Remove {}?", names.join(", ")), output)?;
    }
    let freed = cached::remove(&models, options)?;
    let models = u64::try_from(models.len()).unwrap_or(u64::MAX);
    Ok(output.line(&format!("removed {}, freed {}", count(models, "model"), bytes(freed)))?)
}

fn quantization(options: &SourceOptions) -> Quantization {
    options.quantization.unwrap_or(source::DEFAULT_QUANTIZATION)
}

fn format(format: &CachedFormat) -> &str {
    match format {
        CachedFormat::Gguf(Some(quant)) => quant,
        CachedFormat::Gguf(None) => "GGUF",
        CachedFormat::Safetensors => "safetensors",
        CachedFormat::Adapter => "adapter",
        CachedFormat::Incomplete => "incomplete",
    }
}

fn row(model: &CachedModel) -> [String; 5] {
    [
        printable(&model.name),
        model.revision.as_deref().map_or_else(dash, printable),
        printable(format(&model.format)),
        bytes(model.bytes()),
        model.last_used().and_then(millis).map_or_else(dash, instant),
    ]
}

fn millis(time: SystemTime) -> Option<u64> {
    u64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()
}

/// Returns a cached model as `model list --json` prints it.
fn of_cache(model: &CachedModel) -> Value {
    let files = model.files.iter();
    json!({
        "name": model.name,
        "repository": model.repo,
        "revision": model.revision,
        "commit": model.commit,
        "format": format(&model.format),
        "bytes": model.bytes(),
        "last_used": model.last_used().and_then(millis).map(|millis| millis as f64 / 1e3),
        "files": files.map(|file| json!({"name": file.name, "bytes": file.bytes, "path": file.path}))
            .collect::<Value>(),
    })
}

/// Returns what a model's configuration says.
fn describe(checkpoint: &Checkpoint) -> Result<Value, engine::LoadError> {
    let config = checkpoint.config()?;
    let template = checkpoint.metadata().get::<&str>("tokenizer.chat_template");
    Ok(json!({
        "architecture": config.architecture.name,
        "parameters": checkpoint.parameters(),
        "context_length": config.context_length,
        "chat_template": template.ok().flatten().is_some(),
        "embeddings": config.pooling.is_some(),
    }))
}

/// Formats a shown model for people.
fn page(shown: &Value) -> String {
    let text = |name: &str| shown[name].as_str().map(printable);
    let number = |name: &str| shown[name].as_u64();
    let answer =
        |name: &str| shown[name].as_bool().map(|is| if is { "yes" } else { "no" }.to_owned());
    let revision = text("commit").map(|commit| {
        let commit: String = commit.chars().take(COMMIT_CHARS).collect();
        text("revision").map_or_else(|| commit.clone(), |name| format!("{name} ({commit})"))
    });
    let last_used = shown["last_used"].as_f64().map(|seconds| instant((seconds * 1e3) as u64));
    let lines = [
        ("name", text("name")),
        ("revision", revision),
        ("format", text("format")),
        ("size", number("bytes").map(bytes)),
        ("last used", last_used),
        ("architecture", text("architecture")),
        ("parameters", number("parameters").map(|all| format!("{:.1} million", all as f64 / 1e6))),
        ("context length", number("context_length").map(|tokens| count(tokens, "token"))),
        ("chat template", answer("chat_template")),
        ("embeddings", answer("embeddings")),
        ("problem", text("problem")),
    ];
    let lines =
        lines.into_iter().filter_map(|(name, value)| Some(format!("{name:16}{}\n", value?)));
    let mut page: String = lines.collect();
    let rows: Vec<[String; 2]> = shown["files"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|file| {
            let name = printable(file["name"].as_str().unwrap_or_default());
            [name, bytes(file["bytes"].as_u64().unwrap_or_default())]
        })
        .collect();
    if !rows.is_empty() {
        page += &format!("\n{}", table(&FILE_COLUMNS, &rows));
    }
    page
}
