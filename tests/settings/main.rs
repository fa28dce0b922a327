//! Tests settings from the environment, `.env` and YAML: each gives the same value, or an error with place and reason.

mod real;
mod table;

use std::ffi::OsString;
use std::path::Path;

use harness::process::Home;
use service::Settings;
use service::settings::{LogFormat, QueueLocation, Secret, Sources};

use table::{Expected, ROWS, Row};

/// The ways that a setting can come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Environment,
    DotEnv,
    Yaml,
}

impl Way {
    const ALL: [Self; 3] = [Self::Environment, Self::DotEnv, Self::Yaml];

    /// Returns the text that a row has for it, if any.
    fn of(self, row: &Row) -> Option<&'static str> {
        let text = match self {
            Self::Environment => row.environment,
            Self::DotEnv => row.dotenv,
            Self::Yaml => row.yaml,
        };
        (text != table::NONE).then_some(text)
    }

    /// The place in messages.
    fn place(self, line: usize) -> String {
        match self {
            Self::Environment => "environment".to_owned(),
            Self::DotEnv => format!(".env, line {line}"),
            Self::Yaml => format!("qwen-queue.yaml, line {line}"),
        }
    }

    /// Writes a row's text to where it is read, behind two other lines; answers with the variables to set.
    fn prepare(
        self,
        row: &Row,
        text: &'static str,
        home: &Path,
    ) -> Vec<(&'static str, &'static str)> {
        let file = match self {
            Self::Environment => return vec![(row.name, text)],
            Self::DotEnv => ".env",
            Self::Yaml => "qwen-queue.yaml",
        };
        // A byte order mark must be at the beginning.
        let before = if text.starts_with('\u{feff}') { "" } else { "# two lines before\n\n" };
        std::fs::write(home.join(file), format!("{before}{text}\n")).expect("a file");
        vec![]
    }
}

fn load(row: &Row, way: Way) -> Option<Result<Settings, Vec<String>>> {
    let text = way.of(row)?;
    let home = Home::new();
    let variables = way.prepare(row, text, home.path());
    let pairs = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let file = home.path().join("qwen-queue.yaml");
    let loaded = Settings::load_from(&Sources {
        file: file.exists().then_some(file),
        dotenv: home.path().join(".env"),
        environment: pairs.collect(),
        options: Vec::new(),
    });
    Some(loaded.map_err(|error| error.problems))
}

/// A setting's value as text.
fn shown(name: &str, settings: &Settings) -> String {
    let optional =
        |number: Option<usize>| number.map_or_else(|| "unset".to_owned(), |n| n.to_string());
    let revealed = |secret: Option<&Secret>| secret.map_or("unset", Secret::reveal).to_owned();
    match name {
        "API_KEYS" => settings.api_keys.iter().map(Secret::reveal).collect::<Vec<_>>().join("|"),
        "ADMIN_API_KEY" => revealed(settings.admin_api_key.as_ref()),
        "HF_TOKEN" => revealed(settings.hf_token.as_ref()),
        "HOST" => settings.host.to_string(),
        "PORT" => settings.port.to_string(),
        "KV_TOKENS" => optional(settings.kv_tokens),
        "MAX_MODEL_BYTES" => optional(settings.max_model_bytes),
        "LOG_DIR" => settings.log_dir.display().to_string(),
        "LOG_LEVEL" => settings.log_level.clone(),
        "LOG_FORMAT" if settings.log_format == LogFormat::Json => "json".to_owned(),
        "LOG_FORMAT" => "text".to_owned(),
        "USAGE_KEPT_DAYS" => settings.usage_kept_days.to_string(),
        "WEBHOOK_ALLOW_PRIVATE" => settings.webhook_allow_private.to_string(),
        "MODEL_NAME" => settings.model_names.join("|"),
        "MODEL_DEVICE" => format!("{:?}", settings.model_device),
        "LORA_ADAPTERS" => {
            let adapters = settings.lora_adapters.iter();
            adapters.map(|one| format!("{}={}", one.name, one.source)).collect::<Vec<_>>().join("|")
        }
        "REDIS_URL" => match &settings.queue {
            QueueLocation::Redis(url) => url.reveal().to_owned(),
            QueueLocation::Embedded(_) => "unset".to_owned(),
        },
        other => panic!("{other} is in the table and not here"),
    }
}

#[test]
fn settings_have_the_same_value_or_refusal_in_every_source() {
    let home = std::env::home_dir().expect("a home folder").display().to_string();
    let mut wrong = Vec::new();
    let mut judged = 0;
    for row in ROWS {
        for way in Way::ALL {
            let Some(loaded) = load(row, way) else { continue };
            judged += 1;
            let fault = match (row.expected, loaded) {
                (Expected::Is(value), Ok(settings)) => {
                    let (value, found) =
                        (value.replace("HOME!", &home), shown(row.name, &settings));
                    (found != value).then(|| format!("is {found:?}, not {value:?}"))
                }
                (Expected::Is(_), Err(problems)) => Some(format!("was refused: {problems:?}")),
                (Expected::Refused(..), Ok(settings)) => {
                    Some(format!("was accepted as {:?}", shown(row.name, &settings)))
                }
                (Expected::Refused(line, word), Err(problems)) => {
                    let all = problems.join("\n");
                    let wanted = [
                        row.name.to_lowercase(),
                        way.place(line).to_lowercase(),
                        word.to_lowercase(),
                    ];
                    let missing: Vec<_> =
                        wanted.iter().filter(|word| !all.to_lowercase().contains(*word)).collect();
                    (problems.len() != 1 || !missing.is_empty() || all.contains("seSame"))
                        .then(|| format!("does not say {missing:?}, or too much: {problems:?}"))
                }
            };
            wrong.extend(
                fault.map(|fault| format!("{} by {way:?}: {} {fault}", row.what, row.name)),
            );
        }
    }
    assert!(wrong.is_empty(), "{} of {judged}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(ROWS.len() >= 60 && judged >= 150, "{} rows, {judged} judged", ROWS.len());
}
