//! Tasks whose outcome has expired.

use std::time::Duration;

use protocol::{Task, TaskId, TenantId};

use crate::support::*;

/// Longer than a TTL of one second.
const PAST_TTL: Duration = Duration::from_millis(1_200);

pub(super) async fn an_expired_outcome_is_known_as_its_tenants(on: Fixture) {
    let broker = on.broker;
    let of = |tenant: &str| Task { tenant: TenantId::new(tenant), result_ttl_s: 1, ..task() };
    let (finished, cancelled) = (of("one"), of("two"));
    broker.submit(&finished, NO_LIMIT).await.unwrap();
    let held = claimed(&*broker, &claimant(LONG)).await;
    assert_eq!(broker.expired(finished.id).await.unwrap(), None, "it runs");
    broker.finish(&held.lease, &completed("x")).await.unwrap();
    broker.submit(&cancelled, NO_LIMIT).await.unwrap();
    assert_eq!(broker.expired(cancelled.id).await.unwrap(), None, "it is queued");
    broker.cancel(cancelled.id).await.unwrap();
    for id in [finished.id, cancelled.id] {
        assert_eq!(broker.expired(id).await.unwrap(), None, "its outcome is there");
    }

    tokio::time::sleep(PAST_TTL).await;
    broker.reap(&claimant(SHORT)).await.unwrap(); // deletes expired outcomes if needed
    for task in [&finished, &cancelled] {
        assert!(broker.snapshot(task.id).await.unwrap().is_none());
        assert_eq!(broker.expired(task.id).await.unwrap().as_ref(), Some(&task.tenant));
    }
    assert_eq!(broker.expired(TaskId::new()).await.unwrap(), None, "there was no such task");
}
