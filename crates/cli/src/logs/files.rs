//! Reads the daily files: forwards, from their end, or as they grow.
//!
//! `NAME.2025-11-21.log` is the file of a day. `NAME.log` links to the latest, and is read only if
//! there are no daily files, as in a copied folder. Memory is bounded for any content.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use time::Date;
use time::macros::format_description;

use super::entry::{Assembler, Entry, Log};

/// The maximum length of a line in bytes; the rest of a longer one is dropped.
const MAX_LINE: usize = 1 << 20;
/// The number of bytes that are read from a file's end at first. If they do not suffice, more are
/// read.
const FIRST_READ_BYTES: u64 = 64 << 10;
/// The factor by which that number grows.
const MORE: u64 = 8;

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Day {
    /// Its day, or `None` if its name has none.
    pub(super) date: Option<Date>,
    path: PathBuf,
}

/// Returns the files of a log, oldest first. A missing folder has none.
pub(super) fn days(dir: &Path, log: Log) -> io::Result<Vec<Day>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let date = |file: &str| {
        let day = file.strip_prefix(log.name())?.strip_prefix('.')?.strip_suffix(".log")?;
        Date::parse(day, format_description!("[year]-[month]-[day]")).ok()
    };
    let mut days: Vec<Day> = entries
        .flatten()
        .filter_map(|entry| Some((date(entry.file_name().to_str()?)?, entry.path())))
        .map(|(date, path)| Day { date: Some(date), path })
        .collect();
    days.sort_unstable();
    let plain = dir.join(format!("{}.log", log.name()));
    if days.is_empty() && plain.exists() {
        days.push(Day { date: None, path: plain });
    }
    Ok(days)
}

/// Passes a day's entries after byte `from` to `take`. Returns the end of the last complete line.
pub(super) fn read(
    day: &Day,
    log: Log,
    from: u64,
    take: &mut impl FnMut(Entry) -> Result<()>,
) -> Result<u64> {
    let mut lines = Lines::open(&day.path, from).with_context(|| unreadable(day))?;
    let mut assembler = Assembler::new(log);
    while let Some(line) = lines.next().with_context(|| unreadable(day))? {
        if let Some(entry) = assembler.push(line) {
            take(entry)?;
        }
    }
    Ok(lines.whole)
}

/// Returns the last entries of a day for which `wanted` is true, at most `limit`, without reading
/// the whole file; also returns the end of the last complete line.
pub(super) fn read_last(
    day: &Day,
    log: Log,
    limit: usize,
    wanted: impl Fn(&Entry) -> bool,
) -> Result<(VecDeque<Entry>, u64)> {
    let length = std::fs::metadata(&day.path).with_context(|| unreadable(day))?.len();
    let mut look = FIRST_READ_BYTES;
    loop {
        let from = length.saturating_sub(look);
        let mut last = VecDeque::new();
        let mut keep = |entry: Entry| {
            if wanted(&entry) {
                last.push_back(entry);
            }
            if last.len() > limit {
                last.pop_front();
            }
            Ok(())
        };
        // `from` may be inside a line, which is skipped.
        let from = if from == 0 {
            0
        } else {
            next_line(&day.path, from).with_context(|| unreadable(day))?
        };
        let end = read(day, log, from, &mut keep)?;
        if last.len() >= limit || from == 0 {
            return Ok((last, end));
        }
        look = look.saturating_mul(MORE);
    }
}

fn next_line(path: &Path, from: u64) -> io::Result<u64> {
    let mut lines = Lines::open(path, from)?;
    lines.next()?;
    Ok(lines.whole)
}

fn unreadable(day: &Day) -> String {
    format!("{} can't be read", day.path.display())
}

/// Reads complete lines of a file that may still grow.
#[derive(Debug)]
struct Lines {
    reader: BufReader<File>,
    /// The beginning of an incomplete line.
    line: Vec<u8>,
    /// The number of bytes read, and the end of the last complete line.
    read: u64,
    whole: u64,
}

impl Lines {
    fn open(path: &Path, from: u64) -> io::Result<Self> {
        let reader = BufReader::new(File::open(path)?);
        let mut lines = Self { reader, line: Vec::new(), read: 0, whole: 0 };
        lines.continue_at(from)?;
        Ok(lines)
    }

    /// Continues at byte `from`, where a line begins.
    fn continue_at(&mut self, from: u64) -> io::Result<()> {
        self.reader.seek(SeekFrom::Start(from))?;
        (self.read, self.whole) = (from, from);
        self.line.clear();
        Ok(())
    }

