//! Identifiers as newtypes, so that ids of different kinds cannot be confused.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The text is not an id of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{given}' is not a valid {kind}: expected a UUID such as 0192f0c1-2345-7abc-8def-0123456789ab"
)]
pub struct InvalidId {
    /// The expected kind, e.g. `task_id`.
    pub kind: &'static str,
    /// The text, cut to 64 characters.
    pub given: String,
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $new:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Creates a new, globally unique id.
            #[allow(clippy::new_without_default)] // a default that differs on every call misleads
            pub fn new() -> Self {
                Self($new)
            }

            /// Returns the UUID.
            pub fn as_uuid(&self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Uuid::try_parse(text).map(Self).map_err(|_| InvalidId {
                    kind: $kind,
                    given: text.chars().take(64).collect(),
                })
            }
        }
    };
}

uuid_id!(
    /// Identifies a task. UUIDv7, so ids sort by the time of submission.
    TaskId,
    "task_id",
    Uuid::now_v7()
);

uuid_id!(
    /// Identifies one run of a worker process. New at every start and never reused, so that a
    /// restarted worker is not mistaken for its predecessor.
    WorkerId,
    "worker_id",
    Uuid::new_v4()
);

/// The owner of an API key. Derived from the key's hash, so it can be stored and logged safely.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TenantId(String);

impl TenantId {
    /// Wraps a tenant's name, which the gateway derives from the key's hash.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The public name of a model, e.g. `demo` or `Qwen/Qwen3-4B-GGUF:Q4_K_M`. Tasks request a model by
/// it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ModelId(String);

impl ModelId {
    /// Wraps a model's public name.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// Derives the public name from `MODEL_NAME`: a hub repository (with its optional `@revision` and
    /// `:quant`) and `demo` keep their name, the address of a repository's page becomes that name, and a
    /// path is reduced to the file's stem.
    pub fn from_source(source: &str) -> Self {
        if let Some(repository) = repository_of_page(source) {
            return Self::new(repository);
        }
        let is_file = source.ends_with(".gguf") && !source.contains(':');
        let is_path = is_file || source.starts_with(['/', '.', '~']);
        if !is_path {
            return Self::new(source);
        }
        let path = source.trim_end_matches(['/', '\\']);
        let file = path.rsplit(['/', '\\']).next().unwrap_or(path);
        Self::new(file.strip_suffix(".gguf").unwrap_or(file))
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `owner/name[@revision][:file]` of the address of a page of the hub; `None` of any other text. What the
/// engine's `source` makes of such addresses to find the files, this does for the public name.
fn repository_of_page(source: &str) -> Option<String> {
    let strip = |text: &'_ str, prefix: &str| {
        let begins = text.get(..prefix.len()).is_some_and(|b| b.eq_ignore_ascii_case(prefix));
        begins.then(|| text[prefix.len()..].to_owned())
    };
    let address = ["https://", "http://"].iter().find_map(|scheme| strip(source, scheme));
    let address = address.unwrap_or_else(|| source.to_owned());
    let hosts = ["huggingface.co/", "www.huggingface.co/", "hf.co/", "hf://"];
    let page = hosts.iter().find_map(|host| strip(&address, host))?;
    let (path, query) = page.split_once(['?', '#']).unwrap_or((&page, ""));
    let shown = query.split('&').find_map(|pair| pair.strip_prefix("show_file_info="));
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let mut name = format!("{}/{}", parts.next()?, parts.next()?);
    if parts.next().is_some() {
        let revision = parts.next().filter(|revision| *revision != "main");
        let revision = revision.map(|revision| revision.replace("%2F", "/"));
        name.extend(revision.map(|revision| format!("@{revision}")));
    }
    let file = parts.collect::<Vec<_>>().join("/");
    let file = Some(file.as_str()).filter(|file| !file.is_empty()).or(shown);
    name.extend(file.map(|file| format!(":{file}")));
    Some(name)
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The number of a task's delivery to a worker, from 1. Together with [`WorkerId`] it is a fencing
/// token: only the holder of the current (worker, attempt) may renew, finish or release a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attempt(u32);

impl Attempt {
    /// The first delivery.
    pub const FIRST: Self = Self(1);

    /// The `n`-th delivery; 0 if there was none yet.
    pub const fn new(n: u32) -> Self {
        Self(n)
    }

    /// Returns the number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of an [`Event`](crate::Event) within its task, from 1 without gaps. 0 precedes the
/// first event, so the events after 0 are all events.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct EventSeq(u64);

impl EventSeq {
    /// The position before the first event.
    pub const START: Self = Self(0);

    /// The number `n`.
    pub const fn new(n: u64) -> Self {
        Self(n)
    }

    /// Returns the number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for EventSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn task_ids_sort_by_time_and_round_trip() {
        let (first, second) = (TaskId::new(), TaskId::new());
        assert!(first < second);
        assert_eq!(first.to_string().parse::<TaskId>().unwrap(), first);
    }

    #[test]
    fn an_error_about_a_malformed_id_quotes_at_most_64_characters() {
        let error = "x".repeat(1000).parse::<TaskId>().unwrap_err();
        assert_eq!(error.kind, "task_id");
        assert_eq!(error.given.len(), 64);
    }

    #[test]
    fn a_models_name_is_derived_from_its_source() {
        for (source, name) in [
            ("demo", "demo"),
            ("Qwen/Qwen3-4B-GGUF:Q4_K_M", "Qwen/Qwen3-4B-GGUF:Q4_K_M"),
            ("/models/tiny.gguf", "tiny"),
            ("./models/a.b.gguf", "a.b"),
            ("qwen3.gguf", "qwen3"),
            ("~/models/x.gguf", "x"),
            ("acme/tiny:tiny-Q8_0.gguf", "acme/tiny:tiny-Q8_0.gguf"),
            ("acme/tiny@v1:Q8_0", "acme/tiny@v1:Q8_0"),
            ("hf.co/acme/tiny:Q8_0", "acme/tiny:Q8_0"),
            ("https://huggingface.co/acme/tiny", "acme/tiny"),
            ("HTTPS://HuggingFace.co/acme/tiny/tree/main", "acme/tiny"),
            ("https://hf.co/acme/tiny/tree/refs%2Fpr%2F1", "acme/tiny@refs/pr/1"),
            ("hf://acme/tiny", "acme/tiny"),
            (
                "https://huggingface.co/acme/tiny/resolve/main/BF16/a.gguf?download=true",
                "acme/tiny:BF16/a.gguf",
            ),
            ("https://huggingface.co/a/b/tree/main?show_file_info=c.gguf", "a/b:c.gguf"),
        ] {
            assert_eq!(ModelId::from_source(source).as_str(), name);
        }
    }
}
