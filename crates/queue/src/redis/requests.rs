//! Requests that wait for the next call of their group, and the result of a claim. `submit.rs` and
//! `work.rs` send them.

use std::time::Duration;

use tokio::sync::oneshot;

use crate::handover::Parcel;
use crate::{BrokerError, Claimant, Room};

/// A submit that waits for its call, as `submit.lua` takes it.
pub(super) struct Submit {
    pub(super) args: [String; 5],
    /// The charge; then the tokens to reserve, and behind a space the images, if there are some.
    pub(super) charge: (Vec<u8>, String),
    pub(super) answer: oneshot::Sender<Result<String, BrokerError>>,
}

/// An outcome or a claim that waits for its call.
pub(super) enum Work {
    Finish(Finish),
    Claim(Claim),
}

/// An outcome as `finish_and_claim.lua` takes it.
pub(super) struct Finish {
    pub(super) args: [String; 9],
    pub(super) answer: oneshot::Sender<Result<String, BrokerError>>,
}

/// A claim.
pub(super) struct Claim {
    pub(super) claimant: Claimant,
    pub(super) room: Room,
    pub(super) answer: oneshot::Sender<Result<Try, BrokerError>>,
}

/// The result of a claim.
pub(super) enum Try {
    Took(Parcel),
    Nothing(Vacant),
    /// Many entries were removed: claim again.
    Again,
}

/// The place to wait for a task after a claim that found none.
pub(super) struct Vacant {
    pub(super) queues: Vec<String>,
    /// The time until the next delayed task is due.
    pub(super) next_due: Option<Duration>,
    /// The id of each queue's latest entry, removed or not.
    pub(super) last_ids: Vec<String>,
}
