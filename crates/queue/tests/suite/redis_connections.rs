//! The cost of operations on Redis, and connections that break or become silent.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use queue::{Broker, BrokerError, RedisOptions};

use crate::support::*;
use harness::proxy::Proxy;
use harness::redis::RedisServer;

/// Returns the commands that clients sent, by name, without those that scripts ran.
fn sent(server: &RedisServer) -> HashMap<String, u64> {
    let info = server.command(&["INFO", "commandstats"]);
    let calls = info.lines().filter_map(|line| {
        let (name, stats) = line.trim().strip_prefix("cmdstat_")?.split_once(":calls=")?;
        Some((name.to_owned(), stats.split(',').next()?.parse().ok()?))
    });
    let by_clients = ["evalsha", "eval", "script|load", "ping", "xread", "unwatch"];
    calls.filter(|(name, _)| by_clients.contains(&name.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_costs_at_most_four_round_trips() {
    const TASKS: u64 = 200;
    let server = RedisServer::start();
    let broker = redis_broker(&server);
    let claimant = claimant(LONG);
    for _ in 0..TASKS {
        let task = submitted(&*broker).await;
        let held = claimed(&*broker, &claimant).await;
        assert_eq!(held.task.id, task.id);
        broker.finish(&held.lease, &completed("x")).await.unwrap();
    }
    let sent = sent(&server);
    assert!(sent["evalsha"] >= 3 * TASKS, "submit, claim, finish: {sent:?}");
    assert!(sent.values().sum::<u64>() <= 4 * TASKS, "{sent:?}");
}

#[tokio::test]
async fn concurrent_operations_share_a_few_connections() {
    let server = RedisServer::start();
    let broker = redis_broker(&server);
    let submits = (0..200).map(|_| async { submitted(&*broker).await });
    futures::future::join_all(submits).await;
    let clients = server.command(&["CLIENT", "LIST"]).lines().count();
    assert!(clients <= RedisOptions::new("").connections + 1, "{clients} with redis-cli");
}

/// Returns the ids of the connected clients, without the one that asks.
fn clients(server: &RedisServer) -> HashSet<String> {
    let list = server.command(&["CLIENT", "LIST"]);
    let others = list.lines().filter(|line| !line.contains("cmd=client"));
    others.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_closed_by_redis_are_replaced_transparently() {
    let server = RedisServer::start();
    let broker = redis_broker(&server);
    for _ in 0..3 {
        for _ in 0..20 {
            submitted(&*broker).await;
        }
        let before = clients(&server);
        assert!(!before.is_empty());
        server.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        for _ in 0..20 {
            submitted(&*broker).await;
        }
        assert!(clients(&server).is_disjoint(&before));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn unresponsive_connections_are_all_replaced_after_one_timeout() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port());
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    let broker = queue::RedisBroker::connect(RedisOptions::new(url)).unwrap();
    // Each thread uses one connection: the runtime's thread for submits, this one for pings.
    submitted(&broker).await;
    broker.ping().await.unwrap();
    assert_eq!(clients(&server).len(), 2);
    let silent = clients(&server);

    proxy.hold_replies();
    let begun = Instant::now();
    let unheard = task();
    let answer = broker.submit(&unheard, NO_LIMIT).await;
    assert!(matches!(answer, Err(BrokerError::Unavailable { .. })), "{answer:?}");
    assert!(begun.elapsed() < Duration::from_millis(2_500), "{:?}", begun.elapsed());
    proxy.heal();
    for _ in 0..20 {
        let begun = Instant::now();
        submitted(&broker).await;
        assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
    }
    eventually("none of the silent ones is left", async || clients(&server).is_disjoint(&silent))
        .await;
    let again = broker.submit(&unheard, NO_LIMIT).await.unwrap();
    assert!(!again.created, "its reply was lost, it was not");
}
