//! A log file for each day, and a link to the latest.
//!
//! `tracing-appender` rolls files too, but its link holds the folder's path: it breaks when the folder
//! is relative, or is seen from outside a container. Ours names the file alone. Several processes may
//! write into one folder: each appends, and nobody renames a file that another writes to.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use time::{Date, OffsetDateTime};

/// Days of logs that are kept.
const KEPT_FILES: usize = 90;

/// Writes to `NAME.YYYY-MM-DD.log` of the day in UTC; `NAME.log` links to it.
#[derive(Debug)]
pub(super) struct DailyFile {
    dir: PathBuf,
    name: &'static str,
    day: Date,
    file: File,
}

impl DailyFile {
    /// Opens the file of today in `dir`, which must exist.
    pub(super) fn open(dir: &Path, name: &'static str) -> io::Result<Self> {
        let day = OffsetDateTime::now_utc().date();
        let file = open(dir, name, day)?;
        Ok(Self { dir: dir.to_path_buf(), name, day, file })
    }

    fn roll(&mut self, today: Date) -> io::Result<()> {
        if today != self.day {
            self.file = open(&self.dir, self.name, today)?;
            self.day = today;
        }
        Ok(())
    }
}

impl Write for DailyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // When tomorrow's file can't be opened, today's is better than none.
        let rolled = self.roll(OffsetDateTime::now_utc().date());
        self.file.write(bytes).or_else(|error| rolled.and(Err(error)))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn open(dir: &Path, name: &str, day: Date) -> io::Result<File> {
    let file_name = format!("{name}.{day}.log");
    let file = File::options().create(true).append(true).open(dir.join(&file_name))?;
    link(dir, name, &file_name)?;
    remove_oldest(dir, name);
    Ok(file)
}

/// Points `NAME.log` at `file_name`, in one step: a reader never finds no link.
fn link(dir: &Path, name: &str, file_name: &str) -> io::Result<()> {
    let fresh = dir.join(format!(".{name}.{}.link", std::process::id()));
    // Left over from a process of the same id that died right here.
    let _ = fs::remove_file(&fresh);
    std::os::unix::fs::symlink(file_name, &fresh)?;
    fs::rename(&fresh, dir.join(format!("{name}.log")))
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
mod tests {
    use time::macros::date;

    use super::*;

    #[test]
    fn a_new_day_is_a_new_file_and_the_link_follows() {
        let dir = tempfile::tempdir().unwrap();
        let read = |file: &str| fs::read_to_string(dir.path().join(file)).unwrap();
        let mut log = DailyFile::open(dir.path(), "app").unwrap();
        log.roll(date!(2025 - 11 - 21)).unwrap();
        log.file.write_all(b"one\n").unwrap();
        assert_eq!(read("app.log"), "one\n");
        log.roll(date!(2025 - 11 - 22)).unwrap();
        log.file.write_all(b"two\n").unwrap();
        assert_eq!((read("app.2025-11-21.log"), read("app.log")), ("one\n".into(), "two\n".into()));
        let target = fs::read_link(dir.path().join("app.log")).unwrap();
        assert_eq!(target, Path::new("app.2025-11-22.log"), "the link survives a move");
    }

    #[test]
    fn two_writers_share_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let open = || DailyFile::open(dir.path(), "app").unwrap();
        let (mut one, mut two) = (open(), open());
        one.write_all(b"1\n").unwrap();
        two.write_all(b"2\n").unwrap();
        one.write_all(b"3\n").unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("app.log")).unwrap(), "1\n2\n3\n");
    }

    #[test]
    fn only_our_oldest_files_go() {
        let dir = tempfile::tempdir().unwrap();
        for n in 0..KEPT_FILES + 3 {
            let day = date!(2025 - 01 - 01) + time::Duration::days(n as i64);
            fs::write(dir.path().join(format!("app.{day}.log")), "").unwrap();
        }
        fs::write(dir.path().join("app.notes.log"), "").unwrap();
        remove_oldest(dir.path(), "app");
        let left = fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(left, KEPT_FILES + 1);
        assert!(!dir.path().join("app.2025-01-03.log").exists());
        assert!(dir.path().join("app.notes.log").exists());
    }
}
