//! What a Redis user must be allowed: the rule in docs/OPERATING.md, and nothing less. That the rule is enough is
//! for the conformance suite, which runs as that user.

use std::collections::BTreeSet;
use std::path::Path;

use harness::cluster::RedisCluster;
use harness::redis::{RedisServer, acl_rule};
use protocol::TaskState;
use queue::{Broker, BrokerError, RedisBroker, RedisOptions};

use crate::support::*;

/// Texts between `before` and the next quote, in the files of a folder with that extension.
fn quoted_after(folder: &Path, extension: &str, before: &[&str]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(quoted_after(&path, extension, before));
        } else if path.extension().is_some_and(|known| known == extension) {
            let text = std::fs::read_to_string(&path).unwrap();
            for words in before {
                let parts = text.split(words).skip(1);
                found.extend(
                    parts.filter_map(|rest| rest.split(['"', '\'']).next()).map(str::to_lowercase),
                );
            }
        }
    }
    found
}

/// The commands of the rule.
fn commands() -> BTreeSet<String> {
    acl_rule().iter().filter_map(|word| word.strip_prefix('+')).map(str::to_owned).collect()
}

#[test]
fn acl_rule_lists_exactly_the_commands_used() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/redis");
    let mut used = quoted_after(&source, "lua", &["redis.call('", "redis.pcall('"]);
    used.extend(quoted_after(&source, "rs", &["cmd(\""]));
    // The redis crate sends these.
    used.extend(["script|load", "evalsha", "subscribe", "ping"].map(str::to_owned));
    assert!(used.remove("asking"), "a Cluster's alone");
    assert!(used.remove("sentinel"), "for Sentinels, which have users of their own");
    assert_eq!(commands(), used);
}

#[test]
fn rights_check_covers_every_kind_of_key() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = std::fs::read_to_string(source.join("src/redis/scripts/rights.lua")).unwrap();
    let list = script.split("local KEYS_USED = {").nth(1).and_then(|rest| rest.split('}').next());
    let tried: BTreeSet<String> =
        list.unwrap().split('\'').skip(1).step_by(2).map(str::to_owned).collect();
    let docs = std::fs::read_to_string(source.join("../../docs/QUEUE.md")).unwrap();
    let rows =
        docs.lines().filter(|line| line.starts_with("| `qq:{0}:") && !line.contains("| channel |"));
    let known: BTreeSet<String> = rows
        .map(|row| {
            let name = row.trim_start_matches("| `qq:{0}:").split(['`', '<']).next().unwrap();
            let end = name.find(':').map_or(name.len(), |colon| colon + 1);
            name[..end].to_owned()
        })
        .collect();
    assert_eq!(tried, known);
}

