//! Finds the files of a log: those of each day, and what other tools made of them.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use time::Date;
use time::macros::format_description;

use crate::decode::{self, Opened};

const LOG: &str = "llm_requests";
const COMPRESSED: [&str; 2] = [".gz", ".zst"];

/// A file, or standard input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// The file; `None` is standard input.
    path: Option<PathBuf>,
    /// The day of its name.
    day: Option<Date>,
}

/// Why there is nothing to read.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// A named file or folder can't be read.
    #[error("{} can't be read", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A folder has no files of the log.
    #[error("there is no {LOG}.log in {}: name files, or another folder", .0.display())]
    NoLog(PathBuf),
}

impl Input {
    /// Returns the inputs that `paths` name: files as they are, `-` for standard input, and of folders all files of
    /// the log, oldest first, whether rotated or compressed. No file is returned twice, not even by two names.
    ///
    /// # Errors
    /// If a path doesn't exist, or a folder has no such file.
    pub fn find(paths: &[PathBuf]) -> Result<Vec<Self>, InputError> {
        let mut known = HashSet::new();
        let mut inputs = Vec::new();
        for path in paths {
            if path.as_os_str() == "-" {
                if known.insert(None) {
                    inputs.push(Self { path: None, day: None });
                }
                continue;
            }
            let failed = |source| InputError::Unreadable { path: path.clone(), source };
            let found = fs::metadata(path).map_err(failed)?;
            if !found.is_dir() {
                // The writer of a pipe would take this for its reader.
                if found.is_file() {
                    File::open(path).map_err(failed)?;
                }
                inputs.extend(Self::new(path.clone(), &mut known).map_err(failed)?);
                continue;
            }
            let before = inputs.len();
            for name in names(path).map_err(failed)? {
                match Self::new(path.join(name), &mut known) {
                    Ok(input) => inputs.extend(input),
                    // A link to a file that was moved away, or a file that was removed meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(failed(error)),
                }
            }
            if inputs.len() == before {
                return Err(InputError::NoLog(path.clone()));
            }
        }
        Ok(inputs)
    }

    /// Returns the input, or `None` if the file is in `known` already.
    fn new(path: PathBuf, known: &mut HashSet<Option<(u64, u64)>>) -> io::Result<Option<Self>> {
        let file = fs::metadata(&path)?;
        let day = path.file_name().and_then(|name| Name::parse(name.to_str()?)?.day);
        Ok(known.insert(Some((file.dev(), file.ino()))).then_some(Self { path: Some(path), day }))
    }

    /// Returns the name for people.
    pub fn name(&self) -> String {
        self.path
            .as_ref()
            .map_or_else(|| "standard input".to_owned(), |path| path.display().to_string())
    }

    /// Returns whether `path` is another name of this file.
    pub fn is_file(&self, path: &Path) -> bool {
        let id = |path: &Path| {
            fs::metadata(path).map(|file| (file.is_file(), file.dev(), file.ino())).ok()
        };
        let mine = self.path.as_deref().and_then(id);
        mine.is_some_and(|mine| mine.0 && id(path) == Some(mine))
    }

    /// Returns the number of bytes, or `None` if it isn't known.
    pub fn bytes(&self) -> Option<u64> {
        let file = fs::metadata(self.path.as_ref()?).ok()?;
        file.is_file().then_some(file.len())
    }

    /// Returns whether it may have lines of the time from `since` to `until`, in seconds since 1970. A line that waited
    /// for its disk at midnight may be in the file of the next day.
    pub(crate) fn may_have(&self, since: Option<i64>, until: Option<i64>) -> bool {
        let Some(day) = self.day else { return true };
        let start = day.midnight().assume_utc().unix_timestamp();
        const DAY: i64 = 86_400;
        since.is_none_or(|since| start + 2 * DAY > since)
            && until.is_none_or(|until| start - DAY < until)
    }

    pub(crate) fn open(&self, read: Arc<AtomicU64>) -> io::Result<Opened> {
        match &self.path {
            Some(path) => decode::open(File::open(path)?, read),
            None => decode::open(io::stdin(), read),
        }
    }
}

/// Returns the names of the log's files in a folder, oldest first. A compressed file is left out if the uncompressed
/// one is there too, since a tool is about to remove that.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // Links come last: `llm_requests.log` is another name of the latest day's file.
        let is_link = entry.file_type()?.is_symlink();
        let name = entry.file_name();
        let parsed = name.to_str().and_then(|name| Some((is_link, Name::parse(name)?, name)));
        names.extend(parsed.map(|(is_link, parsed, name)| (is_link, parsed, name.to_owned())));
    }
    let plain: HashSet<String> = names.iter().map(|(.., name)| name.clone()).collect();
    names.retain(|(.., name)| {
        let bare = COMPRESSED.iter().find_map(|ending| name.strip_suffix(ending));
        bare.is_none_or(|bare| !plain.contains(bare))
    });
    names.sort();
    Ok(names.into_iter().map(|(.., name)| name).collect())
}

