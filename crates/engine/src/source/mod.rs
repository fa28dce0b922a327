//! Resolves names of models to files: from the binary itself, a path, or the Hugging Face hub.
//!
//! ```text
//! name ─ resolve ─┬─ "demo"            the model bundled here
//!                 ├─ a path            local: checked
//!                 └─ owner/name:quant  cache, or else hub ─▶ choose ─┬─▶ download ─▶ cache
//!                                                                    └─▶ snapshot: several files
//! ```
//!
//! - [`options`]: cache folder, endpoint, token, from the variables of Hugging Face's tools
//! - `name`: parses repositories and paths, in the forms in which people write and paste them; pure
//! - `local`: files that are already on this machine
//! - [`mod@choose`]: chooses among a repository's files; pure
//! - `hub`: requests to the hub, and the classification of its responses
//! - `download`: resumes, retries, verifies
//! - `adapter`: a folder or a repository with a LoRA adapter
//! - `snapshot`: models of several files, all from one commit
//! - `cache`: hf-hub's folders, shared with other tools
//! - [`cached`]: lists and removes the models in it

mod adapter;
mod cache;
pub mod cached;
pub mod choose;
mod download;
mod error;
mod hub;
mod local;
mod name;
pub mod options;
mod snapshot;

use std::path::{Path, PathBuf};

use crate::{ModelFile, Quantization};

pub use adapter::resolve_adapter;
pub use error::SourceError;
pub use options::{SourceOptions, Token};

use cache::RepoCache;
use choose::{Choice, choose};
use hub::Hub;
pub(crate) use name::HubName;

/// The default quantization of safetensors.
pub const DEFAULT_QUANTIZATION: Quantization = Quantization::FourBit;

/// The snapshot folder for files that a user adds manually.
const MANUAL_SNAPSHOT: &str = "manual";

/// Aligns the bytes for weights, so that they need not be copied.
#[repr(align(64))]
struct Aligned<T: ?Sized>(T);

static DEMO: &Aligned<[u8]> = &Aligned(*include_bytes!("../../assets/demo.gguf"));

/// Resolves a model's name to its files, and downloads them if necessary.
///
/// A name is `demo`, a path, or a repository on the hub.
///
/// - A path is that of a `.gguf` file (of a split one, any part), of a folder with safetensors, or of a folder
///   with one GGUF file; `~/` is the home folder.
/// - A repository is `owner/name`, followed by `@revision` to choose a branch, a tag or a commit, and by
///   `:quant` to choose a GGUF file (`Qwen/Qwen3-4B-GGUF:Q4_K_M`), or the address of its page. `:4bit`, `:8bit`
///   and `:none` override the options' quantization: they choose the nearest GGUF file, or the safetensors of a
///   repository without GGUF files, quantized at load.
///
/// Cached files are used without querying the hub. Blocks until the files are available.
///
/// # Errors
/// Returns an error if there is no such file or repository, or it can't be downloaded; the message has the remedy.
pub fn resolve(name: &str, options: &SourceOptions) -> Result<ModelFile, SourceError> {
    let name = name.trim();
    if name.eq_ignore_ascii_case("demo") {
        return Ok(ModelFile::Embedded { name: "demo", bytes: &DEMO.0 });
    }
    let path = name::path(name);
    match HubName::parse(name, &options.endpoint) {
        Some(hub_name) if !path.exists() => from_hub(&hub_name, options),
        None if name::has_scheme(name) => Err(SourceError::Address { address: name.to_owned() }),
        _ => local::check(&path, options.quantization.unwrap_or(DEFAULT_QUANTIZATION)),
    }
}

/// The requested files of a repository.
struct RequestedFiles<'a> {
    gguf: Gguf<'a>,
    /// The quantization of safetensors; `None` if they were not requested.
    quantization: Option<Quantization>,
}

/// The requested GGUF file.
#[derive(Debug, Clone, Copy)]
enum Gguf<'a> {
    /// The one with this quantization or name.
    Named(&'a str),
    /// The nearest one to this quantization.
    Nearest(Quantization),
    /// The preferred one, or the only one.
    Any,
}

impl<'a> RequestedFiles<'a> {
    fn new(name: &'a HubName, options: &SourceOptions) -> Self {
        let named = name.quant.as_deref();
        let quantization = named.and_then(|quant| quant.parse::<Quantization>().ok());
        if let (Some(file), None) = (named, quantization) {
            return Self { gguf: Gguf::Named(file), quantization: None };
        }
        let wanted = quantization.or(options.quantization);
        Self {
            gguf: wanted.map_or(Gguf::Any, Gguf::Nearest),
            quantization: Some(wanted.unwrap_or(DEFAULT_QUANTIZATION)),
        }
    }
}

