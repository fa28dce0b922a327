//! Fairness between a tenant with many tasks and one with few, and estimates for queued tasks.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use protocol::{Lane, ModelId, Task, TaskId, TenantId, WorkerReport, WorkerStatus};
use queue::{Broker, Claimant, Depth, Release};

use crate::support::*;

/// The most tasks of a tenant in a stream.
const WINDOW: usize = 16;

fn of(tenant: &str) -> Task {
    Task { tenant: TenantId::new(tenant), ..task() }
}

async fn submit_many(broker: &dyn Broker, tenant: &str, count: usize) -> Vec<TaskId> {
    let tasks: Vec<_> = (0..count).map(|_| of(tenant)).collect();
    for some in tasks.chunks(64) {
        let submits = some.iter().map(|task| broker.submit(task, NO_LIMIT));
        for answer in futures::future::join_all(submits).await {
            answer.unwrap();
        }
    }
    tasks.into_iter().map(|task| task.id).collect()
}

async fn tenant_with_many_tasks_delays_others_by_at_most_a_window(on: Fixture) {
    const MANY: usize = 10_000;
    let broker = &*on.broker;
    submit_many(broker, "many", MANY).await;
    let mut few: HashSet<_> = submit_many(broker, "few", 10).await.into_iter().collect();
    let last = estimate(broker, *few.iter().max().unwrap()).await.unwrap();
    assert!(last.position as usize <= WINDOW + 10, "{last:?}");
    let worker = claimant(LONG);
    let mut claims = 0;
    while !few.is_empty() {
        few.remove(&claimed(broker, &worker).await.task.id);
        claims += 1;
    }
    assert!(claims <= WINDOW + 2 * 10, "the few waited for {claims} claims");
    // The tenant with many tasks is fully served too, and nothing is left behind.
    let workers: Vec<_> = (0..64).map(|_| claimant(LONG)).collect();
    let drain = workers.iter().map(async |worker| {
        let mut served = 0;
        while broker.claim(worker, NO_WAIT).await.unwrap().is_some() {
            served += 1;
        }
        served
    });
    let served: usize = futures::future::join_all(drain).await.into_iter().sum();
    assert_eq!(claims + served, MANY + 10);
    let depth = Depth { queued: 0, processing: (MANY + 10) as u64 };
    assert_eq!(broker.depth(&model()).await.unwrap(), depth);
}

async fn backlog_is_served_in_order_without_cancelled_tasks(on: Fixture) {
    let broker = &*on.broker;
    let mut sent = Vec::new();
    for _ in 0..60 {
        sent.push(submitted(broker).await.id);
    }
    let gone: HashSet<_> = sent.iter().copied().filter(|id| sent[3..50].contains(id)).collect();
    for id in &gone {
        broker.cancel(*id).await.unwrap();
    }
    assert_eq!(broker.depth(&model()).await.unwrap().queued, 13);
    let worker = claimant(LONG);
    for id in sent.iter().filter(|id| !gone.contains(id)) {
        assert_eq!(claimed(broker, &worker).await.task.id, *id);
    }
    assert!(broker.claim(&worker, NO_WAIT).await.unwrap().is_none());
    assert_eq!(broker.depth(&model()).await.unwrap(), Depth { queued: 0, processing: 13 });
}

async fn tasks_released_into_a_full_window_are_not_lost(on: Fixture) {
    let broker = &*on.broker;
    let worker = claimant(LONG);
    let mut sent: HashSet<_> = submit_many(broker, "one", 40).await.into_iter().collect();
    let mut held = Vec::new();
    for _ in 0..10 {
        held.push(claimed(broker, &worker).await);
    }
    for held in held {
        broker.release(&held.lease, &Release::Unused).await.unwrap();
    }
    while let Some(held) = broker.claim(&worker, NO_WAIT).await.unwrap() {
        assert!(sent.remove(&held.task.id));
        broker.finish(&held.lease, &completed("x")).await.unwrap();
    }
    assert!(sent.is_empty(), "{} never came", sent.len());
    assert_eq!(broker.depth(&model()).await.unwrap(), Depth::default());
}

async fn task_after_a_backoff_does_not_wait_behind_the_backlog(on: Fixture) {
    let broker = &*on.broker;
    let worker = claimant(LONG);
    submit_many(broker, "one", 40).await;
    let held = claimed(broker, &worker).await;
    broker.release(&held.lease, &resting(Duration::from_millis(100))).await.unwrap();
    tokio::time::sleep(Duration::from_millis(150)).await;
    broker.reap(&worker).await.unwrap();
    let mut claims = 1;
    while claimed(broker, &worker).await.task != held.task {
        claims += 1;
    }
    assert!(claims <= WINDOW + 1, "it came as number {claims}");
}

