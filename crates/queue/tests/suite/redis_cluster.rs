//! Redis Cluster: nodes that die while others live, and partitions that move.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use protocol::{TaskId, TaskState};
use queue::{Broker, BrokerError, Depth, RedisBroker, RedisOptions, Release};

use crate::support::*;
use harness::cluster::RedisCluster;
use harness::redis::RedisServer;

/// The slot of the partition with the tag {1}, and the indices of the nodes between which it is
/// moved.
const SLOT: &str = "9842";
const OWNER: usize = 1;
const OTHER: usize = 0;

fn is_unavailable<T: std::fmt::Debug>(answer: &Result<T, BrokerError>) -> bool {
    matches!(answer, Err(BrokerError::Unavailable { .. }))
}

/// Claims and finishes all queued tasks. Returns their ids.
async fn end_all(broker: &dyn Broker) -> HashSet<TaskId> {
    let worker = claimant(LONG);
    let mut ended = HashSet::new();
    while let Some(held) = broker.claim(&worker, Duration::from_millis(200)).await.unwrap() {
        broker.finish(&held.lease, &completed("x")).await.unwrap();
        assert!(ended.insert(held.task.id), "{} was handed out twice", held.task.id);
    }
    ended
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_node_stops_only_its_partition_and_loses_no_task() {
    let mut cluster = RedisCluster::durable();
    let broker = cluster_broker(&cluster, 3);
    let mut accepted = HashSet::new();
    for _ in 0..60 {
        accepted.insert(submitted(&*broker).await.id);
    }
    tokio::time::sleep(Duration::from_millis(1_200)).await; // appendfsync everysec
    cluster.nodes[OWNER].kill();

    let mut refused = 0;
    for _ in 0..60 {
        let task = task();
        let begun = Instant::now();
        match broker.submit(&task, NO_LIMIT).await {
            Ok(_) => drop(accepted.insert(task.id)),
            Err(BrokerError::Unavailable { reason }) => {
                refused += 1;
                let port = cluster.nodes[OWNER].port().to_string();
                assert!(reason.contains(&port) || reason.contains("Cluster"), "{reason}");
            }
            Err(other) => panic!("{other}"),
        }
        assert!(begun.elapsed() < Duration::from_millis(2_500), "{:?}", begun.elapsed());
    }
    assert!((5..=40).contains(&refused), "{refused} of 60 were for the lost partition");
    assert!(is_unavailable(&broker.ping().await));
    assert!(is_unavailable(&broker.depth(&model()).await));
    let worker = claimant(LONG);
    let begun = Instant::now();
    let mut held = Vec::new();
    for _ in 0..20 {
        held.push(claimed(&*broker, &worker).await.lease);
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    broker.report_worker(&report(1), LONG).await.unwrap();
    broker.reap(&worker).await.unwrap();
    for lease in held {
        broker.release(&lease, &Release::Unused).await.unwrap();
    }

    cluster.nodes[OWNER].restart();
    cluster.wait_until_all_slots_served();
    eventually("whole again", async || broker.ping().await.is_ok()).await;
    for id in &accepted {
        let state = broker.snapshot(*id).await.unwrap().expect("an accepted task is kept").state;
        assert_eq!(state, TaskState::Queued);
    }
    assert_eq!(end_all(&*broker).await, accepted);
    assert_eq!(broker.depth(&model()).await.unwrap(), Depth::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_takes_over_with_tasks_leases_and_fences() {
    let mut cluster = RedisCluster::start();
    cluster.add_replica_of(OWNER);
    let broker = cluster_broker(&cluster, 3);
    let mut accepted = HashSet::new();
    for _ in 0..60 {
        accepted.insert(submitted(&*broker).await.id);
    }
    let worker = claimant(LONG);
    let mut held = Vec::new();
    for _ in 0..12 {
        held.push(claimed(&*broker, &worker).await);
    }
    cluster.wait_until_replicated(OWNER);
    cluster.nodes[OWNER].kill();
    let begun = Instant::now();
    eventually("the replica serves", async || broker.ping().await.is_ok()).await;
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(500), "nobody was missed: {took:?}");

    // The leases are still valid, and each task ends once.
    for held in &held {
        broker.renew(&held.lease, LONG).await.expect("a lease outlives its node");
        broker.finish(&held.lease, &completed("x")).await.unwrap();
    }
    let mut ended: HashSet<_> = held.iter().map(|held| held.task.id).collect();
    for _ in 0..30 {
        accepted.insert(submitted(&*broker).await.id);
    }
    for id in end_all(&*broker).await {
        assert!(ended.insert(id), "{id} was handed out twice");
    }
    assert_eq!(ended, accepted);
    for id in &accepted {
        let state = broker.snapshot(*id).await.unwrap().expect("its outcome").state;
        assert_eq!(state, TaskState::Completed);
    }
    assert_eq!(broker.depth(&model()).await.unwrap(), Depth::default());

    // The old node comes back as a replica, which the new one makes known.
    cluster.nodes[OWNER].restart();
    eventually("it repeats its successor", async || {
        cluster.nodes[OWNER].command(&["ROLE"]).starts_with("slave")
    })
    .await;
    for _ in 0..30 {
        submitted(&*broker).await;
    }
    assert_eq!(end_all(&*broker).await.len(), 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hanging_node_does_not_block_other_partitions() {
    let cluster = RedisCluster::start();
    let broker = cluster_broker(&cluster, 3);
    for _ in 0..60 {
        submitted(&*broker).await;
    }
    cluster.nodes[OWNER].signal("STOP");
    let submits = (0..60).map(|_| async {
        let begun = Instant::now();
        (broker.submit(&task(), NO_LIMIT).await.is_ok(), begun.elapsed())
    });
    let answers = futures::future::join_all(submits).await;
    let begun = Instant::now();
    let worker = claimant(LONG);
    for _ in 0..20 {
        claimed(&*broker, &worker).await;
    }
    let claims = begun.elapsed();
    cluster.nodes[OWNER].signal("CONT");
    for (accepted, took) in &answers {
        let limit = if *accepted { 1_000 } else { 2_500 };
        assert!(*took < Duration::from_millis(limit), "accepted: {accepted}, after {took:?}");
    }
    assert!(answers.iter().any(|(accepted, _)| *accepted));
    assert!(answers.iter().any(|(accepted, _)| !accepted));
    // One claim may meet the hanging node; then claims leave its partition alone for a while.
    assert!(claims < Duration::from_secs(5), "20 claims took {claims:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_moves_to_another_node_while_tasks_flow() {
    let cluster = RedisCluster::start();
    let broker = cluster_broker(&cluster, 3);
    let stop = Arc::new(AtomicBool::new(false));
    let producer = {
        let (broker, stop) = (Arc::clone(&broker), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut accepted = HashSet::new();
            while !stop.load(Ordering::Relaxed) {
                let task = task();
                // After `Unavailable` the client may repeat the submit; a task that was never
                // accepted does not count.
                while broker.submit(&task, NO_LIMIT).await.is_err() {}
                accepted.insert(task.id);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            accepted
        })
    };
    let consumer = {
        let (broker, stop) = (Arc::clone(&broker), Arc::clone(&stop));
        tokio::spawn(async move {
            let worker = claimant(LONG);
            let mut ended = HashSet::new();
            while !stop.load(Ordering::Relaxed) {
                let claim = broker.claim(&worker, Duration::from_millis(100)).await;
                let Ok(Some(held)) = claim else { continue };
                loop {
                    match broker.finish(&held.lease, &completed("x")).await {
                        Ok(_) => break,
                        Err(BrokerError::Unavailable { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
                assert!(ended.insert(held.task.id), "handed out twice");
            }
            ended
        })
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    move_slot(&cluster).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.store(true, Ordering::Relaxed);
    let (accepted, mut ended) = (producer.await.unwrap(), consumer.await.unwrap());
    ended.extend(end_all(&*broker).await);
    assert_eq!(ended, accepted, "every accepted task has ended, once");
    assert_eq!(broker.depth(&model()).await.unwrap(), Depth::default());
    let keys = cluster.nodes[OTHER].command(&["CLUSTER", "COUNTKEYSINSLOT", SLOT]);
    assert!(keys.parse::<u32>().unwrap() > 10, "it has moved: {keys} keys");
}

/// Moves the slot as `redis-cli --cluster reshard` does, with a pause in the middle.
async fn move_slot(cluster: &RedisCluster) {
    let (from, to) = (&cluster.nodes[OWNER], &cluster.nodes[OTHER]);
    let (from_id, to_id) = (from.command(&["CLUSTER", "MYID"]), to.command(&["CLUSTER", "MYID"]));
    to.command(&["CLUSTER", "SETSLOT", SLOT, "IMPORTING", &from_id]);
    from.command(&["CLUSTER", "SETSLOT", SLOT, "MIGRATING", &to_id]);
    let port = to.port().to_string();
    let mut first = true;
    loop {
        let keys = from.command(&["CLUSTER", "GETKEYSINSLOT", SLOT, "50"]);
        let keys: Vec<&str> = keys.lines().collect();
        if keys.is_empty() {
            break;
        }
        let migrate = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
        assert_eq!(from.command(&[&migrate[..], &keys[..]].concat()), "OK");
        if std::mem::take(&mut first) {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
    for node in [to, from] {
        node.command(&["CLUSTER", "SETSLOT", SLOT, "NODE", &to_id]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wake_ups_arrive_through_another_node_after_a_node_loss() {
    let mut cluster = RedisCluster::start();
    let broker = cluster_broker(&cluster, 3);
    let mut feed = broker.cancellations();
    // Tasks of the partitions that do not move.
    let mut tasks = Vec::new();
    for _ in 0..12 {
        tasks.push(submitted(&*broker).await.id);
    }
    let worker = claimant(LONG);
    let mut held = Vec::new();
    for _ in 0..12 {
        held.push(claimed(&*broker, &worker).await.task.id);
    }
    cluster.nodes[OTHER].kill(); // the first node, to which the listener connects first
    let named = async {
        loop {
            for id in &held {
                let _ = broker.cancel(*id).await;
            }
            if let Ok(id) = tokio::time::timeout(Duration::from_millis(200), feed.next()).await {
                return id;
            }
        }
    };
    let id = tokio::time::timeout(Duration::from_secs(10), named).await.expect("a cancellation");
    assert!(tasks.contains(&id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_are_discovered_from_one_url_and_dead_urls_are_skipped() {
    let mut cluster = RedisCluster::start();
    let one = RedisOptions { partitions: 3, ..RedisOptions::new(cluster.nodes[2].url()) };
    let broker = RedisBroker::connect(one).unwrap();
    for _ in 0..30 {
        submitted(&broker).await;
    }
    assert_eq!(end_all(&broker).await.len(), 30);

    let dead = RedisServer::start();
    let url = format!("{},{}", dead.url(), cluster.nodes[0].url());
    drop(dead);
    let options = RedisOptions { partitions: 3, ..RedisOptions::new(url) };
    let broker = RedisBroker::connect(options).unwrap();
    for _ in 0..30 {
        submitted(&broker).await;
    }
    assert_eq!(end_all(&broker).await.len(), 30);
    cluster.nodes.clear();
    assert!(is_unavailable(&broker.submit(&task(), NO_LIMIT).await));
}

#[tokio::test]
async fn several_urls_without_a_cluster_are_refused() {
    let servers = [RedisServer::start(), RedisServer::start()];
    let url = format!("{},{}", servers[0].url(), servers[1].url());
    let broker = RedisBroker::connect(RedisOptions::new(url)).unwrap();
    let error = broker.submit(&task(), NO_LIMIT).await.unwrap_err().to_string();
    assert!(error.contains("Redis Cluster") && error.contains("not part of one"), "{error}");
}

#[tokio::test]
async fn errors_name_the_server_without_the_password() {
    let url = "redis://user:secret@127.0.0.1:1,redis://user:secret@127.0.0.1:2";
    let broker = RedisBroker::connect(RedisOptions::new(url)).unwrap();
    let error = broker.ping().await.unwrap_err().to_string();
    assert!(error.contains("127.0.0.1:1") && !error.contains("secret"), "{error}");
}
