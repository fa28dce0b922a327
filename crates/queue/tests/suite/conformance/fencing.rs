//! Only the holder of the current lease can change a task.

use std::time::Duration;

use protocol::{Attempt, EventSeq, TaskState, WorkerId};
use queue::{Broker, BrokerError, Lease, Release};

use crate::support::*;

/// Checks that every fenced operation refuses the lease and that the task does not change.
async fn refused(broker: &dyn Broker, lease: Lease) {
    let before = broker.snapshot(lease.task_id).await.unwrap();
    let events = broker.events(lease.task_id, EventSeq::START, 1_000).await.unwrap();
    let unused = Release::Unused;
    let answers = [
        broker.renew(&lease, LONG).await.map(drop),
        broker.publish(&lease, 0, &["late".into()]).await.map(drop),
        broker.finish(&lease, &completed("late")).await.map(drop),
        broker.release(&lease, &unused).await,
    ];
    for answer in answers {
        let error = answer.expect_err("a stale lease must be refused");
        assert!(
            matches!(error, BrokerError::LeaseLost { task_id, attempt }
                if task_id == lease.task_id && attempt == lease.attempt),
            "{error}"
        );
    }
    assert_eq!(broker.snapshot(lease.task_id).await.unwrap(), before);
    assert_eq!(broker.events(lease.task_id, EventSeq::START, 1_000).await.unwrap(), events);
}

async fn a_stale_worker_is_refused(on: Fixture) {
    let broker = on.broker;
    submitted(&*broker).await;
    let held = claimed(&*broker, &claimant(LONG)).await;
    refused(&*broker, Lease { worker: WorkerId::new(), ..held.lease }).await;
    refused(&*broker, Lease { task_id: protocol::TaskId::new(), ..held.lease }).await;
    broker.finish(&held.lease, &completed("in time")).await.unwrap();
    refused(&*broker, Lease { worker: WorkerId::new(), ..held.lease }).await;
}

async fn a_stale_attempt_is_refused(on: Fixture) {
    let broker = on.broker;
    let task = submitted(&*broker).await;
    let worker = claimant(SHORT);
    let first = claimed(&*broker, &worker).await;
    reap_until_found(&*broker, &claimant(SHORT)).await;
    refused(&*broker, first.lease).await; // the task is queued again
    let second = claimed(&*broker, &worker).await; // by the same worker
    assert_eq!(second.lease.attempt, Attempt::new(2));
    refused(&*broker, first.lease).await;
    refused(&*broker, Lease { attempt: Attempt::new(3), ..first.lease }).await;
    broker.finish(&second.lease, &completed("second")).await.unwrap();
    refused(&*broker, first.lease).await;
    let end = broker.snapshot(task.id).await.unwrap().unwrap();
    assert_eq!(end.outcome, Some(completed("second")));
}

async fn released_lease_is_refused(on: Fixture) {
    let broker = on.broker;
    let task = submitted(&*broker).await;
    let held = claimed(&*broker, &claimant(LONG)).await;
    broker.release(&held.lease, &Release::Unused).await.unwrap();
    let late = broker.finish(&held.lease, &completed("late")).await.unwrap_err();
    assert!(matches!(late, BrokerError::LeaseLost { .. }), "{late}");
    let late = broker.renew(&held.lease, LONG).await.unwrap_err();
    assert!(matches!(late, BrokerError::LeaseLost { .. }), "{late}");
    // Cancelled while queued: the earlier attempt must not take that for its own outcome.
    broker.cancel(task.id).await.unwrap();
    let late = broker.finish(&held.lease, &completed("late")).await.unwrap_err();
    assert!(matches!(late, BrokerError::LeaseLost { .. }), "{late}");
    let end = broker.snapshot(task.id).await.unwrap().unwrap();
    assert_eq!(end.state, TaskState::Cancelled);
}

async fn expired_lease_stays_valid_until_it_is_reaped(on: Fixture) {
    let broker = on.broker;
    submitted(&*broker).await;
    let held = claimed(&*broker, &claimant(Duration::from_millis(30))).await;
    tokio::time::sleep(Duration::from_millis(60)).await;
    broker.renew(&held.lease, LONG).await.unwrap();
    broker.finish(&held.lease, &completed("late but first")).await.unwrap();
}

run_on_every_broker! {
    a_stale_worker_is_refused,
    a_stale_attempt_is_refused,
    released_lease_is_refused,
    expired_lease_stays_valid_until_it_is_reaped,
}
