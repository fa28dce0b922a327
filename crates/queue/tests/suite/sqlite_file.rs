//! The embedded queue's file, and the process that has it open.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use protocol::{Attempt, EventBody, EventSeq, Task, TaskState};
use queue::{Broker, Depth, OpenError, Operations, SqliteBroker, TOMBSTONE, Verdict, Webhooks};

use crate::conformance::keys::keep_keys;
use crate::support::*;

#[tokio::test]
async fn reopened_queue_keeps_its_tasks() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("made/on/demand");
    let (queued, running, done);
    {
        let broker = SqliteBroker::open(&data).unwrap();
        done = submitted(&broker).await;
        let held = claimed(&broker, &claimant(LONG)).await;
        broker.finish(&held.lease, &completed("kept")).await.unwrap();
        running = submitted(&broker).await;
        claimed(&broker, &claimant(LONG)).await;
        queued = submitted(&broker).await;
    }
    let broker = SqliteBroker::open(&data).unwrap();
    assert_eq!(broker.depth(&model()).await.unwrap(), Depth { queued: 2, processing: 0 });
    let end = broker.snapshot(done.id).await.unwrap().unwrap();
    assert_eq!(end.outcome, Some(completed("kept")));
    let events = broker.events(running.id, EventSeq::START, 10).await.unwrap();
    assert!(matches!(events.last().unwrap().body, EventBody::Requeued { .. }), "{events:?}");
    assert_eq!(claimed(&broker, &claimant(LONG)).await.task, queued);
    let again = claimed(&broker, &claimant(LONG)).await;
    assert_eq!(
        (again.task, again.lease.attempt, again.failed_attempts),
        (running, Attempt::new(2), 1)
    );
}

#[tokio::test]
async fn reopened_queue_keeps_webhooks_cancels_dead_letters_and_pauses() {
    let folder = tempfile::tempdir().unwrap();
    let (told, dead, stopped) = (with_webhook(task()), task(), with_webhook(task()));
    {
        let broker = SqliteBroker::open(folder.path()).unwrap();
        broker.submit(&told, NO_LIMIT).await.unwrap();
        broker.submit(&dead, NO_LIMIT).await.unwrap();
        for outcome in [completed("kept"), failed("kept too")] {
            let held = claimed(&broker, &claimant(LONG)).await;
            broker.finish(&held.lease, &outcome).await.unwrap();
        }
        broker.logged(&[told.id]).await.unwrap();
        broker.submit(&stopped, NO_LIMIT).await.unwrap();
        claimed(&broker, &claimant(LONG)).await;
        broker.cancel(stopped.id).await.unwrap();
        broker.set_paused(&model(), true).await.unwrap();
    }
    let broker = SqliteBroker::open(folder.path()).unwrap();
    let state = broker.snapshot(stopped.id).await.unwrap().unwrap().state;
    assert_eq!(state, TaskState::Cancelled, "nobody was left to stop it");
    let unlogged = broker.unlogged(LONG, 10).await.unwrap();
    let owed: Vec<_> =
        unlogged.iter().map(|due| (due.end.task.id, due.perhaps_written.is_some())).collect();
    assert_eq!(owed, [(stopped.id, false), (dead.id, true)], "due at once: who owed it is gone");
    let due = broker.due_webhooks(LONG, 10).await.unwrap();
    let due: Vec<_> = due.iter().map(|delivery| delivery.task().unwrap().task_id).collect();
    assert_eq!(due, [told.id, stopped.id]);
    assert_eq!(broker.dead_letter(dead.id).await.unwrap().unwrap().task, dead);
    let queue = &broker.overview().await.unwrap().queues[0];
    assert!(queue.paused);
    assert_eq!((queue.completed, queue.failed, queue.cancelled), (1, 1, 1));
    submitted(&broker).await;
    assert!(broker.claim(&claimant(LONG), NO_WAIT).await.unwrap().is_none(), "still paused");
}

