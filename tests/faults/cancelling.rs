//! Races between cancelling, claiming and finishing.

use std::thread;
use std::time::{Duration, Instant};

use harness::client::Client;
use harness::system::{Plan, System};
use serde_json::{Value, json};

use crate::watching::{Witness, short};

const THREADS: usize = 4;
const ROUNDS: usize = 250;

/// The response to a cancel.
struct CancelReply {
    task: String,
    code: u16,
    status: String,
}

#[test]
fn every_race_between_cancel_claim_and_finish_has_one_outcome() {
    let plan = Plan { model: "demo", workers: 2, lease: Duration::from_secs(5), settings: &[] };
    let system = System::start(&plan);
    let first = system.client.submit(&short(0));
    let began = Instant::now();
    system.client.wait_for_result(&first, Duration::from_secs(30));
    let usual = began.elapsed();

    let port = system.client.port();
    let racers: Vec<_> =
        (0..THREADS).map(|racer| thread::spawn(move || race(racer, port, usual))).collect();
    let replies: Vec<CancelReply> =
        racers.into_iter().flat_map(|racer| racer.join().expect("a race")).collect();

    let mut witness = Witness::new();
    witness.history.accepted = replies.iter().map(|reply| reply.task.clone()).collect();
    let history = witness.judge(&system, 0);
    let mut counts = [0; 3];
    for CancelReply { task, code, status } in &replies {
        let end = &history.events[task].last().expect("an end").name;
        match (code, status.as_str()) {
            // This request ended the task, or found it ended.
            (200, status) => assert_eq!(end, status, "{task}"),
            // The worker was requested to stop, and may have finished before.
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
        replies.len()
    );
    assert!(queued + running > 0 && ended > 0, "no race occurred: {counts:?}");
}

/// Submits and cancels tasks, waiting a little longer each time, up to twice the usual duration of
/// a task.
fn race(racer: usize, port: u16, usual: Duration) -> Vec<CancelReply> {
    let client = Client::new(port);
    let round = |round: usize| {
        let task = client.submit(&short(racer * ROUNDS + round));
        // The wait varies the moment of the cancel. It is not a synchronisation.
        thread::sleep(usual.min(Duration::from_millis(50)) * 2 * round as u32 / ROUNDS as u32);
        let answer = client.post(&format!("/cancel/{task}"), &json!({}));
        // A second time, since cancelling is idempotent.
        let again = client.post(&format!("/cancel/{task}"), &json!({}));
        assert!(matches!(again.status, 200 | 202), "{again:?}");
        let status = answer.body["status"].as_str().map(str::to_owned);
        assert_ne!(answer.body, Value::Null);
        CancelReply { task, code: answer.status, status: status.unwrap_or_default() }
    };
    (0..ROUNDS).map(round).collect()
}
