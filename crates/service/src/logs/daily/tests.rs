//! Tests rotation, links, and files that others move, remove or fill.

use std::os::unix::fs::symlink;

use time::macros::date;

use super::*;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn open(&self) -> DailyFile {
        DailyFile::open(self.0.path(), "app").unwrap()
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap()
    }

    fn today(&self) -> PathBuf {
        path(self.0.path(), "app", today())
    }
}

fn append(log: &mut DailyFile, text: &str) {
    let lines: Vec<&[u8]> = text.as_bytes().split_inclusive(|byte| *byte == b'\n').collect();
    let Appended { lines: count, error } = log.append(&lines);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(count, lines.len());
}

#[test]
fn new_day_starts_a_new_file_and_updates_the_link() {
    let folder = Folder::new();
    let mut log = folder.open();
    log.switch_to_day(date!(2025 - 11 - 21)).unwrap();
    append(&mut log, "one\n");
    assert_eq!(folder.read("app.log"), "one\n");
    log.switch_to_day(date!(2025 - 11 - 22)).unwrap();
    append(&mut log, "two\n");
    let read = (folder.read("app.2025-11-21.log"), folder.read("app.log"));
    assert_eq!(read, ("one\n".into(), "two\n".into()));
    let target = fs::read_link(folder.path("app.log")).unwrap();
    assert_eq!(target, Path::new("app.2025-11-22.log"), "the link survives a move");
}

#[test]
fn two_writers_share_a_file() {
    let folder = Folder::new();
    let (mut one, mut two) = (folder.open(), folder.open());
    append(&mut one, "1\n");
    append(&mut two, "2\n");
    append(&mut one, "3\n");
    assert_eq!(folder.read("app.log"), "1\n2\n3\n");
}

#[test]
fn moved_removed_or_replaced_file_is_reopened() {
    // Like logrotate without and with `create`, like `rm`, and with the whole folder.
    let moved: fn(&Folder) = |folder| fs::rename(folder.today(), folder.path("old")).unwrap();
    let created: fn(&Folder) = |folder| {
        fs::rename(folder.today(), folder.path("old")).unwrap();
        fs::write(folder.today(), "").unwrap();
    };
    let removed: fn(&Folder) = |folder| fs::remove_file(folder.today()).unwrap();
    let overwritten: fn(&Folder) = |folder| {
        fs::write(folder.path("other"), "").unwrap();
        fs::rename(folder.path("other"), folder.today()).unwrap();
    };
    let folder_gone: fn(&Folder) = |folder| fs::remove_dir_all(folder.0.path()).unwrap();
    for change in [moved, created, removed, overwritten, folder_gone] {
        let folder = Folder::new();
        let mut log = folder.open();
        append(&mut log, "before\n");
        change(&folder);
        log.follow().unwrap();
        append(&mut log, "after\n");
        assert_eq!(folder.read("app.log"), "after\n");
        if folder.path("old").exists() {
            assert_eq!(folder.read("old"), "before\n");
        }
    }
}

#[test]
fn lines_written_to_a_deleted_file_are_written_again() {
    let folder = Folder::new();
    let mut log = folder.open();
    append(&mut log, "before\n");
    // Removed between the check and the write.
    fs::remove_file(folder.today()).unwrap();
    append(&mut log, "one\ntwo\n");
    assert_eq!(folder.read("app.log"), "one\ntwo\n");
    // A moved file still has a name: nothing is written twice.
    fs::rename(folder.today(), folder.path("old")).unwrap();
    append(&mut log, "three\n");
    assert_eq!(folder.read("old"), "one\ntwo\nthree\n");
    assert!(!folder.today().exists());
}

#[test]
fn truncated_file_is_continued_from_its_start() {
    let folder = Folder::new();
    let mut log = folder.open();
    append(&mut log, "before\n");
    fs::copy(folder.today(), folder.path("old")).unwrap();
    File::options().write(true).open(folder.today()).unwrap().set_len(0).unwrap(); // copytruncate
    log.follow().unwrap();
    append(&mut log, "after\n");
    assert_eq!((folder.read("old"), folder.read("app.log")), ("before\n".into(), "after\n".into()));
}

#[test]
fn full_disk_leaves_no_partial_line() {
    let folder = Folder::new();
    symlink("/dev/full", folder.today()).unwrap();
    let mut log = folder.open();
    let Appended { lines, error } = log.append(&[b"one\n", b"two\n"]);
    assert_eq!(lines, 0);
    assert_eq!(error.unwrap().kind(), io::ErrorKind::StorageFull);
    fs::remove_file(folder.today()).unwrap();
    log.follow().unwrap();
    append(&mut log, "one\ntwo\n");
    assert_eq!(folder.read("app.log"), "one\ntwo\n");
}

#[test]
fn partial_line_is_removed_unless_another_writer_appended() {
    let folder = Folder::new();
    let mut log = folder.open();
    append(&mut log, "whole\n");
    log.file.write_all(b"cu").unwrap();
    assert!(log.remove_partial_line(2));
    assert_eq!(folder.read("app.log"), "whole\n");

    log.file.write_all(b"cu").unwrap();
    append(&mut folder.open(), "other\n");
    assert!(!log.remove_partial_line(2), "it would take the other's line");
    log.torn = true;
    append(&mut log, "next\n");
    assert_eq!(folder.read("app.log"), "whole\ncuother\n\nnext\n");
    append(&mut log, "last\n");
    assert!(folder.read("app.log").ends_with("\nnext\nlast\n"));
}

#[test]
fn only_the_oldest_log_files_are_deleted() {
    let folder = Folder::new();
    for n in 0..KEPT_FILES + 3 {
        let day = date!(2025 - 01 - 01) + time::Duration::days(n as i64);
        fs::write(folder.path(&format!("app.{day}.log")), "").unwrap();
    }
    fs::write(folder.path("app.notes.log"), "").unwrap();
    remove_oldest(folder.0.path(), "app");
    let left = fs::read_dir(folder.0.path()).unwrap().count();
    assert_eq!(left, KEPT_FILES + 1);
    assert!(!folder.path("app.2025-01-03.log").exists());
    assert!(folder.path("app.notes.log").exists());
}