#[tokio::test]
async fn reopened_queue_keeps_managed_keys() {
    let folder = tempfile::tempdir().unwrap();
    let kept = keep_keys(&SqliteBroker::open(folder.path()).unwrap()).await;
    kept.are_in(&SqliteBroker::open(folder.path()).unwrap()).await;
}

#[tokio::test]
async fn task_that_crashed_two_processes_gets_a_backoff() {
    let folder = tempfile::tempdir().unwrap();
    let first = SqliteBroker::open(folder.path()).unwrap();
    let suspect = submitted(&first).await;
    claimed(&first, &claimant(LONG)).await;
    drop(first);
    let second = SqliteBroker::open(folder.path()).unwrap();
    claimed(&second, &claimant(LONG)).await;
    drop(second);
    let third = SqliteBroker::open(folder.path()).unwrap();
    let now = third.overview().await.unwrap().at;
    assert!(third.snapshot(suspect.id).await.unwrap().unwrap().run_at.unwrap() > now);
    let again = third.claim(&claimant(LONG), Duration::from_secs(5)).await.unwrap().unwrap();
    assert_eq!((again.task, again.failed_attempts), (suspect, 2));
}

#[tokio::test]
async fn resumed_model_is_claimed_immediately() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Arc::new(SqliteBroker::open(folder.path()).unwrap());
    broker.set_paused(&model(), true).await.unwrap();
    submitted(&*broker).await;
    let claims = Arc::clone(&broker);
    let waiting = tokio::spawn(async move { claims.claim(&claimant(LONG), LONG).await.unwrap() });
    tokio::time::sleep(Duration::from_millis(50)).await;
    broker.set_paused(&model(), false).await.unwrap();
    tokio::time::timeout(Duration::from_millis(500), waiting).await.expect("at once").unwrap();
}

#[tokio::test]
async fn one_reap_deletes_all_expired_tasks() {
    const TASKS: usize = 1_200; // more than are deleted in one transaction
    let folder = tempfile::tempdir().unwrap();
    let broker = SqliteBroker::open(folder.path()).unwrap();
    let tasks: Vec<_> = (0..TASKS).map(|_| Task { result_ttl_s: 1, ..task() }).collect();
    let ids: Vec<_> = tasks.iter().map(|task| task.id).collect();
    let submits = tasks.iter().map(|task| broker.submit(task, NO_LIMIT));
    assert!(futures::future::join_all(submits).await.iter().all(Result::is_ok));
    let cancels = ids.iter().map(|id| broker.cancel(*id));
    assert!(futures::future::join_all(cancels).await.iter().all(Result::is_ok));
    let file = rusqlite::Connection::open(folder.path().join("queue.db")).unwrap();
    let kept =
        || -> isize { file.query_row("SELECT count(*) FROM tasks", [], |row| row.get(0)).unwrap() };
    tokio::time::sleep(Duration::from_millis(1_100)).await;

    broker.reap(&claimant(LONG)).await.unwrap();
    assert_eq!(broker.snapshot(ids[0]).await.unwrap(), None);
    assert_eq!(kept(), TASKS as isize, "none was logged yet");
    assert_eq!(broker.unlogged(LONG, TASKS).await.unwrap().len(), TASKS);
    broker.logged(&ids[1..]).await.unwrap();
    broker.reap(&claimant(LONG)).await.unwrap();
    assert_eq!(kept(), 1);
    assert_eq!(broker.expired(ids[0]).await.unwrap(), Some(tasks[0].tenant.clone()));
}

