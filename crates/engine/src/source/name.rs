//! Parses names of models: a repository on the hub, in the forms in which people write or paste it, or a path.

use std::env;
use std::path::PathBuf;

use super::choose;

/// The default branch.
const MAIN: &str = "main";

/// The hub's own hosts.
const HOSTS: [&str; 3] = ["huggingface.co", "hf.co", "www.huggingface.co"];

/// A repository on the hub, and the requested files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HubName {
    /// `owner/name`.
    pub(crate) repo: String,
    /// A branch, a tag or a commit, or `None` if the name has none.
    pub(crate) revision: Option<String>,
    /// The text after the colon: a quantization or a file name.
    pub(crate) quant: Option<String>,
}

impl HubName {
    /// Parses `owner/name`, with optional `@revision` and `:quant`, or the URL of a page of the hub at
    /// `endpoint`; `None` for a name that can only be a path.
    pub(crate) fn parse(name: &str, endpoint: &str) -> Option<Self> {
        match hub_url_path(name, endpoint) {
            Some(page) => Self::from_page_url(page),
            None if has_scheme(name) => None,
            None => Self::of_text(name),
        }
    }

    fn of_text(name: &str) -> Option<Self> {
        let (rest, quant) = split_last(name, ':');
        let (repo, revision) = split_last(rest, '@');
        // Both orders are unambiguous: no quantization and no file name has an @.
        let (quant, revision) = match quant.and_then(|quant| quant.split_once('@')) {
            Some((quant, revision)) => (Some(quant), Some(revision)),
            None => (quant, revision),
        };
        let is_file = quant.is_none() && choose::is_gguf(name);
        let right = quant.is_none_or(|quant| !quant.is_empty()) && !is_file;
        if right { Self::new(repo, revision, quant) } else { None }
    }

    /// Parses `owner/name`, and the rest of a page's URL: `tree/REVISION`, `blob/REVISION/FILE`,
    /// `resolve/REVISION/FILE`; `?show_file_info=FILE` names a file too.
    fn from_page_url(page: &str) -> Option<Self> {
        let (path, query) = page.split_once(['?', '#']).unwrap_or((page, ""));
        let shown = query.split('&').find_map(|pair| pair.strip_prefix("show_file_info="));
        let mut parts = path.split('/').filter(|part| !part.is_empty());
        let (owner, name) = (parts.next()?, parts.next()?);
        let kind = parts.next();
        let rest: Vec<String> = parts.map(decoded).collect();
        let file = |at: usize| (rest.len() > at).then(|| rest[at..].join("/"));
        match kind {
            None | Some("tree") if rest.len() <= 1 => {
                let plain = Self::of_text(&format!("{owner}/{name}"))?;
                let revision = rest.first().cloned().filter(|revision| revision != MAIN);
                let shown = shown.map(decoded);
                Some(Self {
                    revision: plain.revision.or(revision),
                    quant: plain.quant.or(shown),
                    repo: plain.repo,
                })
            }
            Some("blob" | "resolve" | "raw") => Self::new(
                &format!("{owner}/{name}"),
                rest.first().map(String::as_str),
                file(1).as_deref(),
            ),
            _ => None,
        }
    }

    fn new(repo: &str, revision: Option<&str>, quant: Option<&str>) -> Option<Self> {
        let (owner, model) = repo.split_once('/')?;
        let plain = |part: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            !part.is_empty() && !part.starts_with('.') && part.bytes().all(allowed)
        };
        // Branches of pull requests are named refs/pr/7.
        let is_revision = |revision: &str| revision.split('/').all(plain);
        let right = plain(owner) && plain(model) && revision.is_none_or(is_revision);
        right.then(|| Self {
            repo: repo.to_owned(),
            revision: revision.filter(|revision| *revision != MAIN).map(str::to_owned),
            quant: quant.map(str::to_owned),
        })
    }

    /// Returns the requested branch, tag or commit, or the default branch.
    pub(crate) fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or(MAIN)
    }
}

/// Returns whether a name is a URL with a scheme.
pub(super) fn has_scheme(name: &str) -> bool {
    ["http://", "https://", "hf://"].iter().any(|scheme| strip_scheme(name, scheme).is_some())
}

/// Returns the path of a URL of the hub, with or without a scheme.
fn hub_url_path<'a>(name: &'a str, endpoint: &str) -> Option<&'a str> {
    if let Some(page) = strip_scheme(name, "hf://") {
        return Some(page);
    }
    let strip = |text: &'a str| {
        ["https://", "http://"].iter().find_map(|scheme| strip_scheme(text, scheme))
    };
    let (address, with_scheme) = strip(name).map_or((name, false), |rest| (rest, true));
    let (host, page) = address.split_once('/')?;
    let own = strip_any_scheme(endpoint);
    let is_hub = HOSTS.iter().any(|known| host.eq_ignore_ascii_case(known))
        || with_scheme && host.eq_ignore_ascii_case(own.trim_end_matches('/'));
    is_hub.then_some(page)
}

fn strip_any_scheme(address: &str) -> &str {
    address.split_once("://").map_or(address, |(_, rest)| rest)
}

