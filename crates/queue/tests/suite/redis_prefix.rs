//! Queues with different prefixes share a Redis and nothing else.

use std::sync::Arc;
use std::time::Duration;

use harness::redis::RedisServer;
use protocol::{TaskId, TaskState, TenantId};
use queue::{
    BlobLimits, BlobStore, Broker, BrokerError, Idempotency, Matches, Purge, RedisBroker,
    RedisOptions, SubmitOptions, TaskFilter,
};
use tokio::time::timeout;

use crate::conformance::blobs::{bytes, collect, new_blob, pieces, tenant};
use crate::conformance::keys::{hash, key};
use crate::support::*;

const OTHER: &str = "team:shop_2.eu-1";

/// Long enough for a wake-up that is on its way.
const PASSES: Duration = Duration::from_millis(300);

fn with_prefix(url: String, prefix: &str, partitions: u32) -> Arc<dyn Broker> {
    let key_prefix = prefix.parse().unwrap();
    let options = RedisOptions { key_prefix, partitions, ..RedisOptions::new(url) };
    Arc::new(RedisBroker::connect(options).unwrap())
}

/// The two queues of a test, each as a user that may use no keys but its own.
fn two_queues(server: &RedisServer) -> [Arc<dyn Broker>; 2] {
    let theirs = [format!("~{OTHER}:*"), format!("&{OTHER}:*")];
    let url = server.user("other", &["-~qq:*", "-&qq:*", &theirs[0], &theirs[1]]);
    [with_prefix(server.user("one", &[]), "qq", 1), with_prefix(url, OTHER, 2)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_of_one_prefix_do_not_exist_in_the_other() {
    let server = RedisServer::start();
    let [one, other] = two_queues(&server);
    let task = submitted(&*one).await;
    assert!(other.snapshot(task.id).await.unwrap().is_none());
    assert!(other.claim(&claimant(LONG), NO_WAIT).await.unwrap().is_none());
    assert_eq!(other.depth(&model()).await.unwrap().queued, 0);
    assert!(other.tasks(&TaskFilter::default(), None, 9).await.unwrap().tasks.is_empty());
    assert!(other.cancel_queued(&[task.id]).await.unwrap().is_empty());
    assert!(other.overview().await.unwrap().queues.is_empty());

    // The same task in both: each has a life of its own.
    other.submit(&task, NO_LIMIT).await.unwrap();
    other.cancel(task.id).await.unwrap();
    let held = claimed(&*one, &claimant(LONG)).await;
    one.finish(&held.lease, &completed("done")).await.unwrap();
    for (broker, state) in [(&one, TaskState::Completed), (&other, TaskState::Cancelled)] {
        assert_eq!(broker.snapshot(task.id).await.unwrap().unwrap().state, state);
        let listed = broker.tasks(&TaskFilter::default(), None, 9).await.unwrap().tasks;
        assert_eq!(listed.len(), 1, "{listed:?}");
    }

    one.set_paused(&model(), true).await.unwrap();
    let second = submitted(&*other).await;
    assert_eq!(claimed(&*other, &claimant(LONG)).await.task.id, second.id, "it is not paused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wake_ups_reach_only_the_own_prefix() {
    let server = RedisServer::start();
    let [one, other] = two_queues(&server);
    let task = submitted(&*one).await;
    other.submit(&task, NO_LIMIT).await.unwrap();
    claimed(&*other, &claimant(LONG)).await;
    let (mut watch, mut feed) = (other.watch(task.id), other.cancellations());
    // The first wake-up says that the connection is there.
    timeout(LONG, watch.changed()).await.unwrap();

    let waiting = {
        let other = Arc::clone(&other);
        tokio::spawn(async move { other.claim(&claimant(LONG), LONG).await })
    };
    claimed(&*one, &claimant(LONG)).await;
    one.cancel(task.id).await.unwrap();
    submitted(&*one).await;
    assert!(timeout(PASSES, watch.changed()).await.is_err(), "a foreign task changed");
    assert!(timeout(PASSES, feed.next()).await.is_err(), "a foreign task was cancelled");
    assert!(!waiting.is_finished(), "a foreign task arrived");

    other.cancel(task.id).await.unwrap();
    timeout(LONG, watch.changed()).await.unwrap();
    assert_eq!(timeout(LONG, feed.next()).await.unwrap(), task.id);
    let own = submitted(&*other).await;
    assert_eq!(waiting.await.unwrap().unwrap().unwrap().task.id, own.id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_keys_blobs_and_dead_letters_are_separate() {
    let server = RedisServer::start();
    let [one, other] = two_queues(&server);
    let worker = report(2);
    one.report_worker(&worker, LONG).await.unwrap();
    assert!(!other.drain_worker(worker.id).await.unwrap());
    assert!(other.workers().await.unwrap().is_empty());

    let key = key();
    one.add_key(hash("text"), &key).await.unwrap();
    assert!(other.find_key(hash("text")).await.unwrap().is_none());
    assert!(other.revoke_key(&key.id).await.unwrap().is_none());
    assert!(other.keys(None, None, 9).await.unwrap().is_empty());

    let stores = [&one, &other].map(|broker| BlobStore::new(broker.clone(), BlobLimits::default()));
    let content = bytes(300_000);
    let put = stores[0].put(new_blob(), pieces(&content, 40_000)).await.unwrap();
    assert!(stores[1].find(&tenant(), put.id).await.unwrap().is_none());
    assert!(!stores[1].delete(&tenant(), put.id).await.unwrap());
    assert_eq!(stores[1].used(&tenant()).await.unwrap(), 0);

    let doomed = protocol::Task { max_attempts: 1, ..task() };
    one.submit(&doomed, NO_LIMIT).await.unwrap();
    let held = claimed(&*one, &claimant(LONG)).await;
    one.finish(&held.lease, &failed("broken")).await.unwrap();
    assert!(other.dead_letter(doomed.id).await.unwrap().is_none());
    assert_eq!(other.purge_dead_letters(&Purge::All).await.unwrap(), 0);

    assert_eq!(one.workers().await.unwrap().len(), 1);
    assert_eq!(one.find_key(hash("text")).await.unwrap().unwrap().key.id, key.id);
    let found = stores[0].find(&tenant(), put.id).await.unwrap().unwrap();
    assert!(collect(found.read()).await == content);
    assert!(one.dead_letter(doomed.id).await.unwrap().is_some());
}

#[tokio::test]
async fn idempotency_keys_and_partitions_belong_to_a_prefix() {
    let server = RedisServer::start();
    let [one, other] = two_queues(&server);
    let idempotency =
        Idempotency { key: "k".into(), body_hash: "hash".into(), matches: Matches::Always };
    let options = SubmitOptions { idempotency: Some(idempotency), ..SubmitOptions::PLAIN };
    let ids: [TaskId; 2] = [
        one.submit(&task(), &options).await.unwrap().task_id,
        other.submit(&task(), &options).await.unwrap().task_id,
    ];
    assert_ne!(ids[0], ids[1]);
    assert_eq!(one.submit(&task(), &options).await.unwrap().task_id, ids[0]);

    let kept = server.command(&["KEYS", "*"]);
    let of = |prefix: &str| kept.lines().filter(|key| key.starts_with(prefix)).count();
    assert!(of("qq:{0}:") > 0 && of(&format!("{OTHER}:{{")) > 0, "{kept}");
    assert_eq!(of("qq:{0}:") + of(&format!("{OTHER}:{{")), kept.lines().count(), "{kept}");

    // A wrong number of partitions is noticed within the prefix, and the error names its key.
    let wrong = with_prefix(server.url(), OTHER, 3);
    let refused = wrong.submit(&task(), NO_LIMIT).await.unwrap_err();
    let BrokerError::Unavailable { reason } = refused else { panic!("{refused}") };
    assert!(reason.contains(&format!("delete the key {OTHER}:{{0}}:partitions")), "{reason}");
    with_prefix(server.url(), "third", 3).submit(&task(), NO_LIMIT).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_rights_are_reported_with_the_prefix() {
    let server = RedisServer::start();
    // The rule of the docs as it is grants the keys of the default prefix.
    let url = server.user("narrow", &[]);
    let found = with_prefix(url.clone(), OTHER, 1).vet().await.unwrap();
    let [said] = &found.obstacles[..] else { panic!("{found:?}") };
    for words in [
        format!("reading the keys {OTHER}:* (such as {OTHER}:{{0}}:partitions)"),
        format!("the channels {OTHER}:*"),
        format!("ACL SETUSER narrow ~{OTHER}:* &{OTHER}:*  (docs"),
    ] {
        assert!(said.contains(&words), "{said}");
    }
    server.command(&["ACL", "SETUSER", "narrow", &format!("~{OTHER}:*"), &format!("&{OTHER}:*")]);
    let broker = with_prefix(url, OTHER, 1);
    let of_tenant = protocol::Task { tenant: TenantId::new("t"), ..task() };
    broker.submit(&of_tenant, NO_LIMIT).await.unwrap();
}
