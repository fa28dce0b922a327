//! Cancel against claim against finish.

use std::thread;
use std::time::{Duration, Instant};

use harness::client::Client;
use harness::system::{Plan, System};
use serde_json::{Value, json};

use crate::watching::{Witness, short};

const THREADS: usize = 4;
const ROUNDS: usize = 250;

/// What a cancel was told.
struct Told {
    task: String,
    code: u16,
    status: String,
}

#[test]
fn every_race_between_cancel_claim_and_finish_has_one_end() {
    let plan = Plan { model: "demo", workers: 2, lease: Duration::from_secs(5), settings: &[] };
    let system = System::start(&plan);
    let first = system.client.submit(&short(0));
    let began = Instant::now();
    system.client.wait_for_result(&first, Duration::from_secs(30));
    let usual = began.elapsed();

    let port = system.client.port();
    let racers: Vec<_> =
        (0..THREADS).map(|racer| thread::spawn(move || race(racer, port, usual))).collect();
    let told: Vec<Told> =
        racers.into_iter().flat_map(|racer| racer.join().expect("a race")).collect();

    let mut witness = Witness::new();
    witness.history.accepted = told.iter().map(|told| told.task.clone()).collect();
    let history = witness.judge(&system, 0);
    let mut counts = [0; 3];
    for Told { task, code, status } in &told {
        let end = &history.events[task].last().expect("an end").name;
        match (code, status.as_str()) {
            // This very call ended it, or found it ended.
            (200, status) => assert_eq!(end, status, "{task}"),
            // The worker was told to stop; it may have been faster.
            (202, "processing") => assert_ne!(end, "failed", "{task}"),
            other => panic!("cancel of {task} said {other:?}"),
        }
        counts[match (*code, end.as_str()) {
            (200, "cancelled") => 0,
            (200, _) => 1,
            _ => 2,
        }] += 1;
    }
    let [queued, ended, running] = counts;
    println!(
        "{} rounds: {queued} cancelled while queued, {running} while running, {ended} too late",
        told.len()
    );
    assert!(queued + running > 0 && ended > 0, "no race at all: {counts:?}");
}

/// Submits and cancels, a little later each time, up to twice the usual time of a task.
fn race(racer: usize, port: u16, usual: Duration) -> Vec<Told> {
    let client = Client::new(port);
    let round = |round: usize| {
        let task = client.submit(&short(racer * ROUNDS + round));
        // The wait is the moment of the cancel, not a synchronisation.
        thread::sleep(usual.min(Duration::from_millis(50)) * 2 * round as u32 / ROUNDS as u32);
        let answer = client.post(&format!("/cancel/{task}"), &json!({}));
        // Twice: it is idempotent.
        let again = client.post(&format!("/cancel/{task}"), &json!({}));
        assert!(matches!(again.status, 200 | 202), "{again:?}");
        let status = answer.body["status"].as_str().map(str::to_owned);
        assert_ne!(answer.body, Value::Null);
        Told { task, code: answer.status, status: status.unwrap_or_default() }
    };
    (0..ROUNDS).map(round).collect()
}
