//! The schema of the embedded queue's file: older ones are migrated, newer ones refused.

use protocol::{Attempt, Task};
use queue::{
    Broker, BrokerError, Depth, Lease, ListedState, Listing, OpenError, Operations, Release,
    SqliteBroker, SubmitOptions, TaskFilter, Webhooks,
};

use crate::support::*;

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    drop(SqliteBroker::open(folder.path()).unwrap());
    let file = rusqlite::Connection::open(folder.path().join("queue.db")).unwrap();
    let known: i64 = file.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    file.pragma_update(None, "user_version", 99).unwrap();
    let Err(error) = SqliteBroker::open(folder.path()) else { panic!("misread") };
    assert!(matches!(error, OpenError::NewerSchema { found: 99, .. }), "{error}");
    file.pragma_update(None, "user_version", known).unwrap();
    SqliteBroker::open(folder.path()).unwrap();
}

#[tokio::test]
async fn a_file_of_schema_1_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let waiting = task();
    {
        let file = file_of_schema(folder.path(), 1);
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
async fn a_file_of_schema_2_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let (waiting, running, done) = (task(), Task { max_attempts: 1, ..task() }, task());
    {
        let file = file_of_schema(folder.path(), 2);
        let insert = |task: &Task, state: &str| {
            let record = protocol::record::encode(task).unwrap();
            let insert = "INSERT INTO tasks (id, record, model, lane, tenant, max_attempts, ttl_ms,
                                             state, place, depth, submitted, size)
                          VALUES (?1, ?2, 'demo', 'normal', 'tenant', ?3, 1000, ?4, 1, 1, 1, 9)";
            let id = task.id.to_string();
            file.execute(insert, rusqlite::params![id, record, task.max_attempts, state]).unwrap();
        };
        insert(&waiting, "queued");
        insert(&running, "processing");
        insert(&done, "completed");
        let worker = protocol::WorkerId::new();
        file.execute_batch(&format!(
            "UPDATE tasks SET spot = 'stream', ticket = 1 WHERE state = 'queued';
             UPDATE tasks SET attempt = 1, worker = '{worker}', fence = '{worker}:1', started = 2,
                              lease_until = 3 WHERE state = 'processing';
             UPDATE tasks SET finished = 3, expires = 1003 WHERE state = 'completed';
             UPDATE places SET latest = 2;
             UPDATE totals SET bytes = 9;
             INSERT INTO stats (model, queued, processing) VALUES ('demo', 1, 1);
             INSERT INTO lanes (model, lane, queued, entered) VALUES ('demo', 'normal', 1, 1);
             INSERT INTO shares (model, lane, tenant, inside)
                 VALUES ('demo', 'normal', 'tenant', 1);
             INSERT INTO tenants VALUES ('tenant', 1);"
        ))
        .unwrap();
        // The outcome was recorded recently and has expired.
        let now = protocol::Timestamp::now().as_millis() as i64;
        file.execute("UPDATE tasks SET expires = ?1 WHERE expires IS NOT NULL", [now]).unwrap();
    }
    let broker = SqliteBroker::open(folder.path()).unwrap();
    assert_eq!(broker.expired(done.id).await.unwrap(), Some(done.tenant));
    let overview = broker.overview().await.unwrap();
    let queue = &overview.queues[0];
    assert_eq!((queue.queued, queue.processing, queue.completed), ([0, 1, 0, 0], 1, 1));
    let exhausted = broker.reap(&claimant(LONG)).await.unwrap().exhausted;
    assert_eq!(exhausted[0].task, running, "its only attempt was the old process's");
    let held = claimed(&broker, &claimant(LONG)).await;
    assert_eq!(held.task, waiting);
    for lease in [held.lease, exhausted[0].lease] {
        broker.finish(&lease, &failed("x")).await.unwrap();
        let letter = broker.dead_letter(lease.task_id).await.unwrap().unwrap();
        assert_eq!(letter.failures.len(), 1);
    }
    assert_eq!(broker.depth(&model()).await.unwrap(), Depth::default());
    drop(broker);
    SqliteBroker::open(folder.path()).unwrap();
}