#[tokio::test]
async fn tombstones_webhook_reports_and_dead_letters_expire() {
    let folder = tempfile::tempdir().unwrap();
    let broker = SqliteBroker::open(folder.path()).unwrap();
    let task = with_webhook(Task { result_ttl_s: 0, ..task() });
    broker.submit(&task, NO_LIMIT).await.unwrap();
    let held = claimed(&broker, &claimant(LONG)).await;
    broker.finish(&held.lease, &failed("x")).await.unwrap();
    broker.due_webhooks(LONG, 1).await.unwrap();
    broker.webhook_tried(task.id.into(), &tried(1), Verdict::GivenUp).await.unwrap();
    let file = rusqlite::Connection::open(folder.path().join("queue.db")).unwrap();
    // Once its line is written, a reap replaces the task by its tombstone.
    broker.logged(&[task.id]).await.unwrap();
    broker.reap(&claimant(LONG)).await.unwrap();
    // Instead of waiting, moves what happened into the past.
    let later = async |span: Duration| {
        file.execute_batch(&format!(
            "UPDATE tombstones SET until = until - {0};
             UPDATE letters SET died = died - {0};
             UPDATE webhooks SET expires = expires - {0};",
            span.as_millis()
        ))
        .unwrap();
        broker.reap(&claimant(LONG)).await.unwrap();
        let rows = |table: &str| -> isize {
            let count = format!("SELECT count(*) FROM {table}");
            file.query_row(&count, [], |row| row.get(0)).unwrap()
        };
        let known = [
            broker.expired(task.id).await.unwrap().is_some(),
            broker.webhook(task.id.into()).await.unwrap().is_some(),
            broker.dead_letter(task.id).await.unwrap().is_some(),
        ];
        let kept = [rows("tombstones"), rows("webhooks"), rows("letters")].map(|rows| rows == 1);
        assert_eq!(kept, known, "what is forgotten is not kept");
        known
    };
    let (hour, day) = (Duration::from_secs(3_600), Duration::from_secs(86_400));
    assert_eq!(later(TOMBSTONE / 2).await, [true; 3]);
    assert_eq!(later(TOMBSTONE).await, [false, true, true]);
    assert_eq!(later(day - hour).await, [false, true, true]);
    assert_eq!(later(hour * 2).await, [false, false, true]);
    assert_eq!(later(day * 6 - hour * 2).await, [false, false, true]);
    assert_eq!(later(hour * 2).await, [false; 3]);
}

#[tokio::test]
async fn task_that_crashes_every_process_is_handed_to_the_reaper() {
    let folder = tempfile::tempdir().unwrap();
    let poison = Task { max_attempts: 2, ..task() };
    SqliteBroker::open(folder.path()).unwrap().submit(&poison, NO_LIMIT).await.unwrap();
    for _ in 0..2 {
        let broker = SqliteBroker::open(folder.path()).unwrap();
        assert_eq!(claimed(&broker, &claimant(LONG)).await.task, poison);
    }
    let broker = SqliteBroker::open(folder.path()).unwrap();
    assert!(broker.claim(&claimant(LONG), NO_WAIT).await.unwrap().is_none());
    let reaped = broker.reap(&claimant(LONG)).await.unwrap();
    assert_eq!(reaped.exhausted.len(), 1, "at once: nobody can hold its lease");
}

#[tokio::test]
async fn a_second_process_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let first = SqliteBroker::open(folder.path()).unwrap();
    let Err(error) = SqliteBroker::open(folder.path()) else { panic!("both have it") };
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    assert!(error.to_string().contains("another process"), "{error}");
    first.ping().await.unwrap();
    drop(first);
    SqliteBroker::open(folder.path()).unwrap();
}

#[tokio::test]
async fn data_dir_that_is_not_a_queue_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("queue.db"), "not a database, but long enough").unwrap();
    let Err(error) = SqliteBroker::open(folder.path()) else { panic!("taken for a queue") };
    assert!(matches!(error, OpenError::Store { .. }), "{error}");
    let file = folder.path().join("a file");
    std::fs::write(&file, "").unwrap();
    let Err(error) = SqliteBroker::open(&file) else { panic!("taken for a folder") };
    assert!(matches!(error, OpenError::DataDir { .. }), "{error}");
}

