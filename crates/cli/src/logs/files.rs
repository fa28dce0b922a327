//! The files of the days: read forwards, from their end, or as they grow.
//!
//! `NAME.2025-11-21.log` holds a day; `NAME.log` is a link to the latest and is read only where there
//! are no days, as in a folder that somebody copied. Memory is bounded whatever the files hold.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use time::Date;
use time::macros::format_description;

use super::entry::{Assembler, Entry, Log};

/// What is beyond this many bytes of a line is left out.
const MAX_LINE: usize = 1 << 20;
/// How much of a file's end is read at first, in bytes; if it does not suffice, more.
const FIRST_LOOK: u64 = 64 << 10;
/// By how much more.
const MORE: u64 = 8;

/// A file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Day {
    /// Which day; none for a file that names none.
    pub(super) date: Option<Date>,
    path: PathBuf,
}

/// The files of a log, oldest first. A folder that is not there has none.
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

/// Hands on a day's entries from a byte on; answers after which byte the last whole line ends.
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

/// The last entries of a day that are wanted, at most `limit`, without reading what lies long before
/// them; and after which byte the last whole line ends.
pub(super) fn read_last(
    day: &Day,
    log: Log,
    limit: usize,
    wanted: impl Fn(&Entry) -> bool,
) -> Result<(VecDeque<Entry>, u64)> {
    let length = std::fs::metadata(&day.path).with_context(|| unreadable(day))?.len();
    let mut look = FIRST_LOOK;
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
        // The line in whose middle this begins is not whole.
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

/// Whole lines of a file that may still grow.
#[derive(Debug)]
struct Lines {
    reader: BufReader<File>,
    /// What there is of a line that has not ended yet.
    line: Vec<u8>,
    /// Bytes read, and bytes up to the end of the last whole line.
    read: u64,
    whole: u64,
}

impl Lines {
    fn open(path: &Path, from: u64) -> io::Result<Self> {
        let reader = BufReader::new(File::open(path)?);
        let mut lines = Self { reader, line: Vec::new(), read: 0, whole: 0 };
        lines.go_to(from)?;
        Ok(lines)
    }

    /// Goes on at a byte where a line begins.
    fn go_to(&mut self, from: u64) -> io::Result<()> {
        self.reader.seek(SeekFrom::Start(from))?;
        (self.read, self.whole) = (from, from);
        self.line.clear();
        Ok(())
    }

    /// The next whole line without its end; none while there is none.
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

    /// From where to read on, if the file was cut to less than was read of it: from its beginning when lines
    /// are gone (`copytruncate`), from the last whole line when a writer took an unfinished one back.
    fn cut_to(&self) -> io::Result<Option<u64>> {
        let length = self.reader.get_ref().metadata()?.len();
        let from = if length < self.whole { 0 } else { self.whole };
        Ok((length < self.read).then_some(from))
    }

    /// Whether another file lies at the path by now (logrotate, an operator).
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
    /// Where to begin.
    start: Option<(Day, u64)>,
    now: Option<(Day, Lines)>,
    /// A newer file was seen: one more look at this one, since a writer may have just been at it.
    ends: bool,
}

impl Follower {
    /// Goes on after that byte of that day; without one, with the first file that comes.
    pub(super) fn new(dir: PathBuf, log: Log, start: Option<(Day, u64)>) -> Self {
        Self { dir, log, start, now: None, ends: false }
    }

    pub(super) fn log(&self) -> Log {
        self.log
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether there is no file yet.
    pub(super) fn waits(&self) -> bool {
        self.start.is_none() && self.now.is_none()
    }

    /// The file that is waited for.
    pub(super) fn expected(&self) -> PathBuf {
        self.dir.join(format!("{}.log", self.log.name()))
    }

    /// The whole lines that were added since, of one file at most.
    pub(super) fn poll(&mut self) -> io::Result<Vec<String>> {
        let days = days(&self.dir, self.log)?;
        if self.now.is_none() {
            let first = || days.first().map(|day| (day.clone(), 0));
            let Some((day, from)) = self.start.take().or_else(first) else { return Ok(Vec::new()) };
            self.now = if_there(Lines::open(&day.path, from))?.map(|lines| (day.clone(), lines));
            if self.now.is_none() {
                // Moved away just now: all that comes in its place, or on a later day, is new.
                let next = days.into_iter().find(|next| next.date > day.date);
                self.start = Some((next.unwrap_or(day), 0));
                return Ok(Vec::new());
            }
        }
        let Some((day, lines)) = &mut self.now else { return Ok(Vec::new()) };
        if let Some(from) = lines.cut_to()? {
            lines.go_to(from)?;
        }
        let mut added = Vec::new();
        let mut bytes = 0;
        while bytes < MAX_LINE {
            let Some(line) = lines.next()? else { break };
            bytes += line.len();
            added.push(line);
        }
        let next = if lines.was_replaced(&day.path) {
            Some(day.clone())
        } else {
            days.into_iter().find(|next| next.date > day.date)
        };
        match next {
            Some(next) if self.ends && added.is_empty() => {
                if let Some(lines) = if_there(Lines::open(&next.path, 0))? {
                    (self.now, self.ends) = (Some((next, lines)), false);
                }
            }
            next => self.ends = next.is_some(),
        }
        Ok(added)
    }
}

/// `None` for a file that was moved away just now.
fn if_there(opened: io::Result<Lines>) -> io::Result<Option<Lines>> {
    match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

#[cfg(test)]
mod tests;
