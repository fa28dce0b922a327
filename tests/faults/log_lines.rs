//! Workers killed under load: before, while and after they write the log line of an end.
//!
//! ```sh
//! QWEN_QUEUE_FULL_LINES=1 cargo nextest run -p qwen-queue-tests --test faults log_lines --no-capture
//! ```
//! kills ten times among 10,000 tasks, which takes some minutes.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use harness::system::{Plan, System};
use harness::wait_for;

use crate::load::Load;
use crate::watching::{LONG, Witness};

#[test]
fn kills_lose_no_log_line_and_duplicate_none() {
    let full = std::env::var_os("QWEN_QUEUE_FULL_LINES").is_some();
    let (kills, tasks) = if full { (10, 10_000) } else { (3, 450) };
    let plan = Plan {
        model: "demo",
        workers: 2,
        lease: Duration::from_secs(2),
        settings: &[
            ("MAX_ATTEMPTS", "100"),
            ("MAX_QUEUE_SIZE", "50000"),
            ("MAX_TENANT_TASKS", "50000"),
        ],
    };
    let mut system = System::start(&plan);
    let load = Load::at_pace(system.client.port(), Duration::from_millis(1));
    for kill in 0..kills {
        load.wait_for_more(tasks / kills);
        system.workers[kill % 2].kill_9();
        system.workers[kill % 2].start();
    }
    let submitted = load.stop();
    let mut witness = Witness::new();
    witness.history.accepted = submitted.accepted;
    let limit = if full { Duration::from_secs(600) } else { LONG };
    witness.wait_for_all(&system.client, limit);
    let ends = &witness.history.accepted;
    assert!(ends.len() >= tasks, "{} tasks are too few", ends.len());

    let began = Instant::now();
    let count = || {
        let mut lines: HashMap<String, usize> = HashMap::new();
        system.lines().into_iter().for_each(|line| *lines.entry(line.task).or_default() += 1);
        lines
    };
    let lines = wait_for("all lines", Duration::from_secs(40), || {
        let lines = count();
        ends.iter().all(|task| lines.contains_key(task)).then_some(lines)
    });
    // No process writes a line a second time, however often the journal is queried.
    std::thread::sleep(Duration::from_secs(1));
    let twice = count().values().filter(|count| **count > 1).count();
    println!(
        "{} ends, {kills} kills: {} lines, {twice} twice, {} missing; the last came within {:.1} s",
        ends.len(),
        lines.len(),
        ends.iter().filter(|task| !lines.contains_key(*task)).count(),
        began.elapsed().as_secs_f64()
    );
    assert_eq!(twice, 0);
}