    /// Returns the next complete line without its end, or `None` if there is none yet.
    fn next(&mut self) -> io::Result<Option<String>> {
        loop {
            let bytes = match self.reader.fill_buf() {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if bytes.is_empty() {
                return Ok(None);
            }
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let part = &bytes[..end.unwrap_or(bytes.len())];
            let room = MAX_LINE.saturating_sub(self.line.len());
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            let used = part.len() + usize::from(end.is_some());
            self.reader.consume(used);
            self.read += used as u64;
            if end.is_some() {
                self.whole = self.read;
                let line = String::from_utf8_lossy(&self.line).into_owned();
                self.line.clear();
                return Ok(Some(line));
            }
        }
    }

    /// If the file became shorter than what was read of it, returns where to continue: at its
    /// beginning if whole lines are gone (`copytruncate`), or after the last complete line if a
    /// writer removed an incomplete one.
    fn truncation_offset(&self) -> io::Result<Option<u64>> {
        let length = self.reader.get_ref().metadata()?.len();
        let from = if length < self.whole { 0 } else { self.whole };
        Ok((length < self.read).then_some(from))
    }

    /// Returns `true` if there is another file at the path now (logrotate, an operator).
    fn was_replaced(&self, path: &Path) -> bool {
        let id = |file: &std::fs::Metadata| (file.dev(), file.ino());
        match (std::fs::metadata(path), self.reader.get_ref().metadata()) {
            (Ok(there), Ok(here)) => id(&there) != id(&here),
            _ => false, // gone, and nothing in its place yet
        }
    }
}

/// Follows a log from file to file.
#[derive(Debug)]
pub(super) struct Follower {
    dir: PathBuf,
    log: Log,
    /// The file and position at which to start.
    start: Option<(Day, u64)>,
    now: Option<(Day, Lines)>,
    /// A newer file, opened as soon as it was seen: it may be moved away too. The present one is read
    /// once more before, because a writer may still have appended to it.
    next: Option<(Day, Lines)>,
}

impl Follower {
    /// Continues at `start`, or with the first file that appears.
    pub(super) fn new(dir: PathBuf, log: Log, start: Option<(Day, u64)>) -> Self {
        Self { dir, log, start, now: None, next: None }
    }

    pub(super) fn log(&self) -> Log {
        self.log
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns `true` if there is no file yet.
    pub(super) fn waits(&self) -> bool {
        self.start.is_none() && self.now.is_none()
    }

    /// Returns the path of the file that is expected next.
    pub(super) fn expected(&self) -> PathBuf {
        self.dir.join(format!("{}.log", self.log.name()))
    }

    /// Returns the complete lines added since the last call, from at most one file.
    pub(super) fn poll(&mut self) -> io::Result<Vec<String>> {
        let days = days(&self.dir, self.log)?;
        if self.now.is_none() {
            let first = || days.first().map(|day| (day.clone(), 0));
            let Some((day, from)) = self.start.take().or_else(first) else { return Ok(Vec::new()) };
            self.now =
                none_if_missing(Lines::open(&day.path, from))?.map(|lines| (day.clone(), lines));
            if self.now.is_none() {
                // The file was just moved away, so everything that appears at its path or on a
                // later day is new.
                let next = days.into_iter().find(|next| next.date > day.date);
                self.start = Some((next.unwrap_or(day), 0));
                return Ok(Vec::new());
            }
        }
        let Some((day, lines)) = &mut self.now else { return Ok(Vec::new()) };
        if let Some(from) = lines.truncation_offset()? {
            lines.continue_at(from)?;
        }
        let mut added = Vec::new();
        let mut bytes = 0;
        while bytes < MAX_LINE {
            let Some(line) = lines.next()? else { break };
            bytes += line.len();
            added.push(line);
        }
        if let Some(next) = self.next.take_if(|_| added.is_empty()) {
            self.now = Some(next);
            return Ok(added);
        }
        if self.next.is_none() {
            let newer = if lines.was_replaced(&day.path) {
                Some(day.clone())
            } else {
                days.into_iter().find(|next| next.date > day.date)
            };
            if let Some(newer) = newer {
                let lines = none_if_missing(Lines::open(&newer.path, 0))?;
                self.next = lines.map(|lines| (newer, lines));
            }
        }
        Ok(added)
    }
}

/// Returns `None` for a file that was just moved away.
fn none_if_missing(opened: io::Result<Lines>) -> io::Result<Option<Lines>> {
    match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

#[cfg(test)]
mod tests;
