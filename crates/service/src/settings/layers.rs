//! Collects every setting's text from the sources. Each source becomes a layer of texts, which the
//! `config` crate merges: defaults < YAML file < `.env` < environment < command line. Does not
//! interpret the values.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use config::{Config, ConfigError, Map, Source, Value, ValueKind};

use super::SettingsError;
use super::dotenv_file::DotEnv;
use super::file::{self, Entry, Written};
use super::given::{Given, Layers, checked_text};
use super::keys::{KEYS, Key};
use super::names::{self, FILE_VARIABLE};
use super::{adopt, paths, yaml};

/// The YAML file that is read if it exists and no other is named.
const DEFAULT_FILE: &str = "qwen-queue.yaml";

/// The sources to read.
#[derive(Debug, Default)]
pub struct Sources {
    /// The YAML file that a command line option names.
    pub file: Option<PathBuf>,
    /// The `.env` file, which may be missing.
    pub dotenv: PathBuf,
    /// The process's environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Settings from command line options: the option, the setting's name, its value.
    pub options: Vec<(&'static str, &'static str, String)>,
}

/// Reads all sources.
///
/// # Errors
/// If any source is invalid. Lists all problems of all sources.
pub(super) fn gather(sources: &Sources) -> Result<Layers, SettingsError> {
    let mut problems = Vec::new();
    let dotenv = DotEnv::read(&sources.dotenv).unwrap_or_else(|error| {
        problems.extend(error.problems);
        DotEnv::default()
    });
    let yaml = match yaml_path(sources, &dotenv) {
        Ok(Some(path)) => yaml_layer(&path, &mut problems),
        Ok(None) => Layer::default(),
        Err(problem) => {
            problems.push(problem);
            Layer::default()
        }
    };
    let mut from_dotenv = Layer::default();
    for (key, entry) in dotenv.settings() {
        from_dotenv.set(key, &entry.value, &dotenv.place(entry), &mut problems);
    }
    let from_environment = environment_layer(&sources.environment, &mut problems);
    let mut from_options = Layer::default();
    for (option, name, text) in &sources.options {
        if let Some(key) = names::named(name) {
            from_options.set(key, &Written::One(text.clone()), option, &mut problems);
        }
    }

    let layers = [Layer::defaults(), yaml, from_dotenv, from_environment, from_options];
    let mut layers = merge_layers(layers).unwrap_or_else(|error| {
        problems.push(format!("the settings can't be combined: {error}"));
        Layers::default()
    });
    adopt::adopt(&mut layers, &sources.environment, &dotenv, &mut problems);
    if problems.is_empty() { Ok(layers) } else { Err(SettingsError { problems }) }
}

fn merge_layers(layers: impl IntoIterator<Item = Layer>) -> Result<Layers, ConfigError> {
    let builder = layers.into_iter().fold(Config::builder(), |all, layer| all.add_source(layer));
    let mut all = builder.build()?.collect()?;
    let mut layers = Layers::default();
    for key in KEYS {
        if let Some(value) = all.remove(&lower_case_name(key)) {
            let place = value.origin().map(str::to_owned);
            layers.given.insert(key.name, Given { text: value.into_string()?, place });
        }
    }
    Ok(layers)
}

/// The texts of one source, with their positions.
#[derive(Debug, Clone, Default)]
struct Layer(Map<String, Value>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.0.clone())
    }
}

impl Layer {
    fn defaults() -> Self {
        let value = |text: &str| Value::new(None, ValueKind::String(text.to_owned()));
        let defaults =
            KEYS.iter().filter_map(|key| Some((lower_case_name(key), value(key.default?))));
        Self(defaults.collect())
    }

    /// Adds a setting; an empty value counts as unset.
    fn set(&mut self, key: &Key, value: &Written, place: &str, problems: &mut Vec<String>) {
        if value.is_empty() {
            return;
        }
        match text(key, value) {
            Ok(text) => {
                let value = Value::new(Some(&place.to_owned()), ValueKind::String(text));
                self.0.insert(lower_case_name(key), value);
            }
            Err(what) => problems.push(format!("{} ({place}) {what}", key.name)),
        }
    }
}

