//! Dead letters: tasks whose attempts are used up, kept for an operator.

use std::time::Duration;

use futures::future::try_join_all;
use protocol::{
    Attempt, ErrorType, ModelId, Outcome, Task, TaskError, TaskId, TaskState, Timestamp,
};
use queue::{Broker, Claimant, DeadLetterPage, MAX_DEAD_LETTERS, Purge, Release, SubmitOptions};

use crate::support::*;

const ALL: DeadLetterPage = DeadLetterPage { model: None, before: None, limit: 2_000 };

/// Submits, claims and fails a task. Returns it with the time of its death.
async fn die(broker: &dyn Broker, task: Task) -> (Task, Timestamp) {
    broker.submit(&task, NO_LIMIT).await.unwrap();
    let claimant = Claimant { models: vec![task.model.clone()], ..claimant(LONG) };
    let held = claimed(broker, &claimant).await;
    let died = broker.finish(&held.lease, &failed("no more")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2)).await; // so that no two letters have the same time
    (task, died)
}

async fn listed(broker: &dyn Broker) -> Vec<TaskId> {
    let letters = broker.dead_letters(&ALL).await.unwrap();
    letters.into_iter().map(|letter| letter.task.id).collect()
}

async fn dead_letter_records_every_failed_attempt(on: Fixture) {
    let broker = on.broker;
    let task = Task { max_attempts: 3, ..task() };
    let submitted_at = broker.submit(&task, NO_LIMIT).await.unwrap().at;
    let (first, second, third) = (claimant(LONG), claimant(SHORT), claimant(LONG));
    let no_memory = TaskError {
        chain: vec!["cuda: \"out\" of\nmemory".into()],
        ..TaskError::new(ErrorType::OutOfMemory, "100% of the memory\nis \"used\" \\ 🦀")
    };

    let drained = claimed(&*broker, &first).await;
    broker.release(&drained.lease, &Release::Unused).await.unwrap();
    let held = claimed(&*broker, &first).await;
    let release = Release::Failed { error: no_memory.clone(), retry_in: Duration::ZERO };
    broker.release(&held.lease, &release).await.unwrap();
    broker.release(&held.lease, &release).await.unwrap();
    claimed(&*broker, &second).await;
    reap_until_found(&*broker, &claimant(SHORT)).await;
    let last = claimed(&*broker, &third).await;
    assert!(!last.may_retry());
    let died_at = broker.finish(&last.lease, &failed("the end")).await.unwrap();
    assert_eq!(broker.finish(&last.lease, &failed("the end")).await.unwrap(), died_at);

    let letter = broker.dead_letter(task.id).await.unwrap().expect("a letter");
    assert_eq!(letter.task, task);
    assert_eq!((letter.submitted_at, letter.died_at), (submitted_at, died_at));
    assert_eq!(letter.error, TaskError::new(ErrorType::EngineError, "the end"));
    let told: Vec<_> = letter.failures.iter().map(|f| (f.attempt.get(), f.worker)).collect();
    assert_eq!(told, [(2, first.worker), (3, second.worker), (4, third.worker)], "not the drained");
    assert_eq!(letter.failures[0].error, no_memory);
    assert_eq!(letter.failures[1].error.error_type, ErrorType::WorkerLost);
    assert_eq!(letter.failures[2].error, letter.error);
    assert!(letter.failures.is_sorted_by_key(|failure| failure.at));
    assert_eq!(letter.failures[2].at, died_at);
    assert_eq!(broker.dead_letters(&ALL).await.unwrap(), [letter]);
    assert_eq!(broker.overview().await.unwrap().dead_letters, 1);
}

