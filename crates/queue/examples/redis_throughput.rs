//! Measures the tasks per second of a Redis on this machine: submit, claim and finish, by several
//! at once. `cargo run --release -p qwen-queue-queue --example redis_throughput`
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::redis::RedisServer;
use protocol::{
    Completion, Lane, ModelId, Outcome, Prompt, Sampling, Task, TaskId, TenantId, Usage, WorkerId,
};
use queue::{Broker, Claimant, RedisBroker, RedisOptions, SubmitOptions};

const TASKS: usize = 10_000;

fn task() -> Task {
    Task {
        id: TaskId::new(),
        tenant: TenantId::new("tenant"),
        model: ModelId::new("demo"),
        lane: Lane::Normal,
        prompt: Prompt::user("How do I add a worker?"),
        pixels: Default::default(),
        kind: Default::default(),
        n: 1,
        max_tokens: 64,
        stop: vec![],
        sampling: Sampling {
            temperature: Some(0.7),
            top_p: Some(0.9),
            seed: Some(7),
            ..Sampling::default()
        },
        form: Default::default(),
        time_limit_s: 120,
        result_ttl_s: 3600,
        max_attempts: 3,
        retry_backoff_s: None,
        user_id: None,
        metadata: Default::default(),
        webhook: None,
        skill: None,
        reuse: Default::default(),
        trace: None,
    }
}

#[tokio::main]
async fn main() {
    let server = RedisServer::start();
    let outcome = Outcome::Completed(Completion::of_text(
        "Start another one.",
        Usage { prompt_tokens: 5, completion_tokens: 7, ..Usage::default() },
    ));
    for at_once in [1, 8, 64] {
        let broker = Arc::new(RedisBroker::connect(RedisOptions::new(server.url())).unwrap());
        let tasks = if at_once == 1 { TASKS / 5 } else { TASKS };
        let begun = Instant::now();
        let loops = (0..at_once).map(|_| {
            let (broker, outcome) = (Arc::clone(&broker), outcome.clone());
            tokio::spawn(async move {
                let claimant = Claimant {
                    worker: WorkerId::new(),
                    models: vec![ModelId::new("demo")],
                    lease: Duration::from_secs(60),
                };
                for _ in 0..tasks / at_once {
                    broker.submit(&task(), &SubmitOptions::PLAIN).await.unwrap();
                    let claimed = broker.claim(&claimant, Duration::from_secs(5)).await.unwrap();
                    broker.finish(&claimed.unwrap().lease, &outcome).await.unwrap();
                }
            })
        });
        for done in loops.collect::<Vec<_>>() {
            done.await.unwrap();
        }
        let rate = tasks as f64 / begun.elapsed().as_secs_f64();
        println!("{at_once:>3} at once: {rate:>6.0} tasks/s");
    }
    let stats = server.command(&["INFO", "commandstats"]);
    for line in stats.lines().filter(|line| {
        ["evalsha", "ping", "unwatch", "xread:", "script"].iter().any(|name| line.contains(name))
    }) {
        println!("{line}");
    }
}