/// Returns the setting's name in YAML, which is also its key in `config`.
fn lower_case_name(key: &Key) -> String {
    key.name.to_ascii_lowercase()
}

/// Converts a value to text: trims it, and joins the items of a list with commas.
fn text(key: &Key, value: &Written) -> Result<String, String> {
    let text = match value {
        Written::One(text) => text.trim().to_owned(),
        Written::Several(_) if !key.list => {
            return Err(
                "is a list, but only a single value is allowed; if the value begins with [, \
                        put it into quotes"
                    .to_owned(),
            );
        }
        Written::Several(items) => {
            let items = items.iter().map(|item| item.trim()).filter(|item| !item.is_empty());
            let items: Vec<_> = items.collect();
            if let Some(at) = items.iter().position(|item| item.contains(',')) {
                return Err(format!(
                    "has a comma in item {}, but commas separate items: write each as an item of its own",
                    at + 1
                ));
            }
            items.join(",")
        }
    };
    checked_text(&text)?;
    Ok(text)
}

/// Reads the settings from the environment. Ignores unknown variables, which belong to other
/// programs.
fn environment_layer(pairs: &[(OsString, OsString)], problems: &mut Vec<String>) -> Layer {
    const PLACE: &str = "environment";
    let mut layer = Layer::default();
    for (name, value) in pairs {
        let Some(key) = name.to_str().and_then(names::named) else { continue };
        match value.to_str() {
            Some(text) => layer.set(key, &Written::One(text.to_owned()), PLACE, problems),
            None => problems.push(format!(
                "{} ({PLACE}) is not UTF-8: set it to text in UTF-8, or unset it",
                key.name
            )),
        }
    }
    layer
}

/// Returns the YAML file to read: the one that a command line option, the environment or `.env`
/// names, or else the default one if it exists.
fn yaml_path(sources: &Sources, dotenv: &DotEnv) -> Result<Option<PathBuf>, String> {
    let is_set = |value: &OsStr| !value.to_string_lossy().trim().is_empty();
    let variable = || {
        let pair = sources.environment.iter().find(|(name, _)| name == FILE_VARIABLE);
        pair.map(|(_, value)| value.clone()).filter(|value| is_set(value))
    };
    let named = sources
        .file
        .clone()
        .or_else(|| variable().map(PathBuf::from))
        .or_else(|| dotenv.get(FILE_VARIABLE).map(PathBuf::from));
    match named {
        Some(path) => paths::expand(&path)
            .map(Some)
            .map_err(|what| format!("the settings file {}: {what}", path.display())),
        None => Ok(Some(PathBuf::from(DEFAULT_FILE)).filter(|path| path.exists())),
    }
}

fn yaml_layer(path: &Path, problems: &mut Vec<String>) -> Layer {
    let mut layer = Layer::default();
    let text = match file::read(path) {
        Ok(Some(text)) => text,
        Ok(None) => {
            problems.push(format!(
                "the settings file {} does not exist: create it, or set another with --config or {FILE_VARIABLE}",
                path.display()
            ));
            return layer;
        }
        Err(problem) => {
            problems.push(format!("the settings file {problem}"));
            return layer;
        }
    };
    let (entries, bad) = yaml::entries(&text);
    problems.extend(bad.iter().map(|bad| bad.message(path)));
    let mut seen: HashMap<&'static str, &Entry> = HashMap::new();
    for entry in &entries {
        let place = file::place(path, entry.line);
        match names::named(&entry.name.to_ascii_uppercase()) {
            None => problems.push(format!(
                "{place}: '{}' is an unknown key: {}",
                entry.name.escape_debug(),
                names::advice(&entry.name)
            )),
            Some(_) if entry.value.is_empty() => {}
            Some(key) => match seen.insert(key.name, entry) {
                Some(first) => problems.push(file::twice(key.name, &place, first.line)),
                None => layer.set(key, &entry.value, &place, problems),
            },
        }
    }
    layer
}
