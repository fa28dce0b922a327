//! Draining workers.

use std::time::Duration;

use protocol::WorkerId;
use queue::WorkerOrders;

use crate::support::*;

const NOTHING: WorkerOrders = WorkerOrders { drain: false };
const DRAIN: WorkerOrders = WorkerOrders { drain: true };

async fn drain_order_is_returned_with_the_next_report(on: Fixture) {
    let broker = on.broker.as_ref();
    let (asked, spared) = (report(1), report(1));
    assert_eq!(broker.report_worker(&asked, LONG).await.unwrap(), NOTHING);
    broker.report_worker(&spared, LONG).await.unwrap();
    assert_eq!(broker.report_worker(&asked, LONG).await.unwrap(), NOTHING);
    for _ in 0..2 {
        assert!(on.another().drain_worker(asked.id).await.unwrap());
    }
    for _ in 0..2 {
        assert_eq!(broker.report_worker(&asked, LONG).await.unwrap(), DRAIN, "until it is gone");
    }
    assert_eq!(broker.report_worker(&spared, LONG).await.unwrap(), NOTHING);
    assert_eq!(broker.workers().await.unwrap().len(), 2, "it is there until it says goodbye");
}

async fn only_a_live_worker_can_be_drained(on: Fixture) {
    let broker = on.broker;
    assert!(!broker.drain_worker(WorkerId::new()).await.unwrap());
    let (gone, silent) = (report(1), report(1));
    broker.report_worker(&gone, LONG).await.unwrap();
    broker.forget_worker(gone.id).await.unwrap();
    assert!(!broker.drain_worker(gone.id).await.unwrap());
    broker.report_worker(&silent, Duration::from_millis(50)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert!(!broker.drain_worker(silent.id).await.unwrap(), "forgotten without another report");
    assert_eq!(broker.report_worker(&silent, LONG).await.unwrap(), NOTHING);
}

async fn drain_order_is_deleted_with_its_worker(on: Fixture) {
    let broker = on.broker;
    let (gone, silent) = (report(1), report(1));
    broker.report_worker(&gone, LONG).await.unwrap();
    broker.report_worker(&silent, Duration::from_millis(300)).await.unwrap();
    for worker in [gone.id, silent.id] {
        assert!(broker.drain_worker(worker).await.unwrap());
    }
    broker.forget_worker(gone.id).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    for worker in [gone, silent] {
        assert_eq!(broker.report_worker(&worker, LONG).await.unwrap(), NOTHING);
    }
}

async fn draining_worker_keeps_its_leases(on: Fixture) {
    let broker = on.broker;
    let ready = report(1);
    broker.report_worker(&ready, LONG).await.unwrap();
    submitted(&*broker).await;
    let worker = queue::Claimant { worker: ready.id, ..claimant(LONG) };
    let held = claimed(&*broker, &worker).await;
    assert!(broker.drain_worker(ready.id).await.unwrap());
    broker.renew(&held.lease, LONG).await.unwrap();
    broker.finish(&held.lease, &completed("x")).await.unwrap();
}

run_on_every_broker! {
    drain_order_is_returned_with_the_next_report,
    only_a_live_worker_can_be_drained,
    drain_order_is_deleted_with_its_worker,
    draining_worker_keeps_its_leases,
}
