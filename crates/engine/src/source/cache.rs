//! The cache format of Hugging Face's tools: `blobs/<etag>` are the contents, `snapshots/<commit>/<file>`
//! are links to them, `refs/<branch>` contains the newest commit of a branch.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use hf_hub::{Cache, CacheRepo, Repo, RepoType};

use super::{HubName, SourceError};

/// The cached files of one repository.
#[derive(Debug)]
pub(super) struct RepoCache {
    folder: PathBuf,
    locks: PathBuf,
    repo: CacheRepo,
    /// The named branch, tag or commit; `None` accepts any commit's files.
    revision: Option<String>,
}

impl RepoCache {
    pub(super) fn new(cache_dir: &Path, name: &HubName) -> Self {
        let revision = name.revision().to_owned();
        let repo = Repo::with_revision(name.repo.clone(), RepoType::Model, revision);
        Self {
            folder: cache_dir.join(repo.folder_name()),
            locks: cache_dir.join(".locks").join(repo.folder_name()),
            repo: Cache::new(cache_dir.to_owned()).repo(repo),
            revision: name.revision.clone(),
        }
    }

    /// Returns the repository's folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the folder with the repository's locks.
    pub(super) fn locks(&self) -> &Path {
        &self.locks
    }

    /// Returns the folder with all snapshots.
    pub(super) fn snapshots(&self) -> PathBuf {
        self.folder.join("snapshots")
    }

    /// Returns all cached files: names within the repository, and paths. Those of the newest commit come
    /// first; each name occurs once.
    pub(super) fn files(&self) -> Vec<(String, PathBuf)> {
        let mut files: Vec<(String, PathBuf)> = Vec::new();
        for snapshot in self.newest_first() {
            for path in walk(&snapshot, 3) {
                if let Some(name) = path.strip_prefix(&snapshot).ok().and_then(Path::to_str)
                    && !files.iter().any(|(other, _)| other == name)
                {
                    files.push((name.to_owned(), path));
                }
            }
        }
        files
    }

    /// Returns the folder of the newest commit that satisfies the condition, or else of any that does.
    pub(super) fn snapshot(&self, holds: impl Fn(&Path) -> bool) -> Option<PathBuf> {
        self.newest_first().into_iter().find(|folder| holds(folder))
    }

    fn newest_first(&self) -> Vec<PathBuf> {
        if let Some(revision) = &self.revision {
            let commit = fs::read_to_string(self.folder.join("refs").join(revision));
            let commit =
                commit.map_or_else(|_| revision.clone(), |commit| commit.trim().to_owned());
            return vec![self.snapshots().join(commit)];
        }
        let newest = fs::read_to_string(self.folder.join("refs/main")).unwrap_or_default();
        let mut snapshots: Vec<PathBuf> = entries(&self.snapshots());
        snapshots
            .sort_by_key(|path| (path.file_name() != Some(newest.trim().as_ref()), path.clone()));
        snapshots
    }

    /// Returns the path of the blob with an etag.
    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        self.repo.blob_path(etag)
    }

    /// Waits until no other process downloads this blob, and excludes others until the file is dropped.
    pub(super) fn lock(&self, etag: &str) -> Result<fs::File, SourceError> {
        let (path, file) = self.lock_file(etag)?;
        if file.try_lock().is_err() {
            tracing::info!("another process is downloading this file: waiting for it");
            file.lock().map_err(|error| SourceError::Cache { path, error })?;
        }
        Ok(file)
    }

    /// Excludes downloads of this blob until the file is dropped.
    ///
    /// # Errors
    /// If a process downloads it.
    pub(super) fn try_lock(&self, etag: &str) -> Result<fs::File, SourceError> {
        let (path, file) = self.lock_file(etag)?;
        file.try_lock().map_err(|_| SourceError::Busy { path })?;
        Ok(file)
    }

    fn lock_file(&self, etag: &str) -> Result<(PathBuf, fs::File), SourceError> {
        let path = self.locks.join(format!("{etag}.lock"));
        let open = || {
            fs::create_dir_all(&self.locks)?;
            fs::File::create(&path)
        };
        match open() {
            Ok(file) => Ok((path, file)),
            Err(error) => Err(SourceError::Cache { path, error }),
        }
    }

    /// Makes a finished blob visible under its name, for this program and other tools.
    pub(super) fn publish(
        &self,
        commit: &str,
        name: &str,
        etag: &str,
    ) -> Result<PathBuf, SourceError> {
        let path = self.repo.pointer_path(commit).join(name);
        let publish = || {
            fs::create_dir_all(path.parent().unwrap_or(&self.folder))?;
            // Links are relative, so that the cache can be moved, and are put in place atomically.
            let up = "../".repeat(1 + Path::new(name).components().count());
            let target = Path::new(&up).join("blobs").join(etag);
            let new = path.with_extension("new-link");
            match fs::remove_file(&new) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => link(&target, &self.blob(etag), &new)?,
            }
            fs::rename(&new, &path)?;
            self.repo.create_ref(commit)
        };
        publish().map_err(|error| SourceError::Cache { path: path.clone(), error })?;
        Ok(path)
    }
}

#[cfg(unix)]
fn link(target: &Path, _blob: &Path, path: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, path)
}

#[cfg(not(unix))]
fn link(_target: &Path, blob: &Path, path: &Path) -> io::Result<()> {
    fs::hard_link(blob, path) // needs no privilege, which symbolic links on Windows do
}

/// Returns whether a name from the hub stays within the folder it is joined to.
pub(super) fn is_safe(name: &str) -> bool {
    !name.is_empty()
        && !name.contains(['\\', '\0', ':'])
        && Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
}

/// Returns the paths of the entries of a folder.
pub(super) fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// Returns all files below a folder, at most `depth` folders down, without broken links.
pub(super) fn walk(folder: &Path, depth: usize) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in entries(folder) {
        if path.is_file() {
            files.push(path);
        } else if depth > 0 && path.is_dir() {
            files.extend(walk(&path, depth - 1));
        }
    }
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_that_escape_their_folder_are_unsafe() {
        assert!(is_safe("a.gguf") && is_safe("BF16/a.gguf"));
        for name in ["", "/a", "../a", "a/../../b", "a\\b", "C:a", "a\0b", "./a"] {
            assert!(!is_safe(name), "{name}");
        }
    }
}
