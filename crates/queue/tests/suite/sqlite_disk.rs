//! Tests an embedded queue whose disk is full or whose files are missing: it reports that, accepts no task, and recovers.

use std::fs;
use std::path::Path;
use std::process::Command;

use harness::redis::limit_files;
use protocol::{Prompt, Task, TaskState};
use queue::{Broker, BrokerError, OpenError, SqliteBroker};

use crate::support::*;

fn is_unavailable<T: std::fmt::Debug>(answer: Result<T, BrokerError>, words: &str) {
    let error = answer.expect_err("it was done");
    assert!(matches!(error, BrokerError::Unavailable { .. }), "{error}");
    assert!(error.public_cause().contains(words), "{error}: {}", error.public_cause());
    assert!(!error.public_cause().contains('/'), "folders stay inside");
}

/// A task that is longer than what the file has room for.
fn long_task() -> Task {
    Task { prompt: Prompt::user("x".repeat(900_000)), ..task() }
}

/// Whatever happens to the files, what was accepted is there and what was refused is not.
async fn vanishes(spoil: impl FnOnce(&Path), mend: Option<fn(&Path)>) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let broker = SqliteBroker::open(&data).unwrap();
    let before = submitted(&broker).await;
    let held = claimed(&broker, &claimant(LONG)).await;
    let waits = submitted(&broker).await;
    broker.accepts().await.unwrap();
    spoil(&data);
    let refused = task();
    is_unavailable(broker.submit(&refused, NO_LIMIT).await, "deleted, moved or replaced");
    is_unavailable(broker.finish(&held.lease, &completed("x")).await, "deleted, moved");
    is_unavailable(broker.claim(&claimant(LONG), NO_WAIT).await.map(drop), "deleted, moved");
    eventually("known", async || broker.accepts().await.is_err()).await;
    is_unavailable(broker.accepts().await, "deleted, moved or replaced");
    broker.ping().await.unwrap();
    let found = broker.snapshot(before.id).await.unwrap().expect("reading goes on");
    assert_eq!(found.state, TaskState::Processing);
    assert_eq!(broker.snapshot(refused.id).await.unwrap(), None);
    if let Some(mend) = mend {
        mend(&data);
        eventually("it accepts again", async || broker.accepts().await.is_ok()).await;
        broker.finish(&held.lease, &completed("x")).await.unwrap();
        drop(broker);
        let again = SqliteBroker::open(&data).unwrap();
        let end = again.snapshot(before.id).await.unwrap().unwrap();
        assert_eq!(end.outcome, Some(completed("x")));
        assert_eq!(claimed(&again, &claimant(LONG)).await.task, waits);
    }
}

#[tokio::test]
async fn submits_are_refused_after_the_database_is_deleted() {
    vanishes(|data| fs::remove_dir_all(data).unwrap(), None).await;
    vanishes(|data| fs::remove_file(data.join("queue.db")).unwrap(), None).await;
    vanishes(|data| fs::remove_file(data.join("queue.db-wal")).unwrap(), None).await;
    vanishes(|data| fs::remove_file(data.join("queue.lock")).unwrap(), None).await;
}

#[tokio::test]
async fn submits_are_refused_after_the_database_is_replaced_or_moved() {
    let copied = |data: &Path| {
        fs::copy(data.join("queue.db"), data.join("copy")).unwrap();
        fs::rename(data.join("copy"), data.join("queue.db")).unwrap();
    };
    vanishes(copied, None).await;
    let emptied = |data: &Path| {
        fs::remove_dir_all(data).unwrap();
        fs::create_dir(data).unwrap();
    };
    vanishes(emptied, None).await;
    let moved = |data: &Path| fs::rename(data, data.with_extension("aside")).unwrap();
    let back = |data: &Path| fs::rename(data.with_extension("aside"), data).unwrap();
    vanishes(moved, Some(back)).await;
    let file_moved = |data: &Path| fs::rename(data.join("queue.db"), data.join("aside")).unwrap();
    let file_back = |data: &Path| fs::rename(data.join("aside"), data.join("queue.db")).unwrap();
    vanishes(file_moved, Some(file_back)).await;
}

