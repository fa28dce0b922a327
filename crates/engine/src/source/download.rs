//! Downloads a file into the cache: resumes a partial download, verifies it, and only then gives the file
//! its name. hf-hub's own download checks neither status, size nor hash, so this module downloads into
//! hf-hub's folders itself.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::SourceError;
use super::cache::RepoCache;
use super::hub::{Failure, Hub, RemoteFile, Stream};
use super::options::SourceOptions;
use crate::progress::Progress;

const BUFFER: usize = 256 << 10;

/// Returns the path of a repository's file at a commit or branch, and downloads it if it is not cached.
pub(super) fn download(
    hub: &Hub<'_>,
    cache: &RepoCache,
    revision: &str,
    file: &str,
    options: &SourceOptions,
) -> Result<PathBuf, SourceError> {
    let file = hub.metadata(revision, file)?;
    let _lock = cache.lock(&file.etag)?;
    let blob = cache.blob(&file.etag);
    if !blob.exists() {
        let mut partial = Partial::open(&blob)?;
        partial.fill(hub, &file, options)?;
        partial.verify(&file)?;
        partial.rename(&blob)?;
    }
    cache.publish(&file.commit, &file.name, &file.etag)
}

/// The downloaded beginning of a file, and its hash so far.
struct Partial {
    path: PathBuf,
    file: File,
    hash: Sha256,
    len: u64,
}

impl Partial {
    /// Opens the partial file of an earlier try, or creates an empty one.
    fn open(blob: &Path) -> Result<Self, SourceError> {
        let path = blob.with_extension("part");
        let open = || {
            fs::create_dir_all(blob.parent().unwrap_or(Path::new(".")))?;
            let mut options = OpenOptions::new();
            let mut file = options.read(true).append(true).create(true).open(&path)?;
            let (mut hash, mut len) = (Sha256::new(), 0);
            let mut buffer = vec![0; BUFFER];
            loop {
                match file.read(&mut buffer)? {
                    0 => return Ok((file, hash, len)),
                    count => {
                        hash.update(&buffer[..count]);
                        len += count as u64;
                    }
                }
            }
        };
        match open() {
            Ok((file, hash, len)) => Ok(Self { path, file, hash, len }),
            Err(error) => Err(SourceError::Cache { path, error }),
        }
    }

    /// Downloads the missing bytes. Gives up after `attempts` tries in a row without progress.
    fn fill(
        &mut self,
        hub: &Hub<'_>,
        file: &RemoteFile,
        options: &SourceOptions,
    ) -> Result<(), SourceError> {
        let mut progress = Progress::new("downloading", &file.name, file.size, options.progress);
        if file.size.is_some_and(|size| self.len > size) {
            self.restart()?;
        }
        let mut failed = 0;
        while file.size.is_none_or(|size| self.len < size) {
            let before = self.len;
            let outcome = hub
                .stream(file, self.len)
                .and_then(|stream| self.append(stream, file, &mut progress));
            let cause = match outcome {
                Ok(()) => return Ok(()),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Again(cause)) => cause,
            };
            failed = if self.len > before { 1 } else { failed + 1 };
            if failed >= options.attempts {
                return Err(hub.unreachable(&file.name, cause));
            }
            hub.wait(failed, &cause);
        }
        Ok(())
    }

    /// Appends received bytes, up to the end of the file.
    fn append(
        &mut self,
        mut stream: Stream,
        file: &RemoteFile,
        progress: &mut Progress,
    ) -> Result<(), Failure> {
        if stream.start != self.len {
            self.restart().map_err(Failure::Final)?; // a server that cannot continue
        }
        let size = file.size.or(stream.total);
        let mut buffer = vec![0; BUFFER];
        loop {
            let count = match stream.reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    return Err(Failure::Again(format!("the download broke off: {error}")));
                }
            };
            self.file
                .write_all(&buffer[..count])
                .map_err(|source| Failure::Final(self.write_error(source, file)))?;
            self.hash.update(&buffer[..count]);
            self.len += count as u64;
            if size.is_some_and(|size| self.len > size) {
                break; // too long: found out below
            }
            progress.at(self.len);
        }
        match size {
            Some(size) if self.len < size => {
                Err(Failure::Again(format!("the download broke off after {} bytes", self.len)))
            }
            _ => Ok(()),
        }
    }

    fn restart(&mut self) -> Result<(), SourceError> {
        let restarted = self.file.set_len(0).and_then(|()| self.file.rewind());
        restarted.map_err(|error| SourceError::Cache { path: self.path.clone(), error })?;
        self.hash = Sha256::new();
        self.len = 0;
        Ok(())
    }

    /// Deletes the file if its size or hash is not the announced one.
    fn verify(&mut self, file: &RemoteFile) -> Result<(), SourceError> {
        let hash: String =
            self.hash.finalize_reset().iter().map(|byte| format!("{byte:02x}")).collect();
        let size_differs = file.size.filter(|&size| size != self.len);
        let (what, expected, found) = if let Some(size) = size_differs {
            ("its size", size.to_string(), self.len.to_string())
        } else if let Some(expected) = file.sha256() {
            if expected.eq_ignore_ascii_case(&hash) {
                return Ok(());
            }
            ("its SHA-256", expected.to_owned(), hash)
        } else {
            tracing::warn!("{} has no SHA-256 at the hub: only its size was checked", file.name);
            return Ok(());
        };
        fs::remove_file(&self.path)
            .map_err(|error| SourceError::Cache { path: self.path.clone(), error })?;
        Err(SourceError::Damaged { file: file.name.clone(), what, expected, found })
    }

    /// Completes the file: syncs it to the disk, then renames it.
    fn rename(self, blob: &Path) -> Result<(), SourceError> {
        self.file
            .sync_all()
            .and_then(|()| fs::rename(&self.path, blob))
            .map_err(|error| SourceError::Cache { path: self.path.clone(), error })
    }

    fn write_error(&self, error: io::Error, file: &RemoteFile) -> SourceError {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => SourceError::DiskFull {
                file: file.name.clone(),
                folder: self.path.parent().unwrap_or(&self.path).to_owned(),
                missing: file.size.unwrap_or(0).saturating_sub(self.len),
            },
            _ => SourceError::Cache { path: self.path.clone(), error },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disk_full_errors_report_the_missing_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let mut partial = Partial::open(&folder.path().join("blob")).unwrap();
        partial.len = 40;
        let file = RemoteFile {
            name: "m.gguf".into(),
            commit: "c".into(),
            etag: "e".into(),
            size: Some(100),
        };
        let full = partial.write_error(io::ErrorKind::StorageFull.into(), &file);
        assert!(matches!(full, SourceError::DiskFull { missing: 60, .. }), "{full}");
        let other = partial.write_error(io::ErrorKind::PermissionDenied.into(), &file);
        assert!(matches!(other, SourceError::Cache { .. }), "{other}");
    }
}
