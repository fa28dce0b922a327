//! The journal of ended tasks that no worker logs.

use std::collections::HashSet;
use std::time::Duration;

use protocol::{ErrorType, Outcome, Task, TaskId, TaskSnapshot};
use queue::{Broker, Release, SubmitOptions};

use crate::support::*;

const ENOUGH: usize = 100;

async fn cancelled_in_line(broker: &dyn Broker) -> TaskId {
    let task = submitted(broker).await;
    broker.cancel(task.id).await.unwrap();
    task.id
}

fn ids(snapshots: &[TaskSnapshot]) -> HashSet<TaskId> {
    snapshots.iter().map(|snapshot| snapshot.task.id).collect()
}

pub(super) async fn ends_without_a_worker_are_handed_out(on: Fixture) {
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
    for snapshot in &unlogged {
        let stored = broker.snapshot(snapshot.task.id).await.unwrap().unwrap();
        assert_eq!(*snapshot, stored, "all that a log line needs");
        assert_eq!(snapshot.started_at.is_some(), snapshot.task.id == lost);
        let outcome = snapshot.outcome.as_ref().unwrap();
        let is_late = matches!(outcome, Outcome::Failed(e) if e.error_type == ErrorType::Expired);
        assert_eq!(is_late, snapshot.task.id == late, "{outcome:?}");
        assert!(is_late || *outcome == Outcome::Cancelled);
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

pub(super) async fn what_is_logged_is_not_handed_out_again(on: Fixture) {
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

pub(super) async fn no_more_are_handed_out_than_asked_for(on: Fixture) {
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

pub(super) async fn an_unreadable_end_holds_nobody_up(on: Fixture) {
    let unreadable = cancelled_in_line(&*on.broker).await;
    on.overwrite_record(unreadable, r#"{"v":9}"#).await;
    let good = cancelled_in_line(&*on.broker).await;
    let mut found = HashSet::new();
    for _ in 0..2 {
        found.extend(ids(&on.broker.unlogged(LONG, 1).await.unwrap()));
    }
    assert_eq!(found, HashSet::from([good]));
}

pub(super) async fn a_task_cancelled_twice_is_logged_once(on: Fixture) {
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
