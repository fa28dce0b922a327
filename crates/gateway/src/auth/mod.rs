//! Authentication: finds out what a request's credential opens.
//!
//! | file            | contents |
//! |-----------------|----------|
//! | `credential.rs` | [`Credential`]: where a request's credential may be |
//! | `configured.rs` | the configured keys, in memory |
//! | `managed.rs`    | the managed keys, read from the store and kept until one changes |
//! | `jwt.rs`        | tokens that another service signs |
//! | `access.rs`     | [`Access`]: what a credential opens |
//! | `denied.rs`     | [`Denied`]: why a credential is refused |
//! | `failures.rs`   | slows down clients that try wrong credentials |
//! | `pass.rs`       | [`Pass`]: checks the credential of a long request again |
//! | `used.rs`       | when keys were used, until it is stored |
//! | `text.rs`       | the text of managed keys |
//!
//! A credential's text is hashed where it arrives; only hashes are kept and compared. A request with a known key
//! costs a hash, a comparison with each configured key, and at most one look-up in memory.

mod access;
mod configured;
mod credential;
mod denied;
mod failures;
mod jwt;
mod managed;
mod pass;
pub(crate) mod text;
mod used;

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use protocol::{KeyId, Timestamp};
use queue::{Broker, KeyHash};
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

pub(crate) use self::access::Access;
use self::configured::KeyRing;
pub(crate) use self::configured::{Holder, hash_of, is_key_of, key_of};
pub(crate) use self::credential::{Credential, KEY_HEADER};
pub(crate) use self::denied::Denied;
use self::failures::Failures;
use self::jwt::Jwt;
pub use self::jwt::JwtUnusable;
use self::managed::Managed;
pub(crate) use self::pass::Pass;
use self::used::Used;
use crate::options::{Keys as ConfiguredKeys, Options};
use crate::patience;

/// Interval of asking the store whether keys changed. A change holds for every gateway within a second.
const POLL: Duration = Duration::from_millis(250);
/// Interval of storing when keys were used.
const FLUSH: Duration = Duration::from_secs(10);

/// Looks credentials up.
pub(crate) struct Auth {
    store: Arc<dyn Broker>,
    patience: Duration,
    ring: KeyRing,
    managed: Managed,
    jwt: RwLock<Option<Arc<Jwt>>>,
    failures: Failures,
    used: Used,
    /// Incremented when any credential may have changed.
    version: watch::Sender<u64>,
    /// Held by a check of a long request that reads the store, so that thousands with one key read it once.
    rechecking: Mutex<()>,
}

impl Auth {
    /// Accepts the configured keys, tokens, and the keys in the store.
    ///
    /// # Errors
    /// If the keys for tokens can't be used.
    pub(crate) fn new(
        store: Arc<dyn Broker>,
        keys: &ConfiguredKeys,
        options: &Options,
    ) -> Result<Self, JwtUnusable> {
        let patience = options.broker_timeout;
        Ok(Self {
            ring: KeyRing::new(keys),
            managed: Managed::new(Arc::clone(&store), patience),
            jwt: RwLock::new(read_jwt(keys)?),
            failures: Failures::new(options.auth_failures_per_minute),
            used: Used::default(),
            version: watch::Sender::new(0),
            rechecking: Mutex::default(),
            store,
            patience,
        })
    }

    /// Replaces the configured keys, and the keys for tokens.
    ///
    /// # Errors
    /// If the keys for tokens can't be used. Nothing is changed then.
    pub(crate) fn change(&self, keys: &ConfiguredKeys) -> Result<(), JwtUnusable> {
        let jwt = read_jwt(keys)?;
        self.ring.change(keys);
        *self.jwt.write().unwrap_or_else(PoisonError::into_inner) = jwt;
        self.version.send_modify(|version| *version += 1);
        Ok(())
    }

    /// Returns whether an operators' key is configured.
    pub(crate) fn has_operators(&self) -> bool {
        self.ring.has_operators()
    }

