//! A `.env` file with checked names, read for settings and for clients.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::file::{self, Entry, Written};
use super::keys::Key;
use super::{SettingsError, dotenv, names};

/// The entries of a `.env` file. A missing file has none.
#[derive(Debug, Default)]
pub struct DotEnv {
    path: PathBuf,
    /// Entries with known names and non-empty values; each name occurs once.
    entries: Vec<Entry>,
}

impl DotEnv {
    /// Reads a file.
    ///
    /// # Errors
    /// If a line is not `NAME=value`, a known name is set twice, or an unknown name is a misspelled
    /// setting. Lists all problems, without values.
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
            if !names::is_known(&entry.name) {
                let meant =
                    names::key_for_misspelling(&entry.name).filter(|key| !is_named(key.name));
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

    /// Returns the value of a known name, or `None` if it is empty or missing.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.text_and_place(name).map(|(text, _)| text)
    }

    /// Returns the value of a known name and its file and line, or `None` if it is empty or missing.
    pub(super) fn text_and_place(&self, name: &str) -> Option<(&str, String)> {
        let entry = self.entries.iter().find(|entry| entry.name == name)?;
        match &entry.value {
            Written::One(text) => Some((text.trim(), self.place(entry))),
            Written::Several(_) => None, // only YAML has lists
        }
    }

    /// Returns the entries that are settings.
    pub(super) fn settings(&self) -> impl Iterator<Item = (&'static Key, &Entry)> {
        self.entries.iter().filter_map(|entry| Some((names::named(&entry.name)?, entry)))
    }

    /// Returns an entry's file and line, for messages.
    pub(super) fn place(&self, entry: &Entry) -> String {
        file::place(&self.path, entry.line)
    }
}
