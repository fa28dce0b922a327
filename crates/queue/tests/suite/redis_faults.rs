//! Redis that goes away and comes back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{Task, TaskState, Timestamp, Webhook};
use queue::{
    BrokerError, DeadLetterPage, Depth, OpenError, Purge, Reaped, RedisBroker, RedisOptions,
    Release, Tried, TryResult, Verdict,
};
use redis::cmd;

use crate::conformance::keys::keep_keys;
use crate::support::*;
use harness::redis::RedisServer;

fn is_unavailable<T: std::fmt::Debug>(answer: &Result<T, BrokerError>) -> bool {
    matches!(answer, Err(BrokerError::Unavailable { .. }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_and_restart_of_redis_lose_no_task_and_clients_recover() {
    let mut server = RedisServer::durable();
    let (gateway, worker_side) = (redis_broker(&server), redis_broker(&server));
    let mut accepted = Vec::new();
    for _ in 0..100 {
        accepted.push(submitted(&*gateway).await.id);
    }
    let held = claimed(&*worker_side, &claimant(LONG)).await;
    let mut watch = gateway.watch(accepted[50]);
    let mut feed = worker_side.cancellations();
    tokio::time::sleep(Duration::from_millis(100)).await;

    server.kill();
    assert!(is_unavailable(&gateway.submit(&task(), NO_LIMIT).await));
    server.restart();

    eventually("back", async || gateway.ping().await.is_ok()).await;
    for id in &accepted {
        let found = gateway.snapshot(*id).await.unwrap().expect("an accepted task is kept");
        assert!(matches!(found.state, TaskState::Queued | TaskState::Processing));
    }
    worker_side.renew(&held.lease, LONG).await.expect("a lease outlives a restart");
    worker_side.finish(&held.lease, &completed("x")).await.unwrap();
    let worker = claimant(LONG);
    for _ in 1..100 {
        let held = claimed(&*worker_side, &worker).await;
        worker_side.finish(&held.lease, &completed("x")).await.unwrap();
    }
    assert_eq!(gateway.depth(&model()).await.unwrap(), Depth::default());

    // The connections for wake-ups have been restored too.
    tokio::time::timeout(Duration::from_secs(5), watch.changed()).await.expect("woken");
    let task = submitted(&*gateway).await;
    claimed(&*worker_side, &claimant(LONG)).await;
    let named = async {
        loop {
            gateway.cancel(task.id).await.unwrap();
            if let Ok(id) = tokio::time::timeout(Duration::from_millis(200), feed.next()).await {
                return id;
            }
        }
    };
    assert_eq!(tokio::time::timeout(Duration::from_secs(5), named).await.unwrap(), task.id);
}

#[tokio::test]
async fn redis_that_is_down_is_reported_quickly() {
    let mut server = RedisServer::start();
    let broker = redis_broker(&server);
    broker.ping().await.unwrap();
    server.kill();
    let begun = Instant::now();
    let Err(error) = broker.submit(&task(), NO_LIMIT).await else { panic!("accepted by nobody") };
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert!(error.to_string().contains("connection refused"), "{error}");
    assert!(is_unavailable(&broker.claim(&claimant(LONG), NO_WAIT).await));
    // A claim with time to wait keeps retrying, instead of returning early to a caller that would
    // retry at once.
    let begun = Instant::now();
    assert!(is_unavailable(&broker.claim(&claimant(LONG), Duration::from_secs(1)).await));
    assert!(begun.elapsed() > Duration::from_millis(300), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn redis_that_hangs_is_reported_quickly() {
    let server = RedisServer::start();
    let broker = redis_broker(&server);
    broker.ping().await.unwrap();
    server.signal("STOP");
    let begun = Instant::now();
    let answer = broker.submit(&task(), NO_LIMIT).await;
    server.signal("CONT");
    assert!(is_unavailable(&answer), "{answer:?}");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    eventually("back", async || broker.ping().await.is_ok()).await;
}

#[tokio::test]
async fn broker_can_be_opened_before_redis_is_up() {
    let mut server = RedisServer::start();
    server.kill();
    let broker = redis_broker(&server);
    let waiter = {
        let broker = Arc::clone(&broker);
        tokio::spawn(async move { broker.claim(&claimant(LONG), LONG).await })
    };
    assert!(is_unavailable(&broker.ping().await));
    server.restart();
    eventually("there", async || broker.ping().await.is_ok()).await;
    let task = submitted(&*broker).await;
    let held = tokio::time::timeout(Duration::from_secs(5), waiter).await.unwrap().unwrap();
    assert_eq!(held.unwrap().unwrap().task, task);
}

#[tokio::test]
async fn invalid_redis_url_is_refused() {
    let Err(error) = RedisBroker::connect(RedisOptions::new("http://nowhere")) else {
        panic!("taken for Redis")
    };
    assert!(matches!(error, OpenError::RedisUrl { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn managed_keys_outlive_a_kill_9_of_redis() {
    let mut server = RedisServer::durable();
    let broker = redis_broker(&server);
    let kept = keep_keys(&*broker).await;
    server.kill();
    assert!(is_unavailable(&broker.keys_version().await));
    server.restart();
    eventually("back", async || broker.ping().await.is_ok()).await;
    kept.are_in(&*broker).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocked_claim_continues_after_a_redis_restart() {
    let mut server = RedisServer::durable();
    let broker = redis_broker(&server);
    submitted(&*broker).await; // so that the stream exists
    let held = claimed(&*broker, &claimant(LONG)).await;
    broker.finish(&held.lease, &completed("x")).await.unwrap();
    let waiter = {
        let broker = Arc::clone(&broker);
        tokio::spawn(async move { broker.claim(&claimant(LONG), LONG).await })
    };
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.kill();
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.restart();
    eventually("back", async || broker.ping().await.is_ok()).await;
    let task = submitted(&*broker).await;
    let held = tokio::time::timeout(Duration::from_secs(3), waiter).await.unwrap().unwrap();
    assert_eq!(held.unwrap().unwrap().task, task);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flushall_loses_the_tasks_but_the_broker_keeps_working() {
    let server = RedisServer::start();
    let broker = redis_broker(&server);
    submitted(&*broker).await;
    let lost = claimed(&*broker, &claimant(LONG)).await;
    let waiter = {
        let broker = Arc::clone(&broker);
        tokio::spawn(async move { broker.claim(&claimant(LONG), LONG).await })
    };
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut plain = plain_connection(&server).await;
    cmd("FLUSHALL").exec_async(&mut plain).await.unwrap();

    let before = commands_processed(&mut plain).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let after = commands_processed(&mut plain).await;
    assert!(after - before < 50, "{} commands in half a second: a hot loop", after - before);

    let late = broker.finish(&lost.lease, &completed("x")).await;
    assert!(matches!(late, Err(BrokerError::LeaseLost { .. })), "{late:?}");
    let task = submitted(&*broker).await;
    let held = tokio::time::timeout(Duration::from_secs(8), waiter).await.unwrap().unwrap();
    let held = held.unwrap().unwrap();
    assert_eq!(held.task, task);
    broker.finish(&held.lease, &completed("x")).await.unwrap();
    assert_eq!(broker.depth(&model()).await.unwrap(), Depth::default());
}

async fn commands_processed(plain: &mut redis::aio::MultiplexedConnection) -> i64 {
    let info: String = cmd("INFO").arg("stats").query_async(plain).await.unwrap();
    let line = info.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
    line.unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn flushed_scripts_are_reloaded() {
    let server = RedisServer::start();
    let broker = redis_broker(&server);
    let mut plain = plain_connection(&server).await;
    let flush = cmd("SCRIPT").arg("FLUSH").to_owned();
    let task = task();
    flush.exec_async(&mut plain).await.unwrap();
    broker.submit(&task, NO_LIMIT).await.unwrap();
    flush.exec_async(&mut plain).await.unwrap();
    let held = claimed(&*broker, &claimant(LONG)).await;
    flush.exec_async(&mut plain).await.unwrap();
    broker.publish(&held.lease, 0, &["x".into()]).await.unwrap();
    flush.exec_async(&mut plain).await.unwrap();
    broker.release(&held.lease, &Release::Unused).await.unwrap();
    let held = claimed(&*broker, &claimant(LONG)).await;
    flush.exec_async(&mut plain).await.unwrap();
    broker.finish(&held.lease, &completed("x")).await.unwrap();
}

#[tokio::test]
async fn the_scripts_run_in_cluster_mode() {
    let server = RedisServer::with(&["--cluster-enabled", "yes"]);
    let mut plain = plain_connection(&server).await;
    let all_slots = cmd("CLUSTER").arg("ADDSLOTSRANGE").arg(0).arg(16_383).to_owned();
    all_slots.exec_async(&mut plain).await.unwrap();
    let broker = redis_broker(&server);
    eventually("the cluster is up", async || broker.reap(&claimant(SHORT)).await.is_ok()).await;

    let (first, second) = (submitted(&*broker).await, submitted(&*broker).await);
    assert_eq!(claimed(&*broker, &claimant(SHORT)).await.task, first);
    reap_until_found(&*broker, &claimant(SHORT)).await;
    let held = claimed(&*broker, &claimant(LONG)).await;
    assert_eq!(held.task, second);
    broker.renew(&held.lease, LONG).await.unwrap();
    broker.publish(&held.lease, 0, &["x".into()]).await.unwrap();
    broker.release(&held.lease, &Release::Unused).await.unwrap();
    let held = claimed(&*broker, &claimant(LONG)).await;
    assert_eq!(held.task, first);
    broker.finish(&held.lease, &completed("x")).await.unwrap();
    broker.cancel(second.id).await.unwrap();
    assert!(broker.claim(&claimant(LONG), Duration::from_millis(20)).await.unwrap().is_none());
    assert_eq!(broker.depth(&model()).await.unwrap(), Depth::default());
    assert_eq!(broker.unlogged(LONG, 10).await.unwrap().len(), 1);
    broker.logged(&[second.id]).await.unwrap();
    assert_eq!(broker.expired(second.id).await.unwrap(), None);

    let told = Task {
        webhook: Some(Webhook { url: "https://x.test/".into(), form: Default::default() }),
        ..task()
    };
    broker.set_paused(&model(), true).await.unwrap();
    broker.submit(&told, NO_LIMIT).await.unwrap();
    assert!(broker.claim(&claimant(LONG), NO_WAIT).await.unwrap().is_none());
    broker.set_paused(&model(), false).await.unwrap();
    let held = claimed(&*broker, &claimant(LONG)).await;
    broker.finish(&held.lease, &failed("no more")).await.unwrap();
    assert_eq!(broker.due_webhooks(LONG, 10).await.unwrap()[0].id, told.id.into());
    let result = TryResult::Status(200);
    let tried = Tried { number: 1, at: Timestamp::now(), took_ms: 1, result };
    broker.webhook_tried(told.id.into(), &tried, Verdict::Delivered).await.unwrap();
    assert_eq!(broker.webhook(told.id.into()).await.unwrap().unwrap().tries, [tried]);
    let all = DeadLetterPage { model: None, before: None, limit: 10 };
    assert_eq!(broker.dead_letters(&all).await.unwrap().len(), 1);
    assert!(broker.replay(told.id).await.unwrap().unwrap().created);
    assert!(!broker.replay(told.id).await.unwrap().unwrap().created);
    assert_eq!(broker.purge_dead_letters(&Purge::All).await.unwrap(), 0);
    assert_eq!(broker.overview().await.unwrap().queues[0].queued, [0, 1, 0, 0]);
    let worker = report(1);
    broker.report_worker(&worker, LONG).await.unwrap();
    assert!(broker.drain_worker(worker.id).await.unwrap());
}

#[tokio::test]
async fn full_redis_refuses_submits_but_lets_accepted_tasks_finish() {
    let server = RedisServer::start();
    let broker = redis_broker(&server);
    let first = submitted(&*broker).await;
    let second = submitted(&*broker).await;
    let held = claimed(&*broker, &claimant(SHORT)).await;

    let mut plain = plain_connection(&server).await;
    let limit = cmd("CONFIG").arg("SET").arg("maxmemory").arg("1").to_owned();
    limit.exec_async(&mut plain).await.unwrap();
    let refused = task();
    let answer = broker.submit(&refused, NO_LIMIT).await;
    assert!(is_unavailable(&answer), "{answer:?}");
    assert!(answer.unwrap_err().to_string().contains("out of memory"));
    assert!(broker.snapshot(refused.id).await.unwrap().is_none(), "nothing of it was stored");
    assert_eq!(broker.depth(&model()).await.unwrap(), Depth { queued: 1, processing: 1 });

    assert!(is_unavailable(&broker.publish(&held.lease, 0, &["x".into()]).await));
    broker.renew(&held.lease, LONG).await.unwrap();
    broker.reap(&claimant(SHORT)).await.unwrap();
    broker.release(&held.lease, &Release::Unused).await.unwrap();
    let held = claimed(&*broker, &claimant(LONG)).await;
    assert_eq!(held.task.id, second.id);
    broker.finish(&held.lease, &completed("x")).await.unwrap();
    broker.cancel(first.id).await.unwrap();
    assert_eq!(broker.depth(&model()).await.unwrap(), Depth::default());

    cmd("CONFIG").arg("SET").arg("maxmemory").arg("0").exec_async(&mut plain).await.unwrap();
    broker.submit(&refused, NO_LIMIT).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outage_longer_than_a_lease_causes_no_double_execution() {
    let mut server = RedisServer::durable();
    let broker = redis_broker(&server);
    let lease = Duration::from_millis(800);
    let mut leases = Vec::new();
    for _ in 0..20 {
        submitted(&*broker).await;
        leases.push(claimed(&*broker, &claimant(lease)).await.lease);
    }
    let reaper = claimant(lease);
    broker.reap(&reaper).await.unwrap();
    server.kill();
    tokio::time::sleep(lease * 2).await;
    server.restart();
    eventually("back", async || broker.ping().await.is_ok()).await;
    assert_eq!(broker.reap(&reaper).await.unwrap(), Reaped::default());
    for lease in &leases {
        broker.renew(lease, LONG).await.expect("nobody took it");
    }
    tokio::time::sleep(lease / 3).await;
    assert_eq!(broker.reap(&reaper).await.unwrap(), Reaped::default());
    for lease in &leases {
        broker.finish(lease, &completed("x")).await.unwrap();
    }
}

#[tokio::test]
async fn dropped_claim_releases_its_connection() {
    let server = RedisServer::start();
    let broker = redis_broker(&server);
    for _ in 0..30 {
        let claimant = claimant(LONG);
        let waiting = broker.claim(&claimant, LONG);
        let _ = tokio::time::timeout(Duration::from_millis(10), waiting).await;
    }
    let mut plain = plain_connection(&server).await;
    eventually("the connections are closed", async || {
        let list: String = cmd("CLIENT").arg("LIST").query_async(&mut plain).await.unwrap();
        list.lines().count() <= 5
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn corrupt_task_does_not_affect_others_of_the_same_call() {
    let server = RedisServer::start();
    let broker = redis_broker(&server);
    let mut plain = plain_connection(&server).await;
    for _ in 0..4 {
        submitted(&*broker).await;
    }
    let mut held = broker.claim_batch(&claimant(LONG), 4, NO_WAIT).await.unwrap();
    let key = format!("qq:{{0}}:task:{}", held[1].task.id);
    cmd("SET").arg(&key).arg("x").exec_async(&mut plain).await.unwrap();
    let outcome = completed("x");
    let finishes = held.iter().map(|held| broker.finish(&held.lease, &outcome));
    let answers = futures::future::join_all(finishes).await;
    assert!(matches!(answers[1], Err(BrokerError::Corrupt(_))), "{:?}", answers[1]);
    held.remove(1);
    for held in held {
        let end = broker.snapshot(held.task.id).await.unwrap().unwrap();
        assert_eq!(end.state, TaskState::Completed);
    }
    // A task whose record was replaced while it was queued does not prevent others from being
    // claimed.
    let spoilt = submitted(&*broker).await;
    let good = submitted(&*broker).await;
    let key = format!("qq:{{0}}:task:{}", spoilt.id);
    cmd("SET").arg(&key).arg("x").exec_async(&mut plain).await.unwrap();
    let batch = broker.claim_batch(&claimant(LONG), 4, NO_WAIT).await.unwrap();
    assert_eq!(batch.iter().map(|held| held.task.id).collect::<Vec<_>>(), [good.id]);
    assert_eq!(broker.depth(&model()).await.unwrap().queued, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_queued_behind_a_hanging_redis_fail_quickly() {
    let server = RedisServer::start();
    let broker = redis_broker(&server);
    broker.ping().await.unwrap();
    submitted(&*broker).await; // until the connection is up
    server.signal("STOP");
    let begun = Instant::now();
    let first = {
        let broker = Arc::clone(&broker);
        tokio::spawn(async move { broker.submit(&task(), NO_LIMIT).await.map(drop) })
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    let tasks: Vec<_> = (0..100).map(|_| task()).collect();
    let others = tasks.iter().map(|task| broker.submit(task, NO_LIMIT));
    let answers = futures::future::join_all(others).await;
    let took = begun.elapsed();
    server.signal("CONT");
    assert!(is_unavailable(&first.await.unwrap()));
    assert!(answers.iter().all(is_unavailable));
    assert!(took < Duration::from_secs(4), "{took:?}");
    eventually("back", async || broker.submit(&task(), NO_LIMIT).await.is_ok()).await;
}
