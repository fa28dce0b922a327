//! Backoff between attempts.

use std::time::{Duration, Instant};

use protocol::{Task, TaskId, TaskState, Timestamp};
use queue::{Broker, CancelReply, Depth, Lease, SubmitOptions};

use crate::support::*;

const REST: Duration = Duration::from_millis(500);

/// Claims the next task and releases it after a failure, with this backoff.
async fn fail_next(broker: &dyn Broker, rest: Duration) -> Lease {
    let lease = claimed(broker, &claimant(LONG)).await.lease;
    broker.release(&lease, &resting(rest)).await.unwrap();
    lease
}

async fn run_at(broker: &dyn Broker, id: TaskId) -> Option<Timestamp> {
    broker.snapshot(id).await.unwrap().unwrap().run_at
}

async fn failed_task_waits_for_its_backoff(on: Fixture) {
    let broker = on.broker;
    let task = submitted(&*broker).await;
    let begun = Instant::now();
    let failed_at = Timestamp::now();
    fail_next(&*broker, REST).await;
    let waiting = broker.snapshot(task.id).await.unwrap().unwrap();
    assert_eq!((waiting.state, waiting.started_at), (TaskState::Queued, None));
    let rest = waiting.run_at.expect("when it goes on").seconds_since(failed_at);
    assert!((0.45..2.0).contains(&rest), "{rest} s");
    assert_eq!(broker.depth(&model()).await.unwrap(), Depth { queued: 1, processing: 0 });

    let other = submitted(&*broker).await;
    assert_eq!(claimed(&*broker, &claimant(LONG)).await.task, other, "it holds nobody up");
    assert!(broker.claim(&claimant(LONG), NO_WAIT).await.unwrap().is_none());
    // A waiting claim is woken when the backoff ends.
    let held = broker.claim(&claimant(LONG), LONG).await.unwrap().unwrap();
    let took = begun.elapsed();
    assert_eq!((held.task, held.failed_attempts), (task, 1));
    assert!((REST..REST + Duration::from_millis(700)).contains(&took), "{took:?}");
}

async fn failed_task_without_backoff_is_requeued_immediately(on: Fixture) {
    let broker = on.broker;
    let task = submitted(&*broker).await;
    fail_next(&*broker, Duration::ZERO).await;
    assert_eq!(run_at(&*broker, task.id).await, None);
    let again = claimed(&*broker, &claimant(LONG)).await;
    assert_eq!((again.task, again.failed_attempts), (task, 1));
}

async fn repeated_failed_release_starts_one_backoff(on: Fixture) {
    let broker = on.broker;
    let task = submitted(&*broker).await;
    let lease = fail_next(&*broker, REST).await;
    let due = run_at(&*broker, task.id).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    broker.release(&lease, &resting(LONG)).await.unwrap();
    assert_eq!(run_at(&*broker, task.id).await, due, "its rest does not begin again");
    let held = broker.claim(&claimant(LONG), LONG).await.unwrap().unwrap();
    assert_eq!(held.failed_attempts, 1);
    broker.release(&lease, &resting(LONG)).await.unwrap(); // a late repetition, after a lost reply
    broker.finish(&held.lease, &completed("x")).await.unwrap();
    assert_eq!(broker.depth(&model()).await.unwrap(), Depth::default());
}

async fn estimate_includes_the_backoff(on: Fixture) {
    let broker = on.broker;
    broker.report_worker(&report(1), LONG).await.unwrap();
    submitted(&*broker).await;
    let held = claimed(&*broker, &claimant(LONG)).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    broker.finish(&held.lease, &completed("x")).await.unwrap();
    let task = submitted(&*broker).await;
    fail_next(&*broker, LONG).await;
    let told = estimate(&*broker, task.id).await.expect("it is queued");
    let eta = told.eta.expect("a worker is there, and a measurement");
    assert_eq!(told.position, 1);
    assert!(eta.earliest_s > 50.0 && eta.latest_s < 70.0, "{eta:?}");
}

async fn task_in_backoff_can_be_cancelled(on: Fixture) {
    let broker = on.broker;
    let task = submitted(&*broker).await;
    let lease = fail_next(&*broker, REST).await;
    assert_eq!(broker.cancel(task.id).await.unwrap(), CancelReply::Cancelled);
    let end = broker.snapshot(task.id).await.unwrap().unwrap();
    assert_eq!(end.state, TaskState::Cancelled);
    broker.release(&lease, &resting(REST)).await.unwrap();
    assert_eq!(broker.depth(&model()).await.unwrap(), Depth::default());
    tokio::time::sleep(REST + Duration::from_millis(100)).await;
    broker.reap(&claimant(SHORT)).await.unwrap();
    assert!(broker.claim(&claimant(LONG), NO_WAIT).await.unwrap().is_none());
    assert_eq!(broker.depth(&model()).await.unwrap(), Depth::default());
}

async fn deadline_does_not_expire_a_task_in_backoff(on: Fixture) {
    let broker = on.broker;
    let task = task();
    let deadline = Duration::from_millis(200);
    let options = SubmitOptions { expires_in: Some(deadline), ..SubmitOptions::PLAIN };
    broker.submit(&task, &options).await.unwrap();
    fail_next(&*broker, REST).await;
    assert_eq!(broker.snapshot(task.id).await.unwrap().unwrap().expires_at, None);
    tokio::time::sleep(deadline * 2).await;
    assert!(broker.reap(&claimant(SHORT)).await.unwrap().expired.is_empty());
    let held = broker.claim(&claimant(LONG), LONG).await.unwrap().unwrap();
    assert_eq!(held.task, task);
}

