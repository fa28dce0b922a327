//! The bound on queued tasks, and the counters behind it.

use std::time::Duration;

use protocol::{ModelId, Task};
use queue::{BrokerError, Depth, Release};

use crate::support::*;

pub(super) async fn a_full_queue_refuses_and_recovers(on: Fixture) {
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
    // What was accepted comes back into a full queue: only new work is refused.
    broker.release(&held.lease, &Release::Unused).await.unwrap();
    assert_eq!(broker.depth(&model()).await.unwrap().queued, 4);
}

pub(super) async fn the_retry_time_follows_the_pace(on: Fixture) {
    let broker = on.broker;
    let told = async || {
        let error = broker.submit(&task(), &up_to(1)).await.unwrap_err();
        let BrokerError::QueueFull { retry_after_s, .. } = error else { panic!("{error}") };
        retry_after_s
    };
    submitted(&*broker).await;
    assert_eq!(told().await, 5, "nothing was measured yet");
    let held = claimed(&*broker, &claimant(LONG)).await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    broker.finish(&held.lease, &completed("x")).await.unwrap();
    submitted(&*broker).await;
    assert_eq!(told().await, 2, "a task takes a little more than a second");
}

pub(super) async fn each_model_has_a_queue_of_its_own(on: Fixture) {
    let broker = on.broker;
    broker.submit(&task(), &up_to(1)).await.unwrap();
    let other = Task { model: ModelId::new("other"), ..task() };
    assert_eq!(broker.submit(&other, &up_to(1)).await.unwrap().depth, 1);
    assert!(broker.submit(&task(), &up_to(1)).await.is_err());
    assert_eq!(broker.depth(&other.model).await.unwrap(), Depth { queued: 1, processing: 0 });
}

pub(super) async fn counters_return_to_zero(on: Fixture) {
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
