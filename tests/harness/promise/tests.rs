use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::history::LogLine;

fn done() -> Value {
    json!({"status": "completed", "task_id": "t", "result": "hi"})
}

fn seen(at: u64, seen: Seen) -> Sighting {
    let instant = |n| Duration::from_secs(n);
    Sighting { task: "t".into(), asked: instant(at), answered: instant(at + 1), seen }
}

fn event(seq: u64, name: &str, data: Value) -> TaskEvent {
    TaskEvent { seq, name: name.into(), data }
}

fn line(status: &str) -> LogLine {
    LogLine { task: "t".into(), status: status.into() }
}

/// A history with a retry that keeps the promise.
fn good() -> History {
    let attempt = |n: u64| json!({ "attempt": n });
    let events = vec![
        event(1, "queued", json!({})),
        event(2, "started", attempt(1)),
        event(3, "token", attempt(1)),
        event(4, "requeued", attempt(1)),
        event(5, "started", attempt(2)),
        event(6, "token", attempt(2)),
        event(7, "completed", done()),
    ];
    History {
        accepted: vec!["t".into()],
        sightings: vec![
            seen(1, Seen::Queued),
            seen(3, Seen::Processing),
            seen(5, Seen::Queued),
            seen(7, Seen::Ended(done())),
            seen(9, Seen::Ended(done())),
        ],
        events: [("t".to_owned(), events)].into(),
        lines: vec![line("success")],
    }
}

/// Returns the violations in a good history after `spoil` changed it.
fn spoilt(spoil: impl FnOnce(&mut History)) -> Vec<Violation> {
    let mut history = good();
    spoil(&mut history);
    violations(&history, 0)
}

/// Returns what is wrong with the events of a good history after `spoil` changed them.
fn violation_after_changing_events(spoil: impl FnOnce(&mut Vec<TaskEvent>)) -> String {
    let found = spoilt(|history| spoil(history.events.get_mut("t").unwrap()));
    let bad = found.iter().find_map(|violation| match violation {
        Violation::BadEvents { what, .. } => Some(what.clone()),
        _ => None,
    });
    bad.unwrap_or_else(|| panic!("expected bad events, found {found:?}"))
}

#[test]
fn a_good_history_passes() {
    assert_eq!(violations(&good(), 0), []);
}

#[test]
fn a_task_without_an_outcome_is_reported() {
    let found = spoilt(|history| {
        history.sightings.truncate(3);
        history.events.clear();
        history.lines.clear();
    });
    let task = "t".to_owned();
    assert!(found.contains(&Violation::NoOutcome { task }), "{found:?}");
}

#[test]
fn an_accepted_task_that_is_unknown_is_reported_as_lost() {
    let found = spoilt(|history| history.sightings.push(seen(11, Seen::Unknown)));
    assert_eq!(found, [Violation::Lost { task: "t".into() }]);
}

#[test]
fn a_result_that_changes_is_reported() {
    let other = json!({"status": "completed", "task_id": "t", "result": "ho"});
    let found = spoilt(|history| history.sightings.push(seen(11, Seen::Ended(other))));
    assert_eq!(found, [Violation::OutcomeChanged { task: "t".into() }]);
}

#[test]
fn no_state_follows_the_outcome() {
    let found = spoilt(|history| history.sightings.push(seen(11, Seen::Processing)));
    assert!(matches!(&found[..], [Violation::WentBack { .. }]), "{found:?}");
}

#[test]
fn only_a_retry_leads_back_to_the_queue() {
    let found = spoilt(|history| history.events.clear());
    assert!(matches!(&found[..], [Violation::WentBack { .. }]), "{found:?}");
}

#[test]
fn overlapping_requests_have_no_order() {
    // Requested while the task ran, by another client, and received later.
    let mut late = seen(7, Seen::Processing);
    late.answered = Duration::from_secs(20);
    assert_eq!(spoilt(|history| history.sightings.push(late)), []);
}

#[test]
fn events_are_numbered_without_gaps() {
    assert!(
        violation_after_changing_events(|events| drop(events.remove(2))).contains("next number")
    );
}

#[test]
fn an_attempt_does_not_begin_while_another_runs() {
    let what = violation_after_changing_events(|events| {
        events.remove(3);
        renumber(events);
    });
    assert!(what.contains("started"), "{what}");
}

#[test]
fn an_ended_attempt_writes_no_more_tokens() {
    let what = violation_after_changing_events(|events| {
        events[5].data = json!({"attempt": 1});
    });
    assert!(what.contains("token"), "{what}");
}

#[test]
fn a_task_ends_once_with_its_last_event() {
    let twice =
        violation_after_changing_events(|events| events.push(event(8, "failed", json!({}))));
    assert!(twice.contains("end"), "{twice}");
    let never = violation_after_changing_events(|events| events.truncate(6));
    assert!(never.contains("end"), "{never}");
}

#[test]
fn only_a_running_task_is_completed() {
    let what = violation_after_changing_events(|events| {
        events.drain(4..6);
        renumber(events);
    });
    assert!(what.contains("completed"), "{what}");
}

#[test]
fn the_last_event_equals_the_result() {
    let other = json!({"status": "completed", "task_id": "t", "result": "ho"});
    let what = violation_after_changing_events(|events| events[6].data = other);
    assert!(what.contains("another outcome"), "{what}");
}

#[test]
fn each_task_has_one_log_line_with_its_outcome() {
    let two = spoilt(|history| history.lines.push(line("success")));
    assert_eq!(two, [Violation::TwoLines { task: "t".into() }]);
    let wrong = spoilt(|history| history.lines = vec![line("error")]);
    assert_eq!(wrong, [Violation::WrongLine { task: "t".into(), status: "error".into() }]);
    let none = spoilt(|history| history.lines.clear());
    assert_eq!(none, [Violation::NoLines { tasks: vec!["t".into()], excused: 0 }]);
}

#[test]
fn a_kill_excuses_a_missing_line() {
    let mut history = good();
    history.lines.clear();
    assert_eq!(violations(&history, 1), []);
}

#[test]
fn log_lines_are_parsed_except_one_that_was_cut_off() {
    let log = "[2025-11-21 15:30:45] task_id=a status=success prompt_tokens=50\n\
               [2025-11-21 15:30:46] task_id=b status=error error_message=\"x\" queue_wait=0.50s\n\
               [2025-11-21 15:30:47] task_id=c stat";
    let lines = LogLine::read_all(log);
    let told: Vec<_> = lines.iter().map(|l| (l.task.as_str(), l.status.as_str())).collect();
    assert_eq!(told, [("a", "success"), ("b", "error")]);
}

fn renumber(events: &mut [TaskEvent]) {
    for (n, event) in events.iter_mut().enumerate() {
        event.seq = n as u64 + 1;
    }
}
