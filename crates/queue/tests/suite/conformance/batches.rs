//! Operations on several tasks at once: each task gets what it would get alone.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use protocol::{Lane, Outcome, TaskState, WorkerReport};
use queue::{
    Bound, BrokerError, Claimant, Claimed, Depth, Idempotency, Lease, Matches, Release, Room,
    SubmitOptions,
};

use crate::support::*;

async fn ids(batch: &[Claimed]) -> Vec<protocol::TaskId> {
    batch.iter().map(|held| held.task.id).collect()
}

async fn batch_claim_returns_queued_tasks_in_order(on: Fixture) {
    let broker = on.broker;
    let mut sent = Vec::new();
    for _ in 0..20 {
        sent.push(submitted(&*broker).await.id); // more than a tenant's window in a stream
    }
    let worker = claimant(LONG);
    let first = broker.claim_batch(&worker, 8, NO_WAIT).await.unwrap();
    let second = broker.claim_batch(&worker, 10, NO_WAIT).await.unwrap();
    let third = broker.claim_batch(&worker, 8, NO_WAIT).await.unwrap();
    assert_eq!([first.len(), second.len(), third.len()], [8, 10, 2]);
    let all = [first, second, third].concat();
    assert_eq!(ids(&all).await, sent);
    assert!(broker.claim_batch(&worker, 8, NO_WAIT).await.unwrap().is_empty());
    assert_eq!(broker.depth(&model()).await.unwrap(), Depth { queued: 0, processing: 20 });
    for held in &all {
        broker.renew(&held.lease, LONG).await.expect("each has a lease of its own");
    }
}

async fn lanes_take_turns_within_a_batch(on: Fixture) {
    let broker = on.broker;
    for lane in [Lane::Batch, Lane::Low, Lane::Normal] {
        broker.submit(&task_in(lane), NO_LIMIT).await.unwrap();
    }
    for _ in 0..20 {
        broker.submit(&task_in(Lane::High), NO_LIMIT).await.unwrap();
    }
    let batch = broker.claim_batch(&claimant(LONG), 16, NO_WAIT).await.unwrap();
    let lanes: HashSet<Lane> = batch.iter().map(|held| held.task.lane).collect();
    assert_eq!((batch.len(), lanes.len()), (16, 4), "every lane, though high is never empty");
}