async fn queue_positions_count_down(on: Fixture) {
    let broker = &*on.broker;
    let mut sent = Vec::new();
    for place in 1..=40 {
        let task = task();
        let told = broker.submit(&task, NO_LIMIT).await.unwrap().estimate.unwrap();
        assert_eq!((told.position, told.eta), (place, None), "alone, a position is exact");
        sent.push(task.id);
    }
    let worker = claimant(LONG);
    for _ in 0..8 {
        claimed(broker, &worker).await;
    }
    for (place, id) in sent.iter().skip(8).enumerate() {
        let told = estimate(broker, *id).await.unwrap();
        assert_eq!(told.position, place as u64 + 1);
    }
    assert_eq!(estimate(broker, sent[0]).await, None, "it runs");
    let urgent = task_in(Lane::High);
    assert_eq!(broker.submit(&urgent, NO_LIMIT).await.unwrap().estimate.unwrap().position, 1);
}

async fn outcome_arrives_within_its_estimate(on: Fixture) {
    const WORK: Duration = Duration::from_millis(250);
    let broker = &*on.broker;
    let worker = claimant(LONG);
    let work = async || {
        let held = claimed(broker, &worker).await;
        tokio::time::sleep(WORK).await;
        broker.finish(&held.lease, &completed("x")).await.unwrap();
    };
    for _ in 0..2 {
        submitted(broker).await;
        work().await;
    }
    submit_many(broker, "tenant", 6).await;
    let last = task();
    let told = broker.submit(&last, NO_LIMIT).await.unwrap().estimate.unwrap();
    assert_eq!((told.position, told.eta), (7, None), "no worker is there");
    let ready = report(1);
    broker.report_worker(&ready, LONG).await.unwrap();
    broker.report_worker(&ready, LONG).await.unwrap();
    let (mut last, mut tries) = (last.id, Vec::new());
    loop {
        let eta = estimate(broker, last).await.unwrap().eta.unwrap();
        let begun = Instant::now();
        for _ in 0..7 {
            work().await;
        }
        let took = begun.elapsed().as_secs_f64();
        assert!(eta.latest_s < 4.0 * took, "{eta:?} says nothing");
        if (eta.earliest_s..=eta.latest_s).contains(&took) {
            break;
        }
        // The machine may have been slower than in the tasks before.
        tries.push((took, eta));
        assert!(tries.len() < 3, "not within the estimate: {tries:?}");
        submit_many(broker, "tenant", 6).await;
        last = submitted(broker).await.id;
    }

    let queued = submitted(broker).await;
    let told = async || estimate(broker, queued.id).await.unwrap().eta;
    broker
        .report_worker(&WorkerReport { status: WorkerStatus::Draining, ..ready.clone() }, LONG)
        .await
        .unwrap();
    assert_eq!(told().await, None, "a draining worker takes nothing more");
    broker.report_worker(&ready, LONG).await.unwrap();
    assert!(told().await.is_some());
    broker.forget_worker(ready.id).await.unwrap();
    assert_eq!(told().await, None);
}

async fn tasks_of_less_than_a_millisecond_are_measured(on: Fixture) {
    let broker = &*on.broker;
    for n in 0..20 {
        let model = ModelId::new(format!("model-{n}"));
        let worker = Claimant { models: vec![model.clone()], ..claimant(LONG) };
        let task = Task { model: model.clone(), ..task() };
        broker.submit(&task, NO_LIMIT).await.unwrap();
        let held = claimed(broker, &worker).await;
        broker.finish(&held.lease, &completed("x")).await.unwrap();
        broker.report_worker(&WorkerReport { model, ..report(1) }, LONG).await.unwrap();
        let next = Task { id: TaskId::new(), ..task };
        let told = broker.submit(&next, NO_LIMIT).await.unwrap().estimate.unwrap();
        assert!(told.eta.is_some(), "{n}: {told:?}");
    }
}

run_on_every_broker! {
    tenant_with_many_tasks_delays_others_by_at_most_a_window,
    backlog_is_served_in_order_without_cancelled_tasks,
    tasks_released_into_a_full_window_are_not_lost,
    task_after_a_backoff_does_not_wait_behind_the_backlog,
    queue_positions_count_down,
    outcome_arrives_within_its_estimate,
    tasks_of_less_than_a_millisecond_are_measured,
}
