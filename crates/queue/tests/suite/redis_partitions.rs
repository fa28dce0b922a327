//! A queue with several partitions on Redis.

use std::time::Duration;

use protocol::{Task, TaskId, TenantId};
use queue::{
    Bounds, Broker, BrokerError, Claimant, Idempotency, Matches, OpenError, Operations,
    RedisBroker, RedisOptions, SubmitOptions,
};

use crate::support::*;
use harness::redis::RedisServer;

fn divided(server: &RedisServer, partitions: u32) -> RedisBroker {
    let options = RedisOptions { partitions, ..RedisOptions::new(server.url()) };
    RedisBroker::connect(options).unwrap()
}

#[tokio::test]
async fn processes_with_another_partition_count_are_refused() {
    let server = RedisServer::start();
    let (three, two) = (divided(&server, 3), divided(&server, 2));
    let task = submitted(&three).await;
    for refused in [
        two.submit(&task, NO_LIMIT).await.map(drop),
        two.snapshot(task.id).await.map(drop),
        two.claim(&claimant(LONG), NO_WAIT).await.map(drop),
        two.reap(&claimant(LONG)).await.map(drop),
        two.ping().await,
    ] {
        let Err(error @ BrokerError::Unavailable { .. }) = refused else { panic!("{refused:?}") };
        let words = error.to_string();
        assert!(words.contains("REDIS_PARTITIONS=3") && words.contains("empty"), "{words}");
    }
    three.ping().await.unwrap();
    // The procedure that the error describes.
    server.command(&["DEL", "qq:{0}:partitions"]);
    server.command(&["DEL", "qq:{0}:totals"]);
    two.ping().await.unwrap();
    assert!(three.reap(&claimant(LONG)).await.is_err(), "noticed without a restart");
    assert!(three.snapshot(task.id).await.is_err());
}

#[tokio::test]
async fn queue_of_another_layout_version_is_refused() {
    let server = RedisServer::start();
    let broker = divided(&server, 1);
    let task = submitted(&broker).await;
    // Another layout number; and none, as older builds wrote it.
    for other in ["1 999", "1"] {
        server.command(&["SET", "qq:{0}:partitions", other]);
        let newcomer = divided(&server, 1);
        for refused in [
            newcomer.ping().await,
            newcomer.submit(&task, NO_LIMIT).await.map(drop),
            newcomer.claim(&claimant(LONG), NO_WAIT).await.map(drop),
        ] {
            let Err(error @ BrokerError::Unavailable { .. }) = refused else {
                panic!("{refused:?}")
            };
            let words = error.to_string();
            assert!(words.contains("another build") && words.contains("is 4)"), "{words}");
        }
    }
    // The layout is lost by a FLUSHALL, and then a broker that had agreed before submits a task.
    server.command(&["FLUSHALL"]);
    let survivor = submitted(&broker).await;
    let newcomer = divided(&server, 1);
    newcomer.ping().await.unwrap();
    assert!(newcomer.snapshot(survivor.id).await.unwrap().is_some());
}

