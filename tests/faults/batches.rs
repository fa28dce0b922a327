//! Batches whose gateway and worker are killed on the way: every line ends once, with the answer of an undisturbed run.
//!
//! ```sh
//! QWEN_QUEUE_FULL_BATCH=1 cargo nextest run --workspace --test faults batches --no-capture
//! ```
//! runs 10,000 lines with more kills, and measures how long interactive tasks wait beside a batch and without one.
#![allow(clippy::print_stdout)] // what was measured belongs to the test's output

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use harness::client::Client;
use harness::system::{Plan, System};
use harness::wait_for;
use serde_json::{Value, json};

use crate::watching::{LONG, short};

const CHAT: &str = "/v1/chat/completions";

/// Returns the requests of a batch.
fn requests(count: usize) -> String {
    let line = |n: usize| {
        let question = format!("What is a lease? And number {}?", n % 97);
        let body = json!({
            "model": "demo", "temperature": 0, "max_tokens": 16,
            "messages": [{"role": "user", "content": question}],
        });
        json!({"custom_id": format!("line {n}"), "method": "POST", "url": CHAT, "body": body})
    };
    (0..count).map(|n| format!("{}\n", line(n))).collect()
}

/// Starts a batch and returns its path.
fn begin(client: &Client, requests: &str) -> String {
    let body = json!({
        "input_file_id": client.upload_batch(requests), "endpoint": CHAT, "completion_window": "24h",
    });
    let batch = client.post("/v1/batches", &body).body;
    format!("/v1/batches/{}", batch["id"].as_str().unwrap_or_else(|| panic!("{batch}")))
}

/// Waits until so many lines have ended. Returns the batch.
fn wait_for_lines(client: &Client, path: &str, count: u64, limit: Duration) -> Value {
    wait_for(&format!("{count} lines"), limit, || {
        let batch = client.try_get(path)?.body;
        let counts = &batch["request_counts"];
        (counts["completed"].as_u64()? + counts["failed"].as_u64()? >= count).then_some(batch)
    })
}

/// Waits until a batch is completed. Returns the answer of each line.
fn answers(client: &Client, path: &str, count: usize, limit: Duration) -> BTreeMap<String, String> {
    let batch = wait_for("the batch to end", limit, || {
        let batch = client.try_get(path)?.body;
        (!["in_progress", "validating", "finalizing"].contains(&batch["status"].as_str()?))
            .then_some(batch)
    });
    assert_eq!(batch["status"], "completed", "{batch}");
    let counts = json!({"total": count, "completed": count, "failed": 0});
    assert_eq!(batch["request_counts"], counts);
    let content = client.file_content(batch["output_file_id"].as_str().expect("a file"));
    let mut found = BTreeMap::new();
    for (n, line) in content.lines().enumerate() {
        let line: Value = serde_json::from_str(line).expect("a line of JSON");
        assert_eq!(line["custom_id"], format!("line {n}"), "in the order of the requests");
        let text = &line["response"]["body"]["choices"][0]["message"]["content"];
        let text = text.as_str().unwrap_or_else(|| panic!("{line}")).to_owned();
        assert_eq!(found.insert(line["custom_id"].to_string(), text), None, "a line ended twice");
    }
    assert_eq!(found.len(), count, "lines are lost");
    found
}

/// Submits interactive tasks one after another until `is_enough`. Returns how long each waited, sorted.
fn waits(port: u16, is_enough: impl Fn(usize) -> bool) -> Vec<f64> {
    let client = Client::new(port);
    let mut waits = Vec::new();
    while !is_enough(waits.len()) {
        let task = client.submit(&short(waits.len()));
        let answer = client.wait_for_result(&task, LONG).body;
        waits.push(answer["metrics"]["queue_wait_time"].as_f64().expect("a number"));
        thread::sleep(Duration::from_millis(100));
    }
    waits.sort_by(f64::total_cmp);
    waits
}

fn p95(waits: &[f64]) -> f64 {
    waits[(waits.len() * 95 / 100).min(waits.len() - 1)]
}

#[test]
fn batch_answers_every_line_once_although_gateway_and_worker_are_killed() {
    let full = std::env::var_os("QWEN_QUEUE_FULL_BATCH").is_some();
    let (count, limit) =
        if full { (10_000, Duration::from_secs(1800)) } else { (1_600, Duration::from_secs(120)) };
    let plan = Plan {
        model: "demo",
        workers: 1,
        lease: Duration::from_secs(2),
        settings: &[("MAX_ATTEMPTS", "20")],
    };
    let mut system = System::start(&plan);
    let (port, requests) = (system.client.port(), requests(count));

    let idle = full.then(|| waits(port, |count| count >= 200));
    let began = Instant::now();
    let path = begin(&system.client, &requests);
    let is_over = AtomicBool::new(false);
    let (expected, beside) = thread::scope(|scope| {
        let is_over = &is_over;
        let beside = full.then(|| scope.spawn(|| waits(port, |_| is_over.load(Ordering::Relaxed))));
        let expected = answers(&system.client, &path, count, limit);
        is_over.store(true, Ordering::Relaxed);
        (expected, beside.map(|beside| beside.join().expect("a client")))
    });
    let undisturbed = began.elapsed();
    if let (Some(idle), Some(beside)) = (idle, beside) {
        println!(
            "interactive tasks wait {:.1} ms without a batch and {:.1} ms beside it (p95 of {} and {}), \
             {:.1} and {:.1} ms (median)",
            p95(&idle) * 1e3,
            p95(&beside) * 1e3,
            idle.len(),
            beside.len(),
            idle[idle.len() / 2] * 1e3,
            beside[beside.len() / 2] * 1e3
        );
        // Milliseconds, so that the machine's other work counts.
        assert!(p95(&beside) < 2.0 * p95(&idle) + 0.05, "interactive tasks wait for the batch");
    }

    let began = Instant::now();
    let path = begin(&system.client, &requests);
    let mut killed = Vec::new();
    let kills = if full { 8 } else { 2 };
    for kill in 1..=kills {
        // The lines are counted in parts, so some more have ended.
        let goal = (kill * count / (kills + 2)) as u64;
        let batch = wait_for_lines(&system.client, &path, goal, limit);
        let node = if kill % 2 == 1 { &mut system.gateway } else { &mut system.workers[0] };
        node.kill_9();
        node.start();
        killed.push(batch["request_counts"]["completed"].as_u64().expect("a number"));
    }
    assert!(killed[kills - 1] < count as u64, "the batch had ended before the last kill");
    let disturbed = answers(&system.client, &path, count, limit);
    assert!(disturbed == expected, "answers differ from those of the undisturbed run");
    println!(
        "{count} lines in {:.1} s, and in {:.1} s with a gateway or a worker killed after {killed:?} lines",
        undisturbed.as_secs_f64(),
        began.elapsed().as_secs_f64()
    );
}
