//! Pausing models.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{ModelId, Task};
use queue::{Broker, CancelReply, Claimant, Release, SubmitOptions};

use crate::support::*;

/// The time within which a resume must be noticed.
const NOTICED: Duration = Duration::from_secs(3);

fn other() -> ModelId {
    ModelId::new("other")
}

async fn claims_nothing(broker: &dyn Broker) {
    let taken = broker.claim(&claimant(LONG), Duration::from_millis(50)).await.unwrap();
    assert_eq!(taken, None);
}

async fn tasks_of_a_paused_model_wait_while_others_run(on: Fixture) {
    let broker = &*on.broker;
    let held_back = submitted(broker).await;
    broker.set_paused(&model(), true).await.unwrap();
    let behind = submitted(broker).await;
    let free = Task { model: other(), ..task() };
    broker.submit(&free, NO_LIMIT).await.unwrap();

    let worker = Claimant { models: vec![model(), other()], ..claimant(LONG) };
    assert_eq!(claimed(broker, &worker).await.task, free);
    assert_eq!(broker.claim(&worker, Duration::from_millis(50)).await.unwrap(), None);
    claims_nothing(broker).await;
    assert_eq!(broker.depth(&model()).await.unwrap().queued, 2);

    broker.set_paused(&model(), false).await.unwrap();
    assert_eq!(claimed(broker, &worker).await.task, held_back);
    assert_eq!(claimed(broker, &worker).await.task, behind);
}

async fn a_resume_wakes_a_waiting_claim(on: Fixture) {
    let broker = Arc::clone(&on.broker);
    broker.set_paused(&model(), true).await.unwrap();
    let before = submitted(&*broker).await;
    let waiting = tokio::spawn(async move { broker.claim(&claimant(LONG), LONG).await.unwrap() });
    tokio::time::sleep(Duration::from_millis(300)).await;
    // A new task wakes the claimant, but it must get nothing.
    submitted(&*on.another()).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished(), "it was handed out all the same");
    let resumed = Instant::now();
    on.another().set_paused(&model(), false).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().task, before);
    assert!(resumed.elapsed() < NOTICED, "noticed after {:?}", resumed.elapsed());
}

async fn claim_waiting_before_a_pause_gets_no_task_during_it(on: Fixture) {
    let broker = Arc::clone(&on.broker);
    let waiting = tokio::spawn(async move { broker.claim(&claimant(LONG), LONG).await.unwrap() });
    tokio::time::sleep(Duration::from_millis(100)).await;
    on.broker.set_paused(&model(), true).await.unwrap();
    let task = submitted(&*on.broker).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(!waiting.is_finished());
    on.broker.set_paused(&model(), false).await.unwrap();
    let taken = tokio::time::timeout(NOTICED, waiting).await.expect("noticed in time");
    assert_eq!(taken.unwrap().unwrap().task, task);
}

async fn running_tasks_continue_during_a_pause(on: Fixture) {
    let broker = &*on.broker;
    let (first, second) = (submitted(broker).await, submitted(broker).await);
    let running = claimed(broker, &claimant(LONG)).await;
    let given_back = claimed(broker, &claimant(LONG)).await;
    broker.set_paused(&model(), true).await.unwrap();
    broker.renew(&running.lease, LONG).await.unwrap();
    broker.publish(&running.lease, 0, &["x".into()]).await.unwrap();
    broker.finish(&running.lease, &completed("x")).await.unwrap();
    broker.release(&given_back.lease, &Release::Unused).await.unwrap();
    claims_nothing(broker).await;
    broker.set_paused(&model(), false).await.unwrap();
    assert_eq!(claimed(broker, &claimant(LONG)).await.task, second);
    assert!(broker.snapshot(first.id).await.unwrap().unwrap().outcome.is_some());
}

async fn tasks_can_be_cancelled_and_expire_during_a_pause(on: Fixture) {
    let broker = &*on.broker;
    broker.set_paused(&model(), true).await.unwrap();
    let cancelled = submitted(broker).await;
    let late = task();
    let expires = Some(Duration::from_millis(50));
    broker
        .submit(&late, &SubmitOptions { expires_in: expires, ..SubmitOptions::PLAIN })
        .await
        .unwrap();
    assert_eq!(broker.cancel(cancelled.id).await.unwrap(), CancelReply::Cancelled);
    assert_eq!(reap_until_found(broker, &claimant(SHORT)).await.expired, [late.id]);
    broker.set_paused(&model(), false).await.unwrap();
    claims_nothing(broker).await;
}

async fn pause_applies_to_all_processes_until_resumed(on: Fixture) {
    submitted(&*on.broker).await;
    for _ in 0..2 {
        on.broker.set_paused(&model(), true).await.unwrap();
    }
    // A broker opened later must see the pause too.
    let later = on.another();
    claims_nothing(&*later).await;
    assert!(later.overview().await.unwrap().queues[0].paused);
    for _ in 0..2 {
        later.set_paused(&model(), false).await.unwrap();
    }
    assert!(!on.broker.overview().await.unwrap().queues[0].paused);
    claimed(&*on.broker, &claimant(LONG)).await;
}

async fn paused_model_has_no_eta(on: Fixture) {
    let broker = &*on.broker;
    submitted(broker).await;
    let held = claimed(broker, &claimant(LONG)).await;
    broker.finish(&held.lease, &completed("x")).await.unwrap();
    broker.report_worker(&report(1), LONG).await.unwrap();
    let waiting = submitted(broker).await;
    assert!(estimate(broker, waiting.id).await.unwrap().eta.is_some());

    broker.set_paused(&model(), true).await.unwrap();
    let told = estimate(broker, waiting.id).await.unwrap();
    assert_eq!((told.position, told.eta), (1, None));
    let second = broker.submit(&task(), NO_LIMIT).await.unwrap().estimate.unwrap();
    assert_eq!((second.position, second.eta), (2, None));
    broker.set_paused(&model(), false).await.unwrap();
    assert!(estimate(broker, waiting.id).await.unwrap().eta.is_some());
}

run_on_every_broker! {
    tasks_of_a_paused_model_wait_while_others_run,
    a_resume_wakes_a_waiting_claim,
    claim_waiting_before_a_pause_gets_no_task_during_it,
    running_tasks_continue_during_a_pause,
    tasks_can_be_cancelled_and_expire_during_a_pause,
    pause_applies_to_all_processes_until_resumed,
    paused_model_has_no_eta,
}