#[tokio::test]
async fn partition_count_out_of_range_is_refused() {
    for partitions in [0, 65] {
        let options = RedisOptions { partitions, ..RedisOptions::new("redis://localhost") };
        let Err(error) = RedisBroker::connect(options) else { panic!("accepted") };
        assert!(matches!(error, OpenError::Partitions { .. }), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_partition_is_served_in_turn() {
    let server = RedisServer::start();
    let broker = divided(&server, 4);
    for _ in 0..80 {
        submitted(&broker).await;
    }
    let worker = claimant(LONG);
    for _ in 0..40 {
        claimed(&broker, &worker).await;
    }
    for partition in 0..4 {
        let leases = server.command(&["ZCARD", &format!("qq:{{{partition}}}:leases")]);
        let leases: u32 = leases.parse().unwrap();
        assert!((6..=16).contains(&leases), "{leases} of 40 claims in partition {partition}");
    }
    assert_eq!(broker.depth(&model()).await.unwrap().queued, 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_claim_is_woken_by_a_task_in_any_partition() {
    let server = RedisServer::start();
    let (waiter, broker) = (std::sync::Arc::new(divided(&server, 4)), divided(&server, 4));
    for _ in 0..12 {
        let waiting = {
            let waiter = waiter.clone();
            tokio::spawn(async move { waiter.claim(&claimant(LONG), LONG).await })
        };
        tokio::time::sleep(Duration::from_millis(50)).await;
        let task = submitted(&broker).await;
        let begun = std::time::Instant::now();
        assert_eq!(waiting.await.unwrap().unwrap().unwrap().task.id, task.id);
        assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn bounds_are_divided_over_partitions_and_reported_in_total() {
    let server = RedisServer::start();
    let broker = divided(&server, 3);
    let (mut accepted, mut full) = (0, None);
    for _ in 0..60 {
        match broker.submit(&task(), &up_to(30)).await {
            Ok(_) => accepted += 1,
            Err(error) => full = Some(error),
        }
    }
    assert_eq!(accepted, 30, "60 tasks fill all partitions");
    let Some(BrokerError::QueueFull { held, limit, .. }) = full else { panic!("{full:?}") };
    assert_eq!((held, limit), (30, 30));
    let other = Task { tenant: TenantId::new("other"), ..task() };
    let one_each = Bounds { tenant: 1, ..Bounds::NONE };
    let options = SubmitOptions { bounds: one_each, ..SubmitOptions::PLAIN };
    broker.submit(&other, &options).await.unwrap();
}

#[tokio::test]
async fn position_includes_all_partitions_and_workers_count_once() {
    let server = RedisServer::start();
    let broker = divided(&server, 4);
    broker.report_worker(&report(2), LONG).await.unwrap();
    let mut last = 0;
    for _ in 0..400 {
        let submitted = broker.submit(&task(), NO_LIMIT).await.unwrap();
        last = submitted.estimate.unwrap().position;
        assert!(submitted.depth <= 4 * 160, "{submitted:?}");
    }
    assert!((280..=520).contains(&last), "the 400th is told that it is the {last}th");
    let overview = broker.overview().await.unwrap();
    assert_eq!(overview.queues.len(), 1);
    assert_eq!(overview.queues[0].queued.iter().sum::<u64>(), 400);
    assert_eq!(overview.queues[0].capacity, 2);
    assert_eq!(broker.workers().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idempotency_key_finds_the_same_task_from_any_process() {
    let server = RedisServer::start();
    let brokers = [divided(&server, 8), divided(&server, 8)];
    for key in 0..20 {
        let idempotency = Idempotency {
            key: format!("key {key}"),
            body_hash: "hash".into(),
            matches: Matches::Always,
        };
        let options = SubmitOptions { idempotency: Some(idempotency), ..SubmitOptions::PLAIN };
        let (one, other) = (task(), task());
        let answers = futures::future::join_all([
            brokers[0].submit(&one, &options),
            brokers[1].submit(&other, &options),
            brokers[1].submit(&one, &options),
        ])
        .await;
        let ids: Vec<TaskId> =
            answers.iter().map(|answer| answer.as_ref().unwrap().task_id).collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        let found = brokers[1].snapshot(ids[0]).await.unwrap().expect("found by the told id");
        assert_eq!(found.task.id, ids[0]);
    }
    assert_eq!(brokers[0].depth(&model()).await.unwrap().queued, 20);
}

#[tokio::test]
async fn lease_is_valid_in_every_partition() {
    let server = RedisServer::start();
    let broker = divided(&server, 5);
    let worker = Claimant { ..claimant(LONG) };
    let mut ids = Vec::new();
    for _ in 0..30 {
        ids.push(submitted(&broker).await.id);
    }
    for _ in 0..30 {
        let held = claimed(&broker, &worker).await;
        broker.renew(&held.lease, LONG).await.unwrap();
        broker.publish(&held.lease, 0, &["x".into()]).await.unwrap();
        broker.finish(&held.lease, &completed("x")).await.unwrap();
        assert_eq!(
            broker.events(held.task.id, protocol::EventSeq::new(0), 9).await.unwrap().len(),
            4
        );
        ids.retain(|id| *id != held.task.id);
    }
    assert!(ids.is_empty());
}
