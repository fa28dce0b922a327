//! The registry of workers.

use std::time::Duration;

use protocol::{Timestamp, WorkerId, WorkerReport, WorkerStatus};

use crate::support::*;

fn report() -> WorkerReport {
    WorkerReport {
        id: WorkerId::new(),
        host: "host".into(),
        pid: 1,
        version: "0.1.0".into(),
        model: model(),
        quantization: "Q4_K_M".into(),
        device: "cpu".into(),
        status: WorkerStatus::Ready,
        running: 0,
        capacity: 1,
        finished: 0,
        started_at: Timestamp::from_millis(1),
    }
}

pub(super) async fn reports_are_listed_until_their_ttl(on: Fixture) {
    let broker = on.broker;
    let (mut steady, silent) = (report(), report());
    broker.report_worker(&steady, LONG).await.unwrap();
    broker.report_worker(&silent, Duration::from_millis(100)).await.unwrap();
    let mut listed = broker.workers().await.unwrap();
    listed.sort_by_key(|worker| worker.id != steady.id);
    assert_eq!(listed, [steady.clone(), silent]);

    steady.running = 1;
    steady.status = WorkerStatus::Draining;
    broker.report_worker(&steady, LONG).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    broker.reap(&claimant(SHORT)).await.unwrap();
    assert_eq!(broker.workers().await.unwrap(), [steady], "the latest report of who reports");
}

pub(super) async fn a_worker_that_says_goodbye_is_forgotten(on: Fixture) {
    let broker = on.broker;
    let report = report();
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