/// Returns the obstacles that a broker of that user reports.
async fn obstacle(url: &str) -> String {
    let broker = RedisBroker::connect(RedisOptions::new(url)).unwrap();
    let found = broker.vet().await.unwrap();
    let refused = broker.ping().await;
    match &found.obstacles[..] {
        [] => {
            refused.unwrap();
            String::new()
        }
        [obstacle] => {
            let Err(BrokerError::Unavailable { reason }) = refused else { panic!("{refused:?}") };
            assert_eq!(reason, *obstacle, "operations are refused as well, for the same reason");
            obstacle.clone()
        }
        several => panic!("{several:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_single_missing_right_is_named() {
    let server = RedisServer::start();
    assert_eq!(obstacle(&server.user("whole", &[])).await, "");
    let mut tried = 0;
    for right in acl_rule().iter().filter(|word| word.starts_with(['+', '~', '&'])) {
        let url = server.user("partial", &[&format!("-{right}")]);
        let said = obstacle(&url).await;
        let expected = format!("ACL SETUSER partial {right}  (docs");
        assert!(said.contains(&expected), "without {right}: {said}");
        assert!(said.contains("the user 'partial' lacks rights"), "{said}");
        let name = match right.strip_prefix('+') {
            Some(command) => command.replace('|', " ").to_uppercase(),
            None => "qq:*".to_owned(),
        };
        assert!(said.contains(&name), "without {right}: {said}");
        tried += 1;
    }
    assert!(tried > 40, "{tried} rights");
    assert_eq!(server.command(&["DBSIZE"]), "1", "nothing was stored but how the queue is divided");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_narrow_key_and_channel_patterns_are_detected() {
    let server = RedisServer::start();
    let (no_keys, no_channels) = ("-~qq:*", "-&qq:*");
    for (rights, words) in [
        (&[no_keys, "~qq:{0}:task:*"][..], "~qq:*"),
        (&[no_keys, "~other:*"], "reading the keys"),
        (&[no_keys, "%R~qq:*"], "writing the keys qq:* (such as qq:{0}:partitions)"),
        (&[no_keys, "%W~qq:*"], "reading the keys qq:* (such as qq:{0}:partitions)"),
        (
            &[no_keys, "%RW~qq:{0}:[^d]*", "%R~qq:{0}:d*"],
            "writing the keys qq:* (such as qq:{0}:de",
        ),
        (&[no_channels, "&qq:{0}:changed"], "the channels qq:* (such as qq:{0}:cancel)"),
        (&[no_channels, "&qq:{0}:cancel"], "the channels qq:* (such as qq:{0}:changed)"),
        (&["-+xadd", "-+hset", no_channels], "+hset +xadd &qq:*"),
    ] {
        let said = obstacle(&server.user("narrow", rights)).await;
        assert!(said.contains(words), "{rights:?}: {said}");
    }
    // A user of one partition in a queue of two.
    let url = server.user("narrow", &[no_keys, "~qq:{0}:*"]);
    let options = RedisOptions { partitions: 2, ..RedisOptions::new(url) };
    let found = RedisBroker::connect(options).unwrap().vet().await.unwrap();
    assert!(found.obstacles[0].contains("qq:{1}:task:"), "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_database_requires_select_and_a_cluster_asking() {
    let server = RedisServer::start();
    let broker = |url: String| RedisBroker::connect(RedisOptions::new(url)).unwrap();
    let url = format!("{}/3", server.user("other-db", &[]));
    let found = broker(url.clone()).vet().await.unwrap();
    assert!(found.obstacles[0].contains("ACL SETUSER other-db +select"), "{found:?}");
    server.user("other-db", &["+select"]);
    assert_eq!(broker(url).vet().await.unwrap().obstacles, [""; 0]);

    let cluster = RedisCluster::start();
    let url = cluster.user("clustered");
    assert_eq!(broker(url.clone()).vet().await.unwrap().obstacles, [""; 0]);
    for node in &cluster.nodes {
        node.user("clustered", &[]);
    }
    let found = broker(url.clone()).vet().await.unwrap();
    assert_eq!(found.obstacles.len(), 3, "each node has its own rules: {found:?}");
    assert!(found.obstacles[0].contains("ACL SETUSER clustered +asking"), "{found:?}");
    cluster.nodes[0].user("clustered", &["+asking", "-+zadd"]);
    let found = broker(url).vet().await.unwrap();
    assert!(found.obstacles.iter().any(|said| said.contains("+zadd")), "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn right_granted_later_takes_effect_without_a_restart() {
    let server = RedisServer::start();
    let url = server.user("late", &["-+evalsha", "-&qq:*"]);
    let broker = broker_at(&url);
    for _ in 0..3 {
        let refused = broker.submit(&task(), NO_LIMIT).await.unwrap_err().to_string();
        assert!(refused.contains("+evalsha") && refused.contains("&qq:*"), "{refused}");
    }
    server.user("late", &[]);
    let task = submitted(&*broker).await;
    assert_eq!(claimed(&*broker, &claimant(LONG)).await.task, task);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_proceed_without_the_right_to_publish() {
    let server = RedisServer::start();
    // One connection, which was tried while all was well.
    let options = RedisOptions { connections: 1, ..RedisOptions::new(server.user("mute", &[])) };
    let broker = &RedisBroker::connect(options).unwrap();
    let before = submitted(broker).await;
    // The right is revoked after the connections were checked.
    server.user("mute", &["-+publish"]);
    let held = claimed(broker, &claimant(LONG)).await;
    broker.publish(&held.lease, 0, &["x".into()]).await.unwrap();
    broker.finish(&held.lease, &completed("x")).await.unwrap();
    let second = submitted(broker).await;
    let held = claimed(broker, &claimant(LONG)).await;
    broker.cancel(second.id).await.unwrap();
    assert!(broker.renew(&held.lease, LONG).await.unwrap().cancel_requested);
    broker.release(&held.lease, &queue::Release::Unused).await.unwrap();
    let states = [before.id, second.id].map(|id| broker.snapshot(id));
    let [first, second] = futures::future::join_all(states).await.try_into().unwrap();
    assert_eq!(first.unwrap().unwrap().state, TaskState::Completed);
    assert_eq!(second.unwrap().unwrap().state, TaskState::Cancelled);
    assert_eq!(broker.depth(&model()).await.unwrap(), queue::Depth::default());
    let found = broker.vet().await.unwrap();
    assert!(found.obstacles[0].contains("+publish"), "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoked_right_is_reported_by_all_later_calls() {
    let server = RedisServer::start();
    for right in ["+xadd", "+hmget", "~qq:*", "+evalsha"] {
        server.command(&["FLUSHALL"]);
        let broker = broker_at(&server.user("shrinking", &[]));
        let before = submitted(&*broker).await;
        server.user("shrinking", &[&format!("-{right}")]);
        let (mut refused, late) = (String::new(), task());
        for _ in 0..2 {
            let answer = broker.submit(&late, NO_LIMIT).await;
            let Err(BrokerError::Unavailable { reason }) = answer else { panic!("{answer:?}") };
            refused = reason;
        }
        assert!(refused.contains(&format!("ACL SETUSER shrinking {right}")), "{right}: {refused}");
        let answer = broker.ping().await;
        assert!(answer.is_err(), "{right}: nothing is done any more");
        server.user("shrinking", &[]);
        let overview = broker.overview().await.unwrap();
        assert_eq!(
            overview.queues[0].queued,
            [0, 1, 0, 0],
            "{right}: the refused one left nothing"
        );
        let record = protocol::record::encode(&before).unwrap();
        assert_eq!(overview.queued_bytes, record.len() as u64, "{right}");
        assert_eq!(claimed(&*broker, &claimant(LONG)).await.task, before);
        broker.submit(&late, NO_LIMIT).await.unwrap();
        assert_eq!(claimed(&*broker, &claimant(LONG)).await.task, late);
    }
}
