//! The prefix of all keys and channels of a queue, which lets several queues share a Redis.

use std::fmt;
use std::str::FromStr;

/// The maximum length of a prefix, in bytes.
const MAX_LENGTH: usize = 64;

/// The text with which all keys and channels of a queue begin: `qq` in `qq:{0}:leases`. Queues with different prefixes
/// in the same Redis share nothing.
///
/// A prefix has no braces, so the text before a key's first brace is exactly the prefix and a colon: no prefix can
/// yield a key of another one. It has no character with a meaning in the pattern of an ACL rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPrefix(String);

/// The text is not allowed as a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a key prefix must have 1 to {MAX_LENGTH} letters, digits and characters of '_.-:', and begin and end with a \
     letter or a digit"
)]
pub struct KeyPrefixError;

impl Default for KeyPrefix {
    fn default() -> Self {
        Self("qq".to_owned())
    }
}

impl FromStr for KeyPrefix {
    type Err = KeyPrefixError;

    fn from_str(text: &str) -> Result<Self, KeyPrefixError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-:".contains(&byte);
        let closed = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
        let fits = text.len() <= MAX_LENGTH
            && text.bytes().all(allowed)
            && closed(text.bytes().next())
            && closed(text.bytes().last());
        fits.then(|| Self(text.to_owned())).ok_or(KeyPrefixError)
    }
}

impl fmt::Display for KeyPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_has_only_characters_without_a_meaning_to_redis() {
        for allowed in ["qq", "a", "Shop_2.eu-1", "team:queue", "7", &"x".repeat(64)] {
            assert_eq!(allowed.parse::<KeyPrefix>().unwrap().to_string(), allowed);
        }
        let short = " |a b|a\n|{a}|a*|a?b|[a]|a\\|a^b|é|:a|a:|-a|_";
        for refused in short.split('|').chain(["", &"x".repeat(65)]) {
            let error = refused.parse::<KeyPrefix>().unwrap_err().to_string();
            assert!(error.contains("1 to 64 letters"), "{refused}: {error}");
        }
        assert_eq!(KeyPrefix::default().to_string(), "qq");
    }
}
