//! [`Pass`]: a credential that was accepted, and has to be for as long as its request lasts.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use protocol::{Scope, Timestamp};
use queue::KeyHash;
use tokio::time::sleep;

use super::Auth;
use super::access::Access;
use super::denied::Denied;

/// Pause before a check that failed is repeated.
const RETRY: Duration = Duration::from_secs(1);

/// An accepted credential. Long requests check it again when keys have changed, and when it expires.
pub(crate) struct Pass {
    auth: Arc<Auth>,
    hash: KeyHash,
    /// The text, if it is a token.
    token: Option<Box<str>>,
    access: Arc<Access>,
    /// The version of the keys for which it was checked.
    checked: AtomicU64,
    /// The version for which the check failed, because the store was unavailable.
    failed: AtomicU64,
}

impl Pass {
    pub(super) fn new(
        auth: Arc<Auth>,
        hash: KeyHash,
        token: Option<Box<str>>,
        access: Arc<Access>,
        version: u64,
    ) -> Self {
        let failed = AtomicU64::new(u64::MAX);
        Self { auth, hash, token, access, checked: AtomicU64::new(version), failed }
    }

    /// Returns what the credential opens.
    pub(crate) fn access(&self) -> &Arc<Access> {
        &self.access
    }

    /// Waits until the credential has to be checked again. Cancel-safe.
    pub(crate) async fn wait_for_change(&self) {
        let mut versions = self.auth.versions();
        let checked = self.checked.load(Ordering::Relaxed);
        if *versions.borrow_and_update() == self.failed.load(Ordering::Relaxed) {
            return sleep(RETRY).await;
        }
        let changed = async {
            if versions.wait_for(|version| *version != checked).await.is_err() {
                pending::<()>().await; // the gateway ends
            }
        };
        let expired = async {
            match self.access.expires_at {
                Some(expires_at) => {
                    let left = expires_at.as_millis().saturating_sub(Timestamp::now().as_millis());
                    sleep(Duration::from_millis(left)).await;
                }
                None => pending().await,
            }
        };
        tokio::select! {
            () = changed => {}
            () = expired => {}
        }
    }

    /// Checks whether the credential still opens what it opened. While the store is unavailable it does.
    ///
    /// # Errors
    /// If it does not.
    pub(crate) async fn check(&self) -> Result<(), Denied> {
        let now = Timestamp::now();
        if self.access.expires_at.is_some_and(|expires_at| expires_at <= now) {
            return Err(Denied::Expired);
        }
        let version = *self.auth.versions().borrow();
        if version == self.checked.load(Ordering::Relaxed) {
            return Ok(());
        }
        match self.auth.recheck(&self.hash, self.token.as_deref(), now).await {
            Ok(access) if access.owner == self.access.owner && access.has(Scope::Read) => {
                self.checked.store(version, Ordering::Relaxed);
                Ok(())
            }
            Err(Denied::Unavailable(_)) => {
                self.failed.store(version, Ordering::Relaxed);
                Ok(())
            }
            Ok(_) | Err(Denied::Unknown) => Err(Denied::Revoked),
            Err(denied) => Err(denied),
        }
    }
}
