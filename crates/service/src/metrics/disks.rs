//! Reads the free bytes of the file systems that the process writes to.
//!
//! Each folder is a [`Source`] of its own, so a file system that hangs (a network share without its server) hides no
//! other one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::statvfs;
use rustix::io::Errno;
use tokio::sync::Mutex;

use super::{Reading, Source, table};
use crate::Settings;
use crate::settings::{BlobLocation, QueueLocation};

/// Maximum wait for a file system.
const PATIENCE: Duration = Duration::from_secs(1);

/// Returns the folders that every process with these settings writes to, each with its label.
pub(crate) fn folders(settings: &Settings) -> Vec<(&'static str, PathBuf)> {
    let mut folders = vec![("logs", settings.log_dir.clone())];
    if let QueueLocation::Embedded(dir) = &settings.queue {
        folders.push(("data", dir.clone()));
    }
    if let BlobLocation::Folder(dir) = &settings.blob_location {
        folders.push(("blobs", dir.clone()));
    }
    folders
}

/// Returns the source of the metrics of the file system of `path`, with the label `folder`. The folder need not exist
/// yet.
pub fn of_disk(folder: &'static str, path: &Path) -> Source {
    let path: Arc<Path> = path.into();
    let reading = Arc::new(Mutex::new(()));
    Arc::new(move || {
        let (path, reading) = (path.clone(), reading.clone());
        Box::pin(async move {
            let read = async {
                // At most one thread waits for a file system that hangs: later scrapes don't get here.
                let guard = reading.lock_owned().await;
                tokio::task::spawn_blocking(move || {
                    let space = space(&path);
                    drop(guard);
                    space
                })
                .await
            };
            match tokio::time::timeout(PATIENCE, read).await {
                Ok(Ok(Ok(space))) => space.readings(folder).into(),
                _ => Vec::new(),
            }
        })
    })
}

/// The size of a file system, in bytes.
#[derive(Debug, Clone, Copy)]
struct Space {
    /// What the process may still write; less than what is unused, where some is reserved for root.
    free: u64,
    total: u64,
}

impl Space {
    fn readings(self, folder: &str) -> [Reading; 2] {
        [
            Reading::new(&table::DISK_FREE, [folder], self.free as f64),
            Reading::new(&table::DISK_TOTAL, [folder], self.total as f64),
        ]
    }
}

/// Returns the space of the file system of `path`, or of its nearest ancestor that exists. Blocks.
fn space(path: &Path) -> io::Result<Space> {
    let path = std::path::absolute(path)?;
    let mut found = Err(Errno::NOENT);
    for folder in path.ancestors() {
        found = statvfs(folder);
        if !matches!(found, Err(Errno::NOENT)) {
            break;
        }
    }
    let stat = found?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Ok(Space { free: bytes(stat.f_bavail), total: bytes(stat.f_blocks) })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::settings::Sources;

    /// Returns the total KiB of a folder's file system, as `df` reports them.
    fn df(path: &Path) -> u64 {
        let output = Command::new("df").arg("-Pk").arg(path).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().last().unwrap().split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    #[tokio::test]
    async fn the_space_is_that_of_df_also_before_the_folder_exists() {
        let home = tempfile::tempdir().unwrap();
        for path in [home.path(), &home.path().join("not/yet"), Path::new("/proc")] {
            let readings = of_disk("logs", path)().await;
            let [free, total] = &readings[..] else { panic!("{readings:?}") };
            assert_eq!((free.of.name, total.of.name), ("disk_free_bytes", "disk_total_bytes"));
            assert_eq!(total.labels, ["logs"]);
            assert!(free.value <= total.value, "{readings:?}");
            let known = path.ancestors().find(|path| path.exists()).unwrap();
            assert_eq!(total.value as u64 / 1024, df(known), "{}", path.display());
        }
    }

    #[tokio::test]
    async fn a_folder_below_a_file_has_no_readings() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(of_disk("logs", &file.path().join("folder"))().await.is_empty());
    }

    #[test]
    fn only_folders_that_are_written_to_are_named() {
        let labels = |pairs: &[(&str, &str)]| -> Vec<&str> {
            let environment =
                pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            let sources = Sources { environment, ..Sources::default() };
            let settings = Settings::load_from(&sources).unwrap();
            folders(&settings).into_iter().map(|(label, _)| label).collect()
        };
        assert_eq!(labels(&[]), ["logs", "data"], "blobs are in DATA_DIR");
        assert_eq!(labels(&[("BLOB_URL", "file:///blobs")]), ["logs", "data", "blobs"]);
        assert_eq!(labels(&[("REDIS_URL", "redis://h")]), ["logs"]);
    }
}
