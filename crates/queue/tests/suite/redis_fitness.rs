//! Tests that a Redis that accepts no tasks is detected before a submit fails, and that one that evicts is not used.

use harness::redis::RedisServer;
use protocol::{Prompt, Task};
use queue::{Bound, Bounds, Broker, BrokerError, RedisBroker, RedisOptions, SubmitOptions};

use crate::support::*;

/// Checks that the broker accepts no task and names the reason, as a submit does, until `mended` was called.
async fn refuses(broker: &dyn Broker, words: &str, mended: impl FnOnce()) {
    eventually(words, async || broker.accepts().await.is_err()).await;
    let refused = broker.accepts().await.unwrap_err();
    assert!(refused.public_cause().contains(words), "{}", refused.public_cause());
    let submit = broker.submit(&task(), NO_LIMIT).await.unwrap_err();
    assert_eq!(submit.public_cause(), refused.public_cause());
    assert!(!refused.public_cause().contains("127.0.0.1"), "addresses stay inside");
    mended();
    eventually("it accepts again by itself", async || broker.accepts().await.is_ok()).await;
    submitted(broker).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_reports_every_cause_of_refusal_and_recovers() {
    let server = RedisServer::with(&["--dbfilename", "taken.rdb"]);
    let broker = redis_broker(&server);
    let set = |name: &str, value: &str| {
        assert_eq!(server.command(&["CONFIG", "SET", name, value]), "OK");
    };
    broker.accepts().await.unwrap();

    set("maxmemory", "1");
    refuses(&*broker, "out of memory", || set("maxmemory", "0")).await;
    // Nothing has a TTL, so there is nothing to evict.
    set("maxmemory-policy", "volatile-lru");
    set("maxmemory", "1");
    refuses(&*broker, "out of memory", || set("maxmemory", "0")).await;
    set("maxmemory-policy", "noeviction");

    set("min-replicas-to-write", "1");
    refuses(&*broker, "too few replicas", || set("min-replicas-to-write", "0")).await;

    server.command(&["REPLICAOF", "127.0.0.1", "1"]);
    refuses(&*broker, "read-only replica", || drop(server.command(&["REPLICAOF", "NO", "ONE"])))
        .await;

    // A snapshot that can't be written: its name is that of a folder.
    let taken = server.folder().join("taken.rdb");
    std::fs::create_dir(&taken).unwrap();
    set("save", "3600 1");
    server.command(&["BGSAVE"]);
    let mend = || {
        std::fs::remove_dir(&taken).unwrap();
        server.command(&["BGSAVE"]);
    };
    refuses(&*broker, "can't write to its disk", mend).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_are_refused_when_the_append_only_file_cannot_grow() {
    let server = RedisServer::with(&["--appendonly", "yes", "--appendfsync", "everysec"]);
    let broker = redis_broker(&server);
    submitted(&*broker).await;
    server.limit_files(Some(16));
    // It is written after the answer: the first to come may be accepted still.
    let _ = broker.submit(&task(), NO_LIMIT).await;
    refuses(&*broker, "can't write to its disk", || server.limit_files(None)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evicting_redis_is_refused_unless_allowed_or_unlimited() {
    let server = RedisServer::with(&["--maxmemory", "100mb"]);
    let set = |name: &str, value: &str| drop(server.command(&["CONFIG", "SET", name, value]));
    let connect = |allow_eviction| {
        let options = RedisOptions { allow_eviction, ..RedisOptions::new(server.url()) };
        RedisBroker::connect(options).unwrap()
    };
    for (policy, loses) in [
        ("allkeys-lru", "accepted tasks"),
        ("allkeys-random", "accepted tasks"),
        ("volatile-ttl", "outcomes before their RESULT_TTL"),
        ("volatile-lfu", "outcomes before their RESULT_TTL"),
    ] {
        set("maxmemory-policy", policy);
        let (strict, lenient) = (connect(false), connect(true));
        let found = strict.vet().await.unwrap();
        let said = &found.obstacles[0];
        for words in [policy, loses, "104857600", "noeviction", "REDIS_ALLOW_EVICTION=true"] {
            assert!(said.contains(words), "{words}: {said}");
        }
        assert!(matches!(strict.ping().await, Err(BrokerError::Unavailable { .. })));
        let found = lenient.vet().await.unwrap();
        assert_eq!(found.obstacles, [""; 0]);
        assert!(found.warnings[0].contains(loses), "{found:?}");
        submitted(&lenient).await;

        set("maxmemory", "0");
        let unlimited = connect(false).vet().await.unwrap();
        assert_eq!(unlimited, queue::Fitness::default(), "{policy}, but it is never full");
        strict.ping().await.unwrap();
        set("maxmemory", "100mb");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn later_change_of_the_eviction_policy_is_a_warning() {
    let server = RedisServer::with(&["--maxmemory", "100mb"]);
    let broker = redis_broker(&server);
    let found = broker.vet().await.unwrap();
    assert_eq!((found.warnings.len(), found.capacity), (0, Some(100 << 20)));
    server.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let found = broker.vet().await.unwrap();
    assert!(found.warnings[0].contains("allkeys-lru"), "{found:?}");
    assert_eq!(found.obstacles, [""; 0]);
    // Also by connections that are made from now on.
    server.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    submitted(&*broker).await;
    broker.accepts().await.unwrap();
    server.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    assert_eq!(broker.vet().await.unwrap().warnings, [""; 0]);
}

/// As the defaults do it: `MAX_QUEUE_BYTES` is half of `maxmemory`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queue_byte_bound_is_reached_before_redis_maxmemory() {
    const LIMIT: u64 = 64 << 20;
    for bytes in [20_000, 130_000, 900_000] {
        let server = RedisServer::with(&["--maxmemory", &LIMIT.to_string()]);
        let broker = redis_broker(&server);
        let bounds = Bounds { bytes: LIMIT / 2, ..Bounds::NONE };
        let options = SubmitOptions { bounds, ..SubmitOptions::PLAIN };
        let prompt = Prompt::user("line\n".repeat(bytes / 5));
        let mut accepted = 0;
        let refused = loop {
            let task = Task { prompt: prompt.clone(), ..task() };
            match broker.submit(&task, &options).await {
                Ok(_) => accepted += 1,
                Err(error) => break error,
            }
        };
        let is_bound = matches!(refused, BrokerError::QueueFull { bound: Bound::Bytes, .. });
        assert!(is_bound, "{bytes} bytes, {accepted} accepted: {refused}");
        broker.accepts().await.expect("a full queue is no full store");
        assert!(accepted as u64 * bytes as u64 > LIMIT / 4, "{accepted} of {bytes}");
    }
}

/// The numbers that an operator begins with.
#[test]
fn default_byte_bound_and_compose_file_leave_redis_headroom() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    let example = read(".env.example");
    let bound = example.lines().find_map(|line| line.strip_prefix("MAX_QUEUE_BYTES=")).unwrap();
    let compose = read("docker-compose.yml");
    let memory = compose.split("--maxmemory ${REDIS_MAXMEMORY:-").nth(1).unwrap();
    let memory: u64 = memory.split("gb}").next().unwrap().parse().unwrap();
    assert!(bound.parse::<u64>().unwrap() * 2 <= memory << 30, "{bound} of {memory} GiB");
    assert!(compose.contains("--maxmemory-policy noeviction"));
}
