//! Records that this version cannot read.

use protocol::{ErrorType, Outcome, RecordError, Task, TaskId};
use queue::{Broker, BrokerError};

use crate::support::*;

const FROM_THE_FUTURE: &str = r#"{"v":9,"shape":"unheard of"}"#;

async fn outcome_event(broker: &dyn Broker, id: TaskId) -> Outcome {
    let events = broker.events(id, protocol::EventSeq::START, 100).await.unwrap();
    match &events.last().unwrap().body {
        protocol::EventBody::Ended { outcome } => outcome.clone(),
        other => panic!("not ended: {other:?}"),
    }
}

fn is_unreadable(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Failed(error) if error.error_type == ErrorType::UnreadableRecord)
}

async fn a_record_of_another_version_is_refused_not_misread(on: Fixture) {
    let task = submitted(&*on.broker).await;
    on.overwrite_record(task.id, FROM_THE_FUTURE).await;
    let error = on.broker.snapshot(task.id).await.unwrap_err();
    assert!(matches!(error, BrokerError::Record(RecordError::Version { found: 9 })), "{error}");
    on.overwrite_record(task.id, "not a record").await;
    let error = on.broker.snapshot(task.id).await.unwrap_err();
    assert!(matches!(error, BrokerError::Record(RecordError::Malformed(_))), "{error}");
}

async fn an_unreadable_task_is_failed_and_the_next_is_claimed(on: Fixture) {
    let unreadable = submitted(&*on.broker).await;
    on.overwrite_record(unreadable.id, FROM_THE_FUTURE).await;
    let good = submitted(&*on.broker).await;
    assert_eq!(claimed(&*on.broker, &claimant(LONG)).await.task, good);
    let outcome = outcome_event(&*on.broker, unreadable.id).await;
    assert!(is_unreadable(&outcome), "{outcome:?}");
    assert_eq!(on.broker.depth(&model()).await.unwrap().queued, 0);
}

async fn unreadable_task_without_attempts_left_is_failed(on: Fixture) {
    let task = Task { max_attempts: 1, ..task() };
    on.broker.submit(&task, NO_LIMIT).await.unwrap();
    claimed(&*on.broker, &claimant(SHORT)).await;
    on.overwrite_record(task.id, FROM_THE_FUTURE).await;
    let reaper = claimant(SHORT);
    eventually("reaped", async || {
        on.broker.reap(&reaper).await.unwrap();
        on.broker.depth(&model()).await.unwrap() == queue::Depth::default()
    })
    .await;
    let outcome = outcome_event(&*on.broker, task.id).await;
    assert!(is_unreadable(&outcome), "{outcome:?}");
}

run_on_every_broker! {
    a_record_of_another_version_is_refused_not_misread,
    an_unreadable_task_is_failed_and_the_next_is_claimed,
    unreadable_task_without_attempts_left_is_failed,
}