async fn claim_takes_no_more_batch_tasks_than_there_is_room_for(on: Fixture) {
    let (broker, other) = (Arc::clone(&on.broker), on.another());
    for _ in 0..6 {
        broker.submit(&task_in(Lane::Batch), NO_LIMIT).await.unwrap();
    }
    let (worker, room) = (claimant(LONG), |tasks, batch| Room { tasks, batch });
    let lanes = |claimed: &[Claimed]| -> Vec<Lane> {
        claimed.iter().map(|claimed| claimed.task.lane).collect()
    };
    let first = broker.claim_into(&worker, room(4, 3), NO_WAIT).await.unwrap();
    assert_eq!(lanes(&first), [Lane::Batch; 3]);
    assert!(broker.claim_into(&worker, room(1, 0), NO_WAIT).await.unwrap().is_empty());
    let waiter = Arc::clone(&broker);
    let waiting = tokio::spawn(async move {
        waiter.claim_into(&claimant(LONG), Room { tasks: 2, batch: 0 }, LONG).await.unwrap()
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    other.submit(&task_in(Lane::Batch), NO_LIMIT).await.unwrap();
    other.submit(&task_in(Lane::Low), NO_LIMIT).await.unwrap();
    let woken = tokio::time::timeout(Duration::from_secs(2), waiting).await.unwrap().unwrap();
    assert_eq!(lanes(&woken), [Lane::Low]);
    broker.submit(&task_in(Lane::Normal), NO_LIMIT).await.unwrap();
    let rest = broker.claim_into(&worker, room(8, 2), NO_WAIT).await.unwrap();
    let batch = lanes(&rest).into_iter().filter(|lane| *lane == Lane::Batch).count();
    assert_eq!((rest.len(), batch), (3, 2));
    assert_eq!(broker.claim_batch(&worker, 8, NO_WAIT).await.unwrap().len(), 2);
}

async fn batch_claim_leaves_other_workers_their_share(on: Fixture) {
    let broker = on.broker;
    let report = |capacity| WorkerReport { capacity, ..report(1) };
    for _ in 0..2 {
        broker.report_worker(&report(8), LONG).await.unwrap();
    }
    for _ in 0..4 {
        submitted(&*broker).await;
    }
    let (one, two) = (claimant(LONG), claimant(LONG));
    let first = broker.claim_batch(&one, 8, NO_WAIT).await.unwrap();
    assert_eq!(first.len(), 2, "half of the room is another's");
    assert_eq!(broker.claim_batch(&two, 8, NO_WAIT).await.unwrap().len(), 2);
}

async fn waiting_batch_claim_is_woken_by_the_first_task(on: Fixture) {
    let (broker, other) = (Arc::clone(&on.broker), on.another());
    let waiter =
        tokio::spawn(async move { broker.claim_batch(&claimant(LONG), 8, LONG).await.unwrap() });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let task = submitted(&*other).await;
    let batch = tokio::time::timeout(Duration::from_secs(2), waiter).await.unwrap().unwrap();
    assert_eq!(ids(&batch).await, [task.id]);
}

async fn batch_claim_dropped_as_tasks_arrive_loses_no_task(on: Fixture) {
    let broker = on.broker;
    for round in 0..30u64 {
        let doomed = {
            let broker = Arc::clone(&broker);
            tokio::spawn(async move { broker.claim_batch(&claimant(LONG), 4, LONG).await })
        };
        tokio::time::sleep(Duration::from_millis(2)).await;
        let sent = [submitted(&*broker).await.id, submitted(&*broker).await.id];
        tokio::time::sleep(Duration::from_micros(round * 80)).await;
        doomed.abort();
        let mut held = match doomed.await {
            Ok(batch) => batch.unwrap(), // it finished before the abort
            Err(_) => Vec::new(),
        };
        while held.len() < sent.len() {
            let more =
                broker.claim_batch(&claimant(LONG), 4, Duration::from_secs(5)).await.unwrap();
            assert!(!more.is_empty(), "round {round}: a task is lost");
            held.extend(more);
        }
        assert_eq!(ids(&held).await.into_iter().collect::<HashSet<_>>(), sent.into());
        assert!(held.iter().all(|held| held.failed_attempts == 0));
        for held in held {
            broker.finish(&held.lease, &completed("x")).await.unwrap();
        }
    }
    assert_eq!(broker.depth(&model()).await.unwrap(), Depth::default());
}

/// Claims `count` tasks, with as many claims as needed.
async fn hold(on: &dyn queue::Broker, count: usize) -> Vec<Claimed> {
    let mut held = Vec::new();
    while held.len() < count {
        let more = on.claim_batch(&claimant(LONG), count - held.len(), NO_WAIT).await.unwrap();
        assert!(!more.is_empty());
        held.extend(more);
    }
    held
}

async fn concurrent_finishes_are_fenced_individually(on: Fixture) {
    let broker = on.broker;
    for _ in 0..8 {
        submitted(&*broker).await;
    }
    let held = hold(&*broker, 8).await;
    let mut leases: Vec<Lease> = held.iter().map(|held| held.lease).collect();
    // One lease was released, one names another worker, one an unknown task.
    broker.release(&leases[1], &Release::Unused).await.unwrap();
    leases[3].worker = protocol::WorkerId::new();
    leases[5].task_id = protocol::TaskId::new();
    let outcome = completed("x");
    let worker = claimant(LONG);
    let finishes = join_all(leases.iter().map(|lease| broker.finish(lease, &outcome)));
    let (answers, next) = tokio::join!(finishes, broker.claim_batch(&worker, 1, NO_WAIT));
    for (nth, answer) in answers.iter().enumerate() {
        if [1, 3, 5].contains(&nth) {
            assert!(matches!(answer, Err(BrokerError::LeaseLost { .. })), "{nth}: {answer:?}");
        } else {
            answer.as_ref().unwrap();
        }
    }
    assert_eq!(ids(&next.unwrap()).await, [held[1].task.id], "what came back is to be had");
    for (nth, held) in held.iter().enumerate() {
        let state = broker.snapshot(held.task.id).await.unwrap().unwrap().state;
        let runs = [1, 3, 5].contains(&nth);
        assert_eq!(state, if runs { TaskState::Processing } else { TaskState::Completed });
    }
    assert_eq!(broker.depth(&model()).await.unwrap(), Depth { queued: 0, processing: 3 });
}

async fn repeated_concurrent_finishes_get_the_same_answers(on: Fixture) {
    let broker = on.broker;
    for _ in 0..6 {
        submitted(&*broker).await;
    }
    let held = hold(&*broker, 6).await;
    let outcomes: [Outcome; 2] = [completed("first"), completed("again")];
    let all = async |outcome: &Outcome| {
        let finishes = held.iter().map(|held| broker.finish(&held.lease, outcome));
        join_all(finishes).await.into_iter().map(Result::unwrap).collect::<Vec<_>>()
    };
    let first = all(&outcomes[0]).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(all(&outcomes[1]).await, first, "as after a lost reply");
    for held in &held {
        let end = broker.snapshot(held.task.id).await.unwrap().unwrap();
        assert_eq!(end.outcome.as_ref(), Some(&outcomes[0]));
    }
    assert_eq!(broker.depth(&model()).await.unwrap(), Depth::default());
}

async fn concurrent_submits_each_get_their_own_answer(on: Fixture) {
    let broker = on.broker;
    let keyed = |body: &str| SubmitOptions {
        idempotency: Some(Idempotency {
            key: "order-17".into(),
            body_hash: body.into(),
            matches: Matches::Always,
        }),
        ..SubmitOptions::PLAIN
    };
    let (one, again) = (keyed("body"), keyed("another"));
    let tasks: Vec<_> = (0..90).map(|_| task()).collect();
    let options = |nth: usize| match nth {
        10 => one.clone(),
        20 => again.clone(),
        30 => up_to(5),
        _ => SubmitOptions::PLAIN,
    };
    let options: Vec<_> = (0..tasks.len()).map(options).collect();
    broker.submit(&tasks[10], &one).await.unwrap();
    let all = tasks.iter().zip(&options).chain([(&tasks[40], &options[40])]);
    let answers = join_all(all.map(|(task, options)| broker.submit(task, options))).await;
    for (nth, answer) in answers.iter().enumerate() {
        match (nth, answer) {
            (20, Err(BrokerError::KeyReused { task_id })) => assert_eq!(*task_id, tasks[10].id),
            (30, Err(BrokerError::QueueFull { bound: Bound::Model, limit: 5, .. })) => {}
            (10, Ok(known)) => assert!(!known.created && known.task_id == tasks[10].id),
            (40 | 90, Ok(submitted)) => assert_eq!(submitted.task_id, tasks[40].id),
            (_, Ok(submitted)) => assert!(submitted.created && submitted.task_id == tasks[nth].id),
            (_, Err(error)) => panic!("{nth}: {error}"),
        }
    }
    let created = |nth: usize| answers[nth].as_ref().is_ok_and(|submitted| submitted.created);
    assert!(created(40) != created(90), "one of them made it");
    let queued = broker.depth(&model()).await.unwrap().queued;
    assert_eq!(queued, 88, "all but the two that were refused, and one twice");
    let worker: Claimant = claimant(LONG);
    for _ in 0..queued {
        claimed(&*broker, &worker).await;
    }
    assert!(broker.claim(&worker, NO_WAIT).await.unwrap().is_none());
}

run_on_every_broker! {
    batch_claim_returns_queued_tasks_in_order,
    lanes_take_turns_within_a_batch,
    claim_takes_no_more_batch_tasks_than_there_is_room_for,
    batch_claim_leaves_other_workers_their_share,
    waiting_batch_claim_is_woken_by_the_first_task,
    batch_claim_dropped_as_tasks_arrive_loses_no_task,
    concurrent_finishes_are_fenced_individually,
    repeated_concurrent_finishes_get_the_same_answers,
    concurrent_submits_each_get_their_own_answer,
}
