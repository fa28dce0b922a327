//! The states of a task and the transitions between them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The state of a task. The names are part of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskState {
    /// Accepted, and waits for a worker.
    Queued,
    /// A worker holds its lease.
    Processing,
    /// Ended with a result.
    Completed,
    /// Ended with an error.
    Failed,
    /// Ended by cancellation.
    Cancelled,
}

impl TaskState {
    /// Whether the task has an outcome. Its state does not change any more.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// Whether a task may go from this state to `next`: forward only, except for a retry.
    pub const fn may_become(self, next: Self) -> bool {
        match self {
            Self::Queued => matches!(next, Self::Processing | Self::Failed | Self::Cancelled),
            Self::Processing => !matches!(next, Self::Processing),
            Self::Completed | Self::Failed | Self::Cancelled => false,
        }
    }

    /// Returns the name used in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Processing => "processing",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is not the name of a state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a task state")]
pub struct UnknownState(pub String);

impl FromStr for TaskState {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        [Self::Queued, Self::Processing, Self::Completed, Self::Failed, Self::Cancelled]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| UnknownState(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::TaskState::{self, *};

    const ALL: [TaskState; 5] = [Queued, Processing, Completed, Failed, Cancelled];

    #[test]
    fn terminal_states_have_no_transitions() {
        for from in ALL.into_iter().filter(|state| state.is_terminal()) {
            assert!(ALL.into_iter().all(|to| !from.may_become(to)));
        }
    }

    #[test]
    fn only_a_processing_task_may_become_queued() {
        assert!(Processing.may_become(Queued));
        assert!(!Queued.may_become(Queued));
        assert!(!Queued.may_become(Completed), "a result needs a worker");
    }

    #[test]
    fn state_names_round_trip() {
        for state in ALL {
            assert_eq!(state.to_string().parse::<TaskState>().unwrap(), state);
        }
    }
}
