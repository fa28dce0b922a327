//! Options of the hub and the cache.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{SourceError, name};
use crate::Quantization;

/// An access token. Its `Debug` output hides the value.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Creates a token; `None` if the text is blank or not a valid token.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let fits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Self(text.to_owned()))
    }

    pub(super) fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Options of the hub and the cache.
#[derive(Debug, Clone)]
pub struct SourceOptions {
    /// The folder with `models--owner--name` folders; `None` if there is no home folder either.
    pub cache_dir: Option<PathBuf>,
    /// The hub's URL, without a slash at the end.
    pub endpoint: String,
    /// The GGUF quantization to choose if the name has none, and the quantization of safetensors. If `None`: the
    /// preferred file, and [`Quantization::FourBit`].
    pub quantization: Option<Quantization>,
    /// The access token for gated and private repositories.
    pub token: Option<Token>,
    /// Sends no requests: a file that is not cached is an error.
    pub offline: bool,
    /// Shows a progress bar while downloading, if standard error is a terminal.
    pub progress: bool,
    /// The number of consecutive failed requests, or of downloads without progress, after which it gives up.
    pub attempts: u32,
    /// The wait after the first failure; it doubles with each further one, to at most ten seconds.
    pub retry_wait: Duration,
}

impl Default for SourceOptions {
    fn default() -> Self {
        Self {
            cache_dir: None,
            endpoint: "https://huggingface.co".to_owned(),
            quantization: None,
            token: None,
            offline: false,
            progress: true,
            attempts: 5,
            retry_wait: Duration::from_secs(1),
        }
    }
}

impl SourceOptions {
    /// Reads the variables of Hugging Face's own tools: `HF_HUB_CACHE` (or its former name,
    /// `HUGGINGFACE_HUB_CACHE`), else `hub` in `HF_HOME`; `HF_ENDPOINT`, `HF_TOKEN` (or the token file that
    /// `hf auth login` writes), `HF_HUB_OFFLINE`.
    pub fn from_env() -> Self {
        let variable = |name: &str| env::var(name).ok().filter(|value| !value.trim().is_empty());
        let home = variable("HF_HOME").map(PathBuf::from).or_else(|| {
            let cache = variable("XDG_CACHE_HOME").map(PathBuf::from);
            Some(cache.or_else(|| Some(env::home_dir()?.join(".cache")))?.join("huggingface"))
        });
        let cache_dir = variable("HF_HUB_CACHE")
            .or_else(|| variable("HUGGINGFACE_HUB_CACHE"))
            .map(|folder| name::path(&folder))
            .or_else(|| home.as_ref().map(|home| home.join("hub")));
        let token_file = || hf_hub::Cache::new(home.as_ref()?.join("hub")).token();
        let default = Self::default();
        Self {
            cache_dir,
            endpoint: variable("HF_ENDPOINT")
                .map_or(default.endpoint, |url| url.trim().trim_end_matches('/').to_owned()),
            token: variable("HF_TOKEN").or_else(token_file).and_then(|text| Token::new(&text)),
            offline: variable("HF_HUB_OFFLINE")
                .is_some_and(|value| matches!(&*value.to_lowercase(), "1" | "true" | "yes" | "on")),
            ..default
        }
    }

    pub(super) fn cache_dir(&self) -> Result<&Path, SourceError> {
        self.cache_dir.as_deref().ok_or(SourceError::NoCacheDir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hub_token_is_hidden_in_debug_output() {
        let token = Token::new(" hf_secret\n");
        let options = SourceOptions { token: token.clone(), ..SourceOptions::default() };
        assert!(!format!("{options:?}").contains("secret"));
        assert_eq!(token.unwrap().header(), "Bearer hf_secret");
        assert_eq!(Token::new("  "), None);
        assert_eq!(Token::new("two\nlines"), None);
    }
}