impl Gguf<'_> {
    fn choose<'f>(self, files: impl Iterator<Item = &'f str> + Clone) -> Choice {
        match self {
            Self::Named(name) => choose(files, Some(name)),
            Self::Nearest(quantization) => choose::nearest(files, quantization),
            Self::Any => choose::preferred(files),
        }
    }

    /// Returns the choice among these files if the hub's full list could not change it.
    fn choose_among_cached(self, files: &[(String, PathBuf)]) -> Choice {
        let files = files.iter().map(|(file, _)| file.as_str());
        match self {
            Self::Named(name) => choose(files, Some(name)),
            Self::Nearest(quantization) => choose(files, Some(quantization.gguf_quant())),
            Self::Any => choose(files, Some(choose::PREFERRED)),
        }
    }

    /// Returns its name in messages.
    fn label(self) -> Option<String> {
        match self {
            Self::Named(name) => Some(name.to_owned()),
            Self::Nearest(quantization) => Some(quantization.gguf_quant().to_owned()),
            Self::Any => None,
        }
    }
}

fn from_hub(name: &HubName, options: &SourceOptions) -> Result<ModelFile, SourceError> {
    let RequestedFiles { gguf, quantization } = RequestedFiles::new(name, options);
    let safetensors = |folder: PathBuf| {
        quantization.map(|quantization| ModelFile::Safetensors { folder, quantization })
    };
    let cache = RepoCache::new(options.cache_dir()?, name);
    let cached = cache.files();
    // Without a quantization the hub's list decides, unless the preferred file is already cached.
    if let Some(path) = find_cached_choice(&cached, &gguf.choose_among_cached(&cached)) {
        return Ok(ModelFile::Path(path));
    }
    if quantization.is_some()
        && let Some(model) = cache.snapshot(local::is_complete).and_then(safetensors)
    {
        return Ok(model);
    }

    let hub = Hub::new(options, name, &cache)?;
    let listing = match hub.files() {
        // If the hub is unreachable, use the single cached file.
        Err(error @ SourceError::Unreachable { .. }) => {
            let choice = gguf.choose(cached.iter().map(|(file, _)| file.as_str()));
            let path = find_cached_choice(&cached, &choice).ok_or(error)?;
            tracing::warn!(
                "{} cannot be asked: using {}, which is in the cache",
                name.repo,
                path.display()
            );
            return Ok(ModelFile::Path(path));
        }
        listing => listing?,
    };
    match gguf.choose(listing.files.iter().map(String::as_str)) {
        Choice::File(file) => {
            log_nearest_quantization(name, gguf, &file);
            download::download(&hub, &cache, name.revision(), &file, options).map(ModelFile::Path)
        }
        Choice::Split { file, parts } => {
            log_nearest_quantization(name, gguf, &file);
            snapshot::download_parts(&hub, &cache, &listing, (&file, parts), options)
                .map(ModelFile::Path)
        }
        Choice::Nothing => {
            if let Gguf::Named(quant) = gguf
                && listing.files.iter().any(|file| file.ends_with(".safetensors"))
            {
                let (repo, quant) = (name.repo.clone(), quant.to_owned());
                return Err(SourceError::NoGguf { repo, quant });
            }
            snapshot::download_safetensors(&hub, &cache, &name.repo, &listing, options)?
                .and_then(safetensors)
                .ok_or_else(|| SourceError::from_choice(name, gguf.label(), Choice::Nothing))
        }
        other => Err(SourceError::from_choice(name, gguf.label(), other)),
    }
}

/// Returns the path of a chosen file in the cache; for a split one the first part, if all are in one folder.
fn find_cached_choice(cached: &[(String, PathBuf)], choice: &Choice) -> Option<PathBuf> {
    let path_of =
        |file: &str| cached.iter().find(|(name, _)| name == file).map(|(_, path)| path.clone());
    match choice {
        Choice::File(file) => path_of(file),
        Choice::Split { file, parts } => {
            let first = path_of(file)?;
            let names = choose::part_names(file, *parts);
            let beside = |name: &String| path_of(name)?.parent().map(Path::to_owned);
            let together = names.iter().all(|name| beside(name).as_deref() == first.parent());
            together.then_some(first)
        }
        Choice::Unknown { .. } | Choice::Several { .. } | Choice::Nothing => None,
    }
}

/// Logs which file is used if the requested one does not exist.
fn log_nearest_quantization(name: &HubName, gguf: Gguf<'_>, file: &str) {
    let requested_quant = match gguf {
        Gguf::Named(_) => return,
        Gguf::Nearest(quantization) => quantization.gguf_quant(),
        Gguf::Any => choose::PREFERRED,
    };
    if !choose::has_quantization(file, requested_quant) {
        tracing::info!(
            "{} has no {requested_quant}: taking {file}, which comes nearest",
            name.repo
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demo_model_is_embedded_in_the_binary() {
        let demo = resolve("demo", &SourceOptions::default()).unwrap();
        let ModelFile::Embedded { bytes, .. } = &demo else { panic!("{demo:?}") };
        assert_eq!(bytes.as_ptr().align_offset(32), 0); // used without a copy
        let file = demo.open().unwrap();
        let tokenizer = file.tokenizer().unwrap();
        file.chat_template(&tokenizer).unwrap();
    }
}