/// Runs one of the tests below as a process of its own, on its own terms.
fn run(test: &str, shell: &str) {
    let done = Command::new("sh")
        .args(["-c", shell, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", test, "--nocapture"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
    assert!(said.contains("1 passed"), "it did not run: {said}");
}

#[test]
fn submits_fail_at_a_file_size_limit_and_recover() {
    run("sqlite_disk::child_process_with_a_file_size_limit", "trap '' XFSZ; exec \"$@\"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by submits_fail_at_a_file_size_limit_and_recover as a process of its own"]
async fn child_process_with_a_file_size_limit() {
    let folder = tempfile::tempdir().unwrap();
    let broker = SqliteBroker::open(folder.path()).unwrap();
    let id = std::process::id().to_string();
    let mut accepted = Vec::new();
    for bytes in [4 << 10, 500 << 10, 1_000_000] {
        accepted.push(submitted(&broker).await);
        limit_files(&id, Some(bytes));
        fills_up(&broker, long_task()).await;
        limit_files(&id, None);
        works_again(&broker, &mut accepted).await;
    }
}

async fn fills_up(broker: &SqliteBroker, long: Task) {
    is_unavailable(broker.submit(&long, NO_LIMIT).await, "disk is full");
    assert_eq!(broker.snapshot(long.id).await.unwrap(), None, "nothing of it was stored");
    eventually("known", async || broker.accepts().await.is_err()).await;
    is_unavailable(broker.accepts().await, "disk is full");
    broker.ping().await.unwrap();
}

async fn works_again(broker: &SqliteBroker, accepted: &mut Vec<Task>) {
    eventually("it accepts again", async || broker.accepts().await.is_ok()).await;
    let long = long_task();
    broker.submit(&long, NO_LIMIT).await.unwrap();
    accepted.push(long);
    for task in accepted {
        assert!(broker.snapshot(task.id).await.unwrap().is_some(), "{} is lost", task.id);
    }
}

/// Runs only where the system allows a test to mount a disk of its own.
#[test]
fn submits_fail_on_a_full_disk_and_recover() {
    let mount = "mount -t tmpfs -o size=3m none /mnt";
    let unshare = "unshare --user --map-root-user --mount";
    let can = Command::new("sh").args(["-c", &format!("{unshare} sh -c '{mount}'")]).output();
    if !can.is_ok_and(|done| done.status.success()) {
        // The test above is the same with a limit on files.
        println!("skipped: no user namespaces here, so nothing can be mounted");
        return;
    }
    run(
        "sqlite_disk::child_process_on_a_full_disk",
        &format!("exec {unshare} sh -c '{mount} && exec \"$@\"' sh \"$@\""),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by submits_fail_on_a_full_disk_and_recover as a process of its own, with /mnt a small disk"]
async fn child_process_on_a_full_disk() {
    let data = Path::new("/mnt/data");
    let broker = SqliteBroker::open(data).unwrap();
    let mut accepted = vec![submitted(&broker).await];
    // Another program fills the disk.
    let ballast = Path::new("/mnt/ballast");
    let mut bytes = 3 << 20;
    while bytes > 4_096 {
        let _ = fs::write(ballast.with_extension(bytes.to_string()), vec![1; bytes]);
        bytes /= 2;
    }
    let mut long = long_task();
    fills_up(&broker, long.clone()).await;
    for entry in fs::read_dir("/mnt").unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::remove_file(path).unwrap();
        }
    }
    works_again(&broker, &mut accepted).await;
    // Filled by the queue itself, which gets room again as its tasks end.
    loop {
        long.id = protocol::TaskId::new();
        if let Err(error) = broker.submit(&long, NO_LIMIT).await {
            is_unavailable::<()>(Err(error), "disk is full");
            break;
        }
    }
    eventually("known", async || broker.accepts().await.is_err()).await;
    is_unavailable(broker.accepts().await, "disk is full");
}

#[test]
fn unwritable_data_dir_is_refused_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let Err(error) = SqliteBroker::open(file.join("data")) else { panic!("opened") };
    assert!(matches!(error, OpenError::DataDir { .. }), "{error}");
}
