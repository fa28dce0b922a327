//! The overview: each figure through the lives of tasks.

use std::time::Duration;

use protocol::{
    Lane, ModelId, ModelReport, ModelState, Task, TaskState, Timestamp, WorkerReport, WorkerStatus,
};
use queue::{Broker, QueueOverview, Start, SubmitOptions, Verdict};

use super::endings::End;
use crate::support::*;

/// Returns the overview of the only model.
async fn queue(broker: &dyn Broker) -> QueueOverview {
    let [queue] = broker.overview().await.unwrap().queues.try_into().expect("one queue");
    queue
}

/// Returns the numbers of tasks that are queued per lane, delayed, and processing.
async fn waiting(broker: &dyn Broker) -> ([u64; 4], u64, u64) {
    let queue = queue(broker).await;
    (queue.queued, queue.delayed, queue.processing)
}

fn after(delay: Duration) -> SubmitOptions {
    SubmitOptions { start: Start::After(delay), ..SubmitOptions::PLAIN }
}

async fn overview_of_a_new_queue_is_empty(on: Fixture) {
    let before = Timestamp::now();
    let overview = on.broker.overview().await.unwrap();
    let off = overview.at.seconds_since(before) + before.seconds_since(overview.at);
    assert!(off < 5.0, "{overview:?}");
    assert!(overview.queues.is_empty());
    assert_eq!(
        (overview.queued_bytes, overview.dead_letters, overview.webhooks_pending),
        (0, 0, 0)
    );
}

async fn overview_counts_every_lane_separately(on: Fixture) {
    let broker = &*on.broker;
    for (number, lane) in Lane::ALL.into_iter().enumerate() {
        for _ in 0..=number {
            broker.submit(&task_in(lane), NO_LIMIT).await.unwrap();
        }
    }
    assert_eq!(waiting(broker).await, ([1, 2, 3, 4], 0, 0));
    let bytes = broker.overview().await.unwrap().queued_bytes;
    assert!(bytes >= 10 * 100, "{bytes} bytes are no ten tasks");
    let worker = claimant(LONG);
    let mut left = [1, 2, 3, 4];
    for running in 1..=10 {
        let lane = claimed(broker, &worker).await.task.lane;
        left[Lane::ALL.iter().position(|each| *each == lane).unwrap()] -= 1;
        assert_eq!(waiting(broker).await, (left, 0, running));
    }
    assert_eq!(broker.overview().await.unwrap().queued_bytes, 0);
}

async fn a_backlog_counts_as_queued(on: Fixture) {
    let broker = &*on.broker;
    let mut ids = Vec::new();
    for _ in 0..40 {
        ids.push(submitted(broker).await.id);
    }
    assert_eq!(waiting(broker).await, ([0, 40, 0, 0], 0, 0));
    broker.cancel(ids[39]).await.unwrap();
    broker.cancel(ids[0]).await.unwrap();
    claimed(broker, &claimant(LONG)).await;
    assert_eq!(waiting(broker).await, ([0, 37, 0, 0], 0, 1));
}

async fn delayed_tasks_are_counted_in_no_lane(on: Fixture) {
    let broker = &*on.broker;
    let (soon, never) = (task(), task());
    broker.submit(&soon, &after(Duration::from_millis(400))).await.unwrap();
    broker.submit(&never, &after(LONG)).await.unwrap();
    assert_eq!(waiting(broker).await, ([0; 4], 2, 0));
    assert_eq!(broker.depth(&model()).await.unwrap().queued, 2);
    assert!(broker.overview().await.unwrap().queued_bytes > 0);
    tokio::time::sleep(Duration::from_millis(450)).await;
    broker.reap(&claimant(LONG)).await.unwrap();
    assert_eq!(waiting(broker).await, ([0, 1, 0, 0], 1, 0), "one is due");
    broker.cancel(never.id).await.unwrap();
    assert_eq!(waiting(broker).await, ([0, 1, 0, 0], 0, 0));

    let held = claimed(broker, &claimant(LONG)).await;
    broker.release(&held.lease, &resting(Duration::from_millis(400))).await.unwrap();
    assert_eq!(waiting(broker).await, ([0; 4], 1, 0), "it rests between attempts");
    let again = broker.claim(&claimant(LONG), Duration::from_secs(5)).await.unwrap().unwrap();
    assert_eq!(waiting(broker).await, ([0; 4], 0, 1));
    broker.release(&again.lease, &resting(LONG)).await.unwrap();
    broker.cancel(again.task.id).await.unwrap();
    assert_eq!(waiting(broker).await, ([0; 4], 0, 0));
    let queue = queue(broker).await;
    assert_eq!((queue.completed, queue.failed, queue.cancelled), (0, 0, 2));
    assert_eq!(broker.overview().await.unwrap().queued_bytes, 0);
}

async fn every_outcome_is_counted_once(on: Fixture) {
    let broker = &*on.broker;
    let (mut counted, mut letters) = ([0; 3], 0);
    for end in End::ALL {
        let task = end.submit(broker, task()).await;
        end.come(broker, &task).await;
        let state = broker.snapshot(task.id).await.unwrap().unwrap().state;
        let place = [TaskState::Completed, TaskState::Failed, TaskState::Cancelled]
            .iter()
            .position(|each| *each == state);
        counted[place.unwrap()] += 1;
        letters += u64::from(matches!(end, End::Failed | End::GivenUp));
        let queue = queue(broker).await;
        assert_eq!([queue.completed, queue.failed, queue.cancelled], counted, "{end:?}");
        assert_eq!((queue.queued, queue.delayed, queue.processing), ([0; 4], 0, 0), "{end:?}");
        assert_eq!(broker.overview().await.unwrap().dead_letters, letters, "{end:?}");
    }
    assert_eq!(counted, [1, 3, 4]);
}

