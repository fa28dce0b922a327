//! Tests how much data of ended tasks stays in Redis, and for how long.

use protocol::{Lane, Task, Timestamp, Webhook};
use queue::{Claimant, DeadLetterPage, Release, SubmitOptions, Tried, TryResult, Verdict};
use redis::cmd;

use crate::support::*;
use harness::redis::RedisServer;

#[tokio::test]
async fn ended_tasks_leave_only_records_that_expire() {
    let server = RedisServer::start();
    let broker = redis_broker(&server);
    let report = report(1);
    broker.report_worker(&report, LONG).await.unwrap();
    let worker = Claimant { worker: report.id, ..claimant(LONG) };
    for lane in Lane::ALL {
        broker.submit(&task_in(lane), NO_LIMIT).await.unwrap();
        let apart = SubmitOptions {
            start: queue::Start::After(LONG),
            expires_in: Some(LONG),
            ..SubmitOptions::PLAIN
        };
        let cancelled = task_in(lane);
        broker.submit(&cancelled, &apart).await.unwrap();
        broker.cancel(cancelled.id).await.unwrap();
    }
    let mut plain = plain_connection(&server).await;
    for _ in Lane::ALL {
        let held = claimed(&*broker, &worker).await;
        let forgotten_early = broker.forget_worker(report.id).await;
        forgotten_early.unwrap();
        broker.publish(&held.lease, 0, &["x".into()]).await.unwrap();
        broker.finish(&held.lease, &completed("it was still running")).await.unwrap();
        let key = format!("qq:{{0}}:task:{}", held.task.id);
        let kept = ttl(&mut plain, &key).await;
        assert!((3_500..=3_600).contains(&kept), "{key}: {kept}");
        let list = format!("qq:{{0}}:events:{}", held.task.id);
        assert_eq!(ttl(&mut plain, &list).await, -2, "its events are with its outcome");
        let id = held.task.id.to_string();
        let gone = format!("qq:{{0}}:gone:{}{}", &id[..8], &id[9..10]);
        let tombstone = ttl(&mut plain, &gone).await;
        assert!((7_100..=7_200).contains(&tombstone), "an hour, and another: {tombstone}");
    }
    // A task that published nothing has no list of events; one that was requeued has that event,
    // and is cancelled.
    let silent = submitted(&*broker).await;
    let held = claimed(&*broker, &worker).await;
    broker.finish(&held.lease, &completed("at once")).await.unwrap();
    assert_eq!(ttl(&mut plain, &format!("qq:{{0}}:events:{}", silent.id)).await, -2);
    let back = submitted(&*broker).await;
    let held = claimed(&*broker, &worker).await;
    broker.release(&held.lease, &Release::Unused).await.unwrap();
    broker.cancel(back.id).await.unwrap();
    assert_eq!(ttl(&mut plain, &format!("qq:{{0}}:events:{}", back.id)).await, -2);
    let kept = ttl(&mut plain, &format!("qq:{{0}}:task:{}", back.id)).await;
    assert!((3_500..=3_600).contains(&kept), "{kept}");
    assert_eq!(broker.events(back.id, protocol::EventSeq::START, 9).await.unwrap().len(), 4);
    let length: i64 =
        cmd("XLEN").arg("qq:{0}:queue:normal:demo").query_async(&mut plain).await.unwrap();
    assert_eq!(length, 0);
    for kind in [
        "leases",
        "share",
        "backlog",
        "delayed",
        "expiring",
        "draining",
        "dead",
        "hook",
        "tasks:live",
        "tasks:delayed",
    ] {
        let pattern = format!("qq:{{0}}:{kind}*");
        let keys: Vec<String> = cmd("KEYS").arg(pattern).query_async(&mut plain).await.unwrap();
        assert!(keys.is_empty(), "{keys:?}");
    }
    let stats: std::collections::HashMap<String, String> =
        cmd("HGETALL").arg("qq:{0}:stats:demo").query_async(&mut plain).await.unwrap();
    for (name, value) in &stats {
        let counts = ["delayed", "processing", "capacity"];
        let is_count = counts.contains(&name.as_str());
        assert!(!is_count || value == "0", "{name}: {value}");
        let lane = name.starts_with("lane:");
        assert!(!lane || value.starts_with("0 0 "), "none queued, no tenant: {name}: {value}");
    }
    let totals: std::collections::HashMap<String, i64> =
        cmd("HGETALL").arg("qq:{0}:totals").query_async(&mut plain).await.unwrap();
    assert_eq!(totals, [("bytes".to_owned(), 0)].into(), "and no tenant");
}

