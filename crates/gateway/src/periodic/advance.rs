//! Takes the steps of one entry that are due.

use protocol::Timestamp;
use queue::{PeriodicRun, PeriodicState, PeriodicTrouble, StoredPeriodic};
use service::metrics::table;

use super::begin::{Standing, standing};
use super::scheduler::{Next, Scheduler};
use super::submit::{step, submit};
use crate::auth::Access;
use crate::refusal::Refusal;
use crate::timetable::{Due, Entry, due, shown};

/// The most steps of an entry before its state is read again.
const BURST: usize = 16;

impl Scheduler {
    /// Takes all steps of an entry that are due.
    pub(super) async fn advance(
        &self,
        entry: &Entry,
        access: &Access,
        mut held: StoredPeriodic,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<Next, Refusal> {
        let stored = (held.revision > 0).then_some(&held.state);
        match standing(entry, stored, since, now) {
            Standing::Current => {}
            Standing::Outdated => {
                let obstacle = "another gateway read a file with another timing of this task later: reload this \
                                gateway too";
                self.obstruct(entry, obstacle.to_owned());
                return Ok(Next::Never);
            }
            Standing::Begins(state) => {
                if !self.take(&mut held, state).await? {
                    return Ok(Next::Reread);
                }
            }
        }
        self.state.periodic.note(&entry.name, None);
        if !entry.enabled {
            return Ok(Next::Never);
        }
        for _ in 0..BURST {
            let before = &held.state;
            match due(entry, before.reached, now) {
                Due::Nothing(None) => return Ok(Next::Never),
                Due::Nothing(Some(at)) => return Ok(Next::At(at)),
                Due::Skip { to, skipped } => {
                    let count = before.skipped + skipped;
                    let state = PeriodicState { reached: to, skipped: count, ..before.clone() };
                    if !self.take(&mut held, state).await? {
                        return Ok(Next::Reread);
                    }
                    self.log_skipped(entry, skipped);
                }
                Due::Run { occurrence, skipped } => {
                    if let Some(rest) = self.rests.left(entry, occurrence) {
                        return Ok(Next::At(now + rest));
                    }
                    let after = PeriodicState {
                        reached: occurrence,
                        runs: before.runs + 1,
                        skipped: before.skipped + skipped,
                        last: Some(PeriodicRun { occurrence, at: now, manual: false }),
                        trouble: None,
                        ..before.clone()
                    };
                    let taken = step(&held, after.clone());
                    match submit(&self.state, entry, access, Some(occurrence), taken).await {
                        Ok(task_id) => {
                            held.revision += 1;
                            held.state = after;
                            table::PERIODIC_OCCURRENCES.count(&["submitted"], 1);
                            tracing::info!(
                                target: "gateway.periodic", %task_id, tenant = %access.owner,
                                "periodic task '{}' is submitted for {}", entry.name, shown(occurrence)
                            );
                            if skipped > 0 {
                                self.log_skipped(entry, skipped);
                            }
                        }
                        Err(refusal) => {
                            return self.failed(entry, held, occurrence, now, &refusal).await;
                        }
                    }
                }
            }
        }
        Ok(Next::Reread)
    }

    /// Takes a step without a task. Returns `false` if another gateway was first.
    async fn take(&self, held: &mut StoredPeriodic, state: PeriodicState) -> Result<bool, Refusal> {
        let taken = step(held, state);
        let is_first = self.state.ask(self.state.broker.step_periodic(&taken)).await?;
        held.revision += 1;
        held.state = taken.state;
        Ok(is_first)
    }

    fn log_skipped(&self, entry: &Entry, skipped: u64) {
        table::PERIODIC_OCCURRENCES.count(&["skipped"], skipped);
        tracing::warn!(
            target: "gateway.periodic",
            "periodic task '{}' missed {skipped} occurrences, which are skipped", entry.name
        );
    }

    /// Handles a refused submit: another gateway was first, or the occurrence is tried again.
    async fn failed(
        &self,
        entry: &Entry,
        mut held: StoredPeriodic,
        occurrence: Timestamp,
        now: Timestamp,
        refusal: &Refusal,
    ) -> Result<Next, Refusal> {
        let reason = refusal.message_with_paths();
        let known = held.state.trouble.as_ref();
        let is_known =
            known.is_some_and(|known| known.occurrence == occurrence && known.reason == reason);
        if !is_known {
            let trouble = PeriodicTrouble { occurrence, at: now, reason: reason.clone() };
            let state = PeriodicState { trouble: Some(trouble), ..held.state.clone() };
            if !self.take(&mut held, state).await? {
                return Ok(Next::Reread);
            }
            table::PERIODIC_OCCURRENCES.count(&["refused"], 1);
            tracing::warn!(
                target: "gateway.periodic",
                "periodic task '{}' can't be submitted for {}, and is tried again: {refusal}",
                entry.name, shown(occurrence)
            );
        }
        Ok(Next::At(now + self.rests.begin(entry, occurrence)))
    }
}