#[tokio::test]
async fn a_file_of_schema_3_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    // The data of a task that is not in columns: both fields, neither, one that has quotes.
    let plain = Task { user_id: None, metadata: Default::default(), ..task() };
    let both = Task { user_id: Some("user \"7\" 🦀".into()), ..task() };
    let (noted, waiting) = (task(), Task { user_id: Some("u".into()), ..task() });
    let unreadable = protocol::TaskId::new();
    {
        let file = file_of_schema(folder.path(), 3);
        let outcome = protocol::record::encode(&completed("kept")).unwrap();
        let now = protocol::Timestamp::now().as_millis() as i64;
        let mut insert = file
            .prepare(
                "INSERT INTO tasks (id, record, model, lane, tenant, max_attempts, ttl_ms, state, spot,
                                    place, depth, submitted, finished, outcome, expires)
                 VALUES (?1, ?2, 'demo', 'normal', 'tenant', 3, 3600000, ?3, ?4, 1, 1, 1, ?5, ?6, ?7)",
            )
            .unwrap();
        let end = (Some(2), Some(outcome), Some(now + 60_000));
        for (task, state, spot, (finished, outcome, expires)) in [
            (&plain, "completed", "", end.clone()),
            (&both, "completed", "", end.clone()),
            (&noted, "completed", "", end.clone()),
            (&waiting, "queued", "stream", (None, None, None)),
        ] {
            let (id, record) = (task.id.to_string(), protocol::record::encode(task).unwrap());
            let row = rusqlite::params![id, record, state, spot, finished, outcome, expires];
            insert.execute(row).unwrap();
        }
        let (finished, outcome, expires) = end;
        let id = unreadable.to_string();
        let row = rusqlite::params![id, "not JSON", "completed", "", finished, outcome, expires];
        insert.execute(row).unwrap();
        let ended = protocol::EventBody::Ended { outcome: completed("kept") };
        for (seq, body) in [(1, &protocol::EventBody::Queued), (2, &ended)] {
            let (id, body) = (both.id.to_string(), protocol::record::encode(body).unwrap());
            let insert = "INSERT INTO events (task, seq, at, body) VALUES (?1, ?2, 1, ?3)";
            file.execute(insert, rusqlite::params![id, seq, body]).unwrap();
        }
        file.execute_batch(
            "UPDATE tasks SET seq = 2 WHERE finished IS NOT NULL;
             UPDATE places SET latest = 1;
             INSERT INTO stats (model, queued) VALUES ('demo', 1);
             INSERT INTO lanes (model, lane, queued, entered) VALUES ('demo', 'normal', 1, 1);
             INSERT INTO shares (model, lane, tenant, inside) VALUES ('demo', 'normal', 'tenant', 1);
             INSERT INTO tenants VALUES ('tenant', 1);",
        )
        .unwrap();
    }
    let broker = SqliteBroker::open(folder.path()).unwrap();
    for task in [&plain, &both, &noted, &waiting] {
        let found = broker.snapshot(task.id).await.unwrap().unwrap();
        assert_eq!(found.task, protocol::TaskSummary::from(task));
        assert_eq!(found.outcome.is_some(), task.id != waiting.id);
    }
    assert!(broker.snapshot(unreadable).await.unwrap().unwrap().outcome.is_some());
    let events = broker.events(both.id, protocol::EventSeq::START, 9).await.unwrap();
    let bodies: Vec<_> = events.into_iter().map(|event| event.body).collect();
    let ended = protocol::EventBody::Ended { outcome: completed("kept") };
    assert_eq!(bodies, [protocol::EventBody::Queued, ended]);
    let file = rusqlite::Connection::open(folder.path().join("queue.db")).unwrap();
    let records = "SELECT count(*) FROM tasks WHERE record <> ''";
    let records: i64 = file.query_row(records, [], |row| row.get(0)).unwrap();
    assert_eq!(records, 1, "prompts of tasks that have ended are gone");
    let held = claimed(&broker, &claimant(LONG)).await;
    assert_eq!(held.task, waiting);
    broker.finish(&held.lease, &completed("x")).await.unwrap();
    let end = broker.snapshot(waiting.id).await.unwrap().unwrap();
    assert_eq!(
        end.task,
        protocol::TaskSummary::from(&waiting),
        "its notes are of before the upgrade"
    );
}