async fn dead_reaper_does_not_count_as_a_failed_attempt(on: Fixture) {
    let broker = on.broker;
    let task = Task { max_attempts: 1, ..task() };
    broker.submit(&task, NO_LIMIT).await.unwrap();
    let worker = claimant(SHORT);
    claimed(&*broker, &worker).await;
    // The first reaper dies too, while it holds the task.
    assert_eq!(reap_until_found(&*broker, &claimant(SHORT)).await.exhausted.len(), 1);
    let reaped = reap_until_found(&*broker, &claimant(SHORT)).await;
    let [given_up] = &reaped.exhausted[..] else { panic!("{reaped:?}") };
    assert_eq!(given_up.failed_attempts, 1);
    let lost = TaskError::new(ErrorType::WorkerLost, "worker after worker died");
    broker.finish(&given_up.lease, &Outcome::Failed(lost.clone())).await.unwrap();
    let letter = broker.dead_letter(task.id).await.unwrap().expect("a letter");
    let [failure] = &letter.failures[..] else { panic!("{:?}", letter.failures) };
    assert_eq!((failure.attempt, failure.worker), (Attempt::FIRST, worker.worker));
    assert_eq!((failure.error.error_type, letter.error), (ErrorType::WorkerLost, lost));
}

async fn only_the_latest_failures_are_kept(on: Fixture) {
    let broker = on.broker;
    let task = Task { max_attempts: 100, ..task() };
    broker.submit(&task, NO_LIMIT).await.unwrap();
    for number in 1..40 {
        let held = claimed(&*broker, &claimant(LONG)).await;
        broker.release(&held.lease, &failed_release(&format!("{number}"))).await.unwrap();
    }
    let held = claimed(&*broker, &claimant(LONG)).await;
    broker.finish(&held.lease, &failed("40")).await.unwrap();
    let letter = broker.dead_letter(task.id).await.unwrap().expect("a letter");
    let told: Vec<_> = letter.failures.iter().map(|f| f.error.message.clone()).collect();
    assert_eq!(told, (9..=40).map(|number: u32| number.to_string()).collect::<Vec<_>>());
}

async fn outcomes_the_client_can_handle_make_no_dead_letter(on: Fixture) {
    let broker = on.broker;
    let settled = [
        completed("x"),
        Outcome::CANCELLED,
        Outcome::Failed(TaskError::new(ErrorType::InvalidRequest, "no")),
        Outcome::Failed(TaskError::new(ErrorType::ContextLengthExceeded, "too long")),
        Outcome::Failed(TaskError::new(ErrorType::TimeLimitExceeded, "too slow")),
    ];
    for outcome in settled {
        submitted(&*broker).await;
        let held = claimed(&*broker, &claimant(LONG)).await;
        broker.finish(&held.lease, &outcome).await.unwrap();
    }
    let soon = SubmitOptions { expires_in: Some(Duration::ZERO), ..SubmitOptions::PLAIN };
    broker.submit(&task(), &soon).await.unwrap();
    assert_eq!(reap_until_found(&*broker, &claimant(SHORT)).await.expired.len(), 1);
    assert!(listed(&*broker).await.is_empty());
    assert_eq!(broker.dead_letter(TaskId::new()).await.unwrap(), None);
}

async fn dead_letters_are_listed_in_pages(on: Fixture) {
    let broker = on.broker;
    let other = ModelId::new("other");
    let mut dead = Vec::new();
    for number in 0..7 {
        let model = if number % 3 == 0 { other.clone() } else { model() };
        let (task, died) = die(&*broker, Task { model, ..task() }).await;
        dead.insert(0, (task.id, died));
    }
    let all: Vec<_> = dead.iter().map(|(id, _)| *id).collect();
    assert_eq!(listed(&*broker).await, all, "the latest first");

    let (mut paged, mut before) = (Vec::new(), None);
    for expected in [3, 3, 1, 0] {
        let page = DeadLetterPage { model: None, before, limit: 3 };
        let letters = broker.dead_letters(&page).await.unwrap();
        assert_eq!(letters.len(), expected);
        before = letters.last().map(|letter| letter.died_at).or(before);
        paged.extend(letters.into_iter().map(|letter| letter.task.id));
    }
    assert_eq!(paged, all);

    let of_other = DeadLetterPage { model: Some(other.clone()), before: None, limit: 2 };
    let letters = broker.dead_letters(&of_other).await.unwrap();
    assert_eq!(letters.iter().map(|l| l.task.id).collect::<Vec<_>>(), [all[0], all[3]]);
    let next = DeadLetterPage { before: Some(letters[1].died_at), ..of_other };
    let letters = broker.dead_letters(&next).await.unwrap();
    assert_eq!(letters.iter().map(|l| l.task.id).collect::<Vec<_>>(), [all[6]]);
    assert_eq!(letters[0].died_at, dead[6].1);
}

