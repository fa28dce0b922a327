//! The bounds on queued tasks, and the counters behind them.

use std::time::Duration;

use protocol::{Completion, ModelId, Outcome, Task, TenantId, Usage};
use queue::{Bound, Bounds, Broker, BrokerError, Depth, Release, SubmitOptions};

use crate::support::*;

async fn a_full_queue_refuses_and_recovers(on: Fixture) {
    let broker = on.broker;
    for depth in 1..=3 {
        assert_eq!(broker.submit(&task(), &up_to(3)).await.unwrap().depth, depth);
    }
    let refused = task();
    let error = broker.submit(&refused, &up_to(3)).await.unwrap_err();
    let BrokerError::QueueFull { model: of, held: depth, limit, retry_after_s, .. } = error else {
        panic!("{error}")
    };
    assert_eq!((of, depth, limit), (model(), 3, 3));
    assert!((1..=120).contains(&retry_after_s));
    assert!(broker.snapshot(refused.id).await.unwrap().is_none(), "nothing of it was stored");
    assert_eq!(broker.depth(&model()).await.unwrap().queued, 3);

    let held = claimed(&*broker, &claimant(LONG)).await;
    broker.submit(&refused, &up_to(3)).await.unwrap();
    assert!(broker.submit(&task(), &up_to(3)).await.is_err());
    // A released task is queued again although the queue is full: only new tasks are refused.
    broker.release(&held.lease, &Release::Unused).await.unwrap();
    assert_eq!(broker.depth(&model()).await.unwrap().queued, 4);
}

async fn retry_after_follows_the_measured_service_time(on: Fixture) {
    let broker = on.broker;
    let told = async || {
        let error = broker.submit(&task(), &up_to(1)).await.unwrap_err();
        let BrokerError::QueueFull { retry_after_s, .. } = error else { panic!("{error}") };
        retry_after_s
    };
    submitted(&*broker).await;
    assert_eq!(told().await, 5, "nothing was measured yet");
    let count = claimed(&*broker, &claimant(LONG)).await;
    let usage = Usage { prompt_tokens: 9, ..Usage::default() };
    let counted = Outcome::Completed(Completion { usage, ..Completion::default() });
    tokio::time::sleep(Duration::from_millis(20)).await;
    broker.finish(&count.lease, &counted).await.unwrap();
    submitted(&*broker).await;
    assert_eq!(told().await, 5, "a count of tokens is not measured");
    let held = claimed(&*broker, &claimant(LONG)).await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    broker.finish(&held.lease, &completed("x")).await.unwrap();
    submitted(&*broker).await;
    assert_eq!(told().await, 2, "a task takes a little more than a second");
}

async fn each_model_has_its_own_queue(on: Fixture) {
    let broker = on.broker;
    broker.submit(&task(), &up_to(1)).await.unwrap();
    let other = Task { model: ModelId::new("other"), ..task() };
    assert_eq!(broker.submit(&other, &up_to(1)).await.unwrap().depth, 1);
    assert!(broker.submit(&task(), &up_to(1)).await.is_err());
    assert_eq!(broker.depth(&other.model).await.unwrap(), Depth { queued: 1, processing: 0 });
}

async fn counters_return_to_zero(on: Fixture) {
    let broker = on.broker;
    let worker = claimant(LONG);
    for round in 0..40 {
        let task = submitted(&*broker).await;
        if round % 5 == 0 {
            broker.cancel(task.id).await.unwrap();
            continue;
        }
        let held = claimed(&*broker, &worker).await;
        match round % 5 {
            1 => drop(broker.finish(&held.lease, &completed("x")).await.unwrap()),
            2 => drop(broker.finish(&held.lease, &failed("x")).await.unwrap()),
            3 => {
                broker.cancel(task.id).await.unwrap();
                broker.release(&held.lease, &Release::Unused).await.unwrap();
            }
            _ => {
                broker.release(&held.lease, &Release::Unused).await.unwrap();
                broker.cancel(task.id).await.unwrap();
            }
        }
    }
    assert_eq!(broker.depth(&model()).await.unwrap(), Depth::default());
}

/// Returns the bound that refused a submit, and the count it was checked against.
async fn refusal(broker: &dyn Broker, task: &Task, bounds: Bounds) -> (Bound, u64) {
    let options = SubmitOptions { bounds, ..SubmitOptions::PLAIN };
    match broker.submit(task, &options).await.unwrap_err() {
        BrokerError::QueueFull { bound, held, .. } => (bound, held),
        other => panic!("{other}"),
    }
}

async fn each_tenant_has_its_own_bound(on: Fixture) {
    let broker = &*on.broker;
    let bounds = Bounds { tenant: 2, ..Bounds::NONE };
    let options = SubmitOptions { bounds, ..SubmitOptions::PLAIN };
    let first = submitted(broker).await;
    let elsewhere = Task { model: ModelId::new("other"), ..task() };
    broker.submit(&elsewhere, &options).await.unwrap();
    assert_eq!(refusal(broker, &task(), bounds).await, (Bound::Tenant, 2));
    let stranger = Task { tenant: TenantId::new("stranger"), ..task() };
    broker.submit(&stranger, &options).await.unwrap();
    broker.cancel(first.id).await.unwrap();
    broker.submit(&task(), &options).await.unwrap();
    assert_eq!(refusal(broker, &task(), bounds).await, (Bound::Tenant, 2));
}

async fn queued_bytes_are_bounded_and_released(on: Fixture) {
    let broker = &*on.broker;
    let tight = Bounds { bytes: 0, ..Bounds::NONE };
    assert_eq!(refusal(broker, &task(), tight).await, (Bound::Bytes, 0));
    submitted(broker).await;
    let (_, one) = refusal(broker, &task(), tight).await;
    assert!((200..2_000).contains(&one), "{one}");
    let room_for_two = SubmitOptions {
        bounds: Bounds { bytes: 2 * one + one / 2, ..Bounds::NONE },
        ..SubmitOptions::PLAIN
    };
    broker.submit(&task(), &room_for_two).await.unwrap();
    assert!(broker.submit(&task(), &room_for_two).await.is_err());
    let held = claimed(broker, &claimant(LONG)).await;
    assert_eq!(refusal(broker, &task(), tight).await, (Bound::Bytes, one));
    broker.release(&held.lease, &Release::Unused).await.unwrap();
    assert_eq!(refusal(broker, &task(), tight).await, (Bound::Bytes, 2 * one));
    for _ in 0..2 {
        let held = claimed(broker, &claimant(LONG)).await;
        broker.finish(&held.lease, &completed("x")).await.unwrap();
    }
    assert_eq!(refusal(broker, &task(), tight).await, (Bound::Bytes, 0));
}

run_on_every_broker! {
    a_full_queue_refuses_and_recovers,
    retry_after_follows_the_measured_service_time,
    each_model_has_its_own_queue,
    each_tenant_has_its_own_bound,
    queued_bytes_are_bounded_and_released,
    counters_return_to_zero,
}
