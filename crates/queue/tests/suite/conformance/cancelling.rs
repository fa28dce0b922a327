//! Cancelling tasks.

use std::time::Duration;

use protocol::{EventSeq, Outcome, TaskState};
use queue::{CancelReply, Depth, Release};

use crate::support::*;

async fn queued_task_is_cancelled_immediately(on: Fixture) {
    let broker = on.broker;
    let (first, second) = (submitted(&*broker).await, submitted(&*broker).await);
    assert_eq!(broker.cancel(first.id).await.unwrap(), CancelReply::Cancelled);
    let end = broker.snapshot(first.id).await.unwrap().unwrap();
    assert_eq!((end.state, end.outcome.clone()), (TaskState::Cancelled, Some(Outcome::CANCELLED)));
    let metrics = end.metrics().unwrap();
    assert_eq!(metrics.processing_time, 0.0, "it only waited");
    assert_eq!(
        broker.cancel(first.id).await.unwrap(),
        CancelReply::AlreadyEnded(TaskState::Cancelled)
    );
    assert_eq!(broker.depth(&model()).await.unwrap(), Depth { queued: 1, processing: 0 });
    assert_eq!(claimed(&*broker, &claimant(LONG)).await.task.id, second.id);
    assert!(broker.claim(&claimant(LONG), NO_WAIT).await.unwrap().is_none());
}

async fn running_task_receives_the_cancel_request(on: Fixture) {
    let broker = on.broker;
    let task = submitted(&*broker).await;
    let held = claimed(&*broker, &claimant(LONG)).await;
    assert_eq!(broker.cancel(task.id).await.unwrap(), CancelReply::Requested);
    assert_eq!(broker.cancel(task.id).await.unwrap(), CancelReply::Requested, "idempotent");
    assert_eq!(broker.snapshot(task.id).await.unwrap().unwrap().state, TaskState::Processing);
    assert!(broker.publish(&held.lease, 0, &["x".into()]).await.unwrap().cancel_requested);
    assert!(broker.renew(&held.lease, LONG).await.unwrap().cancel_requested);
    broker.finish(&held.lease, &Outcome::CANCELLED).await.unwrap();
    let end = broker.snapshot(task.id).await.unwrap().unwrap();
    assert_eq!(end.state, TaskState::Cancelled);
    assert_eq!(broker.depth(&model()).await.unwrap(), Depth::default());
}

async fn ended_task_is_not_changed_by_a_cancel(on: Fixture) {
    let broker = on.broker;
    let task = submitted(&*broker).await;
    let held = claimed(&*broker, &claimant(LONG)).await;
    broker.cancel(task.id).await.unwrap();
    broker.finish(&held.lease, &completed("it was done already")).await.unwrap();
    assert_eq!(
        broker.cancel(task.id).await.unwrap(),
        CancelReply::AlreadyEnded(TaskState::Completed)
    );
    let end = broker.snapshot(task.id).await.unwrap().unwrap();
    assert_eq!(end.outcome, Some(completed("it was done already")));
}

async fn released_task_with_a_cancel_request_is_cancelled(on: Fixture) {
    let broker = on.broker;
    let task = submitted(&*broker).await;
    let held = claimed(&*broker, &claimant(LONG)).await;
    broker.cancel(task.id).await.unwrap();
    broker.release(&held.lease, &Release::Unused).await.unwrap();
    broker.release(&held.lease, &Release::Unused).await.unwrap();
    let end = broker.snapshot(task.id).await.unwrap().unwrap();
    assert_eq!(end.state, TaskState::Cancelled);
    let events = broker.events(task.id, EventSeq::START, 100).await.unwrap();
    assert_eq!(events.iter().filter(|event| event.body.is_last()).count(), 1);
    assert!(broker.claim(&claimant(LONG), NO_WAIT).await.unwrap().is_none());
    assert_eq!(broker.depth(&model()).await.unwrap(), Depth::default());
}

async fn cancellation_feed_names_running_tasks(on: Fixture) {
    let (broker, gateway) = (std::sync::Arc::clone(&on.broker), on.another());
    let mut feed = broker.cancellations();
    let task = submitted(&*broker).await;
    claimed(&*broker, &claimant(LONG)).await;
    // A notification may be lost while the feed is being set up; after that it must arrive.
    let named = async {
        loop {
            gateway.cancel(task.id).await.unwrap();
            let next = tokio::time::timeout(Duration::from_millis(200), feed.next());
            // Ids of other tasks come as well: a late notification for another test on this
            // Cluster.
            if let Ok(id) = next.await
                && id == task.id
            {
                return id;
            }
        }
    };
    let named = tokio::time::timeout(Duration::from_secs(5), named).await.unwrap();
    assert_eq!(named, task.id);
}

run_on_every_broker! {
    queued_task_is_cancelled_immediately,
    running_task_receives_the_cancel_request,
    ended_task_is_not_changed_by_a_cancel,
    released_task_with_a_cancel_request_is_cancelled,
    cancellation_feed_names_running_tasks,
}
