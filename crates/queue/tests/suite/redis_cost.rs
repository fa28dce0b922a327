//! The cost of a task for Redis. Redis runs one script at a time, so this bounds the throughput of
//! the whole queue.

use harness::redis::RedisServer;
use protocol::KeyId;
use queue::{Charge, Meter, MeterKind, Payer, SubmitOptions};

use crate::support::*;

const TASKS: u32 = 400;

/// Returns a field of `INFO`, or the sum of the fields with a common prefix.
fn sum(info: &str, begins: &str, key: &str) -> f64 {
    let values = info.lines().filter(|line| line.starts_with(begins)).filter_map(|line| {
        let (_, value) = line.split_once(key)?;
        value.split(',').next()?.trim().parse::<f64>().ok()
    });
    values.sum()
}

/// Returns the commands run so far, those in scripts included, and the processor time in µs.
fn spent(server: &RedisServer) -> (f64, f64) {
    let commands = server.command(&["INFO", "commandstats"]);
    let cpu = server.command(&["INFO", "cpu"]);
    let seconds = sum(&cpu, "used_cpu_user:", ":") + sum(&cpu, "used_cpu_sys:", ":");
    (sum(&commands, "cmdstat_", "calls="), seconds * 1e6)
}

/// Also prints the processor time. To compare versions, run `cargo nextest run -p qwen-queue-queue
/// task_costs --no-capture` with both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_costs_few_commands() {
    let server = RedisServer::durable();
    let (broker, worker) = (redis_broker(&server), claimant(LONG));
    let once = async || {
        submitted(&*broker).await;
        let held = claimed(&*broker, &worker).await;
        broker.finish(&held.lease, &completed("ok")).await.unwrap();
        broker.note_logged(held.task.id);
    };
    once().await; // loads the scripts
    let before = spent(&server);
    for _ in 0..TASKS {
        once().await;
    }
    let after = spent(&server);
    let each = |before: f64, after: f64| (after - before) / f64::from(TASKS);
    let (commands, micros) = (each(before.0, after.0), each(before.1, after.1));
    println!("{commands:.1} commands and {micros:.0} µs of Redis a task, one at a time");
    // The tenant comes and goes each time, which costs two commands more than if it had other
    // tasks.
    assert!(commands < 40.0, "{commands:.1} commands a task");
}

/// The options of a key with all limits, which are never reached.
fn limited() -> SubmitOptions {
    let kinds = [
        MeterKind::Requests { period_s: 60 },
        MeterKind::Tokens,
        MeterKind::InFlight,
        MeterKind::DailyTokens,
    ];
    let key = KeyId::new();
    let meter = |kind| Meter { kind, subject: key.as_str().into(), limit: 1_000_000_000_000 };
    let charge =
        Charge { payer: Payer::new(Some(key.clone()), kinds.map(meter).to_vec()), tokens: 1_064 };
    SubmitOptions { charge, ..SubmitOptions::PLAIN }
}

/// Prints what tasks cost without and with limits, many at a time. `cargo nextest run --workspace --test suite -E
/// 'test(cost_of_limits)' --run-ignored only --no-capture`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes measurements"]
async fn cost_of_limits() {
    const MANY: u32 = 6_400;
    let server = RedisServer::durable();
    let broker = redis_broker(&server);
    let limited = limited();
    let keyed =
        Charge { payer: Payer::new(limited.charge.payer.key().cloned(), Vec::new()), tokens: 0 };
    let keyed = SubmitOptions { charge: keyed, ..SubmitOptions::PLAIN };
    for round in 0..6 {
        for (what, options) in [("plain", NO_LIMIT), ("keyed", &keyed), ("limited", &limited)] {
            server.command(&["FLUSHALL"]);
            broker.ping().await.unwrap();
            let before = spent(&server);
            for _ in 0..MANY / 64 {
                let bare = || protocol::Task { metadata: Default::default(), ..task() };
                let tasks: Vec<_> = (0..64).map(|_| bare()).collect();
                let submits = tasks.iter().map(|task| broker.submit(task, options));
                futures::future::try_join_all(submits).await.unwrap();
            }
            let submitted = spent(&server);
            let (worker, mut left) = (claimant(LONG), MANY as usize);
            while left > 0 {
                let batch = broker.claim_batch(&worker, 32, NO_WAIT).await.unwrap();
                left -= batch.len();
                let (outcome, ids) = (completed("ok"), batch.iter().map(|held| held.task.id));
                let ends = batch.iter().map(|held| broker.finish(&held.lease, &outcome));
                futures::future::try_join_all(ends).await.unwrap();
                ids.for_each(|id| broker.note_logged(id));
            }
            let ended = spent(&server);
            let each = |before: (f64, f64), after: (f64, f64)| {
                let each = f64::from(MANY);
                format!(
                    "{:.1} commands {:.1} µs",
                    (after.0 - before.0) / each,
                    (after.1 - before.1) / each
                )
            };
            println!(
                "{round} {what}: submit {}; end {}",
                each(before, submitted),
                each(submitted, ended)
            );
        }
    }
}
