//! Tasks whose worker is gone.

use std::time::Instant;

use protocol::{Attempt, ErrorType, EventBody, EventSeq, Outcome, Task, TaskError, TaskState};
use queue::{Depth, Reaped, Release};

use crate::support::*;

async fn task_with_an_expired_lease_is_requeued(on: Fixture) {
    let broker = on.broker;
    let task = submitted(&*broker).await;
    let reaper = claimant(SHORT);
    broker.reap(&reaper).await.unwrap();
    let begun = Instant::now();
    claimed(&*broker, &claimant(SHORT)).await;
    assert_eq!(broker.depth(&model()).await.unwrap(), Depth { queued: 0, processing: 1 });
    let reaped = reap_until_found(&*broker, &reaper).await;
    assert_eq!(reaped, Reaped { requeued: vec![task.id], ..Reaped::default() });
    assert!(begun.elapsed() <= SHORT * 2, "recovered after {:?}", begun.elapsed());

    let queued = broker.snapshot(task.id).await.unwrap().unwrap();
    assert_eq!((queued.state, queued.attempt), (TaskState::Queued, Attempt::FIRST));
    assert_eq!(broker.depth(&model()).await.unwrap(), Depth { queued: 1, processing: 0 });
    let again = claimed(&*broker, &claimant(LONG)).await;
    assert_eq!((again.lease.attempt, again.failed_attempts), (Attempt::new(2), 1));
    assert_eq!(again.task, task);
    broker.finish(&again.lease, &completed("second try")).await.unwrap();
}

async fn renewed_lease_is_not_reaped(on: Fixture) {
    let broker = on.broker;
    submitted(&*broker).await;
    let held = claimed(&*broker, &claimant(SHORT)).await;
    for _ in 0..12 {
        tokio::time::sleep(SHORT / 4).await;
        broker.renew(&held.lease, SHORT).await.unwrap();
        assert_eq!(broker.reap(&claimant(SHORT)).await.unwrap(), Reaped::default());
    }
    broker.finish(&held.lease, &completed("x")).await.unwrap();
}

async fn task_without_attempts_left_is_handed_to_the_reaper(on: Fixture) {
    let broker = on.broker;
    let task = Task { max_attempts: 2, ..task() };
    broker.submit(&task, NO_LIMIT).await.unwrap();
    let reaper = claimant(SHORT);
    claimed(&*broker, &claimant(SHORT)).await;
    assert_eq!(reap_until_found(&*broker, &reaper).await.requeued, [task.id]);
    let last = claimed(&*broker, &claimant(SHORT)).await;
    assert!(!last.may_retry());
    let reaped = reap_until_found(&*broker, &reaper).await;
    let [handed] = &reaped.exhausted[..] else { panic!("{reaped:?}") };
    assert_eq!((&handed.task, handed.failed_attempts), (&task, 2));
    assert_eq!((handed.lease.worker, handed.lease.attempt), (reaper.worker, Attempt::new(3)));
    assert_eq!(handed.started_at, last.started_at, "when work on it last began");

    assert!(broker.claim(&claimant(LONG), NO_WAIT).await.unwrap().is_none(), "queued no more");
    let late = broker.finish(&last.lease, &completed("late")).await;
    assert!(late.is_err(), "the attempt before is fenced off");
    // If the reaper dies too, another reaps its lease.
    let second_reaper = claimant(SHORT);
    let reaped = reap_until_found(&*broker, &second_reaper).await;
    let lost = Outcome::Failed(TaskError::new(ErrorType::WorkerLost, "worker after worker died"));
    broker.finish(&reaped.exhausted[0].lease, &lost).await.unwrap();
    assert_eq!(broker.snapshot(task.id).await.unwrap().unwrap().outcome, Some(lost));
    assert_eq!(broker.depth(&model()).await.unwrap(), Depth::default());
}

async fn unused_release_is_not_a_failed_attempt(on: Fixture) {
    let broker = on.broker;
    let task = Task { max_attempts: 1, ..task() };
    broker.submit(&task, NO_LIMIT).await.unwrap();
    let worker = claimant(LONG);
    for attempt in 1..=4 {
        let held = claimed(&*broker, &worker).await;
        assert_eq!((held.lease.attempt, held.failed_attempts), (Attempt::new(attempt), 0));
        broker.release(&held.lease, &Release::Unused).await.unwrap();
        let queued = broker.snapshot(task.id).await.unwrap().unwrap();
        assert_eq!((queued.state, queued.started_at), (TaskState::Queued, None));
    }
    assert_eq!(broker.depth(&model()).await.unwrap(), Depth { queued: 1, processing: 0 });
}

