//! [`Skills`]: the built-in skills and those of a folder, which is read again when it changes.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use crate::skill::Skill;

/// The files of the built-in skills.
const BUILT_IN: [(&str, &str); 9] = [
    ("chat", include_str!("builtin/chat.toml")),
    ("computer", include_str!("builtin/computer.toml")),
    ("describe", include_str!("builtin/describe.toml")),
    ("document", include_str!("builtin/document.toml")),
    ("mobile", include_str!("builtin/mobile.toml")),
    ("ocr", include_str!("builtin/ocr.toml")),
    ("recognize", include_str!("builtin/recognize.toml")),
    ("spatial", include_str!("builtin/spatial.toml")),
    ("video", include_str!("builtin/video.toml")),
];
/// The most files of a folder that are read.
const MAX_FILES: usize = 256;

/// All skills. Shared by the threads of a process.
#[derive(Debug)]
pub struct Skills {
    folder: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By their names.
    skills: BTreeMap<String, Arc<Skill>>,
    /// The files of the folder, as they were read.
    files: BTreeMap<PathBuf, Known>,
    /// Why the folder could not be read, if it could not.
    unreadable: Option<String>,
}

/// A file, as it was read.
#[derive(Debug, Clone)]
struct Known {
    /// Time of change and size; another means that it is read again.
    stamp: (Option<SystemTime>, u64),
    /// The latest version without a mistake.
    skill: Option<Arc<Skill>>,
}

/// What a look at the folder has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A skill was added or replaced.
    Loaded {
        /// The skill.
        name: String,
        /// Its file.
        file: PathBuf,
    },
    /// A file is wrong. The version before it, if there is one, stays in use.
    Refused {
        /// The file.
        file: PathBuf,
        /// The line and the reason.
        reason: String,
        /// The skill that stays in use.
        kept: Option<String>,
    },
    /// A skill is gone, with its file.
    Removed {
        /// The skill.
        name: String,
    },
    /// The folder can't be read. What was read before stays in use.
    Unreadable {
        /// Why.
        reason: String,
    },
}

/// Returns the file of a built-in skill.
pub fn built_in_file(name: &str) -> Option<&'static str> {
    BUILT_IN.iter().find(|(of, _)| *of == name).map(|(_, file)| *file)
}

impl Skills {
    /// Creates the registry, with the built-in skills. [`Self::refresh`] reads those of the folder.
    pub fn new(folder: Option<PathBuf>) -> Self {
        let skills = Self { folder, state: Mutex::default() };
        skills.update(|state| state.skills = all(&state.files));
        skills
    }

    /// Returns a skill.
    pub fn find(&self, name: &str) -> Option<Arc<Skill>> {
        self.update(|state| state.skills.get(name).cloned())
    }

    /// Returns all skills, in the order of their names.
    pub fn all(&self) -> Vec<Arc<Skill>> {
        self.update(|state| state.skills.values().cloned().collect())
    }

    /// Reads files of the folder that have changed. A skill of the folder takes the place of a built-in one of its name.
    pub fn refresh(&self) -> Vec<Change> {
        let Some(folder) = &self.folder else { return Vec::new() };
        let listed = match list(folder) {
            Ok(listed) => listed,
            Err(reason) => {
                return self.update(|state| {
                    let is_new = state.unreadable.as_ref() != Some(&reason);
                    state.unreadable = Some(reason.clone());
                    if is_new { vec![Change::Unreadable { reason }] } else { Vec::new() }
                });
            }
        };
        self.update(|state| {
            state.unreadable = None;
            let mut changes = Vec::new();
            for (file, stamp) in &listed {
                if state.files.get(file).is_none_or(|known| known.stamp != *stamp) {
                    changes.push(state.read(file, *stamp));
                }
            }
            state.files.retain(|file, _| listed.contains_key(file));
            let skills = all(&state.files);
            let gone = state.skills.keys().filter(|name| !skills.contains_key(*name));
            changes.extend(gone.map(|name| Change::Removed { name: name.clone() }));
            state.skills = skills;
            changes
        })
    }

    fn update<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        // No thread panics while it holds the lock.
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn read(&mut self, file: &Path, stamp: (Option<SystemTime>, u64)) -> Change {
        let before = self.files.get(file).and_then(|known| known.skill.clone());
        let parsed = Skill::read(file).map_err(|error| error.to_string()).and_then(|skill| {
            let other = self.files.iter().find(|(other, known)| {
                *other != file && known.skill.as_ref().is_some_and(|of| of.name == skill.name)
            });
            match other {
                Some((other, _)) => {
                    Err(format!("the skill '{}' is in {} already", skill.name, other.display()))
                }
                None => Ok(Arc::new(skill)),
            }
        });
        let file = file.to_owned();
        let (skill, change) = match parsed {
            Ok(skill) => {
                let name = skill.name.clone();
                (Some(skill), Change::Loaded { name, file: file.clone() })
            }
            Err(reason) => {
                let kept = before.as_ref().map(|skill| skill.name.clone());
                (before, Change::Refused { file: file.clone(), reason, kept })
            }
        };
        self.files.insert(file, Known { stamp, skill });
        change
    }
}

/// Returns the built-in skills, and those of files in their places.
fn all(files: &BTreeMap<PathBuf, Known>) -> BTreeMap<String, Arc<Skill>> {
    // A test parses all built-in files.
    let built_in = BUILT_IN.iter().filter_map(|(_, file)| Skill::parse(file).ok()).map(Arc::new);
    let own = files.values().filter_map(|known| known.skill.clone());
    built_in.chain(own).map(|skill| (skill.name.clone(), skill)).collect()
}

type Listed = BTreeMap<PathBuf, (Option<SystemTime>, u64)>;

/// Lists the files of skills in a folder, with the stamps of their versions.
fn list(folder: &Path) -> Result<Listed, String> {
    let files = files_of(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    // A file that is gone meanwhile is not there.
    let about = |path: PathBuf| {
        let about = fs::metadata(&path).ok()?;
        Some((path, (about.modified().ok(), about.len())))
    };
    let listed: Listed = files.into_iter().filter_map(about).collect();
    if listed.len() > MAX_FILES {
        return Err(format!("{}: has more than {MAX_FILES} skills", folder.display()));
    }
    Ok(listed)
}

/// Returns the files of skills in a folder, in the order of their names: those that end in `.toml`, except hidden ones.
///
/// # Errors
/// If the folder can't be read.
pub fn files_of(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let is_skill = name.is_some_and(|name| name.ends_with(".toml") && !name.starts_with('.'));
        if is_skill && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
