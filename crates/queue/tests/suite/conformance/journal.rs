//! Tests pending log lines.

use std::collections::HashSet;
use std::time::Duration;

use protocol::{ErrorType, Outcome, Task, TaskError, TaskId};
use queue::{Broker, LINE_SPAN, Release, SubmitOptions, Unlogged};

use crate::support::*;

const ENOUGH: usize = 100;
/// After this much longer the line is anybody's.
const OVER: Duration = LINE_SPAN.saturating_add(Duration::from_millis(1));

async fn cancelled_in_line(broker: &dyn Broker) -> TaskId {
    let task = submitted(broker).await;
    broker.cancel(task.id).await.unwrap();
    task.id
}

fn ids(due: &[Unlogged]) -> HashSet<TaskId> {
    due.iter().map(|due| due.end.task.id).collect()
}

async fn outcomes_without_a_worker_are_returned_for_logging(on: Fixture) {
    let broker = on.broker;
    let worker = claimant(LONG);
    // Tasks that a worker ended: the worker logs them.
    submitted(&*broker).await;
    let held = claimed(&*broker, &worker).await;
    broker.finish(&held.lease, &completed("x")).await.unwrap();
    let task = submitted(&*broker).await;
    let held = claimed(&*broker, &worker).await;
    broker.cancel(task.id).await.unwrap();
    broker.release(&held.lease, &Release::Unused).await.unwrap();
    assert!(broker.unlogged(LONG, ENOUGH).await.unwrap().is_empty());

    let lost = submitted(&*broker).await.id;
    claimed(&*broker, &claimant(SHORT)).await;
    broker.cancel(lost).await.unwrap();
    let in_line = cancelled_in_line(&*broker).await;
    let late = task_past_its_deadline(&*broker).await;
    let mut ended = Vec::new();
    while ended.len() < 2 {
        let reaped = reap_until_found(&*broker, &claimant(SHORT)).await;
        ended.extend(reaped.cancelled.into_iter().chain(reaped.expired));
    }
    let unlogged = broker.unlogged(LONG, ENOUGH).await.unwrap();
    assert_eq!(ids(&unlogged), HashSet::from([lost, in_line, late]));
    for Unlogged { end: snapshot, perhaps_written } in &unlogged {
        assert_eq!(*perhaps_written, None, "nobody had it to write before");
        let stored = broker.snapshot(snapshot.task.id).await.unwrap().unwrap();
        assert_eq!(*snapshot, stored, "all that a log line needs");
        assert_eq!(snapshot.started_at.is_some(), snapshot.task.id == lost);
        let outcome = snapshot.outcome.as_ref().unwrap();
        let is_late = matches!(outcome, Outcome::Failed(e) if e.error_type == ErrorType::Expired);
        assert_eq!(is_late, snapshot.task.id == late, "{outcome:?}");
        assert!(is_late || *outcome == Outcome::CANCELLED);
    }
}

async fn task_past_its_deadline(broker: &dyn Broker) -> TaskId {
    let options =
        SubmitOptions { expires_in: Some(Duration::from_millis(50)), ..SubmitOptions::PLAIN };
    let task = task();
    broker.submit(&task, &options).await.unwrap();
    tokio::time::sleep(Duration::from_millis(80)).await;
    task.id
}

async fn logged_outcomes_are_not_returned_again(on: Fixture) {
    let (one, other) = (std::sync::Arc::clone(&on.broker), on.another());
    let span = Duration::from_millis(300);
    let (first, second) = (cancelled_in_line(&*one).await, cancelled_in_line(&*one).await);
    assert_eq!(ids(&one.unlogged(span, ENOUGH).await.unwrap()), HashSet::from([first, second]));
    assert!(other.unlogged(span, ENOUGH).await.unwrap().is_empty(), "they are the first caller's");
    one.logged(&[first]).await.unwrap();
    one.logged(&[first, TaskId::new()]).await.unwrap();
    one.logged(&[]).await.unwrap();
    tokio::time::sleep(span * 2).await;
    let again = other.unlogged(LONG, ENOUGH).await.unwrap();
    assert_eq!(ids(&again), HashSet::from([second]), "what its caller did not log comes again");
}

