//! Tests real files that grow, end with their day, and are truncated.

use std::fs;
use std::io::Write;

use super::*;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn add(&self, file: &str, text: &str) {
        let path = self.0.path().join(file);
        let mut file = File::options().create(true).append(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn days(&self) -> Vec<Day> {
        days(self.0.path(), Log::App).unwrap()
    }

    fn follow(&self, start: Option<(Day, u64)>) -> Follower {
        Follower::new(self.0.path().to_path_buf(), Log::App, start)
    }
}

fn texts(entries: &VecDeque<Entry>) -> Vec<&str> {
    entries.iter().map(|entry| entry.text.as_str()).collect()
}

#[test]
fn log_files_are_ordered_by_day_and_others_ignored() {
    let folder = Folder::new();
    assert!(days(&folder.0.path().join("none"), Log::App).unwrap().is_empty());
    folder.add("app.log", "plain\n");
    assert_eq!(folder.days()[0].date, None);
    for file in
        ["app.2025-11-22.log", "app.2025-11-21.log", "app.notes.log", "errors.2025-11-21.log"]
    {
        folder.add(file, "x\n");
    }
    let dates: Vec<_> = folder.days().iter().map(|day| day.date.unwrap().to_string()).collect();
    assert_eq!(dates, ["2025-11-21", "2025-11-22"]);
}

#[test]
fn last_lines_of_a_long_file_are_read() {
    let folder = Folder::new();
    let lines: Vec<String> = (0..40_000).map(|n| format!("line {n} of many")).collect();
    folder.add("app.2025-11-21.log", &(lines.join("\n") + "\nunfinished"));
    let day = &folder.days()[0];
    let length = fs::metadata(&day.path).unwrap().len();
    let (last, end) = read_last(day, Log::App, 3, |_| true).unwrap();
    assert_eq!(texts(&last), lines[lines.len() - 3..]);
    assert_eq!(end, length - "unfinished".len() as u64);
    let (rare, _) = read_last(day, Log::App, 2, |entry| entry.text.contains(" 7 ")).unwrap();
    assert_eq!(texts(&rare), ["line 7 of many"], "far from the end");
    let (all, _) = read_last(day, Log::App, 1_000_000, |_| true).unwrap();
    assert_eq!(all.len(), lines.len());
    assert!(read_last(day, Log::App, 0, |_| true).unwrap().0.is_empty());
}

#[test]
fn long_lines_are_truncated_and_invalid_utf_8_is_replaced() {
    let folder = Folder::new();
    folder.add("app.2025-11-21.log", &("x".repeat(3 * MAX_LINE) + "\nnext\n"));
    let path = &folder.days()[0].path;
    File::options().append(true).open(path).unwrap().write_all(b"\xff!\n").unwrap();
    let mut found = Vec::new();
    let mut keep = |entry: Entry| {
        found.push(entry.text);
        Ok(())
    };
    read(&folder.days()[0], Log::App, 0, &mut keep).unwrap();
    assert_eq!((found[0].len(), &*found[1], &*found[2]), (MAX_LINE, "next", "\u{fffd}!"));
}

#[test]
fn following_continues_across_midnight() {
    let folder = Folder::new();
    folder.add("app.2025-11-21.log", "old\n");
    let day = folder.days()[0].clone();
    let mut follower = folder.follow(Some((day, 4)));
    assert!(follower.poll().unwrap().is_empty());
    folder.add("app.2025-11-21.log", "half");
    assert!(follower.poll().unwrap().is_empty(), "no line yet");
    folder.add("app.2025-11-21.log", " and half\n");
    assert_eq!(follower.poll().unwrap(), ["half and half"]);
    // Midnight: another process has started the new day's file, one still writes to the old one.
    folder.add("app.2025-11-22.log", "new\n");
    assert!(follower.poll().unwrap().is_empty());
    folder.add("app.2025-11-21.log", "late\n");
    let mut seen = Vec::new();
    for _ in 0..5 {
        seen.extend(follower.poll().unwrap());
    }
    assert_eq!(seen, ["late", "new"]);
    // No poll for some days.
    folder.add("app.2025-11-24.log", "1\n");
    folder.add("app.2025-11-25.log", "2\n");
    for _ in 0..8 {
        seen.extend(follower.poll().unwrap());
    }
    assert_eq!(seen[2..], ["1", "2"]);
}

#[test]
fn following_waits_for_a_file_and_survives_truncation() {
    let folder = Folder::new();
    let mut follower = folder.follow(None);
    assert!(follower.waits() && follower.poll().unwrap().is_empty());
    folder.add("app.2025-11-21.log", "first line\n");
    assert_eq!(follower.poll().unwrap(), ["first line"]);
    fs::write(&folder.days()[0].path, "again\n").unwrap();
    assert_eq!(follower.poll().unwrap(), ["again"]);
}

#[test]
fn following_continues_through_a_rotation() {
    let polls = |follower: &mut Follower| -> Vec<String> {
        (0..4).flat_map(|_| follower.poll().unwrap()).collect()
    };
    let today = "app.2025-11-21.log";
    // Like logrotate with and without `create`, and a removed file: the rest of the old file comes
    // first.
    for (rotate, remove) in [(true, false), (false, false), (false, true)] {
        let folder = Folder::new();
        let path = |file: &str| folder.0.path().join(file);
        folder.add(today, "seen\n");
        let mut follower = folder.follow(Some((folder.days()[0].clone(), 0)));
        assert_eq!(follower.poll().unwrap(), ["seen"]);
        folder.add(today, "unseen\n");
        let mut writer = File::options().append(true).open(path(today)).unwrap();
        fs::rename(path(today), path("app.2025-11-21.log.1")).unwrap();
        if rotate {
            folder.add(today, "");
        }
        if remove {
            fs::remove_file(path("app.2025-11-21.log.1")).unwrap();
        }
        assert_eq!(follower.poll().unwrap(), ["unseen"]);
        // A writer may still write to the old file.
        writer.write_all(b"late\n").unwrap();
        assert_eq!(polls(&mut follower), ["late"]);
        folder.add(today, "new\n");
        assert_eq!(polls(&mut follower), ["new"]);
        folder.add(today, "newer\n");
        assert_eq!(polls(&mut follower), ["newer"]);
    }
}

#[test]
fn following_prints_no_line_twice_after_a_partial_line_is_removed() {
    let folder = Folder::new();
    let today = "app.2025-11-21.log";
    folder.add(today, "one\ntw");
    let mut follower = folder.follow(Some((folder.days()[0].clone(), 0)));
    assert_eq!(follower.poll().unwrap(), ["one"]);
    // A writer removed an incomplete line after its disk was full.
    File::options().write(true).open(&folder.days()[0].path).unwrap().set_len(4).unwrap();
    assert!(follower.poll().unwrap().is_empty());
    folder.add(today, "two\nthree\n");
    assert_eq!(follower.poll().unwrap(), ["two", "three"]);
}