#[tokio::test]
async fn a_file_of_schema_4_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let (waiting, running, done, taken_back) = (task(), task(), with_webhook(task()), task());
    let (gone, dead) = (protocol::TaskId::new(), task());
    let worker = protocol::WorkerId::new();
    let ended = protocol::EventBody::Ended { outcome: completed("kept") };
    {
        let file = file_of_schema(folder.path(), 4);
        let outcome = protocol::record::encode(&completed("kept")).unwrap();
        let now = protocol::Timestamp::now().as_millis() as i64;
        let mut insert = file
            .prepare(
                "INSERT INTO tasks (id, record, model, lane, tenant, max_attempts, ttl_ms, state, spot,
                                    place, ticket, depth, submitted)
                 VALUES (?1, ?2, 'demo', 'normal', 'tenant', 3, 3600000, ?3, ?4, ?5, ?5, 1, 1)",
            )
            .unwrap();
        for (task, state, spot, place) in [
            (&waiting, "queued", "stream", 1),
            (&running, "processing", "", 2),
            (&done, "completed", "", 3),
            (&taken_back, "queued", "stream", 4),
        ] {
            let (id, record) = (task.id.to_string(), protocol::record::encode(task).unwrap());
            insert.execute(rusqlite::params![id, record, state, spot, place]).unwrap();
        }
        for (seq, body) in [
            (1, protocol::EventBody::Queued),
            (2, protocol::EventBody::Started { attempt: Attempt::new(1), worker }),
        ] {
            for id in [running.id, done.id] {
                let body = protocol::record::encode(&body).unwrap();
                let insert = "INSERT INTO events (task, seq, at, body) VALUES (?1, ?2, 1, ?3)";
                file.execute(insert, rusqlite::params![id.to_string(), seq, body]).unwrap();
            }
        }
        let letter = protocol::record::encode(&dead).unwrap();
        let error = protocol::record::encode(&failed("no more")).unwrap();
        let (running, done, taken_back) = (running.id, done.id, taken_back.id);
        file.execute_batch(&format!(
            "UPDATE tasks SET attempt = 1, worker = '{worker}', fence = '{worker}:1', started = 2, seq = 2
                 WHERE id IN ('{running}', '{done}');
             UPDATE tasks SET lease_until = 3 WHERE id = '{running}';
             UPDATE tasks SET finished = 3, expires = {now} + 60000, unlogged = 9, seq = 3, record = '',
                              outcome = '{outcome}' WHERE id = '{done}';
             UPDATE tasks SET attempt = 1, worker = '{worker}', returned = '{worker}:1'
                 WHERE id = '{taken_back}';
             INSERT INTO events VALUES ('{done}', 3, 3, '');
             INSERT INTO keys VALUES ('tenant', 'key', 'hash', '{done}');
             INSERT INTO tombstones VALUES ('{gone}', 'tenant', 1, {now} + 60000),
                                           ('{done}', 'tenant', {now} + 60000, {now} + 120000);
             INSERT INTO letters VALUES ('{0}', 'demo', '{letter}', '{error}', '[]', 1, {now});
             INSERT INTO webhooks (task, tenant, url, metadata, submitted, state, due, outcome, finished)
                 VALUES ('{done}', 'tenant', 'https://x.test/', '{{}}', 1, 'pending', 3, '{outcome}', 3);
             INSERT INTO workers VALUES ('{worker}', 'no report', {now} + 60000, 1);
             UPDATE places SET latest = 4;
             INSERT INTO stats (model, queued, processing) VALUES ('demo', 2, 1);
             INSERT INTO lanes (model, lane, queued, entered) VALUES ('demo', 'normal', 2, 2);
             INSERT INTO shares (model, lane, tenant, inside) VALUES ('demo', 'normal', 'tenant', 2);
             INSERT INTO tenants VALUES ('tenant', 2);",
            dead.id
        ))
        .unwrap();
    }
    let broker = SqliteBroker::open(folder.path()).unwrap();
    let end = broker.snapshot(done.id).await.unwrap().unwrap();
    assert_eq!((end.outcome, end.worker), (Some(completed("kept")), Some(worker)));
    let events = broker.events(done.id, protocol::EventSeq::START, 9).await.unwrap();
    let started = protocol::EventBody::Started { attempt: Attempt::new(1), worker };
    let bodies: Vec<_> = events.into_iter().map(|event| event.body).collect();
    assert_eq!(bodies, [protocol::EventBody::Queued, started, ended]);
    let by = |id| Lease { task_id: id, worker, attempt: Attempt::new(1) };
    assert!(broker.finish(&by(done.id), &failed("again")).await.is_ok(), "recorded before");
    broker.release(&by(taken_back.id), &Release::Unused).await.expect("released before");
    assert!(matches!(
        broker.finish(&by(running.id), &completed("late")).await,
        Err(BrokerError::LeaseLost { .. })
    ));
    assert!(broker.expired(gone).await.unwrap().is_some());
    assert_eq!(broker.expired(done.id).await.unwrap(), None, "it is still kept");
    assert_eq!(broker.dead_letter(dead.id).await.unwrap().unwrap().task, dead);
    assert_eq!(broker.due_webhooks(LONG, 9).await.unwrap()[0].id, done.id.into());
    let report = protocol::WorkerReport { id: worker, ..report(1) };
    assert!(broker.report_worker(&report, LONG).await.unwrap().drain, "asked to before");
    let again = SubmitOptions {
        idempotency: Some(queue::Idempotency {
            key: "key".into(),
            body_hash: "hash".into(),
            matches: queue::Matches::Always,
        }),
        ..SubmitOptions::PLAIN
    };
    let repeated = Task { tenant: protocol::TenantId::new("tenant"), ..task() };
    assert_eq!(broker.submit(&repeated, &again).await.unwrap().task_id, done.id);
    let mut claims = Vec::new();
    for _ in 0..3 {
        claims.push(claimed(&broker, &claimant(LONG)).await.task.id);
    }
    assert_eq!(claims, [waiting.id, taken_back.id, running.id]);
}

