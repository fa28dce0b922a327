//! Where model files come from: the binary itself, a path, or the Hugging Face hub.
//!
//! ```text
//! name ─ resolve ─┬─ "demo"            the model bundled here
//!                 ├─ a path            local: checked
//!                 └─ owner/name:quant  cache, or else hub ─▶ choose ─┬─▶ download ─▶ cache
//!                                                                    └─▶ snapshot: several files
//! ```
//!
//! - [`options`]: cache folder, endpoint, token, from the variables that Hugging Face's tools know
//! - `local`: a file that is already there
//! - [`mod@choose`]: which of a repository's files a name means; pure
//! - `hub`: what the hub is asked, and which answers are whose fault
//! - `download`: resumes, retries, verifies
//! - `adapter`: a folder or a repository with a LoRA adapter
//! - `snapshot`: safetensors and what belongs to them, of one commit
//! - `cache`: hf-hub's folders, so that other tools find the files and ours finds theirs

mod adapter;
mod cache;
pub mod choose;
mod download;
mod error;
mod hub;
mod local;
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

/// What is made of safetensors when nothing is said.
pub const DEFAULT_QUANTIZATION: Quantization = Quantization::FourBit;

/// The snapshot folder that a user makes by putting a file there.
const BY_HAND: &str = "manual";

/// A repository on the hub, and which of its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HubName {
    /// `owner/name`.
    pub(crate) repo: String,
    /// What stands behind the colon: a quantization, or a file's name.
    pub(crate) quant: Option<String>,
}

/// Makes the bytes begin where the weights want to begin, so that nothing is copied.
#[repr(align(64))]
struct Aligned<T: ?Sized>(T);

static DEMO: &Aligned<[u8]> = &Aligned(*include_bytes!("../../assets/demo.gguf"));

/// Finds the model that a name means, and downloads it if need be.
///
/// A name is `demo`, the path of a `.gguf` file or of a folder with safetensors, or a repository on the
/// hub: `owner/name`, with `:quant` behind it to choose a GGUF file (`Qwen/Qwen3-4B-GGUF:Q4_K_M`). Behind
/// the colon may also stand `4bit`, `8bit` or `none`, which goes before the options' quantization and
/// means the nearest GGUF file, or the safetensors of a repository without GGUF files, quantized at load.
/// What is in the cache is used without asking the hub.
///
/// Blocks until the file is there.
pub fn resolve(name: &str, options: &SourceOptions) -> Result<ModelFile, SourceError> {
    let name = name.trim();
    if name.eq_ignore_ascii_case("demo") {
        return Ok(ModelFile::Embedded { name: "demo", bytes: &DEMO.0 });
    }
    let path = Path::new(name);
    match HubName::parse(name) {
        Some(hub_name) if !path.exists() => from_hub(&hub_name, options),
        _ => local::check(path, options.quantization.unwrap_or(DEFAULT_QUANTIZATION)),
    }
}

impl HubName {
    /// `owner/name` or `owner/name:quant`; `None` for what can only be a path.
    fn parse(name: &str) -> Option<Self> {
        let (repo, quant) = match name.split_once(':') {
            Some((repo, quant)) => (repo, Some(quant)),
            None => (name, None),
        };
        let (owner, model) = repo.split_once('/')?;
        let plain = |part: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            !part.is_empty() && !part.starts_with('.') && part.bytes().all(allowed)
        };
        let is_file = quant.is_none() && choose::is_gguf(model);
        let right = plain(owner) && plain(model) && !is_file && quant.is_none_or(|q| !q.is_empty());
        right.then(|| Self { repo: repo.to_owned(), quant: quant.map(str::to_owned) })
    }
}

/// What is taken of a repository.
struct Wanted<'a> {
    /// A quantization of GGUF, or a file's name.
    gguf: Option<&'a str>,
    /// What is made of safetensors; `None` if they were not asked for.
    quantization: Option<Quantization>,
}

