//! A log file for each day, and a link to the latest.
//!
//! `tracing-appender` rolls files too, but its link holds the folder's path: it breaks when the folder
//! is relative, or is seen from outside a container. Ours names the file alone. Several processes may
//! write into one folder: each appends, and nobody renames a file that another writes to. Others may
//! (logrotate, an operator): [`DailyFile::follow`] notices that and opens the path again.

use std::fs::{self, File, Metadata};
use std::io::{self, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use time::{Date, OffsetDateTime};

/// Days of logs that are kept.
const KEPT_FILES: usize = 90;

/// Appends to `NAME.YYYY-MM-DD.log` of the day in UTC; `NAME.log` links to it.
#[derive(Debug)]
pub(super) struct DailyFile {
    dir: PathBuf,
    name: &'static str,
    day: Date,
    file: File,
    /// Which file on the disk is open.
    id: FileId,
    /// `NAME.log` leads to it. On a full disk there may be no room for a link.
    linked: bool,
    /// A line was cut off by a full disk and could not be taken back: end it before the next one.
    torn: bool,
}

/// What an append has done.
#[derive(Debug)]
pub(super) struct Appended {
    /// How many of the lines are in the file, whole, counted from the first.
    pub(super) lines: usize,
    /// Why the others are not.
    pub(super) error: Option<io::Error>,
}

/// Device and inode: two paths with the same one are the same file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId(u64, u64);

impl From<&Metadata> for FileId {
    fn from(metadata: &Metadata) -> Self {
        Self(metadata.dev(), metadata.ino())
    }
}

impl DailyFile {
    /// Opens today's file in `dir`. Makes the folder if it does not exist.
    pub(super) fn open(dir: &Path, name: &'static str) -> io::Result<Self> {
        let day = today();
        let (file, id) = open(dir, name, day)?;
        link(dir, name, day)?;
        Ok(Self { dir: dir.to_path_buf(), name, day, file, id, linked: true, torn: false })
    }

    /// The log's name, `app` for `app.log`.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Makes sure that the open file is the one at today's path: on a new day, and when the path's file
    /// was moved, removed or replaced, the path is opened again.
    ///
    /// # Errors
    /// When it can't be opened. The old file stays open, and is better than none.
    pub(super) fn follow(&mut self) -> io::Result<()> {
        self.follow_to(today())
    }

    fn follow_to(&mut self, today: Date) -> io::Result<()> {
        if today != self.day {
            return self.open_again(today);
        }
        if !self.linked {
            self.linked = link(&self.dir, self.name, today).is_ok();
        }
        match fs::metadata(path(&self.dir, self.name, self.day)) {
            Ok(found) if FileId::from(&found) == self.id => Ok(()),
            // What can't be looked at can't be opened either; opening says why.
            Ok(_) | Err(_) => self.open_again(today),
        }
    }

    /// Opens today's path again, whatever lies there.
    ///
    /// # Errors
    /// When it can't be opened. The old file stays open.
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

    /// Appends lines, each with its line end, in one write as far as the system allows. A line that did
    /// not fit is taken back, so that the file has whole lines only.
    pub(super) fn append(&mut self, lines: &[&[u8]]) -> Appended {
        let appended = self.write(lines);
        // A file without a name is gone as soon as it is closed, and so is what was written to it.
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
            self.torn = !self.take_back(left as u64);
        }
        Appended { lines: whole, error }
    }

    /// Cuts the last bytes off the file, if nobody has written behind them.
    fn take_back(&mut self, count: u64) -> bool {
        let end = self.file.stream_position();
        let length = self.file.metadata().map(|metadata| metadata.len());
        match (end, length) {
            // After a write that appends, the position is the end of what was written.
            (Ok(end), Ok(length)) if end == length => self.file.set_len(end - count).is_ok(),
            _ => false,
        }
    }

    fn is_removed(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
    }
}

/// Takes `count` off `left`, if there is as much.
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

/// Points `NAME.log` at the day's file, in one step: a reader never finds no link.
fn link(dir: &Path, name: &str, day: Date) -> io::Result<()> {
    let (link, file_name) = (dir.join(format!("{name}.log")), file_name(name, day));
    if fs::read_link(&link).is_ok_and(|target| target == Path::new(&file_name)) {
        return Ok(());
    }
    let fresh = dir.join(format!(".{name}.{}.link", std::process::id()));
    // Left over from a process of the same id that died right here.
    let _ = fs::remove_file(&fresh);
    std::os::unix::fs::symlink(file_name, &fresh)?;
    fs::rename(&fresh, link)
}

/// Removes what is past [`KEPT_FILES`] days; what can't be removed stays.
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
#[path = "daily_tests.rs"]
mod tests;
