//! The machine's clock is moved under the embedded queue. A test can't move its own clock: it starts itself once
//! more, with one that it can.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use harness::clock::Clock;
use protocol::{Timestamp, WorkerId};
use queue::{Broker, Operations, Reaped, SqliteBroker, Webhooks};

use crate::support::*;

const HOUR: i64 = 3_600;

#[test]
fn leases_survive_steps_of_the_system_clock() {
    let clock = Clock::new();
    let done = Command::new(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            "sqlite_clock::child_process_with_a_stepped_clock",
            "--nocapture",
        ])
        .envs(clock.environment())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
    assert!(said.contains("1 passed"), "it did not run: {said}");
}

/// Moves the clock of this process.
fn set_clock(offset: i64) {
    use std::io::Write;
    let path = std::env::var("TEST_CLOCK").unwrap();
    let mut file = std::fs::File::options().write(true).open(Path::new(&path)).unwrap();
    file.write_all(&offset.to_ne_bytes()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by leases_survive_steps_of_the_system_clock as a process of its own"]
async fn child_process_with_a_stepped_clock() {
    let before = Timestamp::now();
    set_clock(HOUR);
    assert!(Timestamp::now().seconds_since(before) > 3_000.0, "the clock can be moved");
    set_clock(0);

    let folder = tempfile::tempdir().unwrap();
    let broker = SqliteBroker::open(folder.path()).unwrap();
    let (lease, reaper) = (Duration::from_millis(400), claimant(Duration::from_millis(400)));
    submitted(&broker).await;
    let living = claimed(&broker, &claimant(lease)).await.lease;
    for at in [-HOUR, 0, HOUR, -24 * HOUR, 0] {
        let task = submitted(&broker).await;
        claimed(&broker, &claimant(lease)).await;
        broker.reap(&reaper).await.unwrap();
        set_clock(at);
        let begun = Instant::now();
        loop {
            broker.renew(&living, lease).await.expect("the living one keeps its task");
            let reaped = broker.reap(&reaper).await.unwrap();
            if reaped != Reaped::default() {
                assert_eq!(reaped, Reaped { requeued: vec![task.id], ..Reaped::default() });
                break;
            }
            assert!(begun.elapsed() < lease * 10, "stranded after a step to {at} s");
            tokio::time::sleep(lease / 8).await;
        }
        let took = begun.elapsed();
        assert!(took > lease / 2 && took < lease * 2, "{took:?} after a step to {at} s");
        let again = claimed(&broker, &claimant(LONG)).await;
        assert_eq!(again.task.id, task.id);
        broker.finish(&again.lease, &completed("x")).await.unwrap();
    }

    // Times by the machine's clock are moved back with it.
    let rests = submitted(&broker).await;
    let held = claimed(&broker, &claimant(LONG)).await;
    broker.release(&held.lease, &resting(Duration::from_secs(50))).await.unwrap();
    let hook = with_webhook(task());
    broker.submit(&hook, NO_LIMIT).await.unwrap();
    let held = claimed(&broker, &claimant(LONG)).await;
    broker.finish(&held.lease, &completed("x")).await.unwrap();
    let pause = Duration::from_millis(600);
    assert_eq!(broker.due_webhooks(pause, 10).await.unwrap().len(), 1);
    let gone = report(1);
    broker.report_worker(&gone, Duration::from_secs(10)).await.unwrap();
    broker.reap(&reaper).await.unwrap();
    set_clock(-HOUR);
    broker.renew(&living, lease).await.unwrap();
    broker.reap(&reaper).await.unwrap();
    let run_at = broker.snapshot(rests.id).await.unwrap().unwrap().run_at.unwrap();
    assert!(run_at.seconds_since(Timestamp::now()) <= 60.0, "{run_at:?}");
    tokio::time::sleep(pause).await;
    assert_eq!(broker.due_webhooks(pause, 10).await.unwrap().len(), 1, "its next try");
    let file = rusqlite::Connection::open(folder.path().join("queue.db")).unwrap();
    let expires: i64 = file.query_row("SELECT expires FROM workers", [], |row| row.get(0)).unwrap();
    assert!(expires <= Timestamp::now().as_millis() as i64 + 60_000);
    assert!(!broker.drain_worker(WorkerId::new()).await.unwrap());
}