async fn task_that_lost_two_workers_gets_a_backoff(on: Fixture) {
    let broker = on.broker;
    let task = Task { max_attempts: 5, ..task() };
    broker.submit(&task, NO_LIMIT).await.unwrap();
    let reaper = claimant(SHORT);
    claimed(&*broker, &claimant(SHORT)).await;
    assert_eq!(reap_until_found(&*broker, &reaper).await.requeued, [task.id]);
    assert_eq!(run_at(&*broker, task.id).await, None, "the first time, the worker is suspected");

    claimed(&*broker, &claimant(SHORT)).await;
    let failed_at = Timestamp::now();
    assert_eq!(reap_until_found(&*broker, &reaper).await.requeued, [task.id]);
    let rest = run_at(&*broker, task.id).await.expect("a rest").seconds_since(failed_at);
    assert!(rest > 0.5, "{rest} s");
    assert!(broker.claim(&claimant(LONG), NO_WAIT).await.unwrap().is_none());
    assert_eq!(broker.depth(&model()).await.unwrap(), Depth { queued: 1, processing: 0 });
    let held = broker.claim(&claimant(LONG), LONG).await.unwrap().unwrap();
    assert_eq!(held.failed_attempts, 2);

    // An attempt that failed without losing its worker ends the series of lost workers.
    broker.release(&held.lease, &failed_release("hiccup")).await.unwrap();
    claimed(&*broker, &claimant(SHORT)).await;
    assert_eq!(reap_until_found(&*broker, &reaper).await.requeued, [task.id]);
    let again = claimed(&*broker, &claimant(LONG)).await;
    assert_eq!(again.failed_attempts, 4, "queued at once");
}

async fn own_backoff_of_a_task_is_used(on: Fixture) {
    let broker = on.broker;
    let reaper = claimant(SHORT);
    let with = |seconds| Task { max_attempts: 5, retry_backoff_s: Some(seconds), ..task() };
    // Without a backoff also after several lost workers; with one, not after the first.
    for (seconds, expected) in [(0, 0.0..=0.0), (600, 299.0..=602.0)] {
        let task = with(seconds);
        broker.submit(&task, NO_LIMIT).await.unwrap();
        claimed(&*broker, &claimant(SHORT)).await;
        assert_eq!(reap_until_found(&*broker, &reaper).await.requeued, [task.id]);
        assert_eq!(run_at(&*broker, task.id).await, None, "{seconds} s, first loss");

        let held = claimed(&*broker, &claimant(SHORT)).await;
        let (least, most) = (f64::from(seconds) / 2.0, f64::from(seconds));
        assert!((least..=most).contains(&held.retry_in().as_secs_f64()), "{:?}", held.retry_in());
        let failed_at = Timestamp::now();
        assert_eq!(reap_until_found(&*broker, &reaper).await.requeued, [task.id]);
        let due = run_at(&*broker, task.id).await;
        let rest = due.map_or(0.0, |due| due.seconds_since(failed_at));
        assert!(expected.contains(&rest), "{seconds} s: {rest} s");
        assert_eq!(due.is_some(), seconds > 0);
        assert_eq!(broker.cancel(task.id).await.unwrap(), CancelReply::Cancelled);
    }
}

async fn replayed_task_keeps_its_attempts_and_backoff(on: Fixture) {
    let broker = on.broker;
    let task = Task { max_attempts: 1, retry_backoff_s: Some(7), ..task() };
    broker.submit(&task, NO_LIMIT).await.unwrap();
    let held = claimed(&*broker, &claimant(LONG)).await;
    assert!(!held.may_retry());
    broker.finish(&held.lease, &failed("broken")).await.unwrap();
    let replayed = broker.replay(task.id).await.unwrap().expect("a dead letter");
    let held = claimed(&*broker, &claimant(LONG)).await;
    assert_eq!(held.task, Task { id: replayed.task_id, ..task });
}

async fn many_tasks_in_backoff_are_all_requeued(on: Fixture) {
    const TASKS: usize = 40; // more than a tenant's window in a stream
    let broker = on.broker;
    let mut leases = Vec::new();
    for _ in 0..TASKS {
        submitted(&*broker).await;
    }
    for _ in 0..TASKS {
        leases.push(claimed(&*broker, &claimant(LONG)).await.lease);
    }
    for lease in &leases {
        broker.release(lease, &resting(REST)).await.unwrap();
    }
    assert_eq!(broker.depth(&model()).await.unwrap().queued, TASKS as u64);
    for _ in 0..TASKS {
        let held = broker.claim(&claimant(LONG), LONG).await.unwrap().unwrap();
        broker.finish(&held.lease, &completed("x")).await.unwrap();
    }
    assert_eq!(broker.depth(&model()).await.unwrap(), Depth::default());
}

run_on_every_broker! {
    failed_task_waits_for_its_backoff,
    failed_task_without_backoff_is_requeued_immediately,
    repeated_failed_release_starts_one_backoff,
    estimate_includes_the_backoff,
    task_in_backoff_can_be_cancelled,
    deadline_does_not_expire_a_task_in_backoff,
    task_that_lost_two_workers_gets_a_backoff,
    own_backoff_of_a_task_is_used,
    replayed_task_keeps_its_attempts_and_backoff,
    many_tasks_in_backoff_are_all_requeued,
}
