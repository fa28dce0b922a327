//! A task's life from submit to outcome.

use std::time::Duration;

use protocol::{Attempt, EventSeq, Outcome, Task, TaskId, TaskState, TaskSummary};
use queue::{CancelReply, Depth};

use crate::support::*;

async fn a_task_goes_from_submit_to_its_result(on: Fixture) {
    let broker = on.broker;
    broker.ping().await.unwrap();
    let task = task();
    let accepted = broker.submit(&task, &up_to(10)).await.unwrap();
    assert_eq!(accepted.depth, 1);

    let worker = claimant(LONG);
    let held = claimed(&*broker, &worker).await;
    assert_eq!(held.task, task, "what comes out is what went in");
    assert_eq!(held.submitted_at, accepted.at);
    assert_eq!((held.lease.task_id, held.lease.worker), (task.id, worker.worker));
    assert_eq!((held.lease.attempt, held.failed_attempts), (Attempt::FIRST, 0));
    assert!(held.started_at >= held.submitted_at && held.may_retry());

    let state = broker.renew(&held.lease, LONG).await.unwrap();
    assert!(!state.cancel_requested);
    let finished = broker.finish(&held.lease, &completed("done \"é\" 🦀")).await.unwrap();
    let end = broker.snapshot(task.id).await.unwrap().unwrap();
    assert_eq!(end.outcome, Some(completed("done \"é\" 🦀")));
    assert_eq!(end.finished_at, Some(finished));
    assert!(broker.claim(&worker, NO_WAIT).await.unwrap().is_none(), "its entry is gone");
}

async fn snapshot_reports_every_state(on: Fixture) {
    let broker = on.broker;
    let task = submitted(&*broker).await;
    let queued = broker.snapshot(task.id).await.unwrap().unwrap();
    assert_eq!((queued.state, queued.attempt), (TaskState::Queued, Attempt::new(0)));
    assert_eq!((queued.worker, queued.started_at, queued.outcome), (None, None, None));
    assert_eq!(queued.task, TaskSummary::from(&task));

    let worker = claimant(LONG);
    let held = claimed(&*broker, &worker).await;
    let processing = broker.snapshot(task.id).await.unwrap().unwrap();
    assert_eq!((processing.state, processing.attempt), (TaskState::Processing, Attempt::FIRST));
    assert_eq!(processing.worker, Some(worker.worker));
    assert_eq!(processing.started_at, Some(held.started_at));
    assert_eq!((processing.finished_at, processing.cancel_requested), (None, false));

    broker.cancel(task.id).await.unwrap();
    assert!(broker.snapshot(task.id).await.unwrap().unwrap().cancel_requested);

    broker.finish(&held.lease, &Outcome::CANCELLED).await.unwrap();
    let ended = broker.snapshot(task.id).await.unwrap().unwrap();
    assert_eq!((ended.state, ended.cancel_requested), (TaskState::Cancelled, false));
    assert_eq!(ended.submitted_at, queued.submitted_at);
}

async fn metrics_are_computed_from_the_brokers_clock(on: Fixture) {
    let broker = on.broker;
    let task = submitted(&*broker).await;
    tokio::time::sleep(Duration::from_millis(60)).await;
    let held = claimed(&*broker, &claimant(LONG)).await;
    assert!(broker.snapshot(task.id).await.unwrap().unwrap().metrics().is_none());
    tokio::time::sleep(Duration::from_millis(40)).await;
    broker.finish(&held.lease, &completed("x")).await.unwrap();
    let metrics = broker.snapshot(task.id).await.unwrap().unwrap().metrics().unwrap();
    assert!((0.06..5.0).contains(&metrics.queue_wait_time), "{metrics:?}");
    assert!((0.04..5.0).contains(&metrics.processing_time), "{metrics:?}");
    assert_eq!((metrics.prompt_tokens, metrics.completion_tokens), (5, 7));
    assert_eq!(metrics.cached_tokens, 3);
}

async fn a_repeated_submit_changes_nothing(on: Fixture) {
    let broker = on.broker;
    let task = task();
    let first = broker.submit(&task, &up_to(10)).await.unwrap();
    assert!(first.created && first.state == TaskState::Queued);
    let repeat = async |bound| {
        let again = broker.submit(&task, &up_to(bound)).await.unwrap();
        assert_eq!((again.task_id, again.created), (task.id, false));
        assert_eq!((again.at, again.depth), (first.at, first.depth));
        again.state
    };
    submitted(&*broker).await;
    assert_eq!(repeat(10).await, TaskState::Queued);
    assert_eq!(repeat(1).await, TaskState::Queued, "also when the queue is full by now");
    assert_eq!(broker.depth(&model()).await.unwrap().queued, 2);
    let held = claimed(&*broker, &claimant(LONG)).await;
    broker.finish(&held.lease, &completed("x")).await.unwrap();
    assert_eq!(repeat(10).await, TaskState::Completed, "also after its end");
    assert_eq!(broker.depth(&model()).await.unwrap(), Depth { queued: 1, processing: 0 });
}