async fn replay_creates_a_new_task_and_removes_the_dead_letter(on: Fixture) {
    let broker = on.broker;
    let (dead, _) = die(&*broker, Task { max_attempts: 1, ..task() }).await;
    let replayed = broker.replay(dead.id).await.unwrap().expect("a letter to replay");
    assert!(replayed.created && replayed.state == TaskState::Queued);
    assert_ne!(replayed.task_id, dead.id);
    assert_eq!(replayed.estimate.unwrap().position, 1);
    assert_eq!(broker.dead_letter(dead.id).await.unwrap(), None);
    assert!(listed(&*broker).await.is_empty());
    assert_eq!(broker.overview().await.unwrap().dead_letters, 0);
    let old = broker.snapshot(dead.id).await.unwrap().unwrap();
    assert_eq!((old.state, old.outcome), (TaskState::Failed, Some(failed("no more"))));

    let again = broker.replay(dead.id).await.unwrap().expect("the first replay's task");
    assert_eq!((again.task_id, again.created), (replayed.task_id, false));
    assert_eq!((again.at, again.depth), (replayed.at, replayed.depth));
    assert_eq!(broker.depth(&model()).await.unwrap().queued, 1);
    let held = claimed(&*broker, &claimant(LONG)).await;
    assert_eq!(held.task, Task { id: replayed.task_id, ..dead.clone() });
    assert_eq!((held.failed_attempts, held.lease.attempt), (0, Attempt::FIRST));
    assert_eq!(broker.replay(dead.id).await.unwrap().unwrap().state, TaskState::Processing);
    assert_eq!(broker.purge_dead_letters(&Purge::One(dead.id)).await.unwrap(), 0);

    // The replayed task may die and be replayed too.
    broker.finish(&held.lease, &failed("again")).await.unwrap();
    assert_eq!(listed(&*broker).await, [replayed.task_id]);
    let third = broker.replay(replayed.task_id).await.unwrap().unwrap();
    assert!(third.created && third.task_id != replayed.task_id);
    let first = broker.replay(dead.id).await.unwrap().unwrap();
    assert_eq!((first.task_id, first.state), (replayed.task_id, TaskState::Failed));
    assert_eq!(broker.replay(TaskId::new()).await.unwrap(), None);
}

async fn concurrent_replays_create_one_task(on: Fixture) {
    let (dead, _) = die(&*on.broker, task()).await;
    let mut replays = Vec::new();
    for _ in 0..20 {
        let broker = on.another();
        replays.push(tokio::spawn(async move { broker.replay(dead.id).await.unwrap().unwrap() }));
    }
    let mut answers = Vec::new();
    for replay in replays {
        answers.push(replay.await.unwrap());
    }
    assert!(answers.iter().all(|answer| answer.task_id == answers[0].task_id));
    assert_eq!(answers.iter().filter(|answer| answer.created).count(), 1);
    assert_eq!(on.broker.depth(&model()).await.unwrap().queued, 1);
}

