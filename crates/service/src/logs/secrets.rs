//! Keeps secrets out of all log output.
//!
//! First, events of other crates below `debug` are never written, at any `LOG_LEVEL`: HTTP clients
//! dump raw bytes there in hexadecimal, in which no secret could be found. Second, all output
//! passes through [`Redacted`], which replaces all secrets of the process.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::{Arc, PoisonError, RwLock};

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use tracing::{Level, Metadata};

use crate::settings::{QueueLocation, Settings};

/// Replaces a secret.
const REDACTION: &str = "[secret]";
/// Shorter texts are not treated as secrets, because they would match everywhere.
const SHORTEST: usize = 6;

/// The crates of this workspace, whose log output is known to be safe.
const OWN_CRATES: [&str; 12] = [
    "cli",
    "engine",
    "exit",
    "gateway",
    "grammar",
    "protocol",
    "proxies",
    "queue",
    "qwen_queue",
    "service",
    "webhooks",
    "worker",
];

/// The variables that name a proxy, whose URL may contain a password.
const PROXIES: [&str; 8] = [
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "ws_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "WS_PROXY",
];

/// Returns `true` if an event may be written: events of other crates only from `debug` on.
pub(super) fn event_may_be_logged(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    let root = target.split([':', '.']).next().unwrap_or(target);
    *metadata.level() <= Level::DEBUG
        || OWN_CRATES.contains(&root)
        || root.starts_with("qwen_queue")
}

/// A process's secrets in all forms in which they may be written. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Secrets(Arc<RwLock<Known>>);

#[derive(Default)]
struct Known {
    forms: BTreeSet<String>,
    /// Finds the forms; `None` if there are no secrets.
    finder: Option<AhoCorasick>,
}

impl Secrets {
    /// Collects the secrets of the settings and of the proxies in the environment.
    pub(super) fn of(settings: &Settings) -> Self {
        let secrets = Self::default();
        secrets.add(settings);
        secrets
    }

    /// Adds the secrets of the settings and of the proxies in the environment.
    pub(super) fn add(&self, settings: &Settings) {
        let mut texts: Vec<String> = Vec::new();
        let keys = settings.api_keys.iter().chain(&settings.admin_api_key);
        texts.extend(
            keys.chain(&settings.jwt.secret)
                .chain(&settings.redis_sentinel_password)
                .chain(&settings.hf_token)
                .map(|key| key.reveal().to_owned()),
        );
        // A key may stand behind a word, such as `Bearer`.
        for (_, value) in &settings.traces.headers {
            let key = value.reveal().split_whitespace().next_back();
            texts.extend([Some(value.reveal()), key].into_iter().flatten().map(str::to_owned));
        }
        let mut addresses = vec![settings.hf_endpoint.clone()];
        if let QueueLocation::Redis(url) = &settings.queue {
            addresses.extend(queue::redis::urls(url.reveal()).into_iter().map(str::to_owned));
        }
        addresses.extend(PROXIES.iter().filter_map(|name| std::env::var(name).ok()));
        texts.extend(addresses.iter().flat_map(|address| of_address(address)));
        self.add_texts(&texts);
    }

    fn add_texts(&self, texts: &[String]) {
        let forms = texts.iter().map(|text| text.trim()).filter(|text| text.len() >= SHORTEST);
        let forms = forms.flat_map(|text| {
            // As `Debug` and JSON escape it.
            let escaped = format!("{text:?}");
            [text.to_owned(), escaped[1..escaped.len() - 1].to_owned()]
        });
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let before = known.forms.len();
        known.forms.extend(forms);
        if known.forms.len() > before {
            let builder = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).to_owned();
            known.finder = builder.build(&known.forms).ok();
        }
    }

    /// Returns the line with all secrets replaced, or `None` if it contains none.
    pub(super) fn redact(&self, line: &[u8]) -> Option<Vec<u8>> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let finder = known.finder.as_ref().filter(|finder| finder.is_match(line))?;
        let redactions = vec![REDACTION; finder.patterns_len()];
        Some(finder.replace_all_bytes(line, &redactions))
    }
}

/// Returns the forms of the password in a URL: as written, percent-decoded, and encoded for `Basic`
/// authentication.
fn of_address(address: &str) -> Vec<String> {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let Some((user, _)) = rest[..end].rsplit_once('@') else { return Vec::new() };
    let decoded = percent_decoded(user);
    let mut forms = Vec::new();
    for user in [user, &decoded] {
        let password = user.split_once(':').map_or(user, |(_, password)| password);
        forms.extend([password.to_owned(), STANDARD.encode(user), STANDARD_NO_PAD.encode(user)]);
    }
    forms
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut decoded, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if bytes[at] == b'%' => {
                decoded.push(byte);
                at += 3;
            }
            _ => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Writes lines with all secrets replaced. Each write must consist of whole lines.
pub(super) struct Redacted<W> {
    to: W,
    secrets: Secrets,
}

impl<W> Redacted<W> {
    pub(super) fn new(to: W, secrets: Secrets) -> Self {
        Self { to, secrets }
    }
}

impl<W: Write> Write for Redacted<W> {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        match self.secrets.redact(lines) {
            Some(redacted_text) => self.to.write_all(&redacted_text).map(|()| lines.len()),
            None => self.to.write(lines),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(secrets: &[&str], line: &str) -> String {
        let texts: Vec<String> = secrets.iter().map(|text| (*text).to_owned()).collect();
        let known = Secrets::default();
        known.add_texts(&texts);
        let mut redacted = Redacted::new(Vec::new(), known);
        redacted.write_all(line.as_bytes()).unwrap();
        String::from_utf8(redacted.to).unwrap()
    }

    #[test]
    fn secrets_are_redacted() {
        let secrets = ["hf_0123456789", "key-with-\"quotes\"", "key-with"];
        assert_eq!(written(&secrets, "Bearer hf_0123456789\n"), "Bearer [secret]\n");
        let json = r#"{"key":"key-with-\"quotes\""}"#;
        assert_eq!(written(&secrets, json), r#"{"key":"[secret]"}"#);
        assert_eq!(written(&secrets, "key-without hf_01234"), "[secret]out hf_01234");
        assert_eq!(written(&["", "  ", "abc"], "abc "), "abc ", "too short to be a secret");
        assert_eq!(written(&[], "x"), "x");
    }

    #[test]
    fn url_passwords_are_found_in_every_encoding() {
        let forms = of_address("redis://me:p%40ss%2Fword@10.0.0.1:6379/0");
        for form in ["p%40ss%2Fword", "p@ss/word", &STANDARD.encode("me:p@ss/word")] {
            assert!(forms.iter().any(|known| known == form), "{form}: {forms:?}");
        }
        assert!(of_address("http://hub.x/a@b").is_empty());
        assert!(of_address("redis://10.0.0.1").is_empty());
        assert_eq!(of_address("proxy-user:secret99@proxy:3128")[0], "secret99");
    }
}
