//! Checks that the database is still at its path. Linux keeps a deleted file for the processes that have
//! it open, so SQLite would continue for hours with a file that is lost when it is closed.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::contract::causes;

/// Files that must stay in place: the database, its write-ahead log, and the lock.
const NAMES: [&str; 3] = ["queue.db", "queue.db-wal", "queue.lock"];

/// The files that were opened.
pub(super) struct Files {
    opened: Vec<(PathBuf, Identity)>,
}

/// Device and inode; `None` for a file that does not exist.
type Identity = Option<(u64, u64)>;

fn identity(path: &Path) -> Identity {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

impl Files {
    /// Records the existing files just after they were opened.
    pub(super) fn opened_in(data_dir: &Path) -> Self {
        let paths = NAMES.iter().map(|name| data_dir.join(name));
        Self { opened: paths.map(|path| (path.clone(), identity(&path))).collect() }
    }

    /// Checks that each path still leads to its file.
    ///
    /// # Errors
    /// Returns the reason, for the caller's message.
    pub(super) fn check(&self) -> Result<(), String> {
        match self.opened.iter().find(|(path, opened)| identity(path) != *opened) {
            None => Ok(()),
            Some((path, _)) => Err(format!(
                "the embedded queue: {} ({}): put it back, or start the process again",
                causes::VANISHED,
                path.display()
            )),
        }
    }
}

/// If less than this can be written, the disk counts as full. A submit may be this long.
const ROOM: usize = 1 << 20;

/// Checks that the disk has space, by writing and deleting a file. The file is not synced, so it causes
/// no disk traffic; but its space is allocated for a moment, or refused.
///
/// # Errors
/// Returns the reason, for the caller's message.
pub(super) fn check_room(data_dir: &Path) -> Result<(), String> {
    let path = data_dir.join("queue.room");
    let written = File::create(&path).and_then(|mut file| file.write_all(&[0; ROOM]));
    let deleted = fs::remove_file(&path);
    let failed = |error| format!("the embedded queue: {} ({error})", causes::UNWRITABLE);
    written.and(deleted).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_replaced_and_restored_files_are_detected() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in NAMES {
            fs::write(path(name), name).unwrap();
        }
        let files = Files::opened_in(folder.path());
        files.check().unwrap();
        for name in NAMES {
            fs::rename(path(name), path("aside")).unwrap();
            assert!(files.check().unwrap_err().contains(name), "gone");
            fs::copy(path("aside"), path(name)).unwrap();
            assert!(files.check().unwrap_err().contains(name), "a copy");
            fs::rename(path("aside"), path(name)).unwrap();
            files.check().unwrap();
        }
    }

    #[test]
    fn free_space_check_leaves_no_file_behind() {
        let folder = tempfile::tempdir().unwrap();
        check_room(folder.path()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