async fn a_repeated_finish_gets_the_same_answer(on: Fixture) {
    let broker = on.broker;
    let task = submitted(&*broker).await;
    let held = claimed(&*broker, &claimant(LONG)).await;
    let first = broker.finish(&held.lease, &completed("x")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(broker.finish(&held.lease, &completed("x")).await.unwrap(), first);
    let events = broker.events(task.id, EventSeq::START, 100).await.unwrap();
    assert_eq!(events.iter().filter(|event| event.body.is_last()).count(), 1);
    assert_eq!(broker.depth(&model()).await.unwrap(), Depth::default());
}

async fn only_one_outcome_is_ever_recorded(on: Fixture) {
    let broker = on.broker;
    let task = submitted(&*broker).await;
    let held = claimed(&*broker, &claimant(LONG)).await;
    broker.finish(&held.lease, &completed("first")).await.unwrap();
    // The same lease with another outcome counts as a repetition; the first outcome stays.
    broker.finish(&held.lease, &failed("second")).await.unwrap();
    assert_eq!(
        broker.cancel(task.id).await.unwrap(),
        CancelReply::AlreadyEnded(TaskState::Completed)
    );
    let end = broker.snapshot(task.id).await.unwrap().unwrap();
    assert_eq!(end.outcome, Some(completed("first")));
}

async fn unknown_task_is_not_found_by_any_operation(on: Fixture) {
    let broker = on.broker;
    let id = TaskId::new();
    assert!(broker.snapshot(id).await.unwrap().is_none());
    assert_eq!(broker.cancel(id).await.unwrap(), CancelReply::NotFound);
    assert!(broker.events(id, EventSeq::START, 10).await.unwrap().is_empty());
    let model = protocol::ModelId::new("nobody's");
    assert_eq!(broker.depth(&model).await.unwrap(), Depth::default());
    assert!(broker.workers().await.unwrap().is_empty());
}

async fn a_failed_task_keeps_its_error(on: Fixture) {
    let broker = on.broker;
    let task = submitted(&*broker).await;
    let held = claimed(&*broker, &claimant(LONG)).await;
    broker.finish(&held.lease, &failed("no \"room\"\n")).await.unwrap();
    let end = broker.snapshot(task.id).await.unwrap().unwrap();
    assert_eq!((end.state, end.outcome), (TaskState::Failed, Some(failed("no \"room\"\n"))));
}

async fn an_outcome_expires_with_its_ttl(on: Fixture) {
    let broker = on.broker;
    let task = Task { result_ttl_s: 1, ..task() };
    broker.submit(&task, NO_LIMIT).await.unwrap();
    let held = claimed(&*broker, &claimant(LONG)).await;
    broker.finish(&held.lease, &completed("x")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(broker.snapshot(task.id).await.unwrap().is_some(), "kept until then");
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(broker.snapshot(task.id).await.unwrap().is_none());
    assert!(broker.events(task.id, EventSeq::START, 10).await.unwrap().is_empty());
    assert_eq!(broker.cancel(task.id).await.unwrap(), CancelReply::NotFound);
    broker.reap(&claimant(SHORT)).await.unwrap();
    broker.submit(&task, NO_LIMIT).await.unwrap(); // the id can be used again
    assert_eq!(claimed(&*broker, &claimant(LONG)).await.task, task);
}

async fn a_queued_task_has_no_ttl(on: Fixture) {
    let broker = on.broker;
    let task = Task { result_ttl_s: 1, ..task() };
    broker.submit(&task, NO_LIMIT).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let held = claimed(&*broker, &claimant(LONG)).await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    broker.finish(&held.lease, &completed("x")).await.unwrap();
    assert!(broker.snapshot(task.id).await.unwrap().is_some());
}

run_on_every_broker! {
    a_task_goes_from_submit_to_its_result,
    snapshot_reports_every_state,
    metrics_are_computed_from_the_brokers_clock,
    a_repeated_submit_changes_nothing,
    a_repeated_finish_gets_the_same_answer,
    only_one_outcome_is_ever_recorded,
    unknown_task_is_not_found_by_any_operation,
    a_failed_task_keeps_its_error,
    an_outcome_expires_with_its_ttl,
    a_queued_task_has_no_ttl,
}