/// Removes a scheme, case-insensitive.
fn strip_scheme<'a>(name: &'a str, scheme: &str) -> Option<&'a str> {
    let begins = name.get(..scheme.len())?.eq_ignore_ascii_case(scheme);
    begins.then(|| &name[scheme.len()..])
}

/// Splits a text at the first `mark`; returns `None` for the rest if there is none.
fn split_last(text: &str, mark: char) -> (&str, Option<&str>) {
    match text.split_once(mark) {
        Some((before, behind)) => (before, Some(behind)),
        None => (text, None),
    }
}

/// Decodes the percent-encoding of a part of a URL.
fn decoded(part: &str) -> String {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let code = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (first, code) {
            (b'%', Some(code)) => {
                bytes.push(code);
                rest = &behind[2..];
            }
            _ => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Expands a path like a shell: `~/` is the home folder.
pub(super) fn path(name: &str) -> PathBuf {
    let below_home = name.strip_prefix("~/").or((name == "~").then_some(""));
    match below_home.zip(env::home_dir()) {
        Some((rest, home)) => home.join(rest),
        None => PathBuf::from(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Parts = (String, Option<String>, Option<String>);

    fn parse(name: &str) -> Option<Parts> {
        let name = HubName::parse(name, "http://127.0.0.1:99")?;
        Some((name.repo, name.revision, name.quant))
    }

    fn parts(repo: &str, revision: Option<&str>, quant: Option<&str>) -> Option<Parts> {
        Some((repo.into(), revision.map(str::to_owned), quant.map(str::to_owned)))
    }

    #[test]
    fn repository_names_are_parsed_and_paths_are_not() {
        assert_eq!(parse("Qwen/Qwen3-4B-GGUF"), parts("Qwen/Qwen3-4B-GGUF", None, None));
        assert_eq!(parse("Qwen/Qwen3:Q4_K_M"), parts("Qwen/Qwen3", None, Some("Q4_K_M")));
        assert_eq!(parse("a/b:b-Q8_0.gguf"), parts("a/b", None, Some("b-Q8_0.gguf")));
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
            "a/b@",
            "a/b@../c",
            "models/x@2/model.gguf",
        ] {
            assert_eq!(parse(path), None, "{path}");
        }
    }

    #[test]
    fn revisions() {
        assert_eq!(parse("a/b@v1.0"), parts("a/b", Some("v1.0"), None));
        assert_eq!(parse("a/b@main:Q8_0"), parts("a/b", None, Some("Q8_0")));
        assert_eq!(parse("a/b@0a1b2c:Q8_0"), parts("a/b", Some("0a1b2c"), Some("Q8_0")));
        assert_eq!(parse("a/b:Q8_0@v2"), parts("a/b", Some("v2"), Some("Q8_0")));
        assert_eq!(parse("a/b@refs/pr/7"), parts("a/b", Some("refs/pr/7"), None));
    }

    #[test]
    fn hub_page_urls_are_parsed_as_names() {
        for (address, expected) in [
            ("hf.co/a/b:Q4_K_M", parts("a/b", None, Some("Q4_K_M"))),
            ("huggingface.co/a/b", parts("a/b", None, None)),
            ("https://huggingface.co/a/b", parts("a/b", None, None)),
            ("HTTPS://HuggingFace.co/a/b/", parts("a/b", None, None)),
            ("https://hf.co/a/b@v1:Q8_0", parts("a/b", Some("v1"), Some("Q8_0"))),
            ("hf://a/b", parts("a/b", None, None)),
            ("https://huggingface.co/a/b/tree/main", parts("a/b", None, None)),
            (
                "https://huggingface.co/a/b/tree/refs%2Fpr%2F1",
                parts("a/b", Some("refs/pr/1"), None),
            ),
            (
                "https://huggingface.co/a/b/tree/main?show_file_info=b-Q5_0.gguf",
                parts("a/b", None, Some("b-Q5_0.gguf")),
            ),
            (
                "https://huggingface.co/a/b/blob/main/b-Q8_0.gguf",
                parts("a/b", None, Some("b-Q8_0.gguf")),
            ),
            (
                "https://huggingface.co/a/b/resolve/v2/BF16/b-BF16.gguf?download=true",
                parts("a/b", Some("v2"), Some("BF16/b-BF16.gguf")),
            ),
            ("http://127.0.0.1:99/a/b", parts("a/b", None, None)), // the endpoint's own
        ] {
            assert_eq!(parse(address), expected, "{address}");
        }
        for other in [
            "https://example.com/a/b",
            "https://huggingface.co/a",
            "https://huggingface.co/datasets/a/b/c",
            "https://huggingface.co/a/b/tree/main/folder",
            "https://huggingface.co/a/b/discussions/1",
            "example.com/a/b",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn tilde_paths_expand_to_the_home_directory() {
        let home = env::home_dir().unwrap();
        assert_eq!(path("~/x.gguf"), home.join("x.gguf"));
        assert_eq!(path("~"), home);
        assert_eq!(path("~other/x.gguf"), PathBuf::from("~other/x.gguf"));
        assert_eq!(path("a/~/x"), PathBuf::from("a/~/x"));
    }
}
