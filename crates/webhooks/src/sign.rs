//! Signs webhooks as Standard Webhooks specifies (<https://www.standardwebhooks.com>): symmetric,
//! `v1`.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use protocol::TenantId;
use queue::{BrokerError, Keys};
use ring::rand::{SecureRandom, SystemRandom};
use sha2::Sha256;

/// Separates webhook secrets from any other secret that may be derived from an API key.
const CONTEXT: &[u8] = b"qwen-queue webhook secret v1";

/// The secret that signs a tenant's webhooks. That of a configured key is derived from it, so nothing is stored and every
/// gateway can compute it; the key cannot be computed from it. `Debug` does not print it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Derives the secret of an API key: 32 bytes, HMAC-SHA256 under the key.
    pub fn of_key(api_key: &str) -> Self {
        Self(hmac(api_key.as_bytes(), &[CONTEXT]))
    }

    /// Returns the secret in the form that receivers' libraries take: `whsec_` and base64.
    pub fn reveal(&self) -> String {
        format!("whsec_{}", BASE64.encode(&self.0))
    }

    /// Returns the `webhook-signature` of a message: of its `webhook-id`, its `webhook-timestamp`
    /// in seconds since the Unix epoch, and its body's exact bytes.
    pub fn sign(&self, id: &str, timestamp_s: u64, body: &[u8]) -> String {
        let head = format!("{id}.{timestamp_s}.");
        format!("v1,{}", BASE64.encode(hmac(&self.0, &[head.as_bytes(), body])))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    // Cannot fail: HMAC takes keys of any length.
    let Ok(mut mac) = <Hmac<Sha256> as KeyInit>::new_from_slice(key) else { unreachable!() };
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

/// Maximum number of secrets that are kept from the store.
const MAX_STORED: usize = 4096;

/// The secrets of tenants. Those of configured keys are derived from them; they are added when a key is configured, and
/// stay after it was taken out, as its tasks were promised. All other tenants have secrets in the store.
#[derive(Default)]
pub struct Secrets {
    configured: RwLock<HashMap<TenantId, Secret>>,
    /// `None` if only configured keys are accepted.
    store: Option<Arc<dyn Keys>>,
    /// What was read from the store, where secrets never change.
    stored: RwLock<HashMap<TenantId, Secret>>,
}

impl Secrets {
    /// Reads the secrets of tenants without a configured key from `store`.
    #[must_use]
    pub fn with_store(self, store: Arc<dyn Keys>) -> Self {
        Self { store: Some(store), ..self }
    }

    /// Returns a tenant's secret, or `None` if it is that of a configured key which this process never knew. The store
    /// makes a secret when it is first read.
    ///
    /// # Errors
    /// If the store fails, or the system has no random bytes.
    pub async fn of(&self, tenant: &TenantId) -> Result<Option<Secret>, BrokerError> {
        for known in [&self.configured, &self.stored] {
            if let Some(secret) = known.read().unwrap_or_else(PoisonError::into_inner).get(tenant) {
                return Ok(Some(secret.clone()));
            }
        }
        let Some(store) = self.store.as_ref().filter(|_| !has_configured_key(tenant)) else {
            return Ok(None);
        };
        let mut fresh = [0; 32];
        SystemRandom::new().fill(&mut fresh).map_err(|_| BrokerError::Unavailable {
            reason: "the system has no random bytes".to_owned(),
        })?;
        let secret = Secret(store.owner_secret(tenant, fresh).await?.into());
        let mut stored = self.stored.write().unwrap_or_else(PoisonError::into_inner);
        if stored.len() >= MAX_STORED {
            stored.clear();
        }
        stored.insert(tenant.clone(), secret.clone());
        Ok(Some(secret))
    }

    /// Adds the secrets of further tenants, whose keys are configured.
    pub fn add(&self, pairs: impl IntoIterator<Item = (TenantId, Secret)>) {
        self.configured.write().unwrap_or_else(PoisonError::into_inner).extend(pairs);
    }
}

/// Returns whether a tenant is named as those of configured keys are: `key-` and 16 hexadecimal digits.
fn has_configured_key(tenant: &TenantId) -> bool {
    let digits = tenant.as_str().strip_prefix("key-");
    digits.is_some_and(|digits| {
        digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

impl FromIterator<(TenantId, Secret)> for Secrets {
    fn from_iter<I: IntoIterator<Item = (TenantId, Secret)>>(pairs: I) -> Self {
        Self { configured: RwLock::new(pairs.into_iter().collect()), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_matches_the_example_of_the_specification() {
        let secret = Secret(BASE64.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap());
        assert_eq!(secret.reveal(), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let signature = secret.sign(id, 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_depends_on_its_key_and_is_not_printed() {
        let secret = Secret::of_key("first-key");
        assert_eq!(secret, Secret::of_key("first-key"), "every gateway derives the same");
        assert_ne!(secret, Secret::of_key("second-key"));
        // Computed in Python: hmac.new(b"first-key", b"qwen-queue webhook secret v1", "sha256")
        assert_eq!(secret.reveal(), "whsec_/Z5kqby1Raf41Ou5ncslVJsOAhP3l16mCqIEfXuQKY8=");
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }
}
