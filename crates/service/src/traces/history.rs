//! Reads from a task's events when its attempts began and ended. Pure.

use protocol::{Attempt, Event, EventBody, Timestamp, WorkerId};

/// An attempt of the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Past {
    pub(super) attempt: Attempt,
    pub(super) worker: WorkerId,
    /// The time when the task was queued for it; `None` if the event of that has been dropped.
    pub(super) queued: Option<Timestamp>,
    pub(super) started: Timestamp,
    /// The time when the task was requeued; `None` if it was not, or not yet.
    pub(super) requeued: Option<Timestamp>,
    /// Its worker did not end it.
    is_lost: bool,
}

/// The attempts before another, and when the task was queued for that one.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct History {
    pub(super) past: Vec<Past>,
    pub(super) queued: Option<Timestamp>,
}

impl History {
    /// Reads the attempts before `attempt` of a task that was submitted at `submitted`.
    pub(super) fn read(events: &[Event], submitted: Timestamp, attempt: Attempt) -> Self {
        let mut past: Vec<Past> = Vec::new();
        let mut queued = Some(submitted);
        // The events of long attempts may have been dropped, with the ends of earlier ones.
        let mut expected = Attempt::FIRST;
        for event in events {
            match &event.body {
                EventBody::Started { attempt: started, worker } if *started < attempt => {
                    let queued = queued.take().filter(|_| *started == expected);
                    past.push(Past {
                        attempt: *started,
                        worker: *worker,
                        queued,
                        started: event.at,
                        requeued: None,
                        is_lost: true,
                    });
                }
                EventBody::Requeued { attempt: ended, reason } if *ended < attempt => {
                    if let Some(last) = past.last_mut().filter(|last| last.attempt == *ended) {
                        last.requeued = Some(event.at);
                        last.is_lost = queue::is_lost_worker(reason);
                    }
                    queued = Some(event.at);
                    expected = Attempt::new(ended.get() + 1);
                }
                _ => {}
            }
        }
        let queued = queued.filter(|_| expected == attempt);
        Self { past, queued }
    }

    /// Returns the attempts just before whose workers were lost: nobody has sent their spans.
    pub(super) fn lost(&self) -> impl Iterator<Item = &Past> {
        self.past.iter().rev().take_while(|past| past.is_lost)
    }
}

#[cfg(test)]
mod tests {
    use protocol::EventSeq;

    use super::*;

    const LOST: &str = "the worker's lease expired";

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn events(bodies: Vec<(u64, EventBody)>) -> Vec<Event> {
        let event = |(seq, (millis, body))| Event { seq: EventSeq::new(seq), at: at(millis), body };
        (1..).zip(bodies).map(event).collect()
    }

    fn started(attempt: u32) -> EventBody {
        EventBody::Started { attempt: Attempt::new(attempt), worker: WorkerId::new() }
    }

    fn requeued(attempt: u32, reason: &str) -> EventBody {
        EventBody::Requeued { attempt: Attempt::new(attempt), reason: reason.to_owned() }
    }

    fn lost(history: &History) -> Vec<u32> {
        history.lost().map(|past| past.attempt.get()).collect()
    }

    #[test]
    fn attempts_have_the_times_of_the_events() {
        let events = events(vec![
            (1, EventBody::Queued),
            (5, started(1)),
            (9, requeued(1, "out of memory")),
            (12, started(2)),
            (30, requeued(2, LOST)),
            (31, started(3)),
            (60, requeued(3, LOST)),
            (61, started(4)),
        ]);
        let history = History::read(&events, at(1), Attempt::new(4));
        let times: Vec<_> =
            history.past.iter().map(|past| (past.queued, past.started, past.requeued)).collect();
        assert_eq!(
            times,
            [
                (Some(at(1)), at(5), Some(at(9))),
                (Some(at(9)), at(12), Some(at(30))),
                (Some(at(30)), at(31), Some(at(60))),
            ]
        );
        assert_eq!(history.queued, Some(at(60)));
        assert_eq!(lost(&history), [3, 2], "the first ended by itself");
        let earlier = History::read(&events, at(1), Attempt::new(3));
        assert_eq!((earlier.queued, lost(&earlier)), (Some(at(30)), vec![2]));
        let first = History::read(&events, at(1), Attempt::FIRST);
        assert_eq!(first, History { past: vec![], queued: Some(at(1)) });
    }

    #[test]
    fn the_last_attempt_of_an_exhausted_task_is_lost() {
        let events = events(vec![(1, EventBody::Queued), (5, started(1))]);
        let history = History::read(&events, at(1), Attempt::new(2));
        assert_eq!(lost(&history), [1]);
        assert_eq!((history.past[0].requeued, history.queued), (None, None));
    }

    #[test]
    fn dropped_events_leave_times_open() {
        let events =
            events(vec![(30, requeued(2, LOST)), (31, started(3)), (60, requeued(3, LOST))]);
        let history = History::read(&events, at(1), Attempt::new(4));
        assert_eq!(lost(&history), [3]);
        assert_eq!(history.past[0].queued, Some(at(30)));
        let later = History::read(&events[1..], at(1), Attempt::new(4));
        assert_eq!((later.past[0].queued, later.queued), (None, Some(at(60))));
    }
}
