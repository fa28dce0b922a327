//! Where model files come from: the binary itself, a path, or the Hugging Face hub.
//!
//! ```text
//! name ─ resolve ─┬─ "demo"            the model bundled here
//!                 ├─ a path            local: checked
//!                 └─ owner/name:quant  cache, or else hub ─▶ choose ─▶ download ─▶ cache
//! ```
//!
//! - [`options`]: cache folder, endpoint, token, from the variables that Hugging Face's tools know
//! - `local`: a file that is already there
//! - [`mod@choose`]: which of a repository's files a name means; pure
//! - `hub`: what the hub is asked, and which answers are whose fault
//! - `download`: resumes, retries, verifies
//! - `cache`: hf-hub's folders, so that other tools find the files and ours finds theirs
//! - `progress`: a bar on a terminal, log lines elsewhere

mod cache;
pub mod choose;
mod download;
mod error;
mod hub;
mod local;
pub mod options;
mod progress;

use std::path::{Path, PathBuf};

use crate::ModelFile;

pub use error::SourceError;
pub use options::{SourceOptions, Token};

use cache::RepoCache;
use choose::{Choice, choose};
use hub::Hub;

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
/// A name is `demo`, the path of a `.gguf` file, or a repository on the hub: `owner/name`, with
/// `:quant` behind it to choose a file (`Qwen/Qwen3-4B-GGUF:Q4_K_M`). A file that is in the cache
/// is used without asking the hub.
///
/// Blocks until the file is there.
pub fn resolve(name: &str, options: &SourceOptions) -> Result<ModelFile, SourceError> {
    let name = name.trim();
    if name.eq_ignore_ascii_case("demo") {
        return Ok(ModelFile::Embedded { name: "demo", bytes: &DEMO.0 });
    }
    let path = Path::new(name);
    match HubName::parse(name) {
        Some(hub_name) if !path.exists() => from_hub(&hub_name, options).map(ModelFile::Path),
        _ => local::check(path).map(ModelFile::Path),
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

fn from_hub(name: &HubName, options: &SourceOptions) -> Result<PathBuf, SourceError> {
    let cache = RepoCache::new(options.cache_dir()?, &name.repo);
    let cached = cache.files();
    // Without a quantization the hub's list decides, unless the preferred file is already here.
    let wanted = name.quant.as_deref().unwrap_or(choose::PREFERRED);
    let cached_names = || cached.iter().map(|(file, _)| file.as_str());
    let path_of = |file: &str| cached.iter().find(|(name, _)| name == file).map(|(_, path)| path);
    if let Choice::File(file) = choose(cached_names(), Some(wanted))
        && let Some(path) = path_of(&file)
    {
        return Ok(path.clone());
    }

    let hub = Hub::new(options, name, &cache)?;
    let files = match hub.files() {
        // Better the one file that is here than none.
        Err(error @ SourceError::Unreachable { .. }) => {
            return match choose(cached_names(), name.quant.as_deref()) {
                Choice::File(file) => {
                    tracing::warn!("{error}");
                    tracing::warn!("using {file}, which is in the cache");
                    path_of(&file).cloned().ok_or(error)
                }
                _ => Err(error),
            };
        }
        files => files?,
    };
    match choose(files.iter().map(String::as_str), name.quant.as_deref()) {
        Choice::File(file) => download::download(&hub, &cache, &file, options),
        other => Err(SourceError::from_choice(name, other, &files)),
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
        let tokenizer = crate::text::Tokenizer::from_gguf(&file).unwrap();
        crate::text::ChatTemplate::from_gguf(&file, &tokenizer).unwrap();
    }
}
