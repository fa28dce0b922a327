//! The indexes of tasks on Redis: their bounds, what an earlier build left, and values that are not theirs.

use std::collections::BTreeSet;
use std::time::Duration;

use harness::redis::RedisServer;
use protocol::{Task, TaskId};
use queue::{Broker, LISTED_ENDED, ListedState, Release, TaskFilter};

use crate::support::*;

const LIVE: &str = "qq:{0}:tasks:live:demo";
const COMPLETED: &str = "qq:{0}:tasks:completed:demo";

async fn listed(broker: &dyn Broker, state: ListedState) -> Vec<TaskId> {
    let filter = TaskFilter { states: [state].into(), ..TaskFilter::default() };
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let page = broker.tasks(&filter, after, 100).await.unwrap();
        ids.extend(page.tasks.iter().map(|task| task.task.id));
        after = page.next;
        if after.is_none() {
            return ids;
        }
    }
}

async fn finished(broker: &dyn Broker, text: &str) -> TaskId {
    submitted(broker).await;
    let held = claimed(broker, &claimant(LONG)).await;
    broker.finish(&held.lease, &completed(text)).await.unwrap();
    held.task.id
}

/// Fills an index with tasks that do not exist, older than all others, and returns the oldest and the newest.
fn fill(server: &RedisServer, key: &str, many: u64) -> (String, String) {
    let id = |number: u64| format!("00000000-0000-7000-8000-{number:012x}");
    for from in (0..many).step_by(1_000) {
        let ids: Vec<String> = (from..(from + 1_000).min(many)).map(id).collect();
        let mut call = vec!["ZADD", key];
        call.extend(ids.iter().flat_map(|id| ["0", id.as_str()]));
        server.command(&call);
    }
    (id(0), id(many - 1))
}

fn has(server: &RedisServer, key: &str, id: &str) -> bool {
    !server.command(&["ZSCORE", key, id]).trim().is_empty()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn number_of_listed_ended_tasks_is_bounded() {
    let server = RedisServer::start();
    let broker = redis_broker(&server);
    let (oldest, newest) = fill(&server, COMPLETED, LISTED_ENDED);
    let id = finished(&*broker, "x").await;
    assert_eq!(server.command(&["ZCARD", COMPLETED]).trim(), LISTED_ENDED.to_string());
    assert!(!has(&server, COMPLETED, &oldest) && has(&server, COMPLETED, &newest));
    assert!(has(&server, COMPLETED, &id.to_string()));
    // The others do not exist, which costs short pages.
    assert_eq!(listed(&*broker, ListedState::Completed).await, [id]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_of_an_earlier_build_are_listed_once_they_change() {
    let server = RedisServer::start();
    let broker = redis_broker(&server);
    let worker = claimant(LONG);
    let tasks = [submitted(&*broker).await.id, submitted(&*broker).await.id];
    server.command(&["DEL", LIVE]);
    assert_eq!(listed(&*broker, ListedState::Queued).await, []);
    let (one, other) = (claimed(&*broker, &worker).await, claimed(&*broker, &worker).await);
    assert_eq!(listed(&*broker, ListedState::Processing).await, [tasks[1], tasks[0]]);
    broker.finish(&one.lease, &completed("x")).await.unwrap();
    broker.release(&other.lease, &Release::Unused).await.unwrap();
    assert_eq!(listed(&*broker, ListedState::Completed).await, [tasks[0]]);
    assert_eq!(listed(&*broker, ListedState::Queued).await, [tasks[1]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reaps_remove_tasks_that_no_longer_exist() {
    let server = RedisServer::start();
    let broker = redis_broker(&server);
    let kept = finished(&*broker, "x").await;
    let brief = Task { result_ttl_s: 1, ..task() };
    broker.submit(&brief, NO_LIMIT).await.unwrap();
    broker.cancel(brief.id).await.unwrap();
    // An earlier build ended tasks that this one had submitted.
    let (oldest, newest) = fill(&server, LIVE, 900);
    eventually("the index is empty", async || {
        broker.reap(&claimant(SHORT)).await.unwrap();
        let cancelled = server.command(&["EXISTS", "qq:{0}:tasks:cancelled:demo"]);
        server.command(&["EXISTS", LIVE]).trim() == "0" && cancelled.trim() == "0"
    })
    .await;
    assert!(!has(&server, LIVE, &oldest) && !has(&server, LIVE, &newest));
    assert_eq!(listed(&*broker, ListedState::Completed).await, [kept]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_value_in_place_of_an_index_stops_no_task() {
    let server = RedisServer::start();
    let broker = redis_broker(&server);
    for key in [LIVE, COMPLETED, "qq:{0}:tasks:delayed:demo"] {
        server.command(&["SET", key, "foreign"]);
    }
    let worker = claimant(LONG);
    submitted(&*broker).await;
    let held = claimed(&*broker, &worker).await;
    broker.release(&held.lease, &resting(Duration::from_millis(1))).await.unwrap();
    broker.reap(&claimant(SHORT)).await.unwrap();
    let held = broker.claim(&worker, LONG).await.unwrap().unwrap();
    broker.finish(&held.lease, &completed("x")).await.unwrap();
    assert_eq!(broker.depth(&model()).await.unwrap(), Default::default());
    assert_eq!(broker.overview().await.unwrap().queues[0].completed, 1);
    assert!(broker.tasks(&TaskFilter::default(), None, 9).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_long_answers_is_short() {
    let server = RedisServer::start();
    let broker = redis_broker(&server);
    let long = "x".repeat(700_000);
    let mut ended = BTreeSet::new();
    for _ in 0..8 {
        ended.insert(finished(&*broker, &long).await);
    }
    let page = broker.tasks(&TaskFilter::default(), None, 100).await.unwrap();
    assert_eq!((page.tasks.len(), page.next), (8, None), "the broker reads on");
    assert_eq!(
        listed(&*broker, ListedState::Completed).await.into_iter().collect::<BTreeSet<_>>(),
        ended
    );
}
