//! Limits of the embedded queue: what its file keeps of them.

use std::time::Duration;

use protocol::{KeyId, Timestamp};
use queue::{
    Broker, BrokerError, Charge, Meter, MeterKind, Metering, Payer, SqliteBroker, SubmitOptions,
    UsageQuery,
};

use crate::support::*;

fn charged(tokens: u64, meters: &[(MeterKind, u64)]) -> SubmitOptions {
    let meter = |(kind, limit): &(MeterKind, u64)| Meter {
        kind: *kind,
        subject: "key_1".into(),
        limit: *limit,
    };
    let meters = meters.iter().map(meter).collect();
    let charge = Charge { payer: Payer::new(Some(KeyId::from_text("key_1")), meters), tokens };
    SubmitOptions { charge, ..SubmitOptions::PLAIN }
}

fn is_limited<T: std::fmt::Debug>(answer: &Result<T, BrokerError>) -> bool {
    matches!(answer, Err(BrokerError::LimitReached(_)))
}

#[tokio::test]
async fn reopened_queue_keeps_limits_and_usage() {
    let folder = tempfile::tempdir().unwrap();
    let options = charged(
        300,
        &[
            (MeterKind::Requests { period_s: 86_400 }, 2),
            (MeterKind::InFlight, 5),
            (MeterKind::DailyTokens, 1_000),
        ],
    );
    {
        let broker = SqliteBroker::open(folder.path()).unwrap();
        broker.submit(&task(), &options).await.unwrap();
        let held = claimed(&broker, &claimant(LONG)).await;
        broker.finish(&held.lease, &completed("12 tokens")).await.unwrap();
        broker.submit(&task(), &options).await.unwrap();
    }
    let broker = SqliteBroker::open(folder.path()).unwrap();
    assert!(is_limited(&broker.submit(&task(), &options).await));
    let told = broker.readings(&task().tenant, options.charge.meters()).await.unwrap();
    let told: Vec<_> = told.iter().map(|reading| (reading.remaining, reading.reserved)).collect();
    assert_eq!(told, [(0, 0), (4, 0), (688, 300)]);
    let held = claimed(&broker, &claimant(LONG)).await;
    broker.finish(&held.lease, &completed("12 tokens")).await.unwrap();
    let told = broker.readings(&task().tenant, options.charge.meters()).await.unwrap();
    assert_eq!((told[1].remaining, told[2].remaining, told[2].reserved), (5, 976, 0));
    let today = Timestamp::now().day();
    let all = UsageQuery { from: today.before(1).to_string(), to: today.to_string(), owner: None };
    let rows = broker.usage(&all).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.counts.requests).sum::<u64>(), 2);
}

#[tokio::test]
async fn idle_meters_are_deleted_and_a_clock_that_went_back_locks_no_key_out() {
    let folder = tempfile::tempdir().unwrap();
    let options = charged(1, &[(MeterKind::Requests { period_s: 1 }, 1), (MeterKind::InFlight, 5)]);
    let broker = SqliteBroker::open(folder.path()).unwrap();
    let file = rusqlite::Connection::open(folder.path().join("queue.db")).unwrap();
    let meters =
        || -> i64 { file.query_row("SELECT count(*) FROM meters", [], |row| row.get(0)).unwrap() };
    let first = broker.submit(&task(), &options).await.unwrap();
    assert_eq!(meters(), 2);
    broker.cancel(first.task_id).await.unwrap();
    assert_eq!(meters(), 1, "none is in flight");
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    broker.reap(&claimant(LONG)).await.unwrap();
    assert_eq!(meters(), 0);

    // As if the clock had been an hour ahead when the process stopped.
    broker.submit(&task(), &options).await.unwrap();
    file.execute("UPDATE meters SET since = since + 3600000", []).unwrap();
    drop(broker);
    let broker = SqliteBroker::open(folder.path()).unwrap();
    assert!(is_limited(&broker.submit(&task(), &options).await), "not before the period is over");
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    broker.submit(&task(), &options).await.unwrap();
}

#[tokio::test]
async fn tasks_of_schema_7_end_without_a_charge() {
    let folder = tempfile::tempdir().unwrap();
    let (waiting, running) = (task(), task());
    {
        let file = file_of_schema(folder.path(), 7);
        let insert = "INSERT INTO tasks (id, record, model, lane, tenant, size, max_attempts, ttl_ms, state, spot,
                                         place, ticket, depth, submitted, attempt, worker, started, lease_until)
                      VALUES (?1, ?2, 'demo', 'normal', 'tenant', 9, 3, 3600000, ?3, ?4, ?5, 1, 1, 1000, ?6, ?7,
                              ?8, ?8)";
        let worker = protocol::WorkerId::new().as_uuid().into_bytes();
        for (task, state, spot, place, attempt, worker, started) in [
            (&waiting, "queued", Some("stream"), 1, 0, None, None),
            (&running, "processing", None, 2, 1, Some(worker), Some(1_250)),
        ] {
            let (id, record) =
                (task.id.as_uuid().into_bytes(), protocol::record::encode(task).unwrap());
            let row = rusqlite::params![id, record, state, spot, place, attempt, worker, started];
            file.execute(insert, row).unwrap();
            let event = "INSERT INTO events (task, seq, at) VALUES (?1, 1, 1000)";
            file.execute(event, [id]).unwrap();
        }
        file.execute_batch(
            "UPDATE tasks SET seq = 1;
             UPDATE places SET latest = 2;
             UPDATE totals SET bytes = 9;
             INSERT INTO stats (model, queued, processing) VALUES ('demo', 1, 1);
             INSERT INTO lanes (model, lane, queued, entered) VALUES ('demo', 'normal', 1, 1);
             INSERT INTO shares (model, lane, tenant, inside) VALUES ('demo', 'normal', 'tenant', 1);
             INSERT INTO tenants VALUES ('tenant', 1);",
        )
        .unwrap();
    }
    let broker = SqliteBroker::open(folder.path()).unwrap();
    broker.cancel(waiting.id).await.unwrap();
    let held = claimed(&broker, &claimant(LONG)).await;
    assert_eq!((held.task.id, held.lease.attempt.get()), (running.id, 2));
    broker.finish(&held.lease, &completed("x")).await.unwrap();
    let options = charged(10, &[(MeterKind::InFlight, 1)]);
    broker.submit(&task(), &options).await.unwrap();
    assert!(is_limited(&broker.submit(&task(), &options).await));
    let today = Timestamp::now().day();
    let all = UsageQuery { from: today.before(1).to_string(), to: today.to_string(), owner: None };
    let rows = broker.usage(&all).await.unwrap();
    let [row] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!((row.key.as_str(), row.counts.requests, row.counts.cancelled), ("none", 2, 1));
    assert_eq!(row.counts.wait_ms, 250, "until its start by the old process");
}