async fn unlogged_outcomes_are_returned_up_to_the_limit(on: Fixture) {
    let broker = on.broker;
    let mut ended = HashSet::new();
    for _ in 0..5 {
        ended.insert(cancelled_in_line(&*broker).await);
    }
    for most in [2, 2, 1] {
        let some = broker.unlogged(LONG, 2).await.unwrap();
        assert_eq!(some.len(), most);
        ids(&some).iter().for_each(|id| assert!(ended.remove(id), "{id} came twice"));
    }
    assert!(broker.unlogged(LONG, 2).await.unwrap().is_empty());
}

/// Ends that were recorded under a lease, in each way, all at once.
async fn recorded(broker: &dyn Broker) -> HashSet<TaskId> {
    let (worker, mut ended) = (claimant(LONG), HashSet::new());
    for outcome in [completed("x"), failed("y"), Outcome::CANCELLED] {
        submitted(broker).await;
        let held = claimed(broker, &worker).await;
        broker.finish(&held.lease, &outcome).await.unwrap();
        ended.insert(held.task.id);
    }
    let given_back = submitted(broker).await.id;
    let held = claimed(broker, &worker).await;
    broker.cancel(given_back).await.unwrap();
    broker.release(&held.lease, &Release::Unused).await.unwrap();
    ended.insert(given_back);
    let lost = Task { max_attempts: 1, ..task() };
    broker.submit(&lost, NO_LIMIT).await.unwrap();
    claimed(broker, &claimant(SHORT)).await;
    let given_up = &reap_until_found(broker, &claimant(SHORT)).await.exhausted[0];
    let died = Outcome::Failed(TaskError::new(ErrorType::WorkerLost, "all died"));
    broker.finish(&given_up.lease, &died).await.unwrap();
    ended.insert(lost.id);
    ended
}

async fn recorded_outcome_stays_unlogged_until_acknowledged(on: Fixture) {
    let ended = recorded(&*on.broker).await;
    assert!(
        on.broker.unlogged(LONG, ENOUGH).await.unwrap().is_empty(),
        "they are their recorders'"
    );
    on.age_journal(LINE_SPAN / 2).await;
    assert!(on.broker.unlogged(LONG, ENOUGH).await.unwrap().is_empty(), "still");
    on.age_journal(OVER - LINE_SPAN / 2).await;
    let due = on.broker.unlogged(LINE_SPAN, ENOUGH).await.unwrap();
    assert_eq!(ids(&due), ended, "whoever recorded them may be dead");
    for Unlogged { end, perhaps_written } in &due {
        assert!(perhaps_written.is_some(), "and may have written the line before");
        let stored = on.broker.snapshot(end.task.id).await.unwrap().unwrap();
        assert_eq!(*end, stored, "all that a log line needs");
    }
    // A taker that died in its turn may have written it as well.
    let alone = cancelled_in_line(&*on.broker).await;
    // The journal is made older by a little more than the span: the taking must be later than the end by more.
    tokio::time::sleep(OVER - LINE_SPAN + Duration::from_millis(5)).await;
    let fresh = on.broker.unlogged(LINE_SPAN, ENOUGH).await.unwrap();
    assert_eq!((ids(&fresh), fresh[0].perhaps_written), (HashSet::from([alone]), None));
    on.age_journal(OVER).await;
    let again = on.broker.unlogged(LONG, ENOUGH).await.unwrap();
    assert_eq!(again.len(), ended.len() + 1);
    assert!(again.iter().all(|due| due.perhaps_written.is_some()));
    let all: Vec<_> = ids(&again).into_iter().collect();
    on.broker.logged(&all).await.unwrap();
    on.age_journal(LONG).await;
    assert!(on.broker.unlogged(LONG, ENOUGH).await.unwrap().is_empty());
}

