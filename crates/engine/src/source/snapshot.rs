//! Models of several files: downloads all of them from one commit.

use std::path::PathBuf;

use super::cache::RepoCache;
use super::download::download;
use super::hub::{Hub, Listing};
use super::{SourceError, SourceOptions, choose, local};
use crate::LoadError;
use crate::safetensors::{
    CONFIG, INDEX, PREPROCESSOR, PROCESSOR, SINGLE_FILE, SafetensorsModel, TOKENIZER_FILES,
    files_of_index,
};

/// Returns the first part of a split GGUF file, with all others in the same folder, and downloads them if they
/// are not cached. `file` is any part, `parts` their number.
pub(super) fn download_parts(
    hub: &Hub<'_>,
    cache: &RepoCache,
    listing: &Listing,
    (file, parts): (&str, u32),
    options: &SourceOptions,
) -> Result<PathBuf, SourceError> {
    let names = choose::part_names(file, parts);
    if let Some(missing) = names.iter().find(|name| !listing.files.contains(name)) {
        return Err(SourceError::Split {
            repo: hub.repo().to_owned(),
            file: file.to_owned(),
            parts,
            missing: missing.clone(),
        });
    }
    let mut first = None;
    for name in names {
        let path = download(hub, cache, &listing.commit, &name, options)?;
        first.get_or_insert(path);
    }
    first.ok_or_else(|| hub.nonsense(format!("{file} has no parts")))
}

/// Returns the folder with all files of a repository's safetensors model, and downloads them if they are not
/// cached. `None` if the repository has no safetensors.
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
    if !has(SINGLE_FILE) && !has(INDEX) {
        let hint = "; adapters and parts of pipelines are no whole models: choose the model itself";
        return incomplete(&format!("{SINGLE_FILE} or {INDEX}"), hint);
    }
    let mut names = vec![CONFIG];
    for (name, needed) in TOKENIZER_FILES {
        if needed && !has(name) {
            return incomplete(name, "; choose a repository with it, or one with GGUF files");
        }
        names.extend(has(name).then_some(name));
    }
    // Models that see have these.
    names.extend([PREPROCESSOR, PROCESSOR].into_iter().filter(|name| has(name)));
    if !has(CONFIG) {
        return incomplete(CONFIG, "");
    }
    let get = |name: &str| download(hub, cache, &listing.commit, name, options);
    // Small files come first, so that a missing one is reported early.
    let mut folder = None;
    for name in names {
        folder = get(name)?.parent().map(PathBuf::from);
    }
    // Check the config before the weights, which take long: an unsupported model is refused now.
    if let Some(folder) = folder
        && let Err(LoadError::Unsupported { problem, .. }) = SafetensorsModel::check_config(&folder)
    {
        return Err(SourceError::Unsupported { repo: repo.to_owned(), problem });
    }
    let weights = if has(SINGLE_FILE) {
        get(SINGLE_FILE)?
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
