//! Authentication: finds out what a request's credential opens.
//!
//! | file            | contents |
//! |-----------------|----------|
//! | `access.rs`     | [`Access`]: what a credential opens |
//! | `configured.rs` | the configured keys, in memory |
//!
//! A credential's text is hashed where it arrives; only hashes are kept and compared.

mod access;
mod configured;

use std::sync::Arc;

pub(crate) use self::access::Access;
pub(crate) use self::configured::Holder;
use self::configured::KeyRing;
use crate::options::Keys as ConfiguredKeys;
use crate::refusal::Refusal;

/// Looks credentials up.
pub(crate) struct Auth {
    ring: KeyRing,
}

impl Auth {
    /// Accepts the configured keys.
    pub(crate) fn new(keys: &ConfiguredKeys) -> Self {
        Self { ring: KeyRing::new(keys) }
    }

    /// Replaces the configured keys.
    pub(crate) fn change(&self, keys: &ConfiguredKeys) {
        self.ring.change(keys);
    }

    /// Returns whether an operators' key is configured.
    pub(crate) fn has_operators(&self) -> bool {
        self.ring.has_operators()
    }

    /// Returns what the key with this text opens.
    ///
    /// # Errors
    /// If it is not accepted.
    pub(crate) async fn find(&self, text: &str) -> Result<Arc<Access>, Refusal> {
        self.ring.find(&configured::hash_of(text)).ok_or_else(Refusal::invalid_key)
    }
}
