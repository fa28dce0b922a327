//! Limits on Redis: what stays of them, restarts, clocks that go back, and partitions.

use std::time::Duration;

use harness::clock::Clock;
use harness::redis::RedisServer;
use protocol::{KeyId, Task};
use queue::{
    Bounds, Broker, BrokerError, Charge, Idempotency, Matches, Meter, MeterKind, Metering, Payer,
    RedisBroker, RedisOptions, SubmitOptions,
};

use crate::support::*;

const HOUR: i64 = 3_600;

fn meter(kind: MeterKind, limit: u64) -> Meter {
    Meter { kind, subject: "key_1".into(), limit }
}

fn charged(tokens: u64, meters: &[Meter]) -> SubmitOptions {
    let charge =
        Charge { payer: Payer::new(Some(KeyId::from_text("key_1")), meters.to_vec()), tokens };
    SubmitOptions { charge, ..SubmitOptions::PLAIN }
}

fn all_kinds() -> [Meter; 5] {
    [
        meter(MeterKind::Requests { period_s: 60 }, 10),
        meter(MeterKind::Tokens, 1_000),
        meter(MeterKind::InFlight, 10),
        meter(MeterKind::DailyTokens, 1_000),
        meter(MeterKind::DailyBatchTokens, 1_000),
    ]
}

async fn left(broker: &dyn Broker, meters: &[Meter]) -> Vec<(u64, u64)> {
    let readings = broker.readings(&task().tenant, meters).await.unwrap();
    readings.iter().map(|reading| (reading.remaining, reading.reserved)).collect()
}