#[tokio::test]
async fn dropping_the_broker_closes_the_store() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..20 {
        // An opening that was dropped half-way continues, and keeps the file open until it has
        // finished.
        let mut opened = None;
        eventually("free", async || {
            opened = SqliteBroker::open(folder.path()).ok();
            opened.is_some()
        })
        .await;
        let broker = opened.unwrap();
        let claimant = claimant(LONG);
        let waiting = broker.claim(&claimant, LONG);
        let _ = tokio::time::timeout(Duration::from_millis(1), waiting).await;
    }
}

/// Runs as a process of its own for the test below: submits until it is killed, and writes down
/// what was accepted.
#[tokio::test]
#[ignore = "run by kill_9_loses_no_accepted_task as a process of its own"]
async fn child_process_that_submits_until_killed() {
    use std::io::Write;
    let Ok(folder) = std::env::var("QUEUE_TEST_FOLDER") else { return };
    let broker = SqliteBroker::open(Path::new(&folder)).unwrap();
    let mut accepted = std::fs::File::create(Path::new(&folder).join("accepted")).unwrap();
    loop {
        let id = submitted(&broker).await.id;
        writeln!(accepted, "{id}").unwrap();
    }
}

#[tokio::test]
async fn kill_9_loses_no_accepted_task() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            "sqlite_file::child_process_that_submits_until_killed",
            "--nocapture",
        ])
        .env("QUEUE_TEST_FOLDER", folder.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let accepted = || std::fs::read_to_string(folder.path().join("accepted")).unwrap_or_default();
    eventually("a hundred are accepted", async || accepted().lines().count() >= 100).await;
    process.kill().unwrap();
    process.wait().unwrap();

    let broker = SqliteBroker::open(folder.path()).unwrap();
    let accepted = accepted();
    let whole = accepted.rsplit_once('\n').map_or("", |(whole, _)| whole);
    for id in whole.lines() {
        let found = broker.snapshot(id.parse().unwrap()).await.unwrap();
        assert_eq!(found.map(|task| task.state), Some(TaskState::Queued), "{id}");
    }
}

/// Measures the bytes that an ended task leaves in the file, for docs/QUEUE.md. The file never shrinks: freed
/// pages are used again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drained_queue_leaves_little_in_the_file() {
    const MOST: usize = 1_152;
    let tasks = if std::env::var_os("QWEN_QUEUE_FULL_MEMORY").is_some() { 10_000 } else { 500 };
    let folder = tempfile::tempdir().unwrap();
    let broker = SqliteBroker::open(folder.path()).unwrap();
    let pages = || -> (i64, i64) {
        let file = rusqlite::Connection::open(folder.path().join("queue.db")).unwrap();
        let pragma = |name: &str| file.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0));
        let (all, free) = (pragma("page_count").unwrap(), pragma("freelist_count").unwrap());
        (all, all - free)
    };
    let outcome = completed(&"x".repeat(200));
    let work_off = async || {
        let prompt = protocol::Prompt::user("y".repeat(20 << 10));
        let all: Vec<_> = (0..tasks).map(|_| Task { prompt: prompt.clone(), ..task() }).collect();
        for some in all.chunks(500) {
            let submits = some.iter().map(|task| broker.submit(task, NO_LIMIT));
            futures::future::try_join_all(submits).await.unwrap();
        }
        let mut left = tasks;
        while left > 0 {
            let batch = broker.claim_batch(&claimant(LONG), 32, NO_WAIT).await.unwrap();
            left -= batch.len();
            let ends = batch.iter().map(|held| broker.finish(&held.lease, &outcome));
            futures::future::try_join_all(ends).await.unwrap();
            batch.iter().for_each(|held| broker.note_logged(held.task.id));
        }
        broker.logged(&[]).await.unwrap();
    };
    work_off().await;
    let (all, used) = pages();
    let each = used as usize * 4096 / tasks - 200;
    println!("{each} bytes of a task stay beside its text, of {}", all as usize * 4096 / tasks);
    assert!(each <= MOST, "{each} bytes a task");
    work_off().await;
    assert!(pages().0 < all * 6 / 5, "what is free is used again");
}