async fn noted_log_lines_are_acknowledged_with_other_calls(on: Fixture) {
    let (broker, other) = (std::sync::Arc::clone(&on.broker), on.another());
    let worker = claimant(LONG);
    let mut noted = Vec::new();
    let mut finish = async || {
        let task = submitted(&*broker).await;
        let held = claimed(&*broker, &worker).await;
        broker.finish(&held.lease, &completed("x")).await.unwrap();
        noted.push(task.id);
        broker.note_logged(task.id);
    };
    // In one partition those of it ride with its calls only.
    for _ in 0..100 {
        finish().await;
    }
    tokio::time::sleep(Duration::from_millis(150)).await;
    for _ in 0..20 {
        finish().await;
    }
    on.age_journal(OVER).await;
    let left = other.unlogged(LONG, 1_000).await.unwrap().len();
    assert!(left <= 3 * 8 + 20, "{left} of {} are not said", noted.len());
    broker.unlogged(LONG, 1).await.unwrap();
    on.age_journal(LONG).await;
    let left = other.unlogged(LONG, 1_000).await.unwrap();
    assert!(left.is_empty(), "asking for those that are due says the rest: {left:?}");
    finish().await;
    broker.logged(&[]).await.unwrap();
    on.age_journal(OVER).await;
    assert!(other.unlogged(LONG, 1_000).await.unwrap().is_empty(), "so does saying it of none");
}

async fn unlogged_line_outlives_its_outcome(on: Fixture) {
    let broker = &*on.broker;
    let task = Task { result_ttl_s: 1, ..task() };
    broker.submit(&task, NO_LIMIT).await.unwrap();
    let held = claimed(broker, &claimant(LONG)).await;
    broker.finish(&held.lease, &completed("x")).await.unwrap();
    let end = broker.snapshot(task.id).await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    broker.reap(&claimant(SHORT)).await.unwrap(); // clears away, where that is anybody's to do
    assert_eq!(broker.snapshot(task.id).await.unwrap(), None);
    on.age_journal(OVER).await;
    let due = broker.unlogged(LONG, ENOUGH).await.unwrap();
    assert_eq!(due.iter().map(|due| &due.end).collect::<Vec<_>>(), [&end]);
    broker.logged(&[task.id]).await.unwrap();
    on.age_journal(LONG).await;
    assert!(broker.unlogged(LONG, ENOUGH).await.unwrap().is_empty());
}

async fn unreadable_outcome_does_not_block_others(on: Fixture) {
    let unreadable = cancelled_in_line(&*on.broker).await;
    on.overwrite_outcome(unreadable, r#"{"v":9}"#).await;
    let good = cancelled_in_line(&*on.broker).await;
    let mut found = HashSet::new();
    for _ in 0..2 {
        found.extend(ids(&on.broker.unlogged(LONG, 1).await.unwrap()));
    }
    assert_eq!(found, HashSet::from([good]));
}

async fn a_task_cancelled_twice_is_logged_once(on: Fixture) {
    let broker = on.broker;
    let task = Task { max_attempts: 1, ..task() };
    broker.submit(&task, NO_LIMIT).await.unwrap();
    broker.cancel(task.id).await.unwrap();
    broker.cancel(task.id).await.unwrap();
    assert_eq!(broker.unlogged(LONG, ENOUGH).await.unwrap().len(), 1);
    broker.logged(&[task.id]).await.unwrap();
    broker.cancel(task.id).await.unwrap();
    assert!(broker.unlogged(LONG, ENOUGH).await.unwrap().is_empty());
}

run_on_every_broker! {
    outcomes_without_a_worker_are_returned_for_logging,
    recorded_outcome_stays_unlogged_until_acknowledged,
    noted_log_lines_are_acknowledged_with_other_calls,
    unlogged_line_outlives_its_outcome,
    logged_outcomes_are_not_returned_again,
    unlogged_outcomes_are_returned_up_to_the_limit,
    unreadable_outcome_does_not_block_others,
    a_task_cancelled_twice_is_logged_once,
}