async fn ttl(plain: &mut redis::aio::MultiplexedConnection, key: &str) -> i64 {
    cmd("TTL").arg(key).query_async(plain).await.unwrap()
}

#[tokio::test]
async fn dead_letters_expire_after_a_week() {
    const WEEK: i64 = 7 * 24 * 60 * 60;
    let server = RedisServer::start();
    let broker = redis_broker(&server);
    let mut plain = plain_connection(&server).await;
    let die = async || {
        let task = submitted(&*broker).await;
        let held = claimed(&*broker, &claimant(LONG)).await;
        broker.finish(&held.lease, &failed("no more")).await.unwrap();
        task.id
    };
    let (old, young) = (die().await, die().await);
    for id in [old, young] {
        let ttl = ttl(&mut plain, &format!("qq:{{0}}:dead:{id}")).await;
        assert!((WEEK - 60..=WEEK).contains(&ttl), "{ttl}");
    }
    let last_week = Timestamp::now().as_millis() - WEEK as u64 * 1_000;
    let age = cmd("ZADD").arg("qq:{0}:dead").arg(last_week).arg(old.to_string()).to_owned();
    age.exec_async(&mut plain).await.unwrap();
    let all = DeadLetterPage { model: None, before: None, limit: 10 };
    let listed = broker.dead_letters(&all).await.unwrap();
    assert_eq!(listed.iter().map(|letter| letter.task.id).collect::<Vec<_>>(), [young]);
    assert_eq!(broker.overview().await.unwrap().dead_letters, 1);
    die().await;
    let kept: i64 = cmd("ZCARD").arg("qq:{0}:dead").query_async(&mut plain).await.unwrap();
    assert_eq!(kept, 2, "the next clears it away");

    let replayed = broker.replay(young).await.unwrap().expect("a letter");
    let ttl = ttl(&mut plain, &format!("qq:{{0}}:dead:{young}")).await;
    assert!((WEEK - 60..=WEEK).contains(&ttl), "what remembers the replay goes as well: {ttl}");
    assert_eq!(broker.replay(young).await.unwrap().unwrap().task_id, replayed.task_id);
}

#[tokio::test]
async fn dead_letters_of_the_same_millisecond_are_all_listed() {
    let server = RedisServer::start();
    let broker = redis_broker(&server);
    let worker = claimant(LONG);
    let tasks: Vec<_> = (0..30).map(|_| task()).collect();
    for task in &tasks {
        broker.submit(task, NO_LIMIT).await.unwrap();
    }
    let mut held = Vec::new();
    for _ in &tasks {
        held.push(claimed(&*broker, &worker).await.lease);
    }
    let no_more = failed("no more");
    let ends = held.iter().map(|lease| broker.finish(lease, &no_more));
    futures::future::try_join_all(ends).await.unwrap();
    let (mut paged, mut before) = (std::collections::HashSet::new(), None);
    loop {
        let page = DeadLetterPage { model: None, before, limit: 7 };
        let letters = broker.dead_letters(&page).await.unwrap();
        let Some(last) = letters.last() else { break };
        before = Some(last.died_at);
        paged.extend(letters.iter().map(|letter| letter.task.id));
    }
    assert_eq!(paged.len(), tasks.len());
}

