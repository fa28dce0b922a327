//! Reads a task's events in order. A feed can start after any event, survives an outage of the
//! queue, and ends with the task, the client or the gateway.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{Event, EventSeq, TaskId, TaskSnapshot};
use queue::watch::Watch;
use tokio::sync::watch::Receiver;
use tokio::time::sleep;

use crate::hangup::ClientEnd;
use crate::refusal::Refusal;
use crate::state::State;

/// Maximum number of events per read.
const BATCH: usize = 256;
/// Interval between reads when no wake-up comes, because wake-ups may be lost.
const REREAD: Duration = Duration::from_secs(4);
/// Pause between reads while the queue is unavailable.
const OUTAGE_PAUSE: Duration = Duration::from_secs(1);

/// The events of one task.
pub(crate) struct Feed {
    state: Arc<State>,
    task_id: TaskId,
    /// The number of the last event returned.
    after: EventSeq,
    /// The task's last event, if it was read and not yet returned.
    last: Option<Event>,
    /// Subscribed before the first read, so that no event is missed in between.
    wakes: Watch,
    stopping: Receiver<bool>,
    client: ClientEnd,
    /// The time when the latest step was returned.
    spoke: Instant,
    /// The task has ended, so the next read returns all remaining events.
    is_over: bool,
    /// No step follows.
    is_closed: bool,
}

/// One step of a feed.
pub(crate) enum Step {
    /// Events in order, at least one. None is the task's last.
    Events(Vec<Event>),
    /// The task's last event, and the ended task. No step follows.
    Ended(Box<Event>, Box<TaskSnapshot>),
    /// Nothing happened for the keep-alive interval.
    Silence,
    /// The gateway shuts down. No step follows.
    Stopping,
    /// The client's credential is not accepted any more. No step follows.
    Refused(Refusal),
    /// The client disconnected, or shut down its writing side and may still read. No step follows.
    HungUp,
}

/// The result of one read.
enum Found {
    Step(Step),
    Nothing,
    End,
}

impl Feed {
    /// Starts after event number `after`.
    pub(crate) fn new(
        state: Arc<State>,
        task_id: TaskId,
        after: EventSeq,
        client: ClientEnd,
    ) -> Self {
        let wakes = state.broker.watch(task_id);
        let stopping = state.stopping.clone();
        Self {
            state,
            task_id,
            after,
            last: None,
            wakes,
            stopping,
            client,
            spoke: Instant::now(),
            is_over: false,
            is_closed: false,
        }
    }

    /// Returns the next step, or `None` after the last. The last is missing if the task no longer
    /// exists.
    pub(crate) async fn next(&mut self) -> Option<Step> {
        let step = self.find().await?;
        self.spoke = Instant::now();
        self.is_closed =
            matches!(step, Step::Ended(..) | Step::Stopping | Step::Refused(_) | Step::HungUp);
        Some(step)
    }

    async fn find(&mut self) -> Option<Step> {
        while !self.is_closed {
            if *self.stopping.borrow() {
                return Some(Step::Stopping);
            }
            if let Err(refusal) = self.client.check().await {
                return Some(Step::Refused(refusal));
            }
            let pause = match self.read().await {
                Ok(Found::Step(step)) => return Some(step),
                Ok(Found::Nothing) => None,
                Ok(Found::End) => return None,
                Err(error) => {
                    tracing::warn!(target: "gateway.events", task_id = %self.task_id, "{error}");
                    Some(OUTAGE_PAUSE)
                }
            };
            if self.hung_up_while_waiting(pause).await {
                return Some(Step::HungUp);
            }
            if self.spoke.elapsed() >= self.state.options.keep_alive {
                return Some(Step::Silence);
            }
        }
        None
    }

    /// Waits for a wake-up (or, with `pause`, until it is over), for the next regular read, or
    /// until the gateway stops or keys change. Returns `true` if the client disconnects.
    async fn hung_up_while_waiting(&mut self, pause: Option<Duration>) -> bool {
        let until_read = REREAD.min(self.state.options.keep_alive);
        tokio::select! {
            () = self.wakes.changed(), if pause.is_none() => false,
            () = sleep(pause.unwrap_or(until_read)) => false,
            _ = self.stopping.changed() => false,
            () = self.client.wait_for_change() => false,
            () = self.client.wait_for_disconnect() => true,
        }
    }

    /// Reads what follows the last event returned.
    async fn read(&mut self) -> Result<Found, Refusal> {
        let broker = &self.state.broker;
        loop {
            if let Some(last) = self.last.take() {
                let read = self.state.ask(broker.snapshot(self.task_id)).await;
                let snapshot = match read {
                    Ok(snapshot) => snapshot,
                    Err(error) => {
                        self.last = Some(last); // for the next read
                        return Err(error);
                    }
                };
                let ended = snapshot.filter(|snapshot| snapshot.outcome.is_some());
                return Ok(match ended {
                    Some(snapshot) => Found::Step(Step::Ended(Box::new(last), Box::new(snapshot))),
                    None => Found::End,
                });
            }
            let mut events = self.state.ask(broker.events(self.task_id, self.after, BATCH)).await?;
            if let Some(newest) = events.last() {
                self.after = newest.seq;
                self.last = events.pop_if(|event| event.body.is_last());
                if !events.is_empty() {
                    return Ok(Found::Step(Step::Events(events)));
                }
                continue;
            }
            if self.is_over {
                return Ok(Found::End);
            }
            match self.state.ask(broker.snapshot(self.task_id)).await? {
                None => return Ok(Found::End),
                // The task may have ended between the two reads: reads again to get its last event.
                Some(snapshot) if snapshot.state.is_terminal() => self.is_over = true,
                Some(_) => return Ok(Found::Nothing),
            }
        }
    }
}
