//! [`Claims`]: what a verified token says.

use std::collections::BTreeSet;

use protocol::{KeyId, ModelId, Scope, TenantId, Timestamp};
use serde_json::Value;

use super::super::access::Access;
use super::super::configured::{hash_of, hex};
use super::super::denied::Denied;
use crate::owner;

/// The claims of a token whose signature is right.
pub(super) struct Claims<'a>(pub(super) &'a Value);

impl Claims<'_> {
    /// Returns what the token opens.
    ///
    /// # Errors
    /// If it has expired or is not valid yet, beyond the leeway, or a claim is missing or malformed.
    pub(super) fn access(&self, now: Timestamp, leeway_ms: u64) -> Result<Access, Denied> {
        let Some(expiry) = self.time("exp", "its expiry (exp) is not a number")? else {
            return Err(Denied::Token("it has no expiry (exp)"));
        };
        let ends = expiry.saturating_add(leeway_ms);
        if ends <= now.as_millis() {
            return Err(Denied::Token("it has expired (exp)"));
        }
        let begins = self.time("nbf", "its start (nbf) is not a number")?;
        if begins.is_some_and(|begins| begins > now.as_millis().saturating_add(leeway_ms)) {
            return Err(Denied::Token("it is not valid yet (nbf)"));
        }
        let owner = self.0["sub"].as_str().filter(|owner| !owner.is_empty());
        let owner = owner.ok_or(Denied::Token("it has no subject (sub)"))?;
        Ok(Access {
            models: self.models()?,
            expires_at: Some(Timestamp::from_millis(ends)),
            ..Access::unlimited(KeyId::from_text("jwt"), tenant(owner), self.scopes()?)
        })
    }

    /// Returns a time in milliseconds since 1970.
    fn time(&self, name: &str, problem: &'static str) -> Result<Option<u64>, Denied> {
        let Some(value) = self.0.get(name).filter(|value| !value.is_null()) else {
            return Ok(None);
        };
        let seconds = value.is_number().then(|| value.as_f64()).flatten();
        let seconds = seconds.filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
        // A cast of a number that is too large gives the largest.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        seconds.map(|seconds| Some((seconds * 1e3) as u64)).ok_or(Denied::Token(problem))
    }

    /// Returns the scopes, of which unknown ones are another service's. A token without a claim may submit.
    fn scopes(&self) -> Result<BTreeSet<Scope>, Denied> {
        let mut is_claimed = false;
        let mut scopes = BTreeSet::new();
        for name in ["scope", "scopes", "scp"] {
            let names: Vec<&str> = match self.0.get(name) {
                None | Some(Value::Null) => continue,
                Some(Value::String(text)) => text.split_whitespace().collect(),
                Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
                Some(_) => return Err(Denied::Token("its scopes are no text and no list")),
            };
            is_claimed = true;
            scopes.extend(names.into_iter().filter_map(scope));
        }
        match is_claimed {
            true => Ok(scopes),
            false => Ok(BTreeSet::from([Scope::Submit])),
        }
    }

    fn models(&self) -> Result<BTreeSet<ModelId>, Denied> {
        let malformed = || Denied::Token("its models are not a list of names, at least one");
        let models: BTreeSet<ModelId> = match self.0.get("models") {
            None | Some(Value::Null) => return Ok(BTreeSet::new()),
            Some(Value::Array(names)) => {
                let names = names.iter().map(|name| name.as_str().map(ModelId::new));
                names.collect::<Option<_>>().ok_or_else(malformed)?
            }
            Some(_) => return Err(malformed()),
        };
        // An empty set would allow all.
        if models.is_empty() { Err(malformed()) } else { Ok(models) }
    }
}

fn scope(name: &str) -> Option<Scope> {
    [("submit", Scope::Submit), ("read", Scope::Read), ("admin", Scope::Admin)]
        .into_iter()
        .find_map(|(known, scope)| (known == name).then_some(scope))
}

/// Returns the tenant of a subject: its text, if that can't be taken for another kind of owner.
fn tenant(subject: &str) -> TenantId {
    match owner::is_plain(subject) && !owner::is_reserved(subject) {
        true => TenantId::new(subject),
        false => TenantId::new(format!("jwt-{}", hex(&hash_of(subject)))),
    }
}
