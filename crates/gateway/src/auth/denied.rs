//! [`Denied`]: why a credential is refused.

use crate::refusal::Refusal;

/// Why a credential is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Denied {
    /// There is none.
    Missing,
    /// No key has this text, or it is unreadable.
    Unknown,
    /// The key was accepted when the request began, and was revoked or replaced since.
    Revoked,
    /// An operator blocked the key. Said only to those who show its right text.
    Blocked,
    /// The key has expired, likewise.
    Expired,
    /// The token is refused, for this reason.
    Token(&'static str),
    /// This header comes several times.
    Repeated(&'static str),
    /// The two headers have different credentials.
    Contradictory,
    /// This parameter of the URL has a credential.
    InUrl(&'static str),
    /// The client's address tried too many wrong credentials; it may try again after this many seconds.
    TooMany(u32),
    /// The key could not be looked up.
    Unavailable(String),
}

impl Denied {
    /// Returns the name, for logs.
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Unknown => "unknown",
            Self::Revoked => "revoked",
            Self::Blocked => "blocked",
            Self::Expired => "expired",
            Self::Token(_) => "token",
            Self::Repeated(_) | Self::Contradictory => "ambiguous",
            Self::InUrl(_) => "in_url",
            Self::TooMany(_) => "too_many_failures",
            Self::Unavailable(_) => "unavailable",
        }
    }

    /// Returns whether it may be an attempt to guess a key.
    pub(super) const fn is_wrong(&self) -> bool {
        matches!(self, Self::Unknown | Self::Token(_))
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Missing | Denied::Unknown => Self::invalid_key(),
            Denied::Revoked => Self::key_refused("This API key was revoked or replaced"),
            Denied::Blocked => Self::key_refused("This API key is blocked"),
            Denied::Expired => Self::key_refused("This API key has expired"),
            Denied::Token(reason) => Self::key_refused(format!("Invalid token: {reason}")),
            Denied::Repeated(header) => Self::bad_credentials(format!(
                "The header {header} comes several times: send one credential"
            )),
            Denied::Contradictory => Self::bad_credentials(
                "The headers X-API-Key and Authorization have different keys: send one of them",
            ),
            Denied::InUrl(name) => Self::bad_credentials(format!(
                "The URL has a key in '{name}', and URLs are logged: send the key in the header \
                 Authorization (Bearer …) or X-API-Key, and replace it if it is a real one"
            )),
            Denied::TooMany(seconds) => Self::too_many_failures(seconds),
            Denied::Unavailable(reason) => Self::unavailable(reason),
        }
    }
}
