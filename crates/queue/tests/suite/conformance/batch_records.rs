//! Batches: their records move through their states, they advance over each line once, and one processor has them at a time.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use protocol::{BatchId, BlobId, TenantId};
use queue::{BatchPage, BatchPart, BatchState, BatchStep, BatchUsage, NewBatch};

use crate::support::*;

fn tenant() -> TenantId {
    TenantId::new("tenant with blanks")
}

fn new_batch() -> NewBatch {
    NewBatch {
        id: BatchId::new(),
        tenant: tenant(),
        key: None,
        tokens_per_day: None,
        models: std::collections::BTreeSet::new(),
        endpoint: "/v1/chat/completions".into(),
        input: BlobId::new(),
        window: Duration::from_secs(86_400),
        output_ttl: Some(LONG),
        metadata: BTreeMap::from([("order".to_owned(), "7 \"ä\" 🦀".to_owned())]),
        webhook_url: None,
    }
}

const START: BatchStep = BatchStep::Start { total: 50_000 };
const FINALIZE: BatchStep = BatchStep::Finalize { expired: false };

fn end() -> BatchStep {
    BatchStep::End { output: Some(BlobId::new()), errors: None }
}

async fn a_batch_goes_through_its_states(on: Fixture) {
    let (broker, new) = (&on.broker, new_batch());
    let created = broker.create_batch(&new).await.unwrap();
    assert_eq!(created.request, new);
    assert_eq!(created.state, BatchState::Validating);
    assert_eq!(created.expires_at, created.created_at + new.window);
    assert_eq!(broker.create_batch(&new).await.unwrap(), created, "repeated");
    assert_eq!(broker.batch(&tenant(), new.id).await.unwrap(), Some(created));
    let stranger = TenantId::new("stranger");
    assert_eq!(broker.batch(&stranger, new.id).await.unwrap(), None);
    assert_eq!(broker.step_batch(&stranger, new.id, &START).await.unwrap(), None);
    assert_eq!(broker.step_batch(&tenant(), BatchId::new(), &START).await.unwrap(), None);
    let end = end();
    for (step, state) in [
        (&START, BatchState::InProgress),
        (&FINALIZE, BatchState::Finalizing),
        (&end, BatchState::Completed),
    ] {
        let (batch, changed) = broker.step_batch(&tenant(), new.id, step).await.unwrap().unwrap();
        assert_eq!((batch.state, changed), (state, true));
        let again = broker.step_batch(&tenant(), new.id, step).await.unwrap().unwrap();
        assert_eq!(again, (batch.clone(), false), "repeated");
        assert_eq!(broker.batch(&tenant(), new.id).await.unwrap(), Some(batch));
    }
    let (batch, changed) =
        broker.step_batch(&tenant(), new.id, &BatchStep::Cancel).await.unwrap().unwrap();
    assert!(!changed && batch.output.is_some() && batch.ended_at.is_some());
}

async fn of_two_advances_over_the_same_lines_one_counts(on: Fixture) {
    let (broker, new) = (&on.broker, new_batch());
    broker.create_batch(&new).await.unwrap();
    broker.step_batch(&tenant(), new.id, &START).await.unwrap();
    let others = [on.another(), on.another()];
    let mut parts = Vec::new();
    for from in [0, 10, 20] {
        let usage = BatchUsage { input: 100, cached: 10, output: 50, reasoning: 20 };
        let steps = [7, 8].map(|completed| {
            let part = BatchPart { output: Some(BlobId::new()), errors: Some(BlobId::new()) };
            BatchStep::Advance { from, to: from + 10, completed, usage, part }
        });
        let taken = join_all(
            others
                .iter()
                .zip(&steps)
                .map(|(other, step)| other.step_batch(&new.tenant, new.id, step)),
        )
        .await;
        let taken: Vec<_> = taken.into_iter().map(|step| step.unwrap().unwrap()).collect();
        assert!(taken[0].1 ^ taken[1].1, "one of them advances");
        let BatchStep::Advance { part, .. } = steps[usize::from(taken[1].1)] else { panic!() };
        parts.push(part);
    }
    let batch = broker.batch(&tenant(), new.id).await.unwrap().unwrap();
    assert_eq!((batch.done, &batch.parts), (30, &parts));
    assert_eq!(batch.completed + batch.failed(), 30);
    assert_eq!(batch.usage, BatchUsage { input: 300, cached: 30, output: 150, reasoning: 60 });
}

async fn running_batches_are_listed_without_being_taken(on: Fixture) {
    let broker = &on.broker;
    let mut new = new_batch();
    for n in 0..4 {
        new = NewBatch { tenant: TenantId::new(format!("tenant {n}")), ..new_batch() };
        broker.create_batch(&new).await.unwrap();
    }
    let refuse = BatchStep::Refuse { problems: Vec::new() };
    broker.step_batch(&new.tenant, new.id, &refuse).await.unwrap();
    let (some, count) = broker.running_batches(2).await.unwrap();
    assert_eq!((some.len(), count), (2, 3));
    assert!(some.iter().all(|batch| batch.state == BatchState::Validating));
    assert_eq!(broker.due_batches(LONG, 9).await.unwrap().len(), 3);
    assert_eq!(broker.running_batches(9).await.unwrap().0.len(), 3, "also those that are taken");
}

