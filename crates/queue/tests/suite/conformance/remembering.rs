//! Tests which data of an ended task is kept, and which after its outcome has expired.

use std::time::Duration;

use protocol::{
    AnswerForm, Constraint, EventSeq, Outcome, Prompt, Task, TaskId, TaskSummary, TenantId,
};
use queue::{Idempotency, Matches, SubmitOptions, TOMBSTONE};

use super::endings::End;
use crate::support::*;

/// Longer than a TTL of one second.
const PAST_TTL: Duration = Duration::from_millis(1_200);

async fn expired_outcome_is_still_known_with_its_tenant(on: Fixture) {
    let broker = on.broker;
    let of = |tenant: &str| Task { tenant: TenantId::new(tenant), result_ttl_s: 1, ..task() };
    let (finished, cancelled) = (of("one"), of("two"));
    broker.submit(&finished, NO_LIMIT).await.unwrap();
    let held = claimed(&*broker, &claimant(LONG)).await;
    assert_eq!(broker.expired(finished.id).await.unwrap(), None, "it runs");
    broker.finish(&held.lease, &completed("x")).await.unwrap();
    broker.submit(&cancelled, NO_LIMIT).await.unwrap();
    assert_eq!(broker.expired(cancelled.id).await.unwrap(), None, "it is queued");
    broker.cancel(cancelled.id).await.unwrap();
    for id in [finished.id, cancelled.id] {
        assert_eq!(broker.expired(id).await.unwrap(), None, "its outcome is there");
    }

    tokio::time::sleep(PAST_TTL).await;
    broker.reap(&claimant(SHORT)).await.unwrap(); // deletes expired outcomes if needed
    for task in [&finished, &cancelled] {
        assert!(broker.snapshot(task.id).await.unwrap().is_none());
        assert_eq!(broker.expired(task.id).await.unwrap().as_ref(), Some(&task.tenant));
    }
    assert_eq!(broker.expired(TaskId::new()).await.unwrap(), None, "there was no such task");
}

async fn tombstone_lives_for_the_ttl_again_and_at_least_a_minute(on: Fixture) {
    let broker = &*on.broker;
    for kept_s in [1, 90, 3_600] {
        let task = Task { result_ttl_s: kept_s, ..task() };
        broker.submit(&task, NO_LIMIT).await.unwrap();
        broker.cancel(task.id).await.unwrap();
        let again = Duration::from_secs(kept_s.into()).max(TOMBSTONE);
        let known = Duration::from_secs(kept_s.into()) + again;
        let left = on.known_for(task.id).await;
        assert!(left <= known, "{left:?} of {known:?}");
        assert!(left + Duration::from_secs(2) >= known, "{left:?} of {known:?}");
    }
}

/// A text that no store has for another reason.
const SECRET: &str = "plain words that only the prompt has";

/// A task whose prompt, schema and parameters all have the secret; that all have it is no matter of chance.
fn bulky(end: End) -> Task {
    let schema = serde_json::json!({"type": "string", "enum": [SECRET]});
    let form =
        AnswerForm { constraint: Some(Constraint::JsonSchema(schema)), ..AnswerForm::default() };
    let prompt = match end {
        End::Completed | End::CancelledQueued | End::Expired => Prompt::Raw(SECRET.repeat(99)),
        _ => Prompt::user(SECRET.repeat(99)),
    };
    let stop = vec![SECRET.into()];
    Task { prompt, form, stop, user_id: Some("user 7".into()), ..with_webhook(task()) }
}

async fn outcome_frees_the_prompt(on: Fixture) {
    let broker = &*on.broker;
    for end in End::ALL {
        let task = end.submit(broker, bulky(end)).await;
        assert!(on.stores(task.id, SECRET).await, "{end:?}: a test that can't fail");
        end.come(broker, &task).await;
        if matches!(end, End::Failed | End::GivenUp) {
            let letter = broker.dead_letter(task.id).await.unwrap().expect("a letter");
            assert_eq!(letter.task, task, "it keeps what a replay needs");
            broker.purge_dead_letters(&queue::Purge::One(task.id)).await.unwrap();
        }
        assert!(!on.stores(task.id, SECRET).await, "{end:?}");
        let kept = broker.snapshot(task.id).await.unwrap().unwrap();
        assert_eq!(kept.task, TaskSummary::from(&task), "{end:?}");
    }
}

