//! A model of several files: all of them from one commit.

use std::path::PathBuf;

use super::cache::RepoCache;
use super::download::download;
use super::hub::{Hub, Listing};
use super::{SourceError, SourceOptions, local};
use crate::safetensors::{CONFIG, INDEX, SINGLE, TOKENIZER_FILES, files_of_index};

/// The folder with all files of a repository's safetensors model, downloaded if the cache does not have
/// them. `None` if the repository has no safetensors.
pub(super) fn download_safetensors(
    hub: &Hub<'_>,
    cache: &RepoCache,
    repo: &str,
    listing: &Listing,
    options: &SourceOptions,
) -> Result<Option<PathBuf>, SourceError> {
    let has = |name: &str| listing.files.iter().any(|file| file == name);
    if !listing.files.iter().any(|file| file.ends_with(".safetensors")) {
        return Ok(None);
    }
    let incomplete = |file: &str, hint| {
        Err(SourceError::Incomplete { repo: repo.to_owned(), file: file.to_owned(), hint })
    };
    if !has(SINGLE) && !has(INDEX) {
        let hint = "; adapters and parts of pipelines are no whole models: choose the model itself";
        return incomplete(&format!("{SINGLE} or {INDEX}"), hint);
    }
    let mut names = vec![CONFIG];
    for (name, needed) in TOKENIZER_FILES {
        if needed && !has(name) {
            return incomplete(name, "; choose a repository with it, or one with GGUF files");
        }
        names.extend(has(name).then_some(name));
    }
    if !has(CONFIG) {
        return incomplete(CONFIG, "");
    }
    let get = |name: &str| download(hub, cache, &listing.commit, name, options);
    // What is small comes first: whoever lacks it hears it soon.
    for name in names {
        get(name)?;
    }
    let weights = if has(SINGLE) {
        get(SINGLE)?
    } else {
        let index = get(INDEX)?;
        let problem = |problem: String| hub.nonsense(format!("{INDEX}: {problem}"));
        let text = std::fs::read_to_string(&index).map_err(|error| problem(error.to_string()))?;
        for file in files_of_index(&text).map_err(|error| problem(error.to_string()))? {
            if !has(&file) {
                return incomplete(&file, ", which its index names");
            }
            get(&file)?;
        }
        index
    };
    match weights.parent().filter(|folder| local::is_complete(folder)) {
        Some(folder) => Ok(Some(folder.to_owned())),
        None => Err(hub.nonsense(format!("its files are not all of commit {}", listing.commit))),
    }
}