async fn capacity_and_service_time_come_from_the_workers(on: Fixture) {
    let broker = &*on.broker;
    submitted(broker).await;
    assert_eq!((queue(broker).await.capacity, queue(broker).await.service_ms), (0, 0.0));
    let (one, two) = (report(3), report(4));
    broker.report_worker(&one, LONG).await.unwrap();
    broker.report_worker(&two, LONG).await.unwrap();
    let elsewhere = WorkerReport { model: ModelId::new("elsewhere"), ..report(5) };
    broker.report_worker(&elsewhere, LONG).await.unwrap();
    assert_eq!(queue(broker).await.capacity, 7);
    let served = |model: &str, capacity| ModelReport {
        model: ModelId::new(model),
        parent: None,
        quantization: "Q8_0".into(),
        state: ModelState::Unloaded,
        running: 0,
        capacity,
        context_length: None,
        images: Some(true),
        family: None,
        memory_bytes: 1,
        load_ms: None,
        since_claim_ms: None,
        problem: None,
    };
    // If a worker serves several models, each counts with its own capacity, loaded or not.
    let models = vec![served("elsewhere", 6), served("demo", 2)];
    let several = WorkerReport { model: ModelId::new("elsewhere"), models, ..report(99) };
    broker.report_worker(&several, LONG).await.unwrap();
    assert_eq!(queue(broker).await.capacity, 9);
    let failed = WorkerReport { models: vec![served("demo", 0)], ..several.clone() };
    broker.report_worker(&failed, LONG).await.unwrap();
    assert_eq!(queue(broker).await.capacity, 7, "it can't be loaded");
    broker.report_worker(&several, LONG).await.unwrap();
    broker.forget_worker(several.id).await.unwrap();
    assert_eq!(queue(broker).await.capacity, 7);
    let draining = WorkerReport { status: WorkerStatus::Draining, ..one };
    broker.report_worker(&draining, LONG).await.unwrap();
    assert_eq!(queue(broker).await.capacity, 4);
    broker.forget_worker(two.id).await.unwrap();
    assert_eq!(queue(broker).await.capacity, 0);

    let held = claimed(broker, &claimant(LONG)).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    broker.finish(&held.lease, &completed("x")).await.unwrap();
    let measured = queue(broker).await.service_ms;
    assert!((50.0..5_000.0).contains(&measured), "{measured} ms");
}

async fn models_are_listed_by_name_once_known(on: Fixture) {
    let broker = &*on.broker;
    let named = |name: &str| Task { model: ModelId::new(name), ..task() };
    for name in ["b", "d", "c"] {
        broker.submit(&named(name), NO_LIMIT).await.unwrap();
    }
    broker.set_paused(&ModelId::new("a"), true).await.unwrap();
    broker.set_paused(&ModelId::new("d"), true).await.unwrap();
    let listed = async || {
        let queues = broker.overview().await.unwrap().queues;
        let named = queues.iter().map(|queue| format!("{} {}", queue.model, queue.paused));
        named.collect::<Vec<_>>().join(", ")
    };
    assert_eq!(listed().await, "a true, b false, c false, d true");
    broker.set_paused(&ModelId::new("a"), false).await.unwrap();
    assert_eq!(listed().await, "a false, b false, c false, d true");
}

async fn webhooks_count_as_pending_from_outcome_to_last_try(on: Fixture) {
    let broker = &*on.broker;
    let pending = async || broker.overview().await.unwrap().webhooks_pending;
    let (task, given_up) = (with_webhook(task()), with_webhook(task()));
    broker.submit(&task, NO_LIMIT).await.unwrap();
    assert_eq!(pending().await, 0, "the task has not ended");
    End::Completed.come(broker, &task).await;
    assert_eq!(pending().await, 1);
    let [delivery] = broker.due_webhooks(LONG, 10).await.unwrap().try_into().unwrap();
    assert_eq!(pending().await, 1, "it was not delivered yet");
    let verdict = Verdict::Again(LONG);
    broker.webhook_tried(task.id.into(), &tried(delivery.number), verdict).await.unwrap();
    assert_eq!(pending().await, 1, "it rests");

    broker.submit(&given_up, NO_LIMIT).await.unwrap();
    End::CancelledQueued.come(broker, &given_up).await;
    assert_eq!(pending().await, 2);
    broker.due_webhooks(LONG, 10).await.unwrap();
    broker.webhook_tried(given_up.id.into(), &tried(1), Verdict::GivenUp).await.unwrap();
    assert_eq!(pending().await, 1);
}

run_on_every_broker! {
    overview_of_a_new_queue_is_empty,
    overview_counts_every_lane_separately,
    a_backlog_counts_as_queued,
    delayed_tasks_are_counted_in_no_lane,
    every_outcome_is_counted_once,
    capacity_and_service_time_come_from_the_workers,
    models_are_listed_by_name_once_known,
    webhooks_count_as_pending_from_outcome_to_last_try,
}
