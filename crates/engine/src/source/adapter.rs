//! Resolves adapters: a folder, or a repository on the hub.

use std::path::{Path, PathBuf};

use super::cache::RepoCache;
use super::download::download;
use super::hub::Hub;
use super::{HubName, SourceError, SourceOptions, name};
use crate::lora::{CONFIG, WEIGHTS};

/// Resolves an adapter's name to a folder with its two files, and downloads them if necessary.
///
/// A name is the path of such a folder, or a repository on the hub, `owner/name` or `owner/name@revision`, or
/// the address of its page. Cached files are used without querying the hub. The files' content is checked when
/// the adapter is loaded.
///
/// Blocks until the files are available.
///
/// # Errors
/// Returns an error if there is no such folder or repository, or it lacks one of the files.
pub fn resolve_adapter(name: &str, options: &SourceOptions) -> Result<PathBuf, SourceError> {
    let name = name.trim();
    let path = name::path(name);
    match HubName::parse(name, &options.endpoint) {
        Some(hub_name) if !path.exists() && hub_name.quant.is_none() => {
            from_hub(&hub_name, options)
        }
        _ if path.join(CONFIG).is_file() => Ok(path),
        _ => Err(SourceError::NoAdapter { path }),
    }
}

fn from_hub(name: &HubName, options: &SourceOptions) -> Result<PathBuf, SourceError> {
    let cache = RepoCache::new(options.cache_dir()?, name);
    let is_whole = |folder: &Path| [CONFIG, WEIGHTS].iter().all(|file| folder.join(file).is_file());
    if let Some(folder) = cache.snapshot(is_whole) {
        return Ok(folder);
    }
    let hub = Hub::new(options, name, &cache)?;
    let listing = hub.files()?;
    for file in [CONFIG, WEIGHTS] {
        if !listing.files.iter().any(|listed| listed == file) {
            return Err(SourceError::IncompleteAdapter { repo: name.repo.clone(), file });
        }
    }
    let config = download(&hub, &cache, &listing.commit, CONFIG, options)?;
    download(&hub, &cache, &listing.commit, WEIGHTS, options)?;
    match config.parent().filter(|folder| is_whole(folder)) {
        Some(folder) => Ok(folder.to_owned()),
        None => Err(hub.nonsense(format!("its files are not all of commit {}", listing.commit))),
    }
}
