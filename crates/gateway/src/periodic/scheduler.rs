//! [`Scheduler`]: submits what is due, until the gateway stops.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use protocol::Timestamp;
use queue::{PeriodicId, StoredPeriodic};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use uuid::Uuid;

use super::begin::removed;
use super::rest::Rests;
use super::submit::{access_of, begun};
use crate::auth::Access;
use crate::refusal::{Code, Refusal};
use crate::state::State;
use crate::timetable::{Entry, Timetable};

/// The longest time between two reads of the states: others change them, and clocks are set.
const LONGEST: Duration = Duration::from_secs(10);
/// The pause after a failure of the store.
const RETRY: Duration = Duration::from_secs(1);
/// The time that an entry may take, such as for a slow download, before the others go on.
const PATIENCE: Duration = Duration::from_secs(30);
/// The most milliseconds by which a gateway waits for others that are as punctual, so that they need not all try.
const STAGGER_MS: u64 = 40;

/// A timetable that this gateway follows.
struct Taken {
    timetable: Arc<Timetable>,
    /// Since when, by the queue's clock.
    at: Timestamp,
}

/// When to look at an entry again.
pub(super) enum Next {
    /// At this time by the queue's clock.
    At(Timestamp),
    /// Once the states were read again.
    Reread,
    /// When something changes.
    Never,
}

/// Submits the entries of the timetable in force when they are due.
pub(crate) struct Scheduler {
    pub(super) state: Arc<State>,
    /// The occurrences that were refused.
    pub(super) rests: Rests,
}

impl Scheduler {
    /// Creates a scheduler.
    pub(crate) fn new(state: Arc<State>) -> Self {
        Self { state, rests: Rests::default() }
    }

    /// Submits what is due until the gateway stops. It may be dropped at any moment.
    pub(crate) async fn run(self) {
        let mut stopping = self.state.stopping.clone();
        let mut changes = self.state.periodic.follow();
        let mut taken = None;
        let rounds = async {
            loop {
                let timetable = changes.borrow_and_update().clone();
                if !timetable.is_configured() {
                    if changes.changed().await.is_err() {
                        return;
                    }
                    continue;
                }
                let until = match self.round(&timetable, &mut taken).await {
                    Ok(until) => until,
                    Err(refusal) => {
                        tracing::debug!(target: "gateway.periodic", "periodic tasks wait: {refusal}");
                        Instant::now() + RETRY
                    }
                };
                tokio::select! {
                    () = sleep_until(until) => self.stagger().await,
                    _ = changes.changed() => {}
                }
            }
        };
        tokio::select! {
            () = rounds => {}
            _ = stopping.wait_for(|stops| *stops) => {}
        }
    }

    /// Waits a few milliseconds, another number at each gateway.
    async fn stagger(&self) {
        if self.state.broker.name() == "redis" {
            let random = u64::from(Uuid::new_v4().as_bytes()[0]);
            sleep(Duration::from_millis(random * STAGGER_MS / 256)).await;
        }
    }

    /// Looks at all entries once, and returns when to do it again.
    async fn round(
        &self,
        timetable: &Arc<Timetable>,
        taken: &mut Option<Taken>,
    ) -> Result<Instant, Refusal> {
        let state = &*self.state;
        let (now, stored) = state.ask(state.broker.periodic_tasks()).await?;
        let read_at = Instant::now();
        let mut stored: BTreeMap<_, _> =
            stored.into_iter().map(|stored| (stored.id.clone(), stored)).collect();
        let entries = self.with_access(timetable).await?;
        let since = match taken {
            Some(taken) if Arc::ptr_eq(&taken.timetable, timetable) => taken.at,
            _ => {
                self.forget_removed(timetable, &entries, &mut stored).await?;
                *taken = Some(Taken { timetable: Arc::clone(timetable), at: now });
                now
            }
        };
        let steps = entries.iter().map(|(entry, access)| {
            let id = PeriodicId { owner: access.owner.clone(), name: entry.name.clone() };
            let held = stored.get(&id).cloned();
            let held = held.unwrap_or_else(|| StoredPeriodic {
                state: begun(entry, now),
                id,
                revision: 0,
                task_id: None,
            });
            async move {
                match timeout(PATIENCE, self.advance(entry, access, held, since, now)).await {
                    Ok(next) => next,
                    Err(_) => Ok(Next::Reread),
                }
            }
        });
        let mut until = read_at + LONGEST;
        for next in join_all(steps).await {
            match next? {
                Next::Never => {}
                Next::Reread => until = read_at,
                Next::At(at) => {
                    let left = at.as_millis().saturating_sub(now.as_millis());
                    until = until.min(read_at + Duration::from_millis(left));
                }
            }
        }
        Ok(until)
    }

    /// Returns the entries whose owner is known and may submit. Notes why others are not submitted.
    async fn with_access<'a>(
        &self,
        timetable: &'a Timetable,
    ) -> Result<Vec<(&'a Arc<Entry>, Arc<Access>)>, Refusal> {
        let mut known = Vec::new();
        for entry in timetable.entries() {
            match access_of(&self.state, &entry.payer).await {
                Ok(access) => known.push((entry, access)),
                Err(refusal) if refusal.code == Code::Unavailable => {
                    return Err(refusal);
                }
                Err(refusal) => self.obstruct(entry, refusal.message_with_paths()),
            }
        }
        Ok(known)
    }

    /// Notes what keeps an entry from being submitted here.
    pub(super) fn obstruct(&self, entry: &Entry, obstacle: String) {
        if self.state.periodic.note(&entry.name, Some(obstacle.clone())) {
            tracing::warn!(
                target: "gateway.periodic",
                "periodic task '{}' is not submitted: {obstacle}", entry.name
            );
        }
    }

    /// Deletes the states of entries that the timetable does not have.
    async fn forget_removed(
        &self,
        timetable: &Timetable,
        known: &[(&Arc<Entry>, Arc<Access>)],
        stored: &mut BTreeMap<PeriodicId, StoredPeriodic>,
    ) -> Result<(), Refusal> {
        let id = |(entry, access): &(&Arc<Entry>, Arc<Access>)| PeriodicId {
            owner: access.owner.clone(),
            name: entry.name.clone(),
        };
        let ids: BTreeSet<_> = known.iter().map(id).collect();
        let is_known = |name: &String| known.iter().any(|(entry, _)| entry.name == *name);
        let names = timetable.entries().iter().map(|entry| entry.name.clone());
        let unknown = names.filter(|name| !is_known(name)).collect();
        for id in removed(stored, &ids, &unknown) {
            self.state.ask(self.state.broker.forget_periodic(&id)).await?;
            tracing::info!(target: "gateway.periodic", "periodic task {id} is not in the schedule any more");
            stored.remove(&id);
        }
        Ok(())
    }
}