/// The parts of a file's name, in the order of age: `llm_requests.2025-11-21.log`, and what rotation appends to it:
/// `.2.gz`, `-20251122`.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    day: Option<Date>,
    rotation: Rotation,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rotation {
    /// The greatest number is the oldest.
    Numbered(std::cmp::Reverse<u32>),
    /// A date, and perhaps a time.
    Dated(String),
    /// Not rotated.
    Current,
}

impl Name {
    /// Parses a name. Returns `None` for other files.
    fn parse(name: &str) -> Option<Self> {
        let (head, tail) = name.strip_prefix(LOG)?.split_once(".log")?;
        let format = format_description!("[year]-[month]-[day]");
        let day = match head {
            "" => None,
            head => Some(Date::parse(head.strip_prefix('.')?, format).ok()?),
        };
        let tail = COMPRESSED.iter().find_map(|ending| tail.strip_suffix(ending)).unwrap_or(tail);
        let rotation = match tail.split_at_checked(1) {
            None => Rotation::Current,
            Some((".", number)) => Rotation::Numbered(std::cmp::Reverse(number.parse().ok()?)),
            Some(("-", date)) if date.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') => {
                Rotation::Dated(date.to_owned())
            }
            Some(_) => return None,
        };
        Some(Self { day, rotation })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(folder: &Path) -> Vec<String> {
        let inputs = Input::find(&[folder.to_path_buf()]).unwrap();
        let name = |input: &Input| {
            input.path.as_ref().unwrap().file_name().unwrap().to_str().unwrap().to_owned()
        };
        inputs.iter().map(name).collect()
    }

    #[test]
    fn files_of_the_log_are_found_once_and_oldest_first() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str| fs::write(folder.path().join(name), name).unwrap();
        for name in [
            "llm_requests.2025-11-21.log.2.gz",
            "llm_requests.2025-11-21.log.10.gz",
            "llm_requests.2025-11-21.log.1",
            "llm_requests.2025-11-21.log",
            "llm_requests.2025-11-20.log",
            "llm_requests.2025-11-20.log.gz",
            "llm_requests.2025-11-19.log-20251120.zst",
            "llm_requests.2025-11-19.log-20251120-1763600000",
            // Others.
            "llm_requests.2025-11-18.log.tmp",
            "llm_requests.2025-13-18.log",
            "llm_requests.logs",
            "app.2025-11-21.log",
            "errors.log",
        ] {
            write(name);
        }
        std::os::unix::fs::symlink(
            "llm_requests.2025-11-21.log",
            folder.path().join("llm_requests.log"),
        )
        .unwrap();
        std::os::unix::fs::symlink("gone", folder.path().join("llm_requests.2025-11-22.log"))
            .unwrap();
        assert_eq!(
            found(folder.path()),
            [
                "llm_requests.2025-11-19.log-20251120.zst",
                "llm_requests.2025-11-19.log-20251120-1763600000",
                "llm_requests.2025-11-20.log",
                "llm_requests.2025-11-21.log.10.gz",
                "llm_requests.2025-11-21.log.2.gz",
                "llm_requests.2025-11-21.log.1",
                "llm_requests.2025-11-21.log",
            ]
        );
    }

    #[test]
    fn missing_paths_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let error = Input::find(&[folder.path().to_path_buf()]).unwrap_err().to_string();
        assert!(error.contains("there is no llm_requests.log in "), "{error}");
        let error = Input::find(&[folder.path().join("x")]).unwrap_err().to_string();
        assert!(error.ends_with("/x can't be read"), "{error}");
        let twice = ["-".into(), "-".into()];
        assert_eq!(Input::find(&twice).unwrap().len(), 1);
    }

    #[test]
    fn files_of_other_days_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("llm_requests.2025-11-21.log.gz");
        fs::write(&path, "").unwrap();
        let input = &Input::find(&[path]).unwrap()[0];
        let (start, day) = (1_763_683_200, 86_400); // 2025-11-21 00:00
        assert!(input.may_have(None, None) && input.may_have(Some(start), Some(start + 1)));
        assert!(input.may_have(Some(start + day + 5), None), "a line that waited");
        assert!(!input.may_have(Some(start + 2 * day), None));
        assert!(!input.may_have(None, Some(start - day)));
    }
}
