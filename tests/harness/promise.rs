//! Checks histories against the queue's promise: exactly one outcome for each accepted task, and
//! states only move forward. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::history::{History, Seen, Sighting, TaskEvent};

/// A violation of the promise.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Violation {
    /// An accepted task later was unknown.
    Lost {
        /// The task.
        task: String,
    },
    /// An accepted task has no outcome.
    NoOutcome {
        /// The task.
        task: String,
    },
    /// Two different outcomes of a task were seen.
    OutcomeChanged {
        /// The task.
        task: String,
    },
    /// A task was seen in an earlier state after a later one.
    WentBack {
        /// The task.
        task: String,
        /// The later and the earlier state.
        what: String,
    },
    /// The sequence of a task's events is not possible.
    BadEvents {
        /// The task.
        task: String,
        /// The contradiction.
        what: String,
    },
    /// A task has more than one log line.
    TwoLines {
        /// The task.
        task: String,
    },
    /// A task's log line shows another outcome than the API.
    WrongLine {
        /// The task.
        task: String,
        /// The status in the line.
        status: String,
    },
    /// More tasks have no log line than kills excuse.
    NoLines {
        /// The tasks without a line.
        tasks: Vec<String>,
        /// The number of tasks that may have no line.
        excused: usize,
    },
}

/// Returns all violations in `history`; none if it keeps the promise.
///
/// `excused` is the number of log lines that may be missing: a process that is killed between
/// recording an outcome and writing its line loses the line, not the outcome.
pub fn violations(history: &History, excused: usize) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut of_task: BTreeMap<&str, Vec<&Sighting>> = BTreeMap::new();
    for sighting in &history.sightings {
        of_task.entry(&sighting.task).or_default().push(sighting);
    }
    let mut outcomes: BTreeMap<&str, &Value> = BTreeMap::new();
    for task in history.accepted.iter().map(String::as_str).collect::<BTreeSet<_>>() {
        let sightings = of_task.remove(task).unwrap_or_default();
        let events = history.events.get(task).map_or(&[][..], Vec::as_slice);
        match outcome(task, &sightings, &mut found) {
            Some(outcome) => drop(outcomes.insert(task, outcome)),
            None => found.push(Violation::NoOutcome { task: task.to_owned() }),
        }
        check_order(task, &sightings, events, &mut found);
        if !events.is_empty()
            && let Err(what) = check_events(events, outcomes.get(task).copied())
        {
            found.push(Violation::BadEvents { task: task.to_owned(), what });
        }
    }
    check_lines(history, &outcomes, excused, &mut found);
    found
}

/// Returns the outcome that was observed, if any. Records a violation if there were two.
fn outcome<'h>(
    task: &str,
    sightings: &[&'h Sighting],
    found: &mut Vec<Violation>,
) -> Option<&'h Value> {
    let mut ends = sightings.iter().filter_map(|sighting| match &sighting.seen {
        Seen::Ended(outcome) => Some(outcome),
        _ => None,
    });
    let first = ends.next();
    if ends.any(|other| Some(other) != first) {
        found.push(Violation::OutcomeChanged { task: task.to_owned() });
    }
    if sightings.iter().any(|sighting| sighting.seen == Seen::Unknown) {
        found.push(Violation::Lost { task: task.to_owned() });
    }
    first
}

/// Checks that of two responses, where the second was requested after the first was received, the
/// second does not show an earlier state, except after a retry, which must be among the events.
fn check_order(
    task: &str,
    sightings: &[&Sighting],
    events: &[TaskEvent],
    found: &mut Vec<Violation>,
) {
    let retried = events.iter().any(|event| event.name == "requeued");
    for earlier in sightings {
        for later in sightings.iter().filter(|later| later.asked >= earlier.answered) {
            let back = match (&earlier.seen, &later.seen) {
                (Seen::Ended(_), Seen::Queued | Seen::Processing) => true,
                (Seen::Processing, Seen::Queued) => !retried,
                _ => false,
            };
            if back {
                let what = format!("{:?} after {:?}", later.seen, earlier.seen);
                return found.push(Violation::WentBack { task: task.to_owned(), what });
            }
        }
    }
}

/// Checks the sequence of events of an ended task.
fn check_events(events: &[TaskEvent], outcome: Option<&Value>) -> Result<(), String> {
    let mut attempt = 0;
    let mut runs = false;
    for (n, event) in events.iter().enumerate() {
        let wrong = |what: &str| Err(format!("event {} ({}): {what}", event.seq, event.name));
        if event.seq != n as u64 + 1 {
            return wrong("not the next number");
        }
        let fits = match event.name.as_str() {
            "queued" => n == 0,
            "started" => n > 0 && !runs && event.attempt() == Some(attempt + 1),
            "token" | "requeued" => runs && event.attempt() == Some(attempt),
            "cancelled" => n > 0,
            "completed" => runs,
            // The reaper ends a task whose workers all lost their leases.
            "failed" => n > 0,
            // An event that this check does not know changes no state.
            _ => n > 0,
        };
        if !fits {
            return wrong(&format!("not possible after attempt {attempt}, which runs: {runs}"));
        }
        match event.name.as_str() {
            "started" => (attempt, runs) = (attempt + 1, true),
            "requeued" => runs = false,
            _ => {}
        }
        if event.is_last() != (n + 1 == events.len()) {
            return wrong("the end is not at the end");
        }
        if event.is_last() && outcome.is_some_and(|outcome| *outcome != event.data) {
            return wrong("another outcome than /result told");
        }
    }
    Ok(())
}

/// Checks that each ended task has one line, with its outcome. Tasks whose 202 was lost are checked
/// only for having at most one line.
fn check_lines(
    history: &History,
    outcomes: &BTreeMap<&str, &Value>,
    excused: usize,
    found: &mut Vec<Violation>,
) {
    let mut logged = BTreeSet::new();
    for line in &history.lines {
        let task = line.task.clone();
        if !logged.insert(line.task.as_str()) {
            found.push(Violation::TwoLines { task: task.clone() });
        }
        let told = outcomes.get(line.task.as_str()).map(|outcome| &outcome["status"]);
        let expected = match told.and_then(Value::as_str) {
            Some("completed") => "success",
            Some(other) => other,
            None => continue,
        };
        if line.status != expected {
            found.push(Violation::WrongLine { task, status: line.status.clone() });
        }
    }
    let without = outcomes.keys().filter(|task| !logged.contains(**task));
    let tasks: Vec<String> = without.map(|task| (*task).to_owned()).collect();
    if tasks.len() > excused {
        found.push(Violation::NoLines { tasks, excused });
    }
}

#[cfg(test)]
mod tests;
