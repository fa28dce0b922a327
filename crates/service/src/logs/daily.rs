//! A log file per day, and a link to the latest.
//!
//! `tracing-appender` rotates files too, but its link contains the folder's path, so it breaks if
//! the folder is relative or is accessed from outside a container. Our link contains only the file
//! name. Several processes may write to one folder: all append, and none renames a file. Other
//! programs may rename or remove one (logrotate, an operator): [`DailyFile::follow`] detects that
//! and opens the path again.

use std::fs::{self, File, Metadata};
use std::io::{self, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use time::{Date, OffsetDateTime};

/// Number of daily files that are kept.
const KEPT_FILES: usize = 90;

/// Appends to `NAME.YYYY-MM-DD.log` of the current day in UTC; `NAME.log` links to it.
#[derive(Debug)]
pub(super) struct DailyFile {
    dir: PathBuf,
    name: &'static str,
    day: Date,
    file: File,
    /// The identity of the open file.
    id: FileId,
    /// `NAME.log` links to the open file. Creating the link may fail on a full disk.
    linked: bool,
    /// The last line was cut off by a full disk and could not be removed, so the next write starts
    /// with a line end.
    torn: bool,
}

/// The result of an append.
#[derive(Debug)]
pub(super) struct Appended {
    /// The number of lines, counted from the first, that are completely in the file.
    pub(super) lines: usize,
    /// The reason why the others are not.
    pub(super) error: Option<io::Error>,
}

/// Device and inode number, which identify a file independently of its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId(u64, u64);

impl From<&Metadata> for FileId {
    fn from(metadata: &Metadata) -> Self {
        Self(metadata.dev(), metadata.ino())
    }
}

impl DailyFile {
    /// Opens today's file in `dir`. Creates the folder if it does not exist.
    pub(super) fn open(dir: &Path, name: &'static str) -> io::Result<Self> {
        let day = today();
        let (file, id) = open(dir, name, day)?;
        link(dir, name, day)?;
        Ok(Self { dir: dir.to_path_buf(), name, day, file, id, linked: true, torn: false })
    }

    /// Returns the log's name, `app` for `app.log`.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Makes sure that the open file is the one at today's path: opens the path again on a new day,
    /// and when its file was moved, removed or replaced.
    ///
    /// # Errors
    /// If the path cannot be opened. The old file then stays open.
    pub(super) fn follow(&mut self) -> io::Result<()> {
        self.switch_to_day(today())
    }

    fn switch_to_day(&mut self, today: Date) -> io::Result<()> {
        if today != self.day {
            return self.open_again(today);
        }
        if !self.linked {
            self.linked = link(&self.dir, self.name, today).is_ok();
        }
        match fs::metadata(path(&self.dir, self.name, self.day)) {
            Ok(found) if FileId::from(&found) == self.id => Ok(()),
            // If the path's metadata cannot be read, opening it returns the reason.
            Ok(_) | Err(_) => self.open_again(today),
        }
    }

    /// Opens today's path again, unconditionally.
    ///
    /// # Errors
    /// If the path cannot be opened. The old file then stays open.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        self.open_again(today())
    }

    fn open_again(&mut self, day: Date) -> io::Result<()> {
        let (file, id) = open(&self.dir, self.name, day)?;
        self.torn &= id == self.id;
        (self.file, self.id, self.day) = (file, id, day);
        self.linked = link(&self.dir, self.name, day).is_ok();
        Ok(())
    }

    /// Appends lines, each with its line end, in one write if the system allows. A line that was
    /// written only in part is removed again, so that the file consists of whole lines.
    pub(super) fn append(&mut self, lines: &[&[u8]]) -> Appended {
        let appended = self.write(lines);
        // A removed file is deleted when it is closed, together with everything written to it.
        if self.is_removed() {
            return match self.open_again(today()) {
                Ok(()) => self.write(lines),
                Err(error) => Appended { lines: 0, error: Some(error) },
            };
        }
        appended
    }

    fn write(&mut self, lines: &[&[u8]]) -> Appended {
        let mut text = lines.concat();
        let lead = usize::from(self.torn);
        if self.torn {
            text.insert(0, b'\n');
        }
        let mut written = 0;
        let error = loop {
            if written == text.len() {
                break None;
            }
            match self.file.write(&text[written..]) {
                Ok(0) => break Some(io::ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Some(error),
            }
        };
        self.torn &= written < lead;
        let mut left = written.saturating_sub(lead);
        let whole = lines.iter().take_while(|line| take(&mut left, line.len())).count();
        if left > 0 {
            self.torn = !self.remove_partial_line(left as u64);
        }
        Appended { lines: whole, error }
    }

    /// Removes the last `count` bytes, unless another process has appended since. Returns whether
    /// it did.
    fn remove_partial_line(&mut self, count: u64) -> bool {
        let end = self.file.stream_position();
        let length = self.file.metadata().map(|metadata| metadata.len());
        match (end, length) {
            // After an appending write, the position is the end of the written bytes.
            (Ok(end), Ok(length)) if end == length => self.file.set_len(end - count).is_ok(),
            _ => false,
        }
    }

    fn is_removed(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
    }
}

/// Subtracts `count` from `left` if `left` is large enough. Returns whether it did.
fn take(left: &mut usize, count: usize) -> bool {
    let enough = *left >= count;
    if enough {
        *left -= count;
    }
    enough
}

fn today() -> Date {
    OffsetDateTime::now_utc().date()
}

fn file_name(name: &str, day: Date) -> String {
    format!("{name}.{day}.log")
}

fn path(dir: &Path, name: &str, day: Date) -> PathBuf {
    dir.join(file_name(name, day))
}

fn open(dir: &Path, name: &str, day: Date) -> io::Result<(File, FileId)> {
    fs::create_dir_all(dir)?;
    let file = File::options().create(true).append(true).open(path(dir, name, day))?;
    let id = FileId::from(&file.metadata()?);
    remove_oldest(dir, name);
    Ok((file, id))
}

/// Replaces the link `NAME.log` atomically, so that readers always find one.
fn link(dir: &Path, name: &str, day: Date) -> io::Result<()> {
    let (link, file_name) = (dir.join(format!("{name}.log")), file_name(name, day));
    if fs::read_link(&link).is_ok_and(|target| target == Path::new(&file_name)) {
        return Ok(());
    }
    let fresh = dir.join(format!(".{name}.{}.link", std::process::id()));
    // May be left over from a process with the same id that died at this point.
    let _ = fs::remove_file(&fresh);
    std::os::unix::fs::symlink(file_name, &fresh)?;
    fs::rename(&fresh, link)
}

/// Removes all but the latest [`KEPT_FILES`] daily files; ignores errors.
fn remove_oldest(dir: &Path, name: &str) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    let is_ours = |file: &str| {
        let day = file.strip_prefix(name).and_then(|rest| rest.strip_suffix(".log"));
        day.is_some_and(|day| day.len() == ".YYYY-MM-DD".len() && day.starts_with('.'))
    };
    let mut files: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|file| is_ours(file))
        .collect();
    files.sort_unstable(); // by date
    for file in files.iter().rev().skip(KEPT_FILES) {
        let _ = fs::remove_file(dir.join(file));
    }
}

#[cfg(test)]
mod tests;
