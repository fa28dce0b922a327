//! Workers that die while they hold tasks.

use std::time::Duration;

use harness::models;
use harness::system::{Plan, System, began_after, now_ms};

use crate::watching::{LONG, Witness, attempts, check_recovery, long, short};

const LEASE: Duration = Duration::from_secs(3);

fn slow(workers: usize, settings: &[(&str, &str)]) -> System {
    let model = models::slow();
    let model = model.to_str().expect("UTF-8");
    System::start(&Plan { model, workers, lease: LEASE, settings })
}

/// Kills the worker of a task as soon as the task has an event of this name; the other worker takes
/// over.
fn kill_worker_at(moment: &str) {
    let mut system = slow(2, &[("MAX_BATCH_SIZE", "1")]);
    let mut witness = Witness::new();
    let task = witness.submit(&system.client, &long(150));
    system.client.follow(&task, |event| event.name == moment);
    let holder = system.holder(&task, 1, LONG);
    let killed = now_ms();
    system.workers[holder].kill_9();
    let history = witness.judge(&system, 0);
    let events = &history.events[&task];
    check_recovery(moment, began_after(events, 2, killed), LEASE);
    assert_eq!(attempts(events), 2, "{events:?}");
    assert_eq!(events.last().expect("an end").name, "completed");
}

#[test]
fn worker_killed_right_after_a_claim_loses_no_task() {
    kill_worker_at("started");
}

#[test]
fn worker_killed_during_an_answer_loses_no_task() {
    kill_worker_at("token");
}

/// Tasks are so short that a kill may hit anything: a claim, a finish, the reply to either, a log
/// line.
#[test]
fn workers_killed_repeatedly_lose_no_task() {
    const ROUNDS: usize = 8;
    let plan = Plan {
        model: "demo",
        workers: 2,
        lease: Duration::from_secs(2),
        settings: &[("MAX_ATTEMPTS", "50"), ("MAX_BATCH_SIZE", "4")],
    };
    let mut system = System::start(&plan);
    let mut witness = Witness::new();
    for round in 0..ROUNDS {
        let first = witness.history.accepted.len();
        for n in 0..20 {
            witness.submit(&system.client, &short(n));
        }
        // The kill comes after a growing number of tasks has ended, so each round hits another
        // moment.
        let waited_for = witness.history.accepted[first + 2 * round].clone();
        harness::wait_for("a task to end", LONG, || {
            witness.look(&system.client, &waited_for).then_some(())
        });
        system.workers[round % 2].kill_9();
        system.workers[round % 2].start();
    }
    let history = witness.judge(&system, 0);
    for (task, events) in &history.events {
        assert_eq!(events.last().expect("an end").name, "completed", "{task}: {events:?}");
    }
    let again = history.events.values().filter(|events| attempts(events) > 1).count();
    let tasks = history.accepted.len();
    println!("{tasks} tasks, {ROUNDS} kills, {again} tasks begun more than once");
}

#[test]
fn a_poison_task_fails_after_its_attempts_and_the_others_complete() {
    let mut system = slow(2, &[("MAX_BATCH_SIZE", "1"), ("MAX_ATTEMPTS", "3")]);
    let mut witness = Witness::new();
    let poison = witness.submit(&system.client, &long(2000));
    for _ in 0..12 {
        witness.submit(&system.client, &long(10));
    }
    let mut killed = 0;
    for attempt in 1..=3 {
        let holder = system.holder(&poison, attempt, LONG);
        killed = now_ms();
        system.workers[holder].kill_9();
        system.workers[holder].start();
    }
    let history = witness.judge(&system, 0);
    let ended = now_ms().saturating_sub(killed);
    println!("given up within {ended} ms of the last kill, the lease is {LEASE:?}");
    for (task, events) in &history.events {
        let end = events.last().expect("an end");
        if *task == poison {
            assert_eq!(end.name, "failed", "{events:?}");
            assert_eq!(end.data["error_type"], "worker_lost", "{events:?}");
            assert_eq!(attempts(events), 3, "{events:?}");
        } else {
            assert_eq!(end.name, "completed", "{task}: {events:?}");
            assert_eq!(
                attempts(events),
                1,
                "the poison task cost another task an attempt: {events:?}"
            );
        }
    }
}
