//! [`Origins`]: the web pages that may call the API from a browser.

use std::str::FromStr;

/// Stands for every origin.
const ANY: &str = "*";

/// The origins of web pages whose scripts may read answers (`CORS_ORIGINS`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Origins {
    /// None: browsers keep answers from scripts of other sites.
    #[default]
    None,
    /// Every origin.
    Any,
    /// These, as browsers send them: in lower case, without the scheme's default port.
    Listed(Vec<String>),
}

impl FromStr for Origins {
    type Err = String;

    /// Parses `*`, or origins separated by commas. The error says which one is wrong, and why.
    fn from_str(text: &str) -> Result<Self, String> {
        let given = || text.split(',').map(str::trim).filter(|origin| !origin.is_empty());
        if given().any(|origin| origin == ANY) {
            return match given().count() {
                1 => Ok(Self::Any),
                _ => Err("'*' allows every origin, so it must be the only one".to_owned()),
            };
        }
        let mut origins = given().map(origin).collect::<Result<Vec<_>, _>>()?;
        origins.dedup();
        Ok(if origins.is_empty() { Self::None } else { Self::Listed(origins) })
    }
}

/// Returns an origin as browsers send it.
fn origin(given: &str) -> Result<String, String> {
    let refused = |why: &str| {
        let given = given.escape_debug();
        format!(
            "'{given}' {why}: write scheme://host or scheme://host:port, as in https://app.example.com, or * for all"
        )
    };
    let text = given.to_ascii_lowercase();
    let (scheme, host) = text.split_once("://").ok_or_else(|| refused("has no scheme"))?;
    let in_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    if !scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        || !scheme.bytes().all(in_scheme)
    {
        return Err(refused("has an invalid scheme"));
    }
    if host.contains(['/', '?', '#']) {
        return Err(refused("has a path, which origins don't have"));
    }
    if host.contains('@') {
        return Err(refused("has a user, which origins don't have"));
    }
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    let in_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte);
    if name.is_empty() || !name.bytes().all(in_name) {
        return Err(refused("has an invalid host"));
    }
    let Some(port) = port else { return Ok(text) };
    match (scheme, port.parse::<u16>()) {
        (_, Err(_) | Ok(0)) => Err(refused("has an invalid port")),
        ("http", Ok(80)) | ("https", Ok(443)) => Ok(format!("{scheme}://{name}")),
        (_, Ok(port)) => Ok(format!("{scheme}://{name}:{port}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_normalized_as_browsers_send_them() {
        let listed = |text: &str| match text.parse() {
            Ok(Origins::Listed(origins)) => origins.join(" "),
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(listed("https://App.Example.com"), "https://app.example.com");
        assert_eq!(
            listed("http://localhost:3000 , https://a.example:443,http://b:80,, app://obsidian.md"),
            "http://localhost:3000 https://a.example http://b app://obsidian.md"
        );
        assert_eq!(listed("http://[::1]:8080,http://[::1]"), "http://[::1]:8080 http://[::1]");
        assert_eq!("*".parse(), Ok(Origins::Any));
        assert_eq!(" , ".parse(), Ok(Origins::None));
    }

    #[test]
    fn wrong_origins_are_refused_with_the_reason() {
        for (given, why) in [
            ("example.com", "no scheme"),
            ("null", "no scheme"),
            ("https://example.com/", "has a path"),
            ("https://example.com/app", "has a path"),
            ("https://*.example.com", "invalid host"),
            ("https://", "invalid host"),
            ("https://me@example.com", "has a user"),
            ("https://example.com:0", "invalid port"),
            ("https://example.com:x", "invalid port"),
            ("1s://example.com", "invalid scheme"),
            ("https://a b", "invalid host"),
            ("*,https://example.com", "the only one"),
        ] {
            let error = given.parse::<Origins>().unwrap_err();
            assert!(error.contains(why) && !error.contains('\n'), "{given}: {error}");
        }
    }
}
