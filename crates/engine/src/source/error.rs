//! Why a model file could not be had.

use std::io;
use std::path::PathBuf;

use super::choose::Choice;
use super::{BY_HAND, HubName};

/// Why a model file could not be had. Every message says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The path leads to nothing that can be used, and the name is no repository either.
    #[error("cannot use the model file {}: {problem}", path.display())]
    File {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// It is an address, but none of the hub's pages of models.
    #[error(
        "{address} is not the address of a model's page or file on the hub: name a repository, owner/name or \
         owner/name:quant, or download the file and name its path"
    )]
    Address {
        /// The address.
        address: String,
    },
    /// The path leads to no adapter, and the name is no repository either.
    #[error(
        "there is no adapter at {}: an adapter is named by the path of a folder with \
         adapter_config.json and adapter_model.safetensors, or by a repository, owner/name", path.display()
    )]
    NoAdapter {
        /// The path.
        path: PathBuf,
    },
    /// The repository is none of an adapter.
    #[error(
        "{repo} has no {file}, so it is no adapter that can be loaded; choose a repository that PEFT wrote, \
         with adapter_config.json and adapter_model.safetensors"
    )]
    IncompleteAdapter {
        /// The repository.
        repo: String,
        /// What is missing.
        file: &'static str,
    },
    /// There is nowhere to keep files from the hub.
    #[error("there is no home folder to keep models in: set HF_HOME to a folder")]
    NoCacheDir,
    /// The hub cannot be reached, and the cache does not have the file.
    #[error(
        "cannot get {file} from the hub: {cause}. It was looked for in {}. To go without the hub, \
         download it from {page} on another machine, then put it into the folder {} or set \
         MODEL_NAME to its path", snapshots.display(), snapshots.join(BY_HAND).display()
    )]
    Unreachable {
        /// What was wanted.
        file: String,
        /// What went wrong.
        cause: String,
        /// Where the repository's files are cached; one put by hand goes into its folder
        /// `manual`.
        snapshots: PathBuf,
        /// Where a browser finds it.
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
    /// The hub does not let us in.
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
    /// The repository has no model that can be loaded.
    #[error("{repo} has neither a GGUF file nor safetensors; choose a repository with one of them")]
    NoModel {
        /// The repository.
        repo: String,
    },
    /// A quantization of GGUF was asked for, and the repository has safetensors alone.
    #[error(
        "{repo} has no GGUF file, so there is no {quant} to choose; its safetensors can be quantized at \
         load: write {repo}:4bit, {repo}:8bit or {repo}:none"
    )]
    NoGguf {
        /// The repository.
        repo: String,
        /// What was asked for.
        quant: String,
    },
    /// The repository has safetensors, but not all that belongs to them.
    #[error("{repo} has safetensors, but no {file}, without which they cannot be loaded{hint}")]
    Incomplete {
        /// The repository.
        repo: String,
        /// What is missing.
        file: String,
        /// What may help.
        hint: &'static str,
    },
    /// The repository has no file of the quantization that was asked for.
    #[error("{repo} has no {quant}; it has {}", available.join(", "))]
    UnknownQuant {
        /// The repository.
        repo: String,
        /// What was asked for.
        quant: String,
        /// What there is.
        available: Vec<String>,
    },
    /// Several files fit.
    #[error("{repo} has several files that fit; say which one, as in {repo}:{}: {}", choices[0], choices.join(", "))]
    Ambiguous {
        /// The repository.
        repo: String,
        /// What can stand behind the colon; never empty.
        choices: Vec<String>,
    },
    /// The file is cut into parts, and not all of them are there.
    #[error(
        "{file} of {repo} is one of {parts} parts, and {missing} is not there: choose another quantization or \
         another repository"
    )]
    Split {
        /// The repository.
        repo: String,
        /// Its first part.
        file: String,
        /// How many there are.
        parts: u32,
        /// One that is not there.
        missing: String,
    },
    /// The repository's model is none that the engine computes, as its config says.
    #[error("{repo} cannot be used: {problem}")]
    Unsupported {
        /// The repository.
        repo: String,
        /// What is not supported, and what is.
        problem: String,
    },
    /// What came is not what the hub announced. It was deleted.
    #[error(
        "{file} arrived damaged: {what} should be {expected}, but is {found}. The download was \
         deleted; try again"
    )]
    Damaged {
        /// The file.
        file: String,
        /// `its SHA-256` or `its size`.
        what: &'static str,
        /// What the hub announced.
        expected: String,
        /// What came.
        found: String,
    },
    /// The disk is full. What was downloaded is kept.
    #[error(
        "no room for {file} on the disk of {}: {missing} more bytes are needed. Make room, or set \
         HF_HOME to a folder on another disk; the download continues where it stopped",
        folder.display()
    )]
    DiskFull {
        /// The file.
        file: String,
        /// Where it should go.
        folder: PathBuf,
        /// How many bytes did not fit.
        missing: u64,
    },
    /// The cache folder cannot be used.
    #[error("cannot write to the model cache at {}: {source}", path.display())]
    Cache {
        /// What could not be written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The hub said something that makes no sense.
    #[error("{endpoint} gave an answer about {repo} that cannot be used: {problem}")]
    Protocol {
        /// The repository.
        repo: String,
        /// The hub.
        endpoint: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl SourceError {
    /// Why a choice among a repository's files is none.
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
