//! Options of a submit: idempotency keys, delay and deadline.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{ErrorType, Outcome, Task, TaskState, TaskSummary, TenantId};
use queue::{Bounds, BrokerError, Depth, Idempotency, Matches, Release, Start, SubmitOptions};

use crate::support::*;

fn keyed(key: &str, body: &str) -> SubmitOptions {
    matching(key, body, Matches::Always)
}

fn matching(key: &str, body: &str, matches: Matches) -> SubmitOptions {
    let idempotency = Idempotency { key: key.into(), body_hash: body.into(), matches };
    SubmitOptions { idempotency: Some(idempotency), ..SubmitOptions::PLAIN }
}

fn starting(start: Start) -> SubmitOptions {
    SubmitOptions { start, ..SubmitOptions::PLAIN }
}

fn within(expires_in: Duration) -> SubmitOptions {
    SubmitOptions { expires_in: Some(expires_in), ..SubmitOptions::PLAIN }
}

async fn same_idempotency_key_returns_the_same_task(on: Fixture) {
    let broker = on.broker;
    let submitted = task();
    let made = broker.submit(&submitted, &keyed("a:b", "hash")).await.unwrap();
    assert!(made.created);
    // With several partitions the id may have been changed, but a repetition finds the same task.
    let first = Task { id: made.task_id, ..submitted.clone() };
    assert_eq!(broker.snapshot(first.id).await.unwrap().unwrap().task, TaskSummary::from(&first));
    for repeated in [submitted, task()] {
        let again = broker.submit(&repeated, &keyed("a:b", "hash")).await.unwrap();
        assert_eq!((again.task_id, again.created, again.depth), (first.id, false, 1));
    }
    let full =
        SubmitOptions { bounds: Bounds { model: 1, ..Bounds::NONE }, ..keyed("a:b", "hash") };
    assert_eq!(broker.submit(&task(), &full).await.unwrap().task_id, first.id, "also when full");

    let error = broker.submit(&task(), &keyed("a:b", "other")).await.unwrap_err();
    assert!(matches!(error, BrokerError::KeyReused { task_id } if task_id == first.id), "{error}");
    let other_tenant = Task { tenant: TenantId::new("other"), ..task() };
    assert!(broker.submit(&other_tenant, &keyed("a:b", "other")).await.unwrap().created);
    assert!(broker.submit(&task(), &keyed("a", "hash")).await.unwrap().created);
    assert_eq!(broker.depth(&model()).await.unwrap().queued, 3);

    for _ in 0..3 {
        let held = claimed(&*broker, &claimant(LONG)).await;
        broker.finish(&held.lease, &completed("x")).await.unwrap();
    }
    let ended = broker.submit(&task(), &keyed("a:b", "hash")).await.unwrap();
    assert_eq!((ended.task_id, ended.state), (first.id, TaskState::Completed));
    assert_eq!(ended.estimate, None);
}

