//! Periodic tasks: how far each entry of the operators' schedule got.

use std::fmt;

use async_trait::async_trait;
use protocol::{TaskId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use super::BrokerError;

/// Identifies an entry of the schedule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeriodicId {
    /// The tenant whose tasks it submits.
    pub owner: TenantId,
    /// Its name, which must not contain a colon.
    pub name: String,
}

impl fmt::Display for PeriodicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' of {}", self.name, self.owner)
    }
}

/// How far an entry got. All times are by the broker's clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeriodicState {
    /// A digest of what determines the occurrences. The state of another digest is out of date.
    pub timing: String,
    /// The time since which occurrences count with this timing.
    pub since: Timestamp,
    /// All occurrences up to this one are settled: each was submitted or skipped.
    pub reached: Timestamp,
    /// The number of tasks submitted.
    #[serde(default)]
    pub runs: u64,
    /// The number of occurrences skipped.
    #[serde(default)]
    pub skipped: u64,
    /// The latest task.
    #[serde(default)]
    pub last: Option<PeriodicRun>,
    /// Why the latest try to submit failed; `None` once one succeeded.
    #[serde(default)]
    pub trouble: Option<PeriodicTrouble>,
}

/// A submitted task of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeriodicRun {
    /// The occurrence that it stands for, or the time of the request if an operator asked for it.
    pub occurrence: Timestamp,
    /// When it was submitted.
    pub at: Timestamp,
    /// Whether an operator asked for it.
    pub manual: bool,
}

/// A failed try to submit a task of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeriodicTrouble {
    /// The occurrence that was tried.
    pub occurrence: Timestamp,
    /// When.
    pub at: Timestamp,
    /// Why it failed, for people.
    pub reason: String,
}

/// An entry's state in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPeriodic {
    /// Which entry.
    pub id: PeriodicId,
    /// The number of changes of its state, from 1.
    pub revision: u64,
    /// The task of the latest run.
    pub task_id: Option<TaskId>,
    /// Its state.
    pub state: PeriodicState,
}

/// A step of an entry that a submit takes in the same atomic step in which it stores the task, so that a crash neither
/// loses nor repeats a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeriodicStep {
    /// Which entry. Its owner is the task's tenant.
    pub id: PeriodicId,
    /// The revision that the caller read; 0 if there was no state.
    pub revision: u64,
    /// The state after the step.
    pub state: PeriodicState,
}

/// The part of a [`Broker`](crate::Broker) that keeps the states of periodic tasks. Their definitions are in the
/// gateways' files. A state is changed by [`SubmitOptions::step`](crate::SubmitOptions::step), or here.
#[async_trait]
pub trait PeriodicTasks: Send + Sync {
    /// Returns the broker's time, and all states in the order of their ids.
    async fn periodic_tasks(&self) -> Result<(Timestamp, Vec<StoredPeriodic>), BrokerError>;

    /// Stores the state of an entry if its revision is still the step's, without a task. Returns `false` if it is
    /// another: the caller's knowledge is out of date. The task of the latest run is kept.
    async fn step_periodic(&self, step: &PeriodicStep) -> Result<bool, BrokerError>;

    /// Deletes the state of an entry. Its tasks remain.
    async fn forget_periodic(&self, id: &PeriodicId) -> Result<(), BrokerError>;
}
