//! Redis with Sentinels: primaries that die, and that become replicas.

use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::redis::RedisServer;
use harness::sentinel::RedisSentinels;
use protocol::{ModelId, Task};
use queue::{Broker, BrokerError, Claimant, Depth, OpenError, RedisBroker, RedisOptions};
use tokio::time::timeout;

use crate::support::*;

/// The time within which every call must return, whatever happens to Redis.
const CALL: Duration = Duration::from_millis(2_500);
/// The time within which a failover must be over.
const FAILOVER: Duration = Duration::from_secs(12);

fn connect(sentinels: &RedisSentinels, url: &str) -> Arc<RedisBroker> {
    let sentinel_password = Some(sentinels.password());
    let options = RedisOptions { sentinel_password, ..RedisOptions::new(url) };
    Arc::new(RedisBroker::connect(options).unwrap())
}

/// Submits a task until it is accepted. Returns how often it was refused.
async fn submit_until_accepted(broker: &dyn Broker, task: &Task) -> u32 {
    let begun = Instant::now();
    let mut refused = 0;
    loop {
        let call = Instant::now();
        match broker.submit(task, NO_LIMIT).await {
            Ok(_) => return refused,
            Err(BrokerError::Unavailable { .. }) => refused += 1,
            Err(other) => panic!("{other}"),
        }
        assert!(call.elapsed() < CALL, "{:?}", call.elapsed());
        assert!(begun.elapsed() < FAILOVER, "refused {refused} times");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Claims and finishes all tasks, which must be `count`.
async fn end_all(broker: &dyn Broker, count: usize) {
    let worker = claimant(LONG);
    for nth in 0..count {
        let held = broker.claim(&worker, NO_WAIT).await.unwrap();
        let held = held.unwrap_or_else(|| panic!("{nth} of {count} tasks are left"));
        broker.finish(&held.lease, &completed("x")).await.unwrap();
    }
    assert_eq!(broker.depth(&model()).await.unwrap(), Depth::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_primary_is_replaced_and_all_clients_recover() {
    let mut sentinels = RedisSentinels::start();
    let url = sentinels.url("qwen-queue");
    let (gateway, worker) = (connect(&sentinels, &url), connect(&sentinels, &url));
    assert!(gateway.vet().await.unwrap().obstacles.is_empty());
    for _ in 0..20 {
        submitted(&*gateway).await;
    }
    let held = claimed(&*worker, &claimant(LONG)).await;
    let other = ModelId::new("other");
    let waiting = {
        let (worker, models) = (Arc::clone(&worker), vec![other.clone()]);
        tokio::spawn(async move {
            let claimant = Claimant { models, ..claimant(LONG) };
            worker.claim(&claimant, LONG).await
        })
    };
    let (mut watch, mut feed) = (gateway.watch(held.task.id), worker.cancellations());
    timeout(CALL, watch.changed()).await.expect("the first wake-up says that it listens");
    sentinels.wait_until_replicated();

    // The machine with the primary and a Sentinel dies.
    sentinels.kill_first_sentinel();
    sentinels.servers[0].kill();
    let begun = Instant::now();
    let task = task();
    let refused = submit_until_accepted(&*gateway, &task).await;
    println!("accepted {:?} after the kill, refused {refused} times before", begun.elapsed());
    assert!(refused > 0, "nobody was there to accept it");
    let again = gateway.submit(&task, NO_LIMIT).await.unwrap();
    assert_eq!((again.task_id, again.created), (task.id, false), "the same reply as before");

    // The task's holder goes on, and so do a waiting claim and the wake-ups.
    timeout(FAILOVER, watch.changed()).await.expect("woken by the reconnect");
    eventually("the lease is renewed", async || worker.renew(&held.lease, LONG).await.is_ok())
        .await;
    gateway.cancel(held.task.id).await.unwrap();
    timeout(CALL, watch.changed()).await.expect("woken by the change");
    eventually("the cancellation is heard of", async || {
        gateway.cancel(held.task.id).await.unwrap();
        timeout(Duration::from_millis(200), feed.next()).await.is_ok()
    })
    .await;
    worker.finish(&held.lease, &completed("x")).await.unwrap();
    let awaited = Task { model: other, ..self::task() };
    gateway.submit(&awaited, NO_LIMIT).await.unwrap();
    let found = timeout(CALL, waiting).await.expect("a waiting claim is woken").unwrap();
    assert_eq!(found.unwrap().unwrap().task, awaited);
    end_all(&*worker, 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn primary_that_becomes_a_replica_is_left() {
    let sentinels = RedisSentinels::start();
    let url = sentinels.url("qwen-queue");
    let (gateway, worker) = (connect(&sentinels, &url), connect(&sentinels, &url));
    for _ in 0..10 {
        submitted(&*gateway).await;
    }
    let held = claimed(&*worker, &claimant(LONG)).await;
    let (mut watch, _feed) = (gateway.watch(held.task.id), worker.cancellations());
    timeout(CALL, watch.changed()).await.expect("the first wake-up says that it listens");
    sentinels.wait_until_replicated();
    sentinels.fail_over();
    // The former primary lives and accepts tasks, which it loses once it is a replica: so it must be left soon.
    let begun = Instant::now();
    let new = &sentinels.servers[1];
    for broker in [&gateway, &worker] {
        loop {
            let is_primary = new.command(&["ROLE"]).starts_with("master");
            let task = task();
            submit_until_accepted(&**broker, &task).await;
            let key = format!("qq:{{0}}:task:{}", task.id);
            if is_primary && new.command(&["EXISTS", &key]) == "1" {
                break;
            }
            assert!(begun.elapsed() < FAILOVER / 2, "the former primary is still used");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    println!("the new primary is used after {:?}", begun.elapsed());
    timeout(FAILOVER, watch.changed()).await.expect("woken by the reconnect");
    worker.finish(&held.lease, &completed("x")).await.unwrap();
    let left = gateway.depth(&model()).await.unwrap();
    // What the former primary accepted last may be lost, as Redis replicates asynchronously.
    assert!(left.queued >= 9 + 2, "{left:?}");
    end_all(&*worker, usize::try_from(left.queued).unwrap()).await;
}

#[tokio::test]
async fn sentinels_that_do_not_help_are_named() {
    let server = RedisServer::start();
    let port = server.port();
    // A Redis is no Sentinel; and nobody listens at the other.
    let url = format!("redis+sentinel://127.0.0.1:{port},127.0.0.1:1/main");
    let broker = RedisBroker::connect(RedisOptions::new(url)).unwrap();
    let begun = Instant::now();
    let Err(BrokerError::Unavailable { reason }) = broker.submit(&task(), NO_LIMIT).await else {
        panic!("accepted by nobody")
    };
    assert!(begun.elapsed() < CALL, "{:?}", begun.elapsed());
    assert!(
        reason.contains("the primary 'main'") && reason.contains("the Sentinel at"),
        "{reason}"
    );
    for url in ["redis+sentinel://a:26379/main,redis://b", "redis-sentinel://a/main"] {
        let Err(error) = RedisBroker::connect(RedisOptions::new(url)) else { panic!("{url}") };
        assert!(matches!(error, OpenError::RedisUrl { .. }), "{error}");
        assert!(error.to_string().contains("redis[s]+sentinel://"), "{error}");
    }
}

#[tokio::test]
async fn wrong_password_or_name_at_the_sentinels_is_reported() {
    let sentinels = RedisSentinels::start();
    let url = sentinels.url("qwen-queue");
    let unknown = url.replace("/main-1", "/main-2");
    let password = sentinels.password();
    for (url, sentinel_password, words) in [
        (&url, None, "set REDIS_SENTINEL_USERNAME and REDIS_SENTINEL_PASSWORD"),
        (&url, Some("wrong".to_owned()), "set REDIS_SENTINEL_USERNAME and REDIS_SENTINEL_PASSWORD"),
        (&unknown, Some(password), "monitors no primary of that name"),
    ] {
        let options = RedisOptions { sentinel_password, ..RedisOptions::new(url) };
        let broker = RedisBroker::connect(options).unwrap();
        let Err(BrokerError::Unavailable { reason }) = broker.ping().await else { panic!("{url}") };
        assert!(reason.contains(words), "{reason}");
        assert!(!reason.contains("0123456789"), "{reason}");
    }
}
