//! Workers that are asked to stop, and outcomes that expire.

use std::time::{Duration, Instant};

use harness::client::Client;
use harness::process::ADMIN_KEY;
use harness::system::{Plan, System};
use harness::{models, wait_for};
use serde_json::json;

use crate::load::{Load, Submitted};
use crate::watching::{LONG, Witness, long, short};

/// Only one attempt is allowed, so a task would fail if a stopping worker used an attempt.
#[test]
fn a_rolling_restart_under_load_uses_no_attempt() {
    let model = models::slow();
    let plan = Plan {
        model: model.to_str().expect("UTF-8"),
        workers: 2,
        lease: Duration::from_secs(3),
        settings: &[("MAX_BATCH_SIZE", "2"), ("MAX_ATTEMPTS", "1"), ("DRAIN_SECONDS", "0")],
    };
    let mut system = System::start(&plan);
    let mut witness = Witness::new();
    for n in 0..24 {
        witness.submit(&system.client, &long(if n % 3 == 0 { 100 } else { 10 }));
    }
    for place in [0, 1, 0, 1] {
        wait_for("this worker to be busy", LONG, || {
            let task = witness.submit(&system.client, &long(400)); // still runs when the worker is stopped
            (system.holder(&task, 1, LONG) == place).then_some(())
        });
        system.workers[place].terminate();
        system.workers[place].start();
    }
    let history = witness.judge(&system, 0);
    for (task, events) in &history.events {
        assert_eq!(events.last().expect("an end").name, "completed", "{task}: {events:?}");
    }
    let returned = history.events.values().flatten().filter(|e| e.name == "requeued").count();
    println!("{} tasks, 4 restarts, {returned} attempts given back", history.accepted.len());
    assert!(returned > 0, "no restart hit a busy worker");
}

#[test]
fn a_rolling_restart_of_everything_costs_clients_at_most_a_retry() {
    let lease = Duration::from_secs(3);
    let plan = Plan { model: "demo", workers: 2, lease, settings: &[] };
    let mut system = System::start(&plan);
    let load = Load::start(system.client.port());
    for _ in 0..2 {
        for place in 0..2 {
            load.wait_for_more(15);
            system.workers[place].terminate();
            system.workers[place].start();
        }
        load.wait_for_more(15);
        system.gateway.terminate();
        system.gateway.start();
        load.wait_for_more(15);
        system.redis.stop();
        system.redis.restart();
    }
    load.wait_for_more(15);
    let Submitted { accepted, refused, unanswered } = load.stop();
    let mut witness = Witness::new();
    witness.history.accepted = accepted;
    let history = witness.judge(&system, 0);
    println!(
        "{} accepted, {refused} refused, {unanswered} without an answer, 8 restarts",
        history.accepted.len()
    );
    for (task, events) in &history.events {
        assert_eq!(events.last().expect("an end").name, "completed", "{task}: {events:?}");
    }
}

/// The worker learns of the cancel and of its stop at the same time; releasing the task ends it.
#[test]
fn a_task_cancelled_while_its_worker_stops_is_logged_once() {
    let model = models::slow();
    let plan = Plan {
        model: model.to_str().expect("UTF-8"),
        workers: 1,
        lease: Duration::from_secs(10),
        settings: &[("MAX_BATCH_SIZE", "1"), ("DRAIN_SECONDS", "0")],
    };
    let mut system = System::start(&plan);
    let mut witness = Witness::new();
    for _ in 0..3 {
        let task = witness.submit(&system.client, &long(2000));
        system.client.follow(&task, |event| event.name == "token");
        let worker = system.workers[0].process();
        worker.signal("STOP");
        let answer = system.client.post(&format!("/cancel/{task}"), &json!({}));
        assert_eq!(answer.status, 202, "{answer:?}");
        worker.signal("TERM");
        worker.signal("CONT");
        system.workers[0].wait_for_end(LONG);
        system.workers[0].start();
    }
    let history = witness.judge(&system, 0);
    for events in history.events.values() {
        assert_eq!(events.last().expect("an end").name, "cancelled", "{events:?}");
    }
}