    /// Returns the version of all credentials, and its changes.
    fn versions(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Returns the pass of a request with this credential.
    ///
    /// # Errors
    /// If it is not accepted, or the address has shown too many wrong ones and this one is not known to be right.
    pub(crate) async fn admit(
        self: &Arc<Self>,
        credential: Credential<'_>,
        address: Option<IpAddr>,
    ) -> Result<Pass, Denied> {
        let version = *self.version.borrow();
        let hash = hash_of(credential.text);
        let admitted = self.find(credential, &hash, address).await;
        if admitted.as_ref().is_err_and(Denied::is_wrong)
            && let Some(seconds) = self.failures.count(address, Instant::now())
        {
            return Err(Denied::TooMany(seconds));
        }
        let (access, is_token) = admitted?;
        let token = is_token.then(|| credential.text.into());
        Ok(Pass::new(Arc::clone(self), hash, token, access, version))
    }

    /// Returns what a credential opens, and whether it is a token.
    async fn find(
        &self,
        credential: Credential<'_>,
        hash: &KeyHash,
        address: Option<IpAddr>,
    ) -> Result<(Arc<Access>, bool), Denied> {
        if let Some(access) = self.ring.find(hash) {
            return Ok((access, false));
        }
        let now = Timestamp::now();
        if text::is_managed(credential.text) {
            let access = match self.managed.kept(hash, now) {
                Some(kept) => kept?,
                None => {
                    if let Some(seconds) = self.failures.exhausted(address, Instant::now()) {
                        return Err(Denied::TooMany(seconds));
                    }
                    self.managed.read(*hash, now).await?
                }
            };
            self.used.note(&access.key, now);
            return Ok((access, false));
        }
        match self.jwt() {
            Some(jwt) if credential.is_bearer && credential.text.contains('.') => {
                Ok((Arc::new(jwt.verify(credential.text, now)?), true))
            }
            _ => Err(Denied::Unknown),
        }
    }

    /// Returns what the key with this id opens now.
    ///
    /// # Errors
    /// If there is none, or it is refused.
    pub(crate) async fn of_id(&self, id: &KeyId) -> Result<Arc<Access>, Denied> {
        match self.ring.of_id(id) {
            Some(access) => Ok(access),
            None => self.managed.of_id(id, Timestamp::now()).await,
        }
    }

    /// Returns what an accepted credential opens now.
    async fn recheck(
        &self,
        hash: &KeyHash,
        token: Option<&str>,
        now: Timestamp,
    ) -> Result<Arc<Access>, Denied> {
        if let Some(token) = token {
            let jwt = self.jwt().ok_or(Denied::Unknown)?;
            return jwt.verify(token, now).map(Arc::new);
        }
        if let Some(access) = self.ring.find(hash) {
            return Ok(access);
        }
        if let Some(kept) = self.managed.kept(hash, now) {
            return kept;
        }
        let _alone = self.rechecking.lock().await;
        match self.managed.kept(hash, now) {
            Some(kept) => kept,
            None => self.managed.read(*hash, now).await,
        }
    }

    fn jwt(&self) -> Option<Arc<Jwt>> {
        self.jwt.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks the store whether managed keys changed, so that a change holds here at once.
    pub(crate) async fn refresh(&self) {
        match self.managed.refresh().await {
            Ok(true) => self.version.send_modify(|version| *version += 1),
            Ok(false) => {}
            // Logged at debug only: the gateway's other users of the queue report that it is away.
            Err(error) => {
                tracing::debug!(target: "gateway.auth", "cannot ask whether keys changed: {error}");
            }
        }
    }

    /// Follows changes of managed keys and stores when they were used, until `stop` is cancelled.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut flushed = Instant::now();
        loop {
            self.refresh().await;
            if flushed.elapsed() >= FLUSH {
                self.flush().await;
                flushed = Instant::now();
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(POLL) => {}
            }
        }
        self.flush().await;
    }

    async fn flush(&self) {
        let notes = self.used.take();
        if notes.is_empty() {
            return;
        }
        if let Err(error) = patience::ask(self.patience, self.store.note_keys_used(&notes)).await {
            tracing::debug!(target: "gateway.auth", "cannot store when keys were used: {error}");
            self.used.give_back(notes);
        }
    }
}

fn read_jwt(keys: &ConfiguredKeys) -> Result<Option<Arc<Jwt>>, JwtUnusable> {
    let jwt = keys.jwt.as_ref().map(Jwt::new).transpose()?.flatten();
    Ok(jwt.map(Arc::new))
}
