//! Records that this version cannot read.

use protocol::{
    AnswerForm, Choice, Chunk, Completion, Embedding, ErrorType, Outcome, Prompt, RecordError,
    Task, TaskId, TaskKind, Usage,
};
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

/// Every kind of task and outcome, as it was submitted and recorded.
async fn tasks_and_outcomes_of_every_kind_are_returned_unchanged(on: Fixture) {
    let broker = on.broker;
    let inputs = vec![Prompt::Raw("a".into()), Prompt::Tokens(vec![1, 2])];
    let embed = TaskKind::Embed { inputs, dimensions: Some(8) };
    let embed = Task { kind: embed, prompt: Prompt::default(), max_tokens: 0, ..task() };
    let form = AnswerForm { one_call: true, echo: true, ..AnswerForm::default() };
    let several = Task { n: 3, prompt: Prompt::Tokens(vec![7]), form, ..task() };
    let usage = Usage { prompt_tokens: 5, completion_tokens: 7, cached_tokens: 3, ..Usage::NONE };
    let choice = |text: &str| Choice { text: text.into(), ..Choice::default() };
    let vectors = Completion {
        embeddings: vec![Embedding(vec![0.1, -0.2]), Embedding(vec![1.0])],
        usage,
        ..Completion::default()
    };
    let answers =
        Completion { further: vec![choice("b"), choice("c")], ..Completion::of_text("a", usage) };
    for (task, outcome) in [
        (embed, Outcome::Completed(vectors)),
        (several, Outcome::Completed(answers)),
        (task(), failed("boom").with_usage(usage)),
        (task(), Outcome::Cancelled { usage }),
    ] {
        broker.submit(&task, NO_LIMIT).await.unwrap();
        let held = claimed(&*broker, &claimant(LONG)).await;
        assert_eq!(held.task, task);
        let chunks = [Chunk::from("a"), Chunk { choice: 2, ..Chunk::from("c") }];
        broker.publish(&held.lease, 0, &chunks).await.unwrap();
        broker.finish(&held.lease, &outcome).await.unwrap();
        let end = broker.snapshot(task.id).await.unwrap().unwrap();
        assert_eq!(end.outcome, Some(outcome.clone()));
        assert_eq!(end.metrics().unwrap().completion_tokens, 7);
        assert_eq!(outcome_event(&*broker, task.id).await, outcome);
        let events = broker.events(task.id, protocol::EventSeq::START, 100).await.unwrap();
        let published = events.into_iter().filter_map(|event| match event.body {
            protocol::EventBody::Token { chunk, .. } => Some(chunk),
            _ => None,
        });
        assert_eq!(published.collect::<Vec<_>>(), chunks);
    }
}

run_on_every_broker! {
    tasks_and_outcomes_of_every_kind_are_returned_unchanged,
    a_record_of_another_version_is_refused_not_misread,
    an_unreadable_task_is_failed_and_the_next_is_claimed,
    unreadable_task_without_attempts_left_is_failed,
}