async fn failed_release_is_a_failed_attempt(on: Fixture) {
    let broker = on.broker;
    let task = submitted(&*broker).await;
    let worker = claimant(LONG);
    let failed = failed_release("CUDA \"hiccup\"\n");
    for failures in 0..2 {
        let held = claimed(&*broker, &worker).await;
        assert_eq!(held.failed_attempts, failures);
        assert!(held.may_retry());
        broker.release(&held.lease, &failed).await.unwrap();
    }
    let last = claimed(&*broker, &worker).await;
    assert!(last.failed_attempts == 2 && !last.may_retry());
    let events = broker.events(task.id, EventSeq::START, 100).await.unwrap();
    let reason =
        EventBody::Requeued { attempt: Attempt::FIRST, reason: "CUDA \"hiccup\"\n".into() };
    assert!(events.iter().any(|event| event.body == reason), "{events:?}");
}

async fn a_repeated_release_changes_nothing(on: Fixture) {
    let broker = on.broker;
    submitted(&*broker).await;
    let held = claimed(&*broker, &claimant(LONG)).await;
    let failed = failed_release("x");
    broker.release(&held.lease, &failed).await.unwrap();
    broker.release(&held.lease, &failed).await.unwrap();
    assert_eq!(broker.depth(&model()).await.unwrap(), Depth { queued: 1, processing: 0 });
    let next = claimed(&*broker, &claimant(LONG)).await;
    assert_eq!(next.failed_attempts, 1);
    broker.release(&held.lease, &failed).await.unwrap(); // a late repetition, after a lost reply
    broker.finish(&next.lease, &completed("x")).await.unwrap();
    assert_eq!(broker.depth(&model()).await.unwrap(), Depth::default());
}

async fn cancelled_task_is_not_requeued(on: Fixture) {
    let broker = on.broker;
    let task = submitted(&*broker).await;
    claimed(&*broker, &claimant(SHORT)).await;
    broker.cancel(task.id).await.unwrap();
    let reaped = reap_until_found(&*broker, &claimant(SHORT)).await;
    assert_eq!(reaped, Reaped { cancelled: vec![task.id], ..Reaped::default() });
    let end = broker.snapshot(task.id).await.unwrap().unwrap();
    assert_eq!((end.state, end.outcome), (TaskState::Cancelled, Some(Outcome::CANCELLED)));
    assert_eq!(broker.depth(&model()).await.unwrap(), Depth::default());
}

async fn reapers_pause_after_an_outage(on: Fixture) {
    let broker = on.broker;
    let reaper = claimant(SHORT);
    broker.reap(&reaper).await.unwrap();
    submitted(&*broker).await;
    let held = claimed(&*broker, &claimant(SHORT)).await;
    tokio::time::sleep(SHORT * 3).await; // as if the store was unreachable
    assert_eq!(broker.reap(&reaper).await.unwrap(), Reaped::default(), "held back");
    broker.renew(&held.lease, LONG).await.unwrap(); // the worker reaches the store again
    let until = Instant::now() + SHORT * 2;
    while Instant::now() < until {
        assert_eq!(broker.reap(&reaper).await.unwrap(), Reaped::default(), "no double run");
        tokio::time::sleep(SHORT / 8).await;
    }
    broker.finish(&held.lease, &completed("x")).await.unwrap();
}

async fn many_leases_are_reaped_at_once(on: Fixture) {
    const TASKS: usize = 150; // more than one reap handles at once
    let broker = on.broker;
    for _ in 0..TASKS {
        submitted(&*broker).await;
        claimed(&*broker, &claimant(SHORT)).await;
    }
    tokio::time::sleep(SHORT).await;
    let mut requeued = std::collections::HashSet::new();
    while requeued.len() < TASKS {
        requeued.extend(reap_until_found(&*broker, &claimant(SHORT)).await.requeued);
    }
    assert_eq!(broker.depth(&model()).await.unwrap(), Depth { queued: 150, processing: 0 });
}

run_on_every_broker! {
    task_with_an_expired_lease_is_requeued,
    renewed_lease_is_not_reaped,
    task_without_attempts_left_is_handed_to_the_reaper,
    unused_release_is_not_a_failed_attempt,
    failed_release_is_a_failed_attempt,
    a_repeated_release_changes_nothing,
    cancelled_task_is_not_requeued,
    reapers_pause_after_an_outage,
    many_leases_are_reaped_at_once,
}
