//! Lists the models in the cache, and removes them.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::cache::{self, RepoCache};
use super::{HubName, MANUAL_SNAPSHOT, SourceError, SourceOptions, choose, local};
use crate::lora;
use crate::safetensors::CONFIG;
use crate::{ModelFile, Quantization};

/// The default branch, which names omit.
const MAIN: &str = "main";
/// The ending of files that are not downloaded completely.
const PART: &str = "part";

/// What is in the files of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CachedFormat {
    /// A GGUF file, or all parts of a split one, with this quantization if its name tells.
    Gguf(Option<String>),
    /// A folder with safetensors.
    Safetensors,
    /// A folder with a LoRA adapter.
    Adapter,
    /// Files of a model that are not all there.
    Incomplete,
}

/// A file in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedFile {
    /// Its name within the repository, or that of a partial download.
    pub name: String,
    /// Its path.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// When it was last read or written, as far as the file system records it.
    pub last_used: Option<SystemTime>,
}

/// A model in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedModel {
    /// Its name, which [`resolve`](super::resolve) takes: `owner/name`, with `@revision` if that is not the default
    /// branch, and with `:quant` for GGUF files.
    pub name: String,
    /// The repository.
    pub repo: String,
    /// The branch or tag; `None` if no reference to the commit is left.
    pub revision: Option<String>,
    /// The commit; `None` for a partial download.
    pub commit: Option<String>,
    /// What is in the files.
    pub format: CachedFormat,
    /// Its files, sorted by name.
    pub files: Vec<CachedFile>,
}

impl CachedModel {
    /// Returns the size of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Returns when one of the files was last read or written.
    pub fn last_used(&self) -> Option<SystemTime> {
        self.files.iter().filter_map(|file| file.last_used).max()
    }

    /// Returns the files to open, unless they are incomplete or an adapter's.
    pub fn model_file(&self, quantization: Quantization) -> Option<ModelFile> {
        let first = self.files.first()?;
        match self.format {
            CachedFormat::Gguf(_) => Some(ModelFile::Path(first.path.clone())),
            CachedFormat::Safetensors => {
                // Files in folders below come later in the order than those beside the config.
                let config = self.files.iter().find(|file| file.name == CONFIG)?;
                let folder = config.path.parent()?.to_owned();
                Some(ModelFile::Safetensors { folder, quantization })
            }
            CachedFormat::Adapter | CachedFormat::Incomplete => None,
        }
    }

    fn is_named(&self, name: &HubName) -> bool {
        let same = |one: &str, other: &str| one.eq_ignore_ascii_case(other);
        let revision = name.revision.as_deref().is_none_or(|revision| {
            [&self.revision, &self.commit].into_iter().flatten().any(|own| own == revision)
        });
        let quant = name.quant.as_deref().is_none_or(|quant| match &self.format {
            CachedFormat::Gguf(own) => {
                own.as_deref().is_some_and(|own| same(own, quant))
                    || self.files.iter().any(|file| same(&file.name, quant))
            }
            CachedFormat::Safetensors => quant.parse::<Quantization>().is_ok(),
            CachedFormat::Adapter | CachedFormat::Incomplete => false,
        });
        self.repo == name.repo && revision && quant
    }
}

/// Lists the models in the cache, sorted by name.
///
/// # Errors
/// If there is no home folder to have a cache in.
pub fn list(options: &SourceOptions) -> Result<Vec<CachedModel>, SourceError> {
    let mut models = Vec::new();
    for folder in cache::entries(options.cache_dir()?) {
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some((owner, name)) =
            name.strip_prefix("models--").and_then(|name| name.split_once("--"))
        {
            models.extend(of_repo(&folder, &format!("{owner}/{name}")));
        }
    }
    models.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(models)
}

/// Finds the models in the cache that a name stands for: all of a repository, or those with the revision and the
/// quantization that the name has.
///
/// # Errors
/// If there are none.
pub fn find(name: &str, options: &SourceOptions) -> Result<Vec<CachedModel>, SourceError> {
    let missing = || SourceError::NotCached {
        name: name.to_owned(),
        folder: options.cache_dir.clone().unwrap_or_default(),
    };
    let hub_name = HubName::parse(name.trim(), &options.endpoint).ok_or_else(missing)?;
    let mut models = list(options)?;
    models.retain(|model| model.is_named(&hub_name));
    if models.is_empty() { Err(missing()) } else { Ok(models) }
}

/// Removes models from the cache: their files, and contents that no other model has. Returns the number of bytes
/// that were freed.
///
/// # Errors
/// If a file is being downloaded, or can't be removed.
pub fn remove(models: &[CachedModel], options: &SourceOptions) -> Result<u64, SourceError> {
    let repos: BTreeSet<&str> = models.iter().map(|model| model.repo.as_str()).collect();
    let mut freed = 0;
    for repo in repos {
        let name = HubName { repo: repo.to_owned(), revision: None, quant: None };
        let cache = RepoCache::new(options.cache_dir()?, &name);
        let files = models.iter().filter(|model| model.repo == repo).flat_map(|model| &model.files);
        freed += remove_files(&cache, &files.map(|file| &*file.path).collect::<Vec<_>>())?;
    }
    Ok(freed)
}

