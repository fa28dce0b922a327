//! The decision about a task at the end of an attempt.

use chat::Usage;
use engine::api::GenerateError;
use protocol::{Outcome, TaskError};
use queue::{Claimed, Release};

use super::End;
use crate::translate;
use crate::until::CLAIM_WAIT;

/// The decision about the task.
#[allow(clippy::large_enum_variant)] // most attempts finish their task
pub(super) enum Verdict {
    /// Record this outcome.
    Finish(Outcome),
    /// Return the task to the queue.
    Release(Release),
    /// Let the lease expire, as if the worker had died. This counts as an attempt, because the task
    /// may have caused the loss of the device.
    LeftToLease,
    /// Do nothing: another worker has the task.
    Nothing,
}

impl Verdict {
    /// Decides about an attempt that failed: returns the task to the queue if a retry may succeed.
    pub(super) fn of_failure(claimed: &Claimed, failure: TaskError) -> Self {
        if failure.error_type.is_transient() && claimed.may_retry() {
            Self::Release(Release::Failed { error: failure, retry_in: claimed.retry_in() })
        } else {
            Self::Finish(Outcome::Failed(failure))
        }
    }

    /// Sets the tokens of the attempt.
    pub(super) fn with_usage(self, usage: Usage) -> Self {
        match self {
            Self::Finish(outcome) => Self::Finish(outcome.with_usage(usage)),
            Self::Release(Release::Failed { error, retry_in }) => {
                Self::Release(Release::Failed { error: TaskError { usage, ..error }, retry_in })
            }
            other => other,
        }
    }

    /// Delays the retry of a released task until a claim that this worker has pending has ended: the claim would
    /// bring the task back to the engine that hangs. No further claim is made.
    pub(super) fn delayed_past_pending_claims(self) -> Self {
        match self {
            Self::Release(Release::Failed { error, retry_in }) => {
                Self::Release(Release::Failed { error, retry_in: retry_in.max(CLAIM_WAIT * 2) })
            }
            other => other,
        }
    }
}

/// Ends an attempt with the engine's error.
pub(super) fn failed(claimed: &Claimed, error: &GenerateError) -> (Verdict, End) {
    match error {
        GenerateError::DeviceLost(_) => (Verdict::LeftToLease, End::DeviceLost),
        GenerateError::Stopped => (Verdict::Release(Release::Unused), End::EngineStopped),
        error => (Verdict::of_failure(claimed, translate::failure(error)), End::Settled),
    }
}
