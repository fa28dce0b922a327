//! Errors of resolving and downloading model files.

use std::io;
use std::path::PathBuf;

use super::choose::Choice;
use super::{HubName, MANUAL_SNAPSHOT};

/// An error of resolving or downloading model files. Every message has the remedy.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The path leads to no usable file, and the name is not a repository either.
    #[error("cannot use the model file {}: {problem}", path.display())]
    File {
        /// The path.
        path: PathBuf,
        /// The problem.
        problem: String,
    },
    /// The name is a URL, but not of a model's page on the hub.
    #[error(
        "{address} is not the address of a model's page or file on the hub: name a repository, owner/name or \
         owner/name:quant, or download the file and name its path"
    )]
    Address {
        /// The address.
        address: String,
    },
    /// The path leads to no adapter, and the name is not a repository either.
    #[error(
        "there is no adapter at {}: an adapter is named by the path of a folder with \
         adapter_config.json and adapter_model.safetensors, or by a repository, owner/name", path.display()
    )]
    NoAdapter {
        /// The path.
        path: PathBuf,
    },
    /// The repository is not an adapter's.
    #[error(
        "{repo} has no {file}, so it is no adapter that can be loaded; choose a repository that PEFT wrote, \
         with adapter_config.json and adapter_model.safetensors"
    )]
    IncompleteAdapter {
        /// The repository.
        repo: String,
        /// The missing file.
        file: &'static str,
    },
    /// There is no folder for files from the hub.
    #[error("there is no home folder to keep models in: set HF_HOME to a folder")]
    NoCacheDir,
    /// The hub cannot be reached, and the cache does not have the file.
    #[error(
        "cannot get {file} from the hub: {cause}. It was looked for in {}. To go without the hub, \
         download it from {page} on another machine, then put it into the folder {} or set \
         MODEL_NAME to its path", snapshots.display(), snapshots.join(MANUAL_SNAPSHOT).display()
    )]
    Unreachable {
        /// The requested file.
        file: String,
        /// The cause.
        cause: String,
        /// The folder with the repository's cached files; files that are added manually go into its folder
        /// `manual`.
        snapshots: PathBuf,
        /// The page for downloading it with a browser.
        page: String,
    },
    /// The hub does not know the repository.
    #[error("there is no model {repo} at {endpoint}: check the name")]
    NotFound {
        /// The repository.
        repo: String,
        /// The hub.
        endpoint: String,
    },
    /// The hub refuses access.
    #[error(
        "{endpoint} refuses access to {repo} (status {status}): it is gated, private or does not \
         exist. Check the name, accept the terms on {endpoint}/{repo} and set HF_TOKEN to a token \
         that may read it"
    )]
    Refused {
        /// The repository.
        repo: String,
        /// The hub.
        endpoint: String,
        /// 401 or 403.
        status: u16,
    },
    /// The repository has no supported model.
    #[error("{repo} has neither a GGUF file nor safetensors; choose a repository with one of them")]
    NoModel {
        /// The repository.
        repo: String,
    },
    /// A GGUF quantization was requested, and the repository has only safetensors.
    #[error(
        "{repo} has no GGUF file, so there is no {quant} to choose; its safetensors can be quantized at \
         load: write {repo}:4bit, {repo}:8bit or {repo}:none"
    )]
    NoGguf {
        /// The repository.
        repo: String,
        /// The requested quantization.
        quant: String,
    },
    /// The repository has safetensors, but lacks a file that they need.
    #[error("{repo} has safetensors, but no {file}, without which they cannot be loaded{hint}")]
    Incomplete {
        /// The repository.
        repo: String,
        /// The missing file.
        file: String,
        /// A suggestion.
        hint: &'static str,
    },
    /// The repository has no file with the requested quantization.
    #[error("{repo} has no {quant}; it has {}", available.join(", "))]
    UnknownQuant {
        /// The repository.
        repo: String,
        /// The requested quantization.
        quant: String,
        /// The available ones.
        available: Vec<String>,
    },
    /// Several files match.
    #[error("{repo} has several files that fit; say which one, as in {repo}:{}: {}", choices[0], choices.join(", "))]
    Ambiguous {
        /// The repository.
        repo: String,
        /// The possible quantizations after the colon; never empty.
        choices: Vec<String>,
    },
    /// The file is split, and some of its parts are missing.
    #[error(
        "{file} of {repo} is one of {parts} parts, and {missing} is not there: choose another quantization or \
         another repository"
    )]
    Split {
        /// The repository.
        repo: String,
        /// Its first part.
        file: String,
        /// The number of parts.
        parts: u32,
        /// A missing part.
        missing: String,
    },
    /// The repository's config is that of a model that the engine does not support.
    #[error("{repo} cannot be used: {problem}")]
    Unsupported {
        /// The repository.
        repo: String,
        /// The unsupported property, and the supported ones.
        problem: String,
    },
    /// The downloaded file is not the announced one. It was deleted.
    #[error(
        "{file} arrived damaged: {what} should be {expected}, but is {found}. The download was \
         deleted; try again"
    )]
    Damaged {
        /// The file.
        file: String,
        /// `its SHA-256` or `its size`.
        what: &'static str,
        /// The announced value.
        expected: String,
        /// The actual value.
        found: String,
    },
    /// The disk is full. The downloaded part is kept.
    #[error(
        "no room for {file} on the disk of {}: {missing} more bytes are needed. Make room, or set \
         HF_HOME to a folder on another disk; the download continues where it stopped",
        folder.display()
    )]
    DiskFull {
        /// The file.
        file: String,
        /// The target folder.
        folder: PathBuf,
        /// The number of bytes that did not fit.
        missing: u64,
    },
    /// The name stands for nothing in the cache.
    #[error(
        "{name} is not in the cache at {}: `qwen-queue model list` shows what is, and `qwen-queue model pull` \
         downloads a model", folder.display()
    )]
    NotCached {
        /// The name.
        name: String,
        /// The cache.
        folder: PathBuf,
    },
    /// A process is downloading a file that was to be removed.
    #[error("another process is downloading this model, and holds {}: try again when it has finished", path.display())]
    Busy {
        /// The lock's file.
        path: PathBuf,
    },
    /// The cache folder cannot be used.
    #[error("cannot write to the model cache at {}: {error}", path.display())]
    Cache {
        /// The path that could not be written.
        path: PathBuf,
        /// The operating system's error, which the message has.
        error: io::Error,
    },
    /// The hub returned an invalid response.
    #[error("{endpoint} gave an answer about {repo} that cannot be used: {problem}")]
    Protocol {
        /// The repository.
        repo: String,
        /// The hub.
        endpoint: String,
        /// The problem.
        problem: String,
    },
}

impl SourceError {
    /// Converts a choice without a file to an error.
    pub(super) fn from_choice(name: &HubName, wanted: Option<String>, choice: Choice) -> Self {
        let repo = name.repo.clone();
        match choice {
            Choice::Unknown { available } => Self::UnknownQuant {
                repo,
                quant: name.quant.clone().or(wanted).unwrap_or_default(),
                available,
            },
            Choice::Several { choices } => Self::Ambiguous { repo, choices },
            Choice::File(_) | Choice::Split { .. } | Choice::Nothing => Self::NoModel { repo },
        }
    }
}