#[test]
fn a_drained_worker_finishes_its_tasks_and_exits_with_success() {
    let model = models::slow();
    let plan = Plan {
        model: model.to_str().expect("UTF-8"),
        workers: 1,
        lease: Duration::from_secs(3),
        settings: &[("MAX_BATCH_SIZE", "1"), ("DRAIN_SECONDS", "0"), ("ADMIN_API_KEY", ADMIN_KEY)],
    };
    let mut system = System::start(&plan);
    let operator = Client::with_key(system.client.port(), ADMIN_KEY);
    let mut witness = Witness::new();
    let running = witness.submit(&system.client, &long(1500)); // longer than a report takes
    system.client.follow(&running, |event| event.name == "token");
    let waiting = witness.submit(&system.client, &long(10));

    let workers = || operator.get("/admin/workers").body["workers"].clone();
    let id = workers()[0]["id"].as_str().expect("its id").to_owned();
    let answer = operator.post(&format!("/admin/workers/{id}/drain"), &json!({}));
    assert_eq!(answer.status, 202, "{answer:?}");
    wait_for("the worker to say that it drains", LONG, || {
        (workers()[0]["status"] == "draining").then_some(())
    });
    assert_eq!(system.client.status(&running), "processing", "the worker must finish its task");
    let status = system.workers[0].process().wait(LONG);
    assert!(status.success(), "{status}");
    assert_eq!(workers(), json!([]), "it must remove its report");
    let log = system.workers[0].log("app");
    assert!(log.contains("drained, as an operator asked: stopped"), "{log}");
    assert_eq!(system.client.status(&running), "completed");
    assert_eq!(system.client.status(&waiting), "queued", "it must claim nothing more");

    system.workers[0].wait_for_end(LONG);
    system.workers[0].start();
    let history = witness.judge(&system, 0);
    for (task, events) in &history.events {
        assert_eq!(events.last().expect("an end").name, "completed", "{task}: {events:?}");
        assert!(events.iter().all(|event| event.name != "requeued"), "{task}: {events:?}");
    }
}

#[test]
fn an_outcome_expires_and_a_queued_task_never_does() {
    const TTL: Duration = Duration::from_secs(2);
    let plan = Plan {
        model: "demo",
        workers: 1,
        lease: Duration::from_secs(3),
        settings: &[("RESULT_TTL", "2")],
    };
    let mut system = System::start(&plan);
    let done = system.client.submit(&short(0));
    let result = system.client.wait_for_result(&done, LONG);
    assert_eq!(result.body["status"], "completed", "{result:?}");
    system.workers[0].terminate();
    let waiting = system.client.submit(&short(1));
    let cancelled = system.client.submit(&short(2));
    system.client.post(&format!("/cancel/{cancelled}"), &json!({}));

    let began = Instant::now();
    for task in [&done, &cancelled] {
        let gone = wait_for("the outcome to expire", LONG, || {
            let answer = system.client.get(&format!("/result/{task}"));
            (answer.status != 200).then_some(answer)
        });
        assert_eq!(gone.status, 410, "{gone:?}");
    }
    println!(
        "outcomes were gone after {:.2} s, their TTL is {TTL:?}",
        began.elapsed().as_secs_f64()
    );
    // After three times the TTL, the queued task is still queued.
    while began.elapsed() < 3 * TTL {
        assert_eq!(system.client.status(&waiting), "queued");
        std::thread::sleep(Duration::from_millis(200));
    }
    system.workers[0].start();
    let result = wait_for("the task that waited", LONG, || {
        let answer = system.client.get(&format!("/result/{waiting}"));
        (answer.status != 202).then_some(answer)
    });
    assert_eq!(result.body["status"], "completed", "{result:?}");
}