async fn ended_task_keeps_all_fields_needed_later(on: Fixture) {
    let broker = &*on.broker;
    for (n, end) in End::ALL.into_iter().enumerate() {
        let by = Idempotency {
            key: format!("key {n}"),
            body_hash: "hash".into(),
            matches: Matches::Always,
        };
        // Through a submit of its own, since a key may change the id.
        let task = bulky(end);
        let again = async |task: &Task| {
            let options = SubmitOptions { idempotency: Some(by.clone()), ..SubmitOptions::PLAIN };
            broker.submit(task, &options).await.unwrap()
        };
        let (task, submitted) = match end {
            End::Expired => (end.submit(broker, task).await, None),
            _ => {
                let max_attempts = if end == End::GivenUp { 1 } else { 3 };
                let task = Task { max_attempts, ..task };
                let submitted = again(&task).await;
                (Task { id: submitted.task_id, ..task }, Some(submitted))
            }
        };
        end.come(broker, &task).await;
        let snapshot = broker.snapshot(task.id).await.unwrap().unwrap();
        let outcome = snapshot.outcome.clone().expect("an outcome");
        assert!(snapshot.metrics().is_some(), "{end:?}");
        assert_eq!(snapshot.started_at.is_some(), end.has_started(), "{end:?}");
        assert_eq!(snapshot.worker.is_some(), end.has_started(), "{end:?}");
        let events = broker.events(task.id, EventSeq::START, 100).await.unwrap();
        let numbers: Vec<u64> = events.iter().map(|event| event.seq.get()).collect();
        assert_eq!(numbers, (1..=events.len() as u64).collect::<Vec<_>>(), "{end:?}");
        let told = match &events.last().unwrap().body {
            protocol::EventBody::Ended { outcome } => outcome.clone(),
            other => panic!("{end:?}: {other:?}"),
        };
        assert_eq!(told, outcome);
        let delivery = &broker.due_webhooks(LONG, 1).await.unwrap()[0];
        let due = delivery.task().unwrap();
        assert_eq!((due.task_id, &due.outcome), (task.id, &outcome));
        assert_eq!(due.metadata, task.metadata);
        if let Some(first) = submitted {
            let other_id = Task { id: TaskId::new(), ..task.clone() };
            for repeated in [again(&other_id).await, broker.submit(&task, NO_LIMIT).await.unwrap()]
            {
                assert_eq!((repeated.task_id, repeated.created), (task.id, false), "{end:?}");
                assert_eq!((repeated.at, repeated.depth), (first.at, first.depth), "{end:?}");
                assert_eq!(repeated.state, snapshot.state);
            }
        }
        if matches!(end, End::Failed | End::GivenUp) {
            let replayed = broker.replay(task.id).await.unwrap().expect("a letter");
            let held = claimed(broker, &claimant(LONG)).await;
            assert_eq!(held.task, Task { id: replayed.task_id, ..task.clone() });
            let once_more = broker.replay(task.id).await.unwrap().expect("a replay");
            assert_eq!((once_more.task_id, once_more.created), (replayed.task_id, false));
            broker.finish(&held.lease, &Outcome::CANCELLED).await.unwrap();
            let ended = broker.replay(task.id).await.unwrap().expect("a replay");
            assert_eq!((ended.task_id, ended.at), (replayed.task_id, replayed.at));
            broker.due_webhooks(LONG, 1).await.unwrap();
        }
    }
}

run_on_every_broker! {
    expired_outcome_is_still_known_with_its_tenant,
    tombstone_lives_for_the_ttl_again_and_at_least_a_minute,
    outcome_frees_the_prompt,
    ended_task_keeps_all_fields_needed_later,
}