#[tokio::test]
async fn delivered_webhook_expires_after_a_day() {
    let server = RedisServer::start();
    let broker = redis_broker(&server);
    let mut plain = plain_connection(&server).await;
    let task = Task {
        webhook: Some(Webhook { url: "https://x.test/".into(), form: Default::default() }),
        ..task()
    };
    broker.submit(&task, NO_LIMIT).await.unwrap();
    broker.cancel(task.id).await.unwrap();
    let key = format!("qq:{{0}}:hook:{}", task.id);
    assert_eq!(ttl(&mut plain, &key).await, -1, "kept until it is told");
    let due = broker.due_webhooks(LONG, 10).await.unwrap();
    let result = TryResult::Status(200);
    let tried = Tried { number: due[0].number, at: Timestamp::now(), took_ms: 1, result };
    broker.webhook_tried(task.id.into(), &tried, Verdict::Delivered).await.unwrap();
    let left = ttl(&mut plain, &key).await;
    assert!((86_300..=86_400).contains(&left), "{left}");
    let kept: bool = cmd("HEXISTS").arg(&key).arg("outcome").query_async(&mut plain).await.unwrap();
    assert!(!kept, "the text is no longer needed");
}

/// The number of tasks to run before the remaining data is measured: 10,000 with `QWEN_QUEUE_FULL_MEMORY=1`.
fn many() -> usize {
    if std::env::var_os("QWEN_QUEUE_FULL_MEMORY").is_some() { 10_000 } else { 1_000 }
}

/// Returns the bytes that Redis has allocated.
fn used_memory(server: &RedisServer) -> usize {
    let info = server.command(&["INFO", "memory"]);
    let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap();
    used.trim().parse().unwrap()
}

/// Prints what a task leaves, for docs/QUEUE.md: `QWEN_QUEUE_FULL_MEMORY=1 cargo nextest run -p
/// qwen-queue-queue leaves_little --no-capture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drained_queue_leaves_little() {
    const PROMPT: usize = 20 << 10;
    const MOST: usize = 1_000;
    for (what, chunks) in [("an answer at once", 0), ("an answer in 4 parts", 4)] {
        let server = RedisServer::start();
        let broker = redis_broker(&server);
        // Lines, scripts, counters.
        let held = {
            submitted(&*broker).await;
            claimed(&*broker, &claimant(LONG)).await
        };
        broker.finish(&held.lease, &completed("x")).await.unwrap();
        let before = used_memory(&server);
        let text = "x".repeat(200);
        let outcome = completed(&text);
        let tasks: Vec<_> = (0..many())
            .map(|_| Task { prompt: protocol::Prompt::user("y".repeat(PROMPT)), ..task() })
            .collect();
        for some in tasks.chunks(256) {
            let submits = some.iter().map(|task| broker.submit(task, NO_LIMIT));
            futures::future::try_join_all(submits).await.unwrap();
        }
        assert!(used_memory(&server) - before > many() * PROMPT);
        let worker = claimant(LONG);
        let mut left = many();
        while left > 0 {
            let batch = broker.claim_batch(&worker, 32, NO_WAIT).await.unwrap();
            left -= batch.len();
            let ends = batch.iter().map(async |held| {
                for n in 0..chunks {
                    let part = text[n * 200 / chunks..(n + 1) * 200 / chunks].into();
                    broker.publish(&held.lease, n as u64, &[part]).await.unwrap();
                }
                broker.finish(&held.lease, &outcome).await.unwrap();
                broker.note_logged(held.task.id);
            });
            futures::future::join_all(ends).await;
        }
        broker.logged(&[]).await.unwrap();
        let each = (used_memory(&server) - before) / many();
        // Published text is stored in the events too.
        let texts = if chunks > 0 { 2 * text.len() } else { text.len() };
        println!("{what}: {each} bytes of a task stay, {} beside its text", each - texts);
        assert!(each - texts <= MOST, "{what}: {each} bytes a task");
    }
}
