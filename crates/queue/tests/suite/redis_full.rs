//! A Redis that is full to the brim, with real tasks.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::redis::RedisServer;
use protocol::{ApiKey, KeyId, Outcome, Prompt, Task, TaskId, TaskState};
use queue::{Broker, BrokerError, Claimed, Depth, Release};

use crate::conformance::keys::keep_keys;
use crate::support::*;

/// Beyond what an empty queue takes.
const ROOM: usize = 8 << 20;

/// Submits prompts of 20 KB until Redis takes no more.
async fn fill(broker: &dyn Broker) -> Vec<Task> {
    let mut accepted = Vec::new();
    loop {
        let task = Task { prompt: Prompt::user("y".repeat(20 << 10)), ..task() };
        match broker.submit(&task, NO_LIMIT).await {
            Ok(_) => accepted.push(task),
            Err(BrokerError::Unavailable { reason }) => {
                assert!(reason.contains("out of memory"), "{reason}");
                assert!(broker.snapshot(task.id).await.unwrap().is_none(), "nothing of it stayed");
                return accepted;
            }
            Err(other) => panic!("{other}"),
        }
    }
}

fn full_at(server: &RedisServer, room: usize) {
    let info = server.command(&["INFO", "memory"]);
    let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap();
    let limit = used.trim().parse::<usize>().unwrap() + room;
    server.command(&["CONFIG", "SET", "maxmemory", &limit.to_string()]);
}

/// Runs a task as a worker does. Redis may refuse its text until the task ends.
async fn work(broker: &dyn Broker, held: &Claimed, outcome: &Outcome) {
    match broker.publish(&held.lease, 0, &["some".into()]).await {
        Ok(_) | Err(BrokerError::Unavailable { .. }) => {}
        Err(other) => panic!("{other}"),
    }
    broker.renew(&held.lease, LONG).await.unwrap();
    broker.finish(&held.lease, outcome).await.unwrap();
    broker.note_logged(held.task.id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_redis_is_drained_by_workers_and_accepts_submits_again() {
    let server = RedisServer::start();
    let broker = redis_broker(&server);
    broker.ping().await.unwrap();
    full_at(&server, ROOM);
    let accepted = fill(&*broker).await;
    assert!(accepted.len() > ROOM / (30 << 10), "{} fill it", accepted.len());

    // A worker that starts only now: its scripts have yet to be loaded.
    let worker_side = redis_broker(&server);
    let worker = claimant(LONG);
    // One task is released, and some are cancelled by their owner.
    let held = claimed(&*worker_side, &worker).await;
    worker_side.release(&held.lease, &Release::Unused).await.unwrap();
    let cancelled: HashSet<TaskId> = accepted.iter().rev().take(10).map(|task| task.id).collect();
    for id in &cancelled {
        broker.cancel(*id).await.unwrap();
    }
    // An outcome that takes more room than its prompt gives, and one with a dead letter.
    let outcomes = [completed(&"z".repeat(60 << 10)), failed("no more"), completed("short")];
    let began = Instant::now();
    let mut ended = HashSet::new();
    loop {
        let batch = worker_side.claim_batch(&worker, 8, NO_WAIT).await.unwrap();
        if batch.is_empty() {
            break;
        }
        let works = batch.iter().enumerate().map(|(n, held)| {
            let outcome = if ended.len() < 8 && n < 3 { &outcomes[n] } else { &outcomes[2] };
            work(&*worker_side, held, outcome)
        });
        futures::future::join_all(works).await;
        ended.extend(batch.iter().map(|held| held.task.id));
    }
    let refused = task();
    broker.submit(&refused, NO_LIMIT).await.expect("room for more at once");
    println!("{} tasks worked off in {:?}", ended.len(), began.elapsed());
    broker.cancel(refused.id).await.unwrap();

    assert_eq!(ended.len() + cancelled.len(), accepted.len());
    for task in &accepted {
        let end = broker.snapshot(task.id).await.unwrap().expect("no accepted task is lost");
        let expected = if cancelled.contains(&task.id) {
            TaskState::Cancelled
        } else if end.outcome == Some(outcomes[1].clone()) {
            TaskState::Failed
        } else {
            TaskState::Completed
        };
        assert_eq!(end.state, expected);
    }
    assert_eq!(broker.depth(&model()).await.unwrap(), Depth::default());
    let again = fill(&*broker).await;
    assert!(again.len() * 10 > accepted.len() * 8, "{} of {}", again.len(), accepted.len());
}

/// A worker that dies while Redis is full: its tasks go back, and end, all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_leases_are_reaped_in_a_full_redis() {
    let server = RedisServer::start();
    let broker = redis_broker(&server);
    broker.reap(&claimant(SHORT)).await.unwrap();
    full_at(&server, ROOM / 4);
    let accepted = fill(&*broker).await;
    let dead = claimant(SHORT);
    let lost = broker.claim_batch(&dead, 8, NO_WAIT).await.unwrap();
    assert!(!lost.is_empty());
    let mut requeued = HashSet::new();
    let patience = Instant::now() + Duration::from_secs(10);
    while requeued.len() < lost.len() && Instant::now() < patience {
        requeued.extend(broker.reap(&claimant(SHORT)).await.unwrap().requeued);
        tokio::time::sleep(SHORT / 8).await;
    }
    assert_eq!(requeued.len(), lost.len());
    let (broker, worker) = (Arc::clone(&broker), claimant(LONG));
    let mut ended = 0;
    loop {
        let batch = broker.claim_batch(&worker, 8, NO_WAIT).await.unwrap();
        if batch.is_empty() {
            break;
        }
        ended += batch.len();
        for held in &batch {
            work(&*broker, held, &completed("x")).await;
        }
    }
    assert_eq!(ended, accepted.len());
    broker.submit(&task(), NO_LIMIT).await.expect("room for more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_redis_revokes_keys_and_adds_none() {
    let server = RedisServer::start();
    let broker = redis_broker(&server);
    let kept = keep_keys(&*broker).await;
    server.command(&["CONFIG", "SET", "maxmemory", "1mb"]);
    let key = &kept.stored.key;
    let other = ApiKey { id: KeyId::new(), ..key.clone() };
    let refused = broker.add_key([1; 32], &other).await.unwrap_err();
    assert!(matches!(refused, BrokerError::Unavailable { .. }), "{refused}");
    kept.are_in(&*broker).await;
    let changed = broker.change_key(kept.stored.revision, key, Some([2; 32])).await.unwrap();
    assert_eq!(changed.unwrap().key, *key);
    assert!(broker.revoke_key(&key.id).await.unwrap().is_some());
    assert_eq!(broker.find_key([2; 32]).await.unwrap(), None);
}