async fn of_two_steps_at_once_one_is_first(on: Fixture) {
    for _ in 0..8 {
        let new = new_batch();
        let brokers = [on.another(), on.another()];
        let created = join_all(brokers.iter().map(|broker| broker.create_batch(&new))).await;
        assert_eq!(created[0].as_ref().unwrap(), created[1].as_ref().unwrap());
        brokers[0].step_batch(&tenant(), new.id, &START).await.unwrap();
        let steps = [BatchStep::Cancel, FINALIZE];
        let taken = join_all(
            brokers
                .iter()
                .zip(&steps)
                .map(|(broker, step)| broker.step_batch(&new.tenant, new.id, step)),
        )
        .await;
        let changed: Vec<_> =
            taken.into_iter().map(|step| step.unwrap().unwrap()).filter(|step| step.1).collect();
        assert_eq!(changed.len(), 1, "cancelling and finalizing exclude each other");
        let now = brokers[0].batch(&tenant(), new.id).await.unwrap().unwrap();
        assert_eq!(now, changed[0].0);
    }
}

async fn batches_are_listed_newest_first(on: Fixture) {
    let mut ids = Vec::new();
    for _ in 0..5 {
        let new = new_batch();
        on.broker.create_batch(&new).await.unwrap();
        ids.insert(0, new.id);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    on.broker
        .create_batch(&NewBatch { tenant: TenantId::new("other"), ..new_batch() })
        .await
        .unwrap();
    for (after, limit, expected, has_more) in [
        (None, 2, &ids[..2], true),
        (None, 5, &ids[..], false),
        (Some(ids[1]), 2, &ids[2..4], true),
        (Some(ids[2]), 9, &ids[3..], false),
        (Some(ids[4]), 9, &[], false),
    ] {
        let list = on.broker.batches(&tenant(), &BatchPage { after, limit }).await.unwrap();
        let found: Vec<_> = list.batches.iter().map(|batch| batch.request.id).collect();
        assert_eq!((found.as_slice(), list.has_more), (expected, has_more));
    }
}

async fn one_processor_has_a_batch_at_a_time(on: Fixture) {
    let (one, two) = (on.broker.clone(), on.another());
    let mut ids = Vec::new();
    for _ in 0..3 {
        let new = new_batch();
        one.create_batch(&new).await.unwrap();
        ids.push(new.id);
    }
    let taken = one.due_batches(LONG, 2).await.unwrap();
    assert_eq!(taken.len(), 2);
    let rest = two.due_batches(LONG, 9).await.unwrap();
    assert_eq!(rest.len(), 1);
    assert!(one.due_batches(LONG, 9).await.unwrap().is_empty());
    let first = taken[0].request.id;
    one.hold_batch(&tenant(), first, SHORT).await.unwrap();
    assert!(two.due_batches(LONG, 9).await.unwrap().is_empty());
    tokio::time::sleep(SHORT).await;
    let again = two.due_batches(LONG, 9).await.unwrap();
    assert_eq!(again.iter().map(|batch| batch.request.id).collect::<Vec<_>>(), [first]);
    two.step_batch(&tenant(), first, &BatchStep::Refuse { problems: Vec::new() }).await.unwrap();
    two.hold_batch(&tenant(), first, Duration::ZERO).await.unwrap();
    assert!(two.due_batches(LONG, 9).await.unwrap().is_empty(), "it ended");
    let failed = two.batch(&tenant(), first).await.unwrap().unwrap();
    assert_eq!(failed.state, BatchState::Failed);
}

async fn a_batch_with_a_webhook_is_due_until_that_is(on: Fixture) {
    let (one, two) = (on.broker.clone(), on.another());
    let new = NewBatch { webhook_url: Some("https://example.com/hook".into()), ..new_batch() };
    one.create_batch(&new).await.unwrap();
    assert_eq!(one.due_batches(SHORT, 9).await.unwrap().len(), 1);
    one.step_batch(&tenant(), new.id, &BatchStep::Refuse { problems: Vec::new() }).await.unwrap();
    // The processor dies before the webhook is due.
    tokio::time::sleep(SHORT).await;
    let again = two.due_batches(SHORT, 9).await.unwrap();
    assert_eq!(again.iter().map(|batch| batch.state).collect::<Vec<_>>(), [BatchState::Failed]);
    let notified = two.step_batch(&tenant(), new.id, &BatchStep::Notified).await.unwrap().unwrap();
    assert!(notified.1 && notified.0.is_settled());
    tokio::time::sleep(SHORT).await;
    assert!(one.due_batches(SHORT, 9).await.unwrap().is_empty());
    assert_eq!(one.batch(&tenant(), new.id).await.unwrap().unwrap(), notified.0);
}

run_on_every_broker!(
    a_batch_goes_through_its_states,
    of_two_advances_over_the_same_lines_one_counts,
    running_batches_are_listed_without_being_taken,
    of_two_steps_at_once_one_is_first,
    batches_are_listed_newest_first,
    one_processor_has_a_batch_at_a_time,
    a_batch_with_a_webhook_is_due_until_that_is,
);