fn keys(server: &RedisServer, pattern: &str) -> Vec<String> {
    let found = server.command(&["KEYS", pattern]);
    found.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_survive_a_kill_and_a_restart() {
    let mut server = RedisServer::durable();
    let (one, two) = (redis_broker(&server), redis_broker(&server));
    let slow =
        Meter { subject: "slow".into(), ..meter(MeterKind::Requests { period_s: 86_400 }, 2) };
    let options = charged(300, &[slow.clone(), all_kinds()[2].clone(), all_kinds()[3].clone()]);
    one.submit(&task(), &options).await.unwrap();
    let held = claimed(&*two, &claimant(LONG)).await;
    one.submit(&task(), &options).await.unwrap();
    assert!(matches!(two.submit(&task(), &options).await, Err(BrokerError::LimitReached(_))));
    let before = left(&*one, options.charge.meters()).await;
    assert_eq!(before, [(0, 0), (8, 0), (400, 600)]);

    // The file is synced every second.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    server.kill();
    server.restart();
    eventually("back", async || one.ping().await.is_ok()).await;
    let three = redis_broker(&server);
    assert_eq!(left(&*three, options.charge.meters()).await, before);
    for broker in [&one, &two, &three] {
        assert!(matches!(
            broker.submit(&task(), &options).await,
            Err(BrokerError::LimitReached(_))
        ));
    }
    three.finish(&held.lease, &completed("12 tokens")).await.unwrap();
    assert_eq!(left(&*one, options.charge.meters()).await, [(0, 0), (9, 0), (688, 300)]);
}

#[tokio::test]
async fn idle_subjects_leave_nothing_that_stays() {
    let server = RedisServer::start();
    let broker = redis_broker(&server);
    let brief = charged(1, &[meter(MeterKind::Requests { period_s: 1 }, 10)]);
    broker.submit(&task(), &brief).await.unwrap();
    let held = claimed(&*broker, &claimant(LONG)).await;
    broker.finish(&held.lease, &completed("x")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(keys(&server, "qq:{0}:meter:*"), [""; 0]);

    broker.submit(&task(), &charged(100, &all_kinds())).await.unwrap();
    let key = "qq:{0}:meter:tenant:key_1";
    assert_eq!(keys(&server, "qq:{0}:meter:*"), [key]);
    let ttl = || server.command(&["TTL", key]).parse::<i64>().unwrap();
    assert_eq!(ttl(), -1, "a task is in flight");
    let held = claimed(&*broker, &claimant(LONG)).await;
    broker.finish(&held.lease, &completed("x")).await.unwrap();
    assert!((24 * HOUR - 5..=48 * HOUR).contains(&ttl()), "of the day: {}", ttl());
    let words = server.command(&["GET", key]);
    assert!(!words.contains("f="), "{words}");

    // A meter that nothing was charged to, and one whose tasks have all ended.
    let flight = charged(0, &[Meter { subject: "other".into(), ..all_kinds()[2].clone() }]);
    let task = broker.submit(&task(), &flight).await.unwrap();
    broker.cancel(task.task_id).await.unwrap();
    left(&*broker, &[meter(MeterKind::Tokens, 7)]).await;
    assert_eq!(keys(&server, "qq:{0}:meter:*"), [key]);
    broker.forget_usage("9999-12-31").await.unwrap();
    assert_eq!(keys(&server, "qq:{0}:usage:*"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_goes_back_locks_no_key_out() {
    let clock = Clock::new();
    let server = RedisServer::with_clock(&clock);
    let broker = redis_broker(&server);
    let second = charged(0, &[meter(MeterKind::Requests { period_s: 1 }, 2)]);
    let spend = async || {
        for _ in 0..2 {
            broker.submit(&task(), &second).await.unwrap();
        }
        let refused = broker.submit(&task(), &second).await;
        assert!(matches!(refused, Err(BrokerError::LimitReached(_))), "{refused:?}");
    };
    spend().await;
    for to in [-HOUR, -24 * HOUR, 5 * HOUR, 0] {
        clock.set(to);
        // At most the whole period, and never more than the limit at once.
        let begun = std::time::Instant::now();
        eventually("accepted again", async || broker.submit(&task(), &second).await.is_ok()).await;
        assert!(begun.elapsed() < Duration::from_millis(1_500), "{:?} at {to}", begun.elapsed());
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        spend().await;
    }
}

#[tokio::test]
async fn a_foreign_value_under_a_meter_or_usage_key_blocks_no_task() {
    let server = RedisServer::start();
    let broker = redis_broker(&server);
    let options = charged(10, &all_kinds());
    broker.submit(&task(), &options).await.unwrap();
    server.command(&["DEL", "qq:{0}:meter:tenant:key_1"]);
    server.command(&["RPUSH", "qq:{0}:meter:tenant:key_1", "foreign"]);
    let day = protocol::Timestamp::now().day().number();
    server.command(&["SET", &format!("qq:{{0}}:usage:{day}:tenant"), "foreign"]);
    let held = claimed(&*broker, &claimant(LONG)).await;
    broker.finish(&held.lease, &completed("x")).await.unwrap();
    assert_eq!(left(&*broker, &[all_kinds()[2].clone()]).await, [(10, 0)]);
    broker.submit(&task(), &options).await.unwrap();
    assert_eq!(left(&*broker, &[all_kinds()[2].clone()]).await, [(9, 0)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_are_exact_over_partitions() {
    let server = RedisServer::start();
    let divided = || {
        let options = RedisOptions { partitions: 5, ..RedisOptions::new(server.url()) };
        RedisBroker::connect(options).unwrap()
    };
    let brokers = [divided(), divided()];
    let meters = [meter(MeterKind::InFlight, 40), meter(MeterKind::DailyTokens, 1_000)];
    let (mut ids, mut refused) = (Vec::new(), 0);
    for nth in 0..60 {
        // With and without a key of repetitions, all of a tenant's tasks are in one partition.
        let idempotency = (nth % 2 == 0).then(|| Idempotency {
            key: format!("key {nth}"),
            body_hash: "hash".into(),
            matches: Matches::Always,
        });
        let bounds = Bounds { tenant: 40, ..Bounds::NONE };
        let options = SubmitOptions { idempotency, bounds, ..charged(10, &meters) };
        match brokers[nth % 2].submit(&task(), &options).await {
            Ok(submitted) => {
                if nth % 2 == 0 {
                    let again = brokers[1].submit(&task(), &options).await.unwrap();
                    assert_eq!((again.task_id, again.created), (submitted.task_id, false));
                }
                ids.push(submitted.task_id);
            }
            Err(BrokerError::QueueFull { held, limit, .. }) => {
                assert_eq!((held, limit), (40, 40));
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((ids.len(), refused), (40, 20), "neither limit nor bound is divided");
    assert_eq!(left(&brokers[0], &meters).await, [(0, 0), (600, 400)]);
    // Other tasks of the tenant are spread, and their use is summed.
    let plain: Vec<Task> = (0..20).map(|_| task()).collect();
    for task in &plain {
        brokers[0].submit(task, NO_LIMIT).await.unwrap();
    }
    for _ in 0..60 {
        let held = claimed(&brokers[1], &claimant(LONG)).await;
        brokers[0].finish(&held.lease, &completed("x")).await.unwrap();
    }
    assert_eq!(left(&brokers[1], &meters).await, [(40, 0), (520, 0)]);
    let today = protocol::Timestamp::now().day();
    let all =
        queue::UsageQuery { from: today.before(1).to_string(), to: today.to_string(), owner: None };
    let rows = brokers[1].usage(&all).await.unwrap();
    let counted: Vec<_> = rows.iter().map(|row| (row.key.as_str(), row.counts.requests)).collect();
    assert_eq!(counted, [("key_1", 40), ("none", 20)]);
}
