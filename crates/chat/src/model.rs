//! The public names of models.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The public name of a model, e.g. `demo` or `Qwen/Qwen3-4B-GGUF:Q4_K_M`. Tasks request a model by
/// it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ModelId(String);

impl ModelId {
    /// Wraps a model's public name.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// Derives the public name from `MODEL_NAME`: a hub repository (with its optional `@revision` and
    /// `:quant`) and `demo` keep their name, the address of a repository's page becomes that name, and a
    /// path is reduced to the file's stem.
    pub fn from_source(source: &str) -> Self {
        if let Some(repository) = repository_of_page(source) {
            return Self::new(repository);
        }
        let is_file = source.ends_with(".gguf") && !source.contains(':');
        let is_path = is_file || source.starts_with(['/', '.', '~']);
        if !is_path {
            return Self::new(source);
        }
        let path = source.trim_end_matches(['/', '\\']);
        let file = path.rsplit(['/', '\\']).next().unwrap_or(path);
        Self::new(file.strip_suffix(".gguf").unwrap_or(file))
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `owner/name[@revision][:file]` of the address of a page of the hub; `None` of any other text. What the
/// engine's `source` makes of such addresses to find the files, this does for the public name.
fn repository_of_page(source: &str) -> Option<String> {
    let strip = |text: &'_ str, prefix: &str| {
        let begins = text.get(..prefix.len()).is_some_and(|b| b.eq_ignore_ascii_case(prefix));
        begins.then(|| text[prefix.len()..].to_owned())
    };
    let address = ["https://", "http://"].iter().find_map(|scheme| strip(source, scheme));
    let address = address.unwrap_or_else(|| source.to_owned());
    let hosts = ["huggingface.co/", "www.huggingface.co/", "hf.co/", "hf://"];
    let page = hosts.iter().find_map(|host| strip(&address, host))?;
    let (path, query) = page.split_once(['?', '#']).unwrap_or((&page, ""));
    let shown = query.split('&').find_map(|pair| pair.strip_prefix("show_file_info="));
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let mut name = format!("{}/{}", parts.next()?, parts.next()?);
    if parts.next().is_some() {
        let revision = parts.next().filter(|revision| *revision != "main");
        let revision = revision.map(|revision| revision.replace("%2F", "/"));
        name.extend(revision.map(|revision| format!("@{revision}")));
    }
    let file = parts.collect::<Vec<_>>().join("/");
    let file = Some(file.as_str()).filter(|file| !file.is_empty()).or(shown);
    name.extend(file.map(|file| format!(":{file}")));
    Some(name)
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_models_name_is_derived_from_its_source() {
        for (source, name) in [
            ("demo", "demo"),
            ("Qwen/Qwen3-4B-GGUF:Q4_K_M", "Qwen/Qwen3-4B-GGUF:Q4_K_M"),
            ("/models/tiny.gguf", "tiny"),
            ("./models/a.b.gguf", "a.b"),
            ("qwen3.gguf", "qwen3"),
            ("~/models/x.gguf", "x"),
            ("acme/tiny:tiny-Q8_0.gguf", "acme/tiny:tiny-Q8_0.gguf"),
            ("acme/tiny@v1:Q8_0", "acme/tiny@v1:Q8_0"),
            ("hf.co/acme/tiny:Q8_0", "acme/tiny:Q8_0"),
            ("https://huggingface.co/acme/tiny", "acme/tiny"),
            ("HTTPS://HuggingFace.co/acme/tiny/tree/main", "acme/tiny"),
            ("https://hf.co/acme/tiny/tree/refs%2Fpr%2F1", "acme/tiny@refs/pr/1"),
            ("hf://acme/tiny", "acme/tiny"),
            (
                "https://huggingface.co/acme/tiny/resolve/main/BF16/a.gguf?download=true",
                "acme/tiny:BF16/a.gguf",
            ),
            ("https://huggingface.co/a/b/tree/main?show_file_info=c.gguf", "a/b:c.gguf"),
        ] {
            assert_eq!(ModelId::from_source(source).as_str(), name);
        }
    }
}
