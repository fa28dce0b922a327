//! The cost of a task for Redis. Redis runs one script at a time, so this bounds the throughput of
//! the whole queue.

use harness::redis::RedisServer;

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
    assert!(commands < 36.0, "{commands:.1} commands a task");
}
