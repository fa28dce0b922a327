//! What is special to the embedded queue: its file, and the process that has it open.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use protocol::{Attempt, EventBody, EventSeq, Task, TaskState};
use queue::{Broker, Depth, OpenError, SqliteBroker};

use crate::support::*;

#[tokio::test]
async fn a_reopened_queue_has_its_tasks() {
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
async fn a_task_that_ends_its_process_every_time_is_handed_to_the_reaper() {
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
async fn a_newer_schema_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    drop(SqliteBroker::open(folder.path()).unwrap());
    let file = rusqlite::Connection::open(folder.path().join("queue.db")).unwrap();
    file.pragma_update(None, "user_version", 99).unwrap();
    let Err(error) = SqliteBroker::open(folder.path()) else { panic!("misread") };
    assert!(matches!(error, OpenError::NewerSchema { found: 99, .. }), "{error}");
    file.pragma_update(None, "user_version", 2).unwrap();
    SqliteBroker::open(folder.path()).unwrap();
}

#[tokio::test]
async fn a_file_of_schema_1_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let waiting = task();
    {
        let file = rusqlite::Connection::open(folder.path().join("queue.db")).unwrap();
        file.execute_batch(include_str!("../../src/sqlite/schema.sql")).unwrap();
        file.pragma_update(None, "user_version", 1).unwrap();
        let record = protocol::record::encode(&waiting).unwrap();
        let insert =
            "INSERT INTO tasks (id, record, model, lane, max_attempts, ttl_ms, state, place,
                                         depth, submitted)
                      VALUES (?1, ?2, 'demo', 'normal', 3, 3600000, 'queued', 1, 1, 1)";
        file.execute(insert, [waiting.id.to_string(), record]).unwrap();
        let unreadable = protocol::TaskId::new().to_string();
        file.execute(insert, [&unreadable, "not JSON"]).unwrap();
        file.execute("UPDATE places SET latest = 2", []).unwrap();
        file.execute("INSERT INTO stats (model, queued) VALUES ('demo', 2)", []).unwrap();
    }
    let broker = SqliteBroker::open(folder.path()).unwrap();
    let told = estimate(&broker, waiting.id).await.unwrap();
    assert!(told.position <= 2, "{told:?}");
    let held = claimed(&broker, &claimant(LONG)).await;
    assert_eq!(held.task, waiting);
    broker.finish(&held.lease, &completed("x")).await.unwrap();
    assert!(broker.claim(&claimant(LONG), NO_WAIT).await.unwrap().is_none());
    assert_eq!(broker.depth(&model()).await.unwrap(), Depth::default());
    drop(broker);
    SqliteBroker::open(folder.path()).unwrap();
}

#[tokio::test]
async fn what_is_no_queue_is_refused() {
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
async fn the_store_ends_with_its_broker() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..20 {
        // A try that was dropped half-way goes on to its end, and keeps the file open until then.
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

/// The other half of the test below: submits until it is killed, and says what was accepted.
#[tokio::test]
#[ignore = "run by kill_9_loses_no_accepted_task as a process of its own"]
async fn submit_until_killed() {
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
        .args(["--ignored", "--exact", "sqlite_file::submit_until_killed", "--nocapture"])
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
