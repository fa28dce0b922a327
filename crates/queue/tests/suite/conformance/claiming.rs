//! Tests which task a claim returns, and when.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{Lane, ModelId, Task};
use queue::{Broker, Claimant};

use crate::support::*;

async fn a_waiting_claim_is_woken_at_once(on: Fixture) {
    let (broker, other) = (Arc::clone(&on.broker), on.another());
    let waiter = tokio::spawn(async move {
        let held = broker.claim(&claimant(LONG), LONG).await.unwrap().unwrap();
        (held, Instant::now())
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let task = task();
    let begun = Instant::now();
    other.submit(&task, NO_LIMIT).await.unwrap();
    let (held, woken) = waiter.await.unwrap();
    assert_eq!(held.task, task);
    let took = woken.duration_since(begun);
    assert!(took < Duration::from_millis(50), "woken after {took:?}");
}

async fn a_waiting_claim_is_woken_by_a_release(on: Fixture) {
    let (broker, other) = (Arc::clone(&on.broker), on.another());
    let task = submitted(&*other).await;
    let held = claimed(&*other, &claimant(LONG)).await;
    let waiter = tokio::spawn(async move { broker.claim(&claimant(LONG), LONG).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    other.release(&held.lease, &queue::Release::Unused).await.unwrap();
    let again = tokio::time::timeout(Duration::from_secs(2), waiter).await.unwrap().unwrap();
    assert_eq!(again.unwrap().unwrap().task, task);
}

async fn claim_returns_none_after_its_wait_time(on: Fixture) {
    let broker = on.broker;
    for wait in [Duration::ZERO, Duration::from_millis(150)] {
        let begun = Instant::now();
        assert!(broker.claim(&claimant(LONG), wait).await.unwrap().is_none());
        let took = begun.elapsed();
        assert!(took >= wait && took < wait + Duration::from_secs(1), "{took:?}");
    }
}

async fn dropped_claim_loses_no_task(on: Fixture) {
    let broker = on.broker;
    for _ in 0..5 {
        let claimant = claimant(LONG);
        let waiting = broker.claim(&claimant, LONG);
        assert!(tokio::time::timeout(Duration::from_millis(30), waiting).await.is_err());
    }
    let task = submitted(&*broker).await;
    let held = broker.claim(&claimant(LONG), Duration::from_secs(2)).await.unwrap().unwrap();
    assert_eq!((held.task.id, held.failed_attempts), (task.id, 0));
}

async fn claim_dropped_as_a_task_arrives_loses_no_task(on: Fixture) {
    let broker = on.broker;
    for round in 0..60u64 {
        let task = task();
        let doomed = {
            let broker = Arc::clone(&broker);
            tokio::spawn(async move { broker.claim(&claimant(LONG), LONG).await })
        };
        tokio::time::sleep(Duration::from_millis(2)).await;
        broker.submit(&task, NO_LIMIT).await.unwrap();
        tokio::time::sleep(Duration::from_micros(round * 40)).await;
        doomed.abort();
        let held = match doomed.await {
            Ok(claim) => claim.unwrap().unwrap(), // it finished before the abort
            Err(_) => broker
                .claim(&claimant(LONG), Duration::from_secs(5))
                .await
                .unwrap()
                .unwrap_or_else(|| panic!("round {round}: the task is lost")),
        };
        assert_eq!((held.task.id, held.failed_attempts), (task.id, 0));
        broker.finish(&held.lease, &completed("x")).await.unwrap();
    }
    assert_eq!(broker.depth(&model()).await.unwrap(), queue::Depth::default());
}

async fn lanes_are_served_by_priority(on: Fixture) {
    let broker = on.broker;
    for lane in [Lane::Batch, Lane::Low, Lane::Normal, Lane::High] {
        broker.submit(&task_in(lane), NO_LIMIT).await.unwrap();
    }
    let worker = claimant(LONG);
    for lane in Lane::ALL {
        assert_eq!(claimed(&*broker, &worker).await.task.lane, lane);
    }
}

async fn no_lane_starves(on: Fixture) {
    let broker = on.broker;
    for lane in [Lane::Batch, Lane::Low, Lane::Normal] {
        broker.submit(&task_in(lane), NO_LIMIT).await.unwrap();
    }
    for _ in 0..20 {
        broker.submit(&task_in(Lane::High), NO_LIMIT).await.unwrap();
    }
    let worker = claimant(LONG);
    let mut served = HashSet::new();
    for _ in 0..16 {
        served.insert(claimed(&*broker, &worker).await.task.lane);
    }
    assert_eq!(served.len(), 4, "every lane within 16 claims, though high is never empty");
}

async fn a_worker_claims_only_its_models(on: Fixture) {
    let broker = on.broker;
    let other = Task { model: ModelId::new("Qwen/Qwen3-4B-GGUF:Q4_K_M"), ..task() };
    broker.submit(&other, NO_LIMIT).await.unwrap();
    let worker = claimant(LONG);
    assert!(broker.claim(&worker, Duration::from_millis(50)).await.unwrap().is_none());
    let worker = Claimant { models: vec![other.model.clone()], ..worker };
    assert_eq!(claimed(&*broker, &worker).await.task, other);
    let idle = Claimant { models: vec![], ..worker };
    assert!(broker.claim(&idle, Duration::from_millis(50)).await.unwrap().is_none());
}

async fn claim_for_several_models_is_woken_by_each(on: Fixture) {
    let (broker, other) = (Arc::clone(&on.broker), on.another());
    let models = vec![model(), ModelId::new("second"), ModelId::new("third")];
    for wanted in models.clone() {
        let worker = Claimant { models: models.clone(), ..claimant(LONG) };
        let waiter = {
            let broker = Arc::clone(&broker);
            tokio::spawn(async move { broker.claim(&worker, LONG).await.unwrap().unwrap() })
        };
        tokio::time::sleep(Duration::from_millis(50)).await;
        other.submit(&Task { model: wanted.clone(), ..task() }, NO_LIMIT).await.unwrap();
        let held = tokio::time::timeout(Duration::from_secs(2), waiter).await.unwrap().unwrap();
        assert_eq!(held.task.model, wanted);
    }
}

async fn claimers_never_share_a_task(on: Fixture) {
    const TASKS: usize = 200;
    let mut claimers = Vec::new();
    for _ in 0..8 {
        let broker = on.another();
        claimers.push(tokio::spawn(async move {
            let worker = claimant(LONG);
            let mut mine = Vec::new();
            while let Some(held) = broker.claim(&worker, Duration::from_millis(500)).await.unwrap()
            {
                broker.finish(&held.lease, &completed("x")).await.unwrap();
                mine.push(held.task.id);
            }
            mine
        }));
    }
    let mut sent = HashSet::new();
    for _ in 0..TASKS {
        sent.insert(submitted(&*on.broker).await.id);
    }
    let mut done = Vec::new();
    for claimer in claimers {
        done.extend(claimer.await.unwrap());
    }
    assert_eq!(done.len(), TASKS, "none twice");
    assert_eq!(done.into_iter().collect::<HashSet<_>>(), sent, "none lost");
    assert_eq!(on.broker.depth(&model()).await.unwrap(), queue::Depth::default());
}

async fn a_lane_is_served_in_order(on: Fixture) {
    let broker: &dyn Broker = &*on.broker;
    let mut sent = Vec::new();
    for _ in 0..30 {
        sent.push(submitted(broker).await.id);
    }
    let worker = claimant(LONG);
    for id in sent {
        assert_eq!(claimed(broker, &worker).await.task.id, id);
    }
}

run_on_every_broker! {
    a_waiting_claim_is_woken_at_once,
    a_waiting_claim_is_woken_by_a_release,
    claim_returns_none_after_its_wait_time,
    dropped_claim_loses_no_task,
    claim_dropped_as_a_task_arrives_loses_no_task,
    lanes_are_served_by_priority,
    no_lane_starves,
    a_worker_claims_only_its_models,
    claim_for_several_models_is_woken_by_each,
    claimers_never_share_a_task,
    a_lane_is_served_in_order,
}