fn remove_files(cache: &RepoCache, files: &[&Path]) -> Result<u64, SourceError> {
    let folder = cache.folder();
    let blob_of = |path: &Path| fs::canonicalize(path).ok();
    let contents: BTreeSet<PathBuf> = files.iter().filter_map(|path| blob_of(path)).collect();
    // Held to the end, so that no download begins meanwhile.
    let mut locks = Vec::new();
    for blob in &contents {
        let etag = if blob.extension().is_some_and(|ending| ending == PART) {
            blob.file_stem()
        } else {
            blob.file_name()
        };
        locks.push(cache.try_lock(etag.and_then(|etag| etag.to_str()).unwrap_or_default())?);
    }
    let in_use: BTreeSet<PathBuf> = cache::walk(&folder.join("snapshots"), 4)
        .iter()
        .filter(|path| !files.contains(&path.as_path()))
        .filter_map(|path| blob_of(path))
        .collect();
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| SourceError::Cache { path, error }
    };
    let gone = |result: io::Result<()>| match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    };
    let unused: Vec<&PathBuf> = contents.difference(&in_use).collect();
    let sizes = unused.iter().filter_map(|path| fs::metadata(path).ok());
    let freed = sizes.map(|metadata| metadata.len()).sum();
    // Contents are removed after their links, and a file without a link is both.
    for path in files.iter().copied().chain(unused.into_iter().map(PathBuf::as_path)) {
        gone(fs::remove_file(path)).map_err(failed(path))?;
    }
    if in_use.is_empty() && cache::walk(&folder.join("blobs"), 0).is_empty() {
        gone(fs::remove_dir_all(folder)).map_err(failed(folder))?;
        gone(fs::remove_dir_all(cache.locks())).map_err(failed(cache.locks()))?;
    } else {
        remove_empty_folders(&folder.join("snapshots"));
    }
    Ok(freed)
}

/// Removes folders below this one that have no files.
fn remove_empty_folders(folder: &Path) {
    for path in cache::entries(folder).into_iter().filter(|path| path.is_dir()) {
        remove_empty_folders(&path);
        let _ = fs::remove_dir(&path); // fails if it has files
    }
}

/// Returns the models of a repository's folder.
fn of_repo(folder: &Path, repo: &str) -> Vec<CachedModel> {
    let refs = refs(&folder.join("refs"));
    let mut models = Vec::new();
    for snapshot in cache::entries(&folder.join("snapshots")) {
        let Some(commit) = snapshot.file_name().and_then(|name| name.to_str()) else { continue };
        let named = |name: &str| refs.iter().any(|(own, at)| own == name && at == commit);
        let revision = match refs.iter().find(|(_, at)| at == commit) {
            _ if named(MAIN) || commit == MANUAL_SNAPSHOT => Some(MAIN.to_owned()),
            other => other.map(|(name, _)| name.clone()),
        };
        let at = match &revision {
            Some(name) if name == MAIN => String::new(),
            Some(name) => format!("@{name}"),
            None => format!("@{commit}"),
        };
        for (format, files) in of_snapshot(&snapshot) {
            let quant = match &format {
                CachedFormat::Gguf(Some(quant)) => format!(":{quant}"),
                CachedFormat::Gguf(None) => {
                    files.first().map_or_else(String::new, |file| format!(":{}", file.name))
                }
                _ => String::new(),
            };
            models.push(CachedModel {
                name: format!("{repo}{at}{quant}"),
                repo: repo.to_owned(),
                revision: revision.clone(),
                commit: Some(commit.to_owned()),
                format,
                files,
            });
        }
    }
    let partial = cache::walk(&folder.join("blobs"), 0).into_iter();
    let partial = partial.filter(|path| path.extension().is_some_and(|ending| ending == PART));
    let files: Vec<CachedFile> = partial.map(|path| file(folder, path)).collect();
    if !files.is_empty() {
        models.push(CachedModel {
            name: repo.to_owned(),
            repo: repo.to_owned(),
            revision: None,
            commit: None,
            format: CachedFormat::Incomplete,
            files,
        });
    }
    models
}

/// Returns the models of a snapshot: each quantization of GGUF files, and the other files together, if they are a
/// model's or if there is nothing else.
fn of_snapshot(snapshot: &Path) -> Vec<(CachedFormat, Vec<CachedFile>)> {
    let files: Vec<CachedFile> =
        cache::walk(snapshot, 3).into_iter().map(|path| file(snapshot, path)).collect();
    let mut models = Vec::new();
    for (quant, parts) in choose::quantizations(files.iter().map(|file| file.name.as_str())) {
        let own = files.iter().filter(|file| parts.contains(&file.name)).cloned();
        let own: Vec<CachedFile> = own.collect();
        let is_whole = own.len() == parts.len();
        let format = if is_whole { CachedFormat::Gguf(quant) } else { CachedFormat::Incomplete };
        models.push((format, own));
    }
    let has = |name: &str| files.iter().any(|file| file.name == name);
    let others = files.iter().filter(|file| !choose::is_gguf(&file.name)).cloned();
    let format = match () {
        () if local::is_complete(snapshot) => CachedFormat::Safetensors,
        () if has(lora::CONFIG) && has(lora::WEIGHTS) => CachedFormat::Adapter,
        () if models.is_empty() => CachedFormat::Incomplete,
        () => return models,
    };
    let others: Vec<CachedFile> = others.collect();
    if !others.is_empty() {
        models.push((format, others));
    }
    models
}

fn file(folder: &Path, path: PathBuf) -> CachedFile {
    let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
    let metadata = fs::metadata(&path).ok();
    let times = metadata.as_ref().map(|metadata| [metadata.accessed(), metadata.modified()]);
    CachedFile {
        name,
        bytes: metadata.as_ref().map_or(0, fs::Metadata::len),
        last_used: times.into_iter().flatten().flatten().max(),
        path,
    }
}

/// Returns the branches and tags with their commits.
fn refs(folder: &Path) -> Vec<(String, String)> {
    let read = |path: PathBuf| {
        let commit = fs::read_to_string(&path).ok()?.trim().to_owned();
        let name: OsString = path.strip_prefix(folder).ok()?.into();
        Some((name.into_string().ok()?, commit))
    };
    cache::walk(folder, 3).into_iter().filter_map(read).collect()
}
