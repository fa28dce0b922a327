//! A `.env` file with its names: what settings and clients of the system find in it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::file::{self, Entry, Written};
use super::keys::Key;
use super::{SettingsError, dotenv, names};

/// What a `.env` file sets for this system. It may not exist; then it sets nothing.
#[derive(Debug, Default)]
pub struct DotEnv {
    path: PathBuf,
    /// Of our names only those that are not empty, each once.
    entries: Vec<Entry>,
}

impl DotEnv {
    /// Reads a file.
    ///
    /// # Errors
    /// With every line that is not `NAME=value`, every name of ours that is set twice, and every other name
    /// that is a misspelled setting. No value is shown.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let refused = |problem| SettingsError { problems: vec![problem] };
        let Some(text) = file::read(path).map_err(refused)? else { return Ok(Self::default()) };
        let (all, bad) = dotenv::entries(&text);
        let mut problems: Vec<_> = bad.iter().map(|bad| bad.message(path)).collect();
        let is_named = |name: &str| all.iter().any(|entry| entry.name == name);
        let mut seen: HashMap<String, usize> = HashMap::new();
        let mut entries = Vec::new();
        for entry in &all {
            let place = || file::place(path, entry.line);
            if !names::is_ours(&entry.name) {
                let meant = names::slip_of(&entry.name).filter(|key| !is_named(key.name));
                problems.extend(meant.map(|key| {
                    format!(
                        "{}: {} is no setting: did you mean {}? If it is another program's, add the line \
                         {}= to say so",
                        place(),
                        entry.name.escape_debug(),
                        key.name,
                        key.name
                    )
                }));
            } else if !entry.value.is_empty() {
                match seen.insert(entry.name.clone(), entry.line) {
                    Some(first) => problems.push(file::twice(&entry.name, &place(), first)),
                    None => entries.push(entry.clone()),
                }
            }
        }
        if problems.is_empty() {
            Ok(Self { path: path.to_owned(), entries })
        } else {
            Err(SettingsError { problems })
        }
    }

    /// The value of one of our names; `None` if it is empty or not there.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.entries.iter().find(|entry| entry.name == name).and_then(|entry| match &entry.value {
            Written::One(text) => Some(text.trim()),
            Written::Several(_) => None, // only YAML has lists
        })
    }

    /// The settings in it.
    pub(super) fn settings(&self) -> impl Iterator<Item = (&'static Key, &Entry)> {
        self.entries.iter().filter_map(|entry| Some((names::named(&entry.name)?, entry)))
    }

    /// Where an entry is, for messages.
    pub(super) fn place(&self, entry: &Entry) -> String {
        file::place(&self.path, entry.line)
    }
}
