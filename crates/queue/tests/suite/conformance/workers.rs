//! The registry of workers.

use std::time::Duration;

use protocol::{WorkerId, WorkerStatus};

use crate::support::*;

async fn reports_are_listed_until_their_ttl(on: Fixture) {
    let broker = on.broker;
    let (mut steady, silent) = (report(1), report(1));
    broker.report_worker(&steady, LONG).await.unwrap();
    broker.report_worker(&silent, Duration::from_millis(100)).await.unwrap();
    let now = broker.overview().await.unwrap().at;
    let mut listed = broker.workers().await.unwrap();
    listed.sort_by_key(|worker| worker.id != steady.id);
    // The time of a report is by the queue's clock, whatever the worker's clock is.
    for (listed, sent) in listed.iter_mut().zip([&steady, &silent]) {
        let heard = listed.reported_at.unwrap();
        assert!(heard <= now && now.seconds_since(heard) < 5.0, "{heard:?}, {now:?}");
        assert_ne!(listed.reported_at, sent.reported_at);
        listed.reported_at = sent.reported_at;
    }
    assert_eq!(listed, [steady.clone(), silent]);

    steady.running = 1;
    steady.status = WorkerStatus::Draining;
    tokio::time::sleep(Duration::from_millis(5)).await; // clocks tell milliseconds
    broker.report_worker(&steady, LONG).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    broker.reap(&claimant(SHORT)).await.unwrap();
    let mut listed = broker.workers().await.unwrap();
    let heard = listed[0].reported_at.replace(steady.reported_at.unwrap()).unwrap();
    assert!(heard > now, "it was heard of again");
    assert_eq!(listed, [steady], "the latest report of who reports");
}

async fn deregistered_worker_is_removed(on: Fixture) {
    let broker = on.broker;
    let report = report(1);
    broker.report_worker(&report, LONG).await.unwrap();
    let held = {
        submitted(&*broker).await;
        let worker = queue::Claimant { worker: report.id, ..claimant(LONG) };
        claimed(&*broker, &worker).await
    };
    broker.forget_worker(report.id).await.unwrap();
    broker.forget_worker(report.id).await.unwrap();
    broker.forget_worker(WorkerId::new()).await.unwrap();
    assert!(broker.workers().await.unwrap().is_empty());
    broker.finish(&held.lease, &completed("its lease is still good")).await.unwrap();
    broker.reap(&claimant(SHORT)).await.unwrap();
}

run_on_every_broker! {
    reports_are_listed_until_their_ttl,
    deregistered_worker_is_removed,
}