#[tokio::test]
async fn a_file_of_schema_8_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let (waiting, later) = (task(), task());
    {
        let file = file_of_schema(folder.path(), 8);
        for (task, spot, place) in [(&waiting, "stream", 1), (&later, "delayed", 0)] {
            let record = protocol::record::encode(task).unwrap();
            file.execute(
                "INSERT INTO tasks (id, record, model, lane, tenant, size, max_attempts, ttl_ms, state,
                                    spot, place, ticket, depth, submitted, run_at)
                 VALUES (?1, ?2, 'demo', 'normal', 'tenant', 9, 3, 3600000, 'queued', ?3, ?4, 1, 1, 1, 7)",
                rusqlite::params![task.id.as_uuid().as_bytes(), record, spot, place],
            )
            .unwrap();
        }
        file.execute_batch(
            "UPDATE places SET latest = 1;
             INSERT INTO stats (model, queued) VALUES ('demo', 2);
             INSERT INTO lanes (model, lane, queued, entered) VALUES ('demo', 'normal', 1, 1);
             INSERT INTO shares (model, lane, tenant, inside) VALUES ('demo', 'normal', 'tenant', 1);
             INSERT INTO tenants VALUES ('tenant', 2);",
        )
        .unwrap();
    }
    let broker = SqliteBroker::open(folder.path()).unwrap();
    for (state, task) in [(ListedState::Queued, &waiting), (ListedState::Delayed, &later)] {
        let filter = TaskFilter { states: [state].into(), ..TaskFilter::default() };
        let page = broker.tasks(&filter, None, 9).await.unwrap();
        let ids: Vec<_> = page.tasks.iter().map(|listed| listed.task.id).collect();
        assert_eq!(ids, [task.id], "{state}");
    }
    let claimed = [0, 1].map(async |_| claimed(&broker, &claimant(LONG)).await.task.id);
    let claimed: Vec<_> = futures::future::join_all(claimed).await;
    assert_eq!(claimed.len(), 2, "the delayed one was due");
}
