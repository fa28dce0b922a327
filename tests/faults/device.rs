//! A worker that loses its device. The fault is simulated; the engine handles it like a GPU that is
//! really lost.

use std::time::Duration;

use harness::models;
use harness::system::{Plan, System};

use crate::watching::{LONG, Witness, attempts, long};

const LEASE: Duration = Duration::from_secs(3);

#[test]
fn a_lost_device_ends_its_worker_and_its_tasks_are_retried() {
    let model = models::slow();
    let model = model.to_str().expect("UTF-8");
    let settings = &[("MAX_BATCH_SIZE", "3")];
    let mut system = System::start(&Plan { model, workers: 0, lease: LEASE, settings });
    let doomed = system.add_worker(&[("QWEN_QUEUE_LOSE_DEVICE_AFTER", "40")]);
    system.wait_for_workers(1);
    let mut witness = Witness::new();
    // Three run and one is queued when the device is lost.
    let tasks: Vec<String> = (0..4).map(|_| witness.submit(&system.client, &long(60))).collect();

    let process = system.workers[doomed].process();
    let status = process.wait(LONG);
    assert_eq!(status.code(), Some(3), "{}", process.output());
    let output = process.output();
    assert!(output.contains("the device is lost or out of memory"), "{output}");
    assert!(output.contains("start the worker again"), "{output}");

    system.add_worker(&[]);
    let history = witness.judge(&system, 0);
    let began: Vec<usize> = tasks.iter().map(|task| attempts(&history.events[task])).collect();
    for task in &tasks {
        let events = &history.events[task];
        assert_eq!(events.last().expect("an end").name, "completed", "{events:?}");
    }
    // The three that ran have used an attempt; the queued one has not.
    assert_eq!(began.iter().filter(|attempts| **attempts == 2).count(), 3, "{began:?}");
    assert_eq!(began.iter().filter(|attempts| **attempts == 1).count(), 1, "{began:?}");
}