async fn idempotency_key_expires_with_its_task(on: Fixture) {
    let broker = on.broker;
    let first = Task { result_ttl_s: 1, ..task() };
    broker.submit(&first, &keyed("key", "hash")).await.unwrap();
    let held = claimed(&*broker, &claimant(LONG)).await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert!(!broker.submit(&task(), &keyed("key", "hash")).await.unwrap().created);
    broker.finish(&held.lease, &completed("x")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert!(broker.submit(&task(), &keyed("key", "another")).await.unwrap().created);
}

async fn fifty_concurrent_submits_with_one_key_create_one_task(on: Fixture) {
    let mut submits = Vec::new();
    for _ in 0..50 {
        let broker = on.another();
        submits.push(tokio::spawn(async move {
            broker.submit(&task(), &keyed("key", "hash")).await.unwrap()
        }));
    }
    let mut answers = Vec::new();
    for submit in submits {
        answers.push(submit.await.unwrap());
    }
    assert_eq!(answers.iter().filter(|answer| answer.created).count(), 1);
    assert!(answers.iter().all(|answer| answer.task_id == answers[0].task_id));
    assert_eq!(on.broker.depth(&model()).await.unwrap().queued, 1);
}

async fn retry_after_a_lost_reply_is_recognised_within_its_window(on: Fixture) {
    let broker = on.broker;
    let window = Matches::Within(Duration::from_millis(300));
    let first = broker.submit(&task(), &matching("body", "h", Matches::Never)).await.unwrap();
    let second = broker.submit(&task(), &matching("body", "h", Matches::Never)).await.unwrap();
    assert!(first.created && second.created, "no repetition unless the client says so");
    let again = broker.submit(&task(), &matching("body", "h", window)).await.unwrap();
    assert_eq!((again.task_id, again.created), (second.task_id, false), "the latest");
    tokio::time::sleep(Duration::from_millis(350)).await;
    assert!(broker.submit(&task(), &matching("body", "h", window)).await.unwrap().created);
}

async fn delayed_task_waits_for_its_start_time(on: Fixture) {
    let (broker, other) = (Arc::clone(&on.broker), on.another());
    let delayed = task();
    let begun = Instant::now();
    let delay = Duration::from_millis(400);
    broker.submit(&delayed, &starting(Start::After(delay))).await.unwrap();
    let waiting = broker.snapshot(delayed.id).await.unwrap().unwrap();
    assert_eq!(waiting.state, TaskState::Queued);
    assert!(waiting.run_at.unwrap().seconds_since(waiting.submitted_at) >= 0.399);
    assert_eq!(broker.depth(&model()).await.unwrap(), Depth { queued: 1, processing: 0 });
    let soon = submitted(&*broker).await;
    assert_eq!(claimed(&*broker, &claimant(LONG)).await.task, soon, "it holds nobody up");
    // The claim is woken when the task is due, although nothing else happens.
    let held = other.claim(&claimant(LONG), LONG).await.unwrap().unwrap();
    assert_eq!(held.task, delayed);
    let took = begun.elapsed();
    assert!((delay..delay + Duration::from_millis(300)).contains(&took), "{took:?}");
    broker.release(&held.lease, &Release::Unused).await.unwrap();
    assert_eq!(claimed(&*broker, &claimant(LONG)).await.task, delayed, "not delayed again");
}

async fn reap_queues_due_tasks(on: Fixture) {
    let broker = on.broker;
    let past = protocol::Timestamp::from_millis(1);
    let at_once = task();
    broker.submit(&at_once, &starting(Start::At(past))).await.unwrap();
    assert_eq!(claimed(&*broker, &claimant(LONG)).await.task, at_once);
    let (cancelled, delayed) = (task(), task());
    let soon = protocol::Timestamp::now() + Duration::from_millis(200);
    broker.submit(&cancelled, &starting(Start::At(soon))).await.unwrap();
    broker.submit(&delayed, &starting(Start::At(soon))).await.unwrap();
    broker.cancel(cancelled.id).await.unwrap();
    tokio::time::sleep(Duration::from_millis(250)).await;
    broker.reap(&claimant(SHORT)).await.unwrap();
    assert_eq!(estimate(&*broker, delayed.id).await.unwrap().position, 1);
    assert_eq!(claimed(&*broker, &claimant(LONG)).await.task, delayed);
    assert_eq!(broker.depth(&model()).await.unwrap(), Depth { queued: 0, processing: 2 });
}

async fn a_task_past_its_deadline_expires(on: Fixture) {
    let broker = on.broker;
    let (late, delayed) = (task(), task());
    let deadline = Duration::from_millis(150);
    broker.submit(&late, &within(deadline)).await.unwrap();
    let apart = SubmitOptions { start: Start::After(LONG), ..within(deadline) };
    broker.submit(&delayed, &apart).await.unwrap();
    let good = submitted(&*broker).await;
    let waiting = broker.snapshot(late.id).await.unwrap().unwrap();
    assert!(waiting.expires_at.unwrap().seconds_since(waiting.submitted_at) >= 0.149);
    tokio::time::sleep(deadline * 2).await;
    assert_eq!(claimed(&*broker, &claimant(LONG)).await.task, good, "it is not handed out");
    assert!(broker.claim(&claimant(LONG), NO_WAIT).await.unwrap().is_none());

    let mut reaped = broker.reap(&claimant(SHORT)).await.unwrap();
    reaped.expired.sort_by_key(|id| *id != late.id);
    assert_eq!(reaped.expired, [late.id, delayed.id]);
    let end = broker.snapshot(late.id).await.unwrap().unwrap();
    let Some(Outcome::Failed(error)) = end.outcome else { panic!("{:?}", end.outcome) };
    assert_eq!((end.state, error.error_type), (TaskState::Failed, ErrorType::Expired));
    assert_eq!(broker.reap(&claimant(SHORT)).await.unwrap().count(), 0);
    assert_eq!(broker.depth(&model()).await.unwrap(), Depth { queued: 0, processing: 1 });
}

async fn deadline_applies_only_to_the_first_start(on: Fixture) {
    let broker = on.broker;
    let task = task();
    let deadline = Duration::from_millis(150);
    broker.submit(&task, &within(deadline)).await.unwrap();
    let held = claimed(&*broker, &claimant(LONG)).await;
    tokio::time::sleep(deadline * 2).await;
    assert!(broker.reap(&claimant(SHORT)).await.unwrap().expired.is_empty());
    broker.release(&held.lease, &Release::Unused).await.unwrap();
    assert!(broker.reap(&claimant(SHORT)).await.unwrap().expired.is_empty());
    assert_eq!(claimed(&*broker, &claimant(LONG)).await.task, task);
}

run_on_every_broker! {
    same_idempotency_key_returns_the_same_task,
    idempotency_key_expires_with_its_task,
    fifty_concurrent_submits_with_one_key_create_one_task,
    retry_after_a_lost_reply_is_recognised_within_its_window,
    delayed_task_waits_for_its_start_time,
    reap_queues_due_tasks,
    a_task_past_its_deadline_expires,
    deadline_applies_only_to_the_first_start,
}