async fn dead_letters_are_purged_by_id_model_or_all(on: Fixture) {
    let broker = on.broker;
    let other = ModelId::new("other");
    let mut dead = Vec::new();
    for _ in 0..3 {
        dead.push(die(&*broker, task()).await.0.id);
        die(&*broker, Task { model: other.clone(), ..task() }).await;
    }
    let purge = async |which: Purge| broker.purge_dead_letters(&which).await.unwrap();
    assert_eq!(purge(Purge::One(dead[1])).await, 1);
    assert_eq!(purge(Purge::One(dead[1])).await, 0);
    assert_eq!(purge(Purge::One(TaskId::new())).await, 0);
    assert_eq!(broker.dead_letter(dead[1]).await.unwrap(), None);
    assert_eq!(broker.replay(dead[1]).await.unwrap(), None);
    assert_eq!(purge(Purge::Model(other.clone())).await, 3);
    assert_eq!(purge(Purge::Model(other)).await, 0);
    assert_eq!(listed(&*broker).await, [dead[2], dead[0]]);
    assert_eq!(purge(Purge::All).await, 2);
    assert!(listed(&*broker).await.is_empty());
    assert_eq!(broker.overview().await.unwrap().dead_letters, 0);
}

async fn unreadable_dead_letter_can_only_be_purged(on: Fixture) {
    let broker = &*on.broker;
    let (before, _) = die(broker, task()).await;
    let unreadable = submitted(broker).await;
    on.overwrite_record(unreadable.id, r#"{"v":9,"shape":"unheard of"}"#).await;
    let claim = broker.claim(&claimant(LONG), NO_WAIT).await.unwrap();
    assert!(claim.is_none(), "it was ended as unreadable");
    tokio::time::sleep(Duration::from_millis(2)).await;
    let (after, _) = die(broker, task()).await;

    assert_eq!(listed(broker).await, [after.id, before.id]);
    assert_eq!(broker.overview().await.unwrap().dead_letters, 3);
    assert!(broker.dead_letter(unreadable.id).await.is_err());
    assert!(broker.replay(unreadable.id).await.is_err());
    assert_eq!(broker.purge_dead_letters(&Purge::One(unreadable.id)).await.unwrap(), 1);
    assert_eq!(broker.overview().await.unwrap().dead_letters, 2);
}

async fn number_of_dead_letters_is_bounded(on: Fixture) {
    let broker = &*on.broker;
    const AT_ONCE: usize = 60;
    let most = usize::try_from(MAX_DEAD_LETTERS).unwrap();
    let mut dead = Vec::new();
    let (worker, no_more) = (claimant(LONG), failed("no more"));
    while dead.len() < most + 2 * AT_ONCE {
        let tasks: Vec<_> = (0..AT_ONCE).map(|_| task()).collect();
        let submits = tasks.iter().map(|task| broker.submit(task, NO_LIMIT));
        try_join_all(submits).await.unwrap();
        let claims = tasks.iter().map(|_| broker.claim(&worker, NO_WAIT));
        let held: Vec<_> = try_join_all(claims).await.unwrap().into_iter().flatten().collect();
        assert_eq!(held.len(), AT_ONCE);
        let finishes = held.iter().map(|held| broker.finish(&held.lease, &no_more));
        try_join_all(finishes).await.unwrap();
        dead.extend(held.iter().map(|held| held.task.id));
    }
    let listed = listed(broker).await;
    assert_eq!(listed.len(), most);
    assert_eq!(broker.overview().await.unwrap().dead_letters, MAX_DEAD_LETTERS);
    assert!(listed.contains(dead.last().unwrap()));
    for gone in &dead[..AT_ONCE] {
        assert!(!listed.contains(gone), "the oldest go");
    }
    assert_eq!(broker.purge_dead_letters(&Purge::All).await.unwrap(), MAX_DEAD_LETTERS);
}

run_on_every_broker! {
    dead_letter_records_every_failed_attempt,
    dead_reaper_does_not_count_as_a_failed_attempt,
    only_the_latest_failures_are_kept,
    outcomes_the_client_can_handle_make_no_dead_letter,
    dead_letters_are_listed_in_pages,
    replay_creates_a_new_task_and_removes_the_dead_letter,
    concurrent_replays_create_one_task,
    dead_letters_are_purged_by_id_model_or_all,
    unreadable_dead_letter_can_only_be_purged,
    number_of_dead_letters_is_bounded,
}