impl<'a> Wanted<'a> {
    fn new(name: &'a HubName, options: &SourceOptions) -> Self {
        match name.quant.as_deref().map(|quant| (quant, quant.parse::<Quantization>().ok())) {
            Some((file, None)) => Self { gguf: Some(file), quantization: None },
            named => {
                let named = named.and_then(|(_, quantization)| quantization);
                let wanted = named.or(options.quantization);
                Self {
                    gguf: wanted.map(Quantization::gguf_quant),
                    quantization: Some(wanted.unwrap_or(DEFAULT_QUANTIZATION)),
                }
            }
        }
    }
}

fn from_hub(name: &HubName, options: &SourceOptions) -> Result<ModelFile, SourceError> {
    let Wanted { gguf, quantization } = Wanted::new(name, options);
    let safetensors = |folder: PathBuf| {
        quantization.map(|quantization| ModelFile::Safetensors { folder, quantization })
    };
    let cache = RepoCache::new(options.cache_dir()?, &name.repo);
    let cached = cache.files();
    // Without a quantization the hub's list decides, unless the preferred file is already here.
    let cached_names = || cached.iter().map(|(file, _)| file.as_str());
    let path_of = |file: &str| cached.iter().find(|(name, _)| name == file).map(|(_, path)| path);
    if let Choice::File(file) = choose(cached_names(), Some(gguf.unwrap_or(choose::PREFERRED)))
        && let Some(path) = path_of(&file)
    {
        return Ok(ModelFile::Path(path.clone()));
    }
    if quantization.is_some()
        && let Some(model) = cache.snapshot(local::is_complete).and_then(safetensors)
    {
        return Ok(model);
    }

    let hub = Hub::new(options, name, &cache)?;
    let listing = match hub.files() {
        // Better the one file that is here than none.
        Err(error @ SourceError::Unreachable { .. }) => {
            return match choose(cached_names(), gguf) {
                Choice::File(file) => {
                    tracing::warn!("{error}");
                    tracing::warn!("using {file}, which is in the cache");
                    path_of(&file).cloned().map(ModelFile::Path).ok_or(error)
                }
                _ => Err(error),
            };
        }
        listing => listing?,
    };
    match choose(listing.files.iter().map(String::as_str), gguf) {
        Choice::File(file) => {
            download::download(&hub, &cache, hub::REVISION, &file, options).map(ModelFile::Path)
        }
        Choice::Nothing => {
            if let (Some(quant), None) = (gguf, quantization)
                && listing.files.iter().any(|file| file.ends_with(".safetensors"))
            {
                let (repo, quant) = (name.repo.clone(), quant.to_owned());
                return Err(SourceError::NoGguf { repo, quant });
            }
            snapshot::download_safetensors(&hub, &cache, &name.repo, &listing, options)?
                .and_then(safetensors)
                .ok_or_else(|| SourceError::from_choice(name, gguf, Choice::Nothing))
        }
        other => Err(SourceError::from_choice(name, gguf, other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str) -> Option<(String, Option<String>)> {
        HubName::parse(name).map(|name| (name.repo, name.quant))
    }

    #[test]
    fn names_of_repositories() {
        let repo = |repo: &str, quant: Option<&str>| Some((repo.into(), quant.map(str::to_owned)));
        assert_eq!(parse("Qwen/Qwen3-4B-GGUF"), repo("Qwen/Qwen3-4B-GGUF", None));
        assert_eq!(parse("Qwen/Qwen3:Q4_K_M"), repo("Qwen/Qwen3", Some("Q4_K_M")));
        assert_eq!(parse("a/b:b-Q8_0.gguf"), repo("a/b", Some("b-Q8_0.gguf")));
        for path in [
            "model.gguf",
            "models/model.gguf",
            "./a/b",
            "../b",
            "/a/b",
            "~/b",
            "a/b/c",
            "a",
            "a/",
            "a/b:",
            "a/b c",
        ] {
            assert_eq!(parse(path), None, "{path}");
        }
    }

    #[test]
    fn the_demo_is_part_of_the_binary() {
        let demo = resolve("demo", &SourceOptions::default()).unwrap();
        let ModelFile::Embedded { bytes, .. } = &demo else { panic!("{demo:?}") };
        assert_eq!(bytes.as_ptr().align_offset(32), 0); // mapped without a copy
        let file = demo.open().unwrap();
        let tokenizer = file.tokenizer().unwrap();
        file.chat_template(&tokenizer).unwrap();
    }
}
