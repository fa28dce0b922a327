//! A Redis that dies, stays away, or loses all data.

use std::time::{Duration, Instant};

use harness::system::{Plan, System};
use harness::{models, wait_for};

use crate::load::{Load, Submitted};
use crate::watching::{LONG, Witness, attempts, long, short};

const LEASE: Duration = Duration::from_secs(2);

fn start(model: &str, settings: &[(&str, &str)]) -> System {
    System::start(&Plan { model, workers: 2, lease: LEASE, settings })
}

/// Waits while something is broken: the duration is what the test is about.
fn sleep_during_outage(span: Duration) {
    std::thread::sleep(span);
}

#[test]
fn every_accepted_task_ends_although_redis_is_killed() {
    const KILLS: usize = 4;
    let mut system = start("demo", &[]);
    let load = Load::start(system.client.port());
    for _ in 0..KILLS {
        load.wait_for_more(40);
        system.redis.kill();
        system.redis.restart();
    }
    load.wait_for_more(10);
    let Submitted { accepted, refused, unanswered } = load.stop();
    assert_eq!(unanswered, 0, "the gateway did not respond");

    let mut witness = Witness::new();
    witness.history.accepted = accepted;
    let history = witness.judge(&system, 0);
    println!("{} accepted, {refused} refused, {KILLS} kills", history.accepted.len());
    for (task, events) in &history.events {
        assert_eq!(events.last().expect("an end").name, "completed", "{task}: {events:?}");
    }
}

#[test]
fn outage_longer_than_a_lease_runs_no_task_twice() {
    let model = models::slow();
    let mut system = start(model.to_str().expect("UTF-8"), &[("MAX_BATCH_SIZE", "2")]);
    let mut witness = Witness::new();
    let tasks: Vec<String> = (0..4).map(|_| witness.submit(&system.client, &long(250))).collect();
    for task in &tasks {
        system.client.wait_for_state(task, "processing");
    }
    system.redis.kill();
    sleep_during_outage(2 * LEASE);
    system.redis.restart();
    let history = witness.judge(&system, 0);
    for events in history.events.values() {
        assert_eq!(attempts(events), 1, "{events:?}");
        assert_eq!(events.last().expect("an end").name, "completed", "{events:?}");
    }
}

#[test]
fn idle_workers_recover_from_an_outage_longer_than_a_claim() {
    let mut system = start("demo", &[]);
    system.redis.kill();
    sleep_during_outage(Duration::from_secs(5)); // a claim waits for one second
    system.redis.restart();
    let back = Instant::now();
    system.client.wait_until_healthy(system.gateway.process(), false);
    let mut witness = Witness::new();
    let task = witness.submit(&system.client, &short(0));
    system.client.wait_for_result(&task, LONG);
    let took = back.elapsed();
    println!("the first task after the outage was done {:.2} s after it", took.as_secs_f64());
    assert!(took < 3 * LEASE, "{took:?}");
    for n in 0..20 {
        witness.submit(&system.client, &short(n));
    }
    witness.judge(&system, 0);
    // Both workers must work again, not just one.
    wait_for("work on both workers", LONG, || {
        let task = system.client.submit(&short(0));
        system.client.wait_for_result(&task, LONG);
        let worked = |worker: &harness::system::Node| worker.console().contains("completed in");
        system.workers.iter().all(worked).then_some(())
    });
}

#[test]
fn work_continues_after_flushall_without_a_hot_loop() {
    let model = models::slow();
    let mut system = start(model.to_str().expect("UTF-8"), &[("MAX_BATCH_SIZE", "1")]);
    let forgotten: Vec<String> = (0..3).map(|_| system.client.submit(&long(2000))).collect();
    for task in &forgotten[..2] {
        system.client.wait_for_state(task, "processing");
    }
    assert_eq!(system.redis.command(&["FLUSHALL"]), "OK");
    let flushed = Instant::now();
    for task in &forgotten {
        let answer = system.client.get(&format!("/result/{task}"));
        assert_eq!(answer.status, 404, "{answer:?}");
    }
    let mut witness = Witness::new();
    for _ in 0..6 {
        witness.submit(&system.client, &long(5));
    }
    witness.wait_for_all(&system.client, LONG);
    let took = flushed.elapsed();
    println!("the tasks after FLUSHALL were done {:.2} s after it", took.as_secs_f64());
    witness.judge(&system, 0);

    // Idle workers must send few commands and use little processor time.
    let spent = |system: &mut System| -> Duration {
        system.workers.iter_mut().map(|worker| worker.process().cpu_time()).sum()
    };
    let (commands, cpu) = (system.redis.commands_run(), spent(&mut system));
    // As long as the interval at which each process checks its rights, with some 60 commands at once.
    let span = Duration::from_secs(5);
    sleep_during_outage(span);
    let per_second = (system.redis.commands_run() - commands) / span.as_secs();
    let cpu = spent(&mut system) - cpu;
    println!("idle after FLUSHALL: {per_second} commands/s, {cpu:?} of processor time in {span:?}");
    assert!(per_second < 200, "a hot loop: {per_second} commands a second");
    assert!(cpu < span / 3, "a hot loop: {cpu:?} in {span:?}");
}
