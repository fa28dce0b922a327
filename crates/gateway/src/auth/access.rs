//! [`Access`]: what a credential opens.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use protocol::{ApiKey, KeyId, KeyLimits, Lane, ModelId, Scope, TenantId, Timestamp};
use queue::Payer;
use service::settings::Rate;

use crate::refusal::Refusal;

/// What a credential opens: whose tasks, which routes, and within which limits.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Access {
    /// Identifies the credential without revealing it.
    pub(crate) key: KeyId,
    /// The tenant whose tasks it opens.
    pub(crate) owner: TenantId,
    /// The routes that it opens.
    pub(crate) scopes: BTreeSet<Scope>,
    /// The models that it may use; empty for all.
    pub(crate) models: BTreeSet<ModelId>,
    /// How much it may use.
    pub(crate) limits: KeyLimits,
    /// The most urgent lane of its tasks.
    pub(crate) highest_lane: Lane,
    /// The time from which it is refused.
    pub(crate) expires_at: Option<Timestamp>,
    /// Who pays for its tasks, once one was submitted.
    pub(crate) payers: Payers,
}

/// Who pays: on routes without and with a limit of their own.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Payers([OnceLock<Payer>; 2]);

impl Access {
    /// Access without limits to the tasks of `owner`.
    pub(crate) fn unlimited(
        key: KeyId,
        owner: TenantId,
        scopes: impl IntoIterator<Item = Scope>,
    ) -> Self {
        Self {
            key,
            owner,
            scopes: scopes.into_iter().collect(),
            models: BTreeSet::new(),
            limits: KeyLimits::default(),
            highest_lane: Lane::High,
            expires_at: None,
            payers: Payers::default(),
        }
    }

    /// Returns who pays for tasks that are sent to a route with a limit of its own, or without; `prepare` computes it
    /// once. A gateway has one such limit.
    pub(crate) fn payer(&self, route: Option<Rate>, prepare: impl FnOnce() -> Payer) -> Payer {
        self.payers.0[usize::from(route.is_some())].get_or_init(prepare).clone()
    }

    /// Returns whether a scope is granted. Submitting includes reading.
    pub(crate) fn has(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
            || (scope == Scope::Read && self.scopes.contains(&Scope::Submit))
    }

    /// Returns whether the model may be used.
    pub(crate) fn allows(&self, model: &ModelId) -> bool {
        self.models.is_empty() || self.models.contains(model)
    }

    /// Refuses a model that may not be used.
    pub(crate) fn check_model(&self, model: &ModelId) -> Result<(), Refusal> {
        match self.allows(model) {
            true => Ok(()),
            false => Err(Refusal::model_not_allowed(model, &self.models)),
        }
    }

    /// Returns the lane of a task: the requested one, or the default as far as it is allowed.
    ///
    /// # Errors
    /// If the requested lane is more urgent than the most urgent one allowed.
    pub(crate) fn lane(&self, requested: Option<Lane>) -> Result<Lane, Refusal> {
        match requested {
            Some(lane) if urgency(lane) < urgency(self.highest_lane) => {
                Err(Refusal::lane_not_allowed(lane, self.highest_lane))
            }
            Some(lane) => Ok(lane),
            None => Ok(self.at_most(Lane::default())),
        }
    }

    /// Returns the lane, or the most urgent one allowed if that is less urgent.
    pub(crate) fn at_most(&self, lane: Lane) -> Lane {
        if urgency(lane) < urgency(self.highest_lane) { self.highest_lane } else { lane }
    }
}

/// Returns the rank of a lane; the most urgent is 0.
fn urgency(lane: Lane) -> usize {
    Lane::ALL.iter().position(|one| *one == lane).unwrap_or(Lane::ALL.len())
}

impl From<&ApiKey> for Access {
    fn from(key: &ApiKey) -> Self {
        Self {
            key: key.id.clone(),
            owner: key.owner.clone(),
            scopes: key.scopes.clone(),
            models: key.models.clone(),
            limits: key.limits,
            highest_lane: key.highest_lane,
            expires_at: key.expires_at,
            payers: Payers::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(scopes: &[Scope]) -> Access {
        let (key, owner) = (KeyId::from_text("key_1"), TenantId::new("o"));
        Access::unlimited(key, owner, scopes.iter().copied())
    }

    #[test]
    fn submitting_includes_reading_and_administration_includes_neither() {
        let has = |scopes: &[Scope]| {
            [Scope::Submit, Scope::Read, Scope::Admin].map(|scope| access(scopes).has(scope))
        };
        assert_eq!(has(&[Scope::Submit]), [true, true, false]);
        assert_eq!(has(&[Scope::Read]), [false, true, false]);
        assert_eq!(has(&[Scope::Admin]), [false, false, true]);
        assert_eq!(has(&[]), [false; 3]);
    }

    #[test]
    fn a_lane_is_refused_if_named_and_lowered_if_not() {
        let low = Access { highest_lane: Lane::Low, ..access(&[]) };
        assert_eq!(low.lane(None).unwrap(), Lane::Low);
        assert_eq!(low.lane(Some(Lane::Batch)).unwrap(), Lane::Batch);
        let refusal = low.lane(Some(Lane::High)).unwrap_err();
        assert!(refusal.message.contains("'high'") && refusal.message.contains("'low'"));
        assert_eq!(access(&[]).lane(Some(Lane::High)).unwrap(), Lane::High);
        assert_eq!(access(&[]).lane(None).unwrap(), Lane::Normal);
        assert_eq!((low.at_most(Lane::High), low.at_most(Lane::Batch)), (Lane::Low, Lane::Batch));
    }

    #[test]
    fn models_are_those_that_are_listed_or_all() {
        let (a, b) = (ModelId::new("a"), ModelId::new("b"));
        assert!(access(&[]).check_model(&a).is_ok());
        let only = Access { models: BTreeSet::from([a.clone()]), ..access(&[]) };
        assert!(only.check_model(&a).is_ok());
        let message = only.check_model(&b).unwrap_err().message;
        assert!(message.contains("'b'") && message.contains("Allowed: a"), "{message}");
    }
}
