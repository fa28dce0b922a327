//! Gathers every setting's text from the sources, by the `config` crate: defaults < YAML file <
//! `.env` < environment. Knows names, not meanings.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use config::{Config, Environment, File, FileFormat, Map, Source};

use super::SettingsError;
use super::keys::KEYS;

/// Names the YAML file when no option does.
const FILE_VARIABLE: &str = "QWEN_QUEUE_CONFIG";
/// The YAML file that is read when it exists and nothing names another.
const DEFAULT_FILE: &str = "qwen-queue.yaml";

/// The text of each setting that has one, by name.
#[derive(Debug, Default)]
pub(super) struct Layers(pub(super) HashMap<&'static str, String>);

/// Reads all sources. `environment` is the process's, as pairs.
pub(super) fn gather(
    file: Option<&Path>,
    dotenv: &Path,
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Layers, SettingsError> {
    let mut problems = Vec::new();
    let environment: Map<String, String> = environment
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();

    let mut builder = Config::builder();
    for key in KEYS {
        if let Some(default) = key.default {
            // A constant key and value can't be refused.
            builder = match builder.set_default(key.name.to_ascii_lowercase(), default) {
                Ok(builder) => builder,
                Err(error) => return Err(SettingsError { problems: vec![error.to_string()] }),
            };
        }
    }
    if let Some(path) = yaml_path(file, environment.get(FILE_VARIABLE)) {
        match read_yaml(&path) {
            Ok(yaml) => builder = builder.add_source(yaml),
            Err(mut found) => problems.append(&mut found),
        }
    }
    match read_dotenv(dotenv) {
        Ok(pairs) => builder = builder.add_source(variables(pairs)),
        Err(problem) => problems.push(problem),
    }
    builder = builder.add_source(variables(environment));

    let config = builder.build().map_err(|error| SettingsError {
        problems: vec![format!("the settings can't be combined: {error}")],
    })?;
    let mut layers = Layers::default();
    for key in KEYS {
        match text(&config, &key.name.to_ascii_lowercase()) {
            Ok(Some(text)) => drop(layers.0.insert(key.name, text)),
            Ok(None) => {}
            Err(shape) => problems.push(format!("{}: {shape}", key.name)),
        }
    }
    if problems.is_empty() { Ok(layers) } else { Err(SettingsError { problems }) }
}

/// A setting as text: scalars as they are, lists joined by commas, empty text as unset.
fn text(config: &Config, key: &str) -> Result<Option<String>, String> {
    if let Ok(list) = config.get_array(key) {
        let items: Result<Vec<_>, _> = list.into_iter().map(config::Value::into_string).collect();
        return items.map(|items| Some(items.join(","))).map_err(|e| e.to_string());
    }
    match config.get_string(key) {
        Ok(text) if text.trim().is_empty() => Ok(None),
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(config::ConfigError::NotFound(_)) => Ok(None),
        Err(_) => Err("expected a single value or a list of them".into()),
    }
}

/// A layer of environment-like pairs: only our names count, and an empty value is as good as none.
fn variables(pairs: Map<String, String>) -> Environment {
    let ours = pairs
        .into_iter()
        .filter(|(name, value)| KEYS.iter().any(|key| key.name == name) && !value.trim().is_empty())
        .collect();
    Environment::default().source(Some(ours))
}

fn yaml_path(option: Option<&Path>, variable: Option<&String>) -> Option<PathBuf> {
    option
        .map(Path::to_path_buf)
        .or_else(|| variable.filter(|path| !path.is_empty()).map(PathBuf::from))
        .or_else(|| Some(PathBuf::from(DEFAULT_FILE)).filter(|path| path.exists()))
}

fn read_yaml(path: &Path) -> Result<impl Source + Send + Sync + use<>, Vec<String>> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| vec![format!("the settings file {shown} can't be read: {error}")])?;
    let source = File::from_str(&text, FileFormat::Yaml);
    let entries = source
        .collect()
        .map_err(|error| vec![format!("the settings file {shown} is not valid YAML: {error}")])?;
    let mut unknown: Vec<_> = entries
        .keys()
        .filter(|name| !KEYS.iter().any(|key| key.name.eq_ignore_ascii_case(name)))
        .map(|name| {
            format!(
                "the settings file {shown} has the unknown key '{}': allowed are {}",
                name.escape_debug(),
                KEYS.iter().map(|key| key.name.to_ascii_lowercase()).collect::<Vec<_>>().join(", ")
            )
        })
        .collect();
    unknown.sort();
    if unknown.is_empty() { Ok(source) } else { Err(unknown) }
}

fn read_dotenv(path: &Path) -> Result<Map<String, String>, String> {
    if !path.exists() {
        return Ok(Map::new());
    }
    let unreadable = |error: dotenvy::Error| format!("{} can't be read: {error}", path.display());
    dotenvy::from_path_iter(path)
        .map_err(unreadable)?
        .collect::<Result<_, _>>()
        // The line itself may hold a secret: name the file, not its content.
        .map_err(|error| match error {
            dotenvy::Error::LineParse(_, at) => {
                format!("{} has a line that is not NAME=value (character {at})", path.display())
            }
            other => unreadable(other),
        })
}
