//! A task's events, and wake-ups for them.

use std::sync::Arc;
use std::time::Duration;

use protocol::{Attempt, Chunk, EventBody, EventSeq, Part};
use queue::Release;
use tokio::time::timeout;

use crate::support::*;

async fn events_of_a_task_are_in_order(on: Fixture) {
    let broker = on.broker;
    let task = submitted(&*broker).await;
    let held = claimed(&*broker, &claimant(LONG)).await;
    let part = Part::Text { text: "er 🦀".into() };
    let chunks: [Chunk; 3] = [
        "Add \"".into(),
        "wörk\n".into(),
        Chunk { parts: Some(vec![part]), ..Chunk::from("er 🦀") },
    ];
    let text: String = chunks.iter().map(|chunk| chunk.text.as_str()).collect();
    broker.publish(&held.lease, 0, &chunks[..2]).await.unwrap();
    broker.publish(&held.lease, 2, &chunks[2..]).await.unwrap();
    broker.finish(&held.lease, &completed(&text)).await.unwrap();

    let events = broker.events(task.id, EventSeq::START, 100).await.unwrap();
    let attempt = Attempt::FIRST;
    let token = |chunk: &Chunk| EventBody::Token { attempt, chunk: chunk.clone() };
    let told: Vec<_> = events.iter().map(|event| event.body.clone()).collect();
    let expected = [
        EventBody::Queued,
        EventBody::Started { attempt, worker: held.lease.worker },
        token(&chunks[0]),
        token(&chunks[1]),
        token(&chunks[2]),
        EventBody::Ended { outcome: completed(&text) },
    ];
    assert_eq!(told, expected);
    let numbers: Vec<_> = events.iter().map(|event| event.seq.get()).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6], "from 1 without gaps");
    assert!(events.is_sorted_by_key(|event| event.at));
    assert_eq!((events[0].at, events[1].at), (held.submitted_at, held.started_at));
}

async fn events_are_read_after_a_sequence_number(on: Fixture) {
    let broker = on.broker;
    let task = submitted(&*broker).await;
    let held = claimed(&*broker, &claimant(LONG)).await;
    let chunks: Vec<_> = (0..20).map(|n| Chunk::from(n.to_string())).collect();
    broker.publish(&held.lease, 0, &chunks).await.unwrap();
    let mut seen = Vec::new();
    let mut last = EventSeq::START;
    loop {
        let some = broker.events(task.id, last, 6).await.unwrap();
        assert!(some.len() <= 6);
        let Some(newest) = some.last() else { break };
        last = newest.seq;
        seen.extend(some.into_iter().map(|event| event.seq.get()));
    }
    assert_eq!(seen, (1..=22).collect::<Vec<_>>());
    assert!(broker.events(task.id, EventSeq::new(u64::MAX), 6).await.unwrap().is_empty());
}

async fn new_attempt_emits_requeued_and_started_events(on: Fixture) {
    let broker = on.broker;
    let task = submitted(&*broker).await;
    let held = claimed(&*broker, &claimant(SHORT)).await;
    broker.publish(&held.lease, 0, &["void".into()]).await.unwrap();
    reap_until_found(&*broker, &claimant(SHORT)).await;
    let again = claimed(&*broker, &claimant(LONG)).await;
    broker.release(&again.lease, &Release::Unused).await.unwrap();
    let events = broker.events(task.id, EventSeq::START, 100).await.unwrap();
    let names: Vec<_> = events.iter().map(|event| event.body.name()).collect();
    assert_eq!(names, ["queued", "started", "token", "requeued", "started", "requeued"]);
    let EventBody::Requeued { attempt, reason } = &events[3].body else { panic!() };
    assert_eq!(*attempt, Attempt::FIRST);
    assert!(reason.contains("lease"), "{reason}");
}

async fn every_step_emits_an_event_with_a_stable_sequence_number(on: Fixture) {
    let broker = on.broker;
    let task = submitted(&*broker).await;
    let mut before = Vec::new();
    // Reads events one at a time, each after the number of the one before. Events read earlier must
    // not change.
    let mut told = async || {
        let (mut events, mut last) = (Vec::new(), EventSeq::START);
        while let [event] = &*broker.events(task.id, last, 1).await.unwrap() {
            last = event.seq;
            events.push(event.clone());
        }
        assert_eq!(events, broker.events(task.id, EventSeq::START, 100).await.unwrap());
        assert!(events.starts_with(&before), "{before:?}, then {events:?}");
        before.clone_from(&events);
        events.iter().map(|event| event.body.name()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(told().await, "queued");
    let held = claimed(&*broker, &claimant(LONG)).await;
    assert_eq!(told().await, "queued started");
    broker.release(&held.lease, &Release::Unused).await.unwrap();
    assert_eq!(told().await, "queued started requeued");
    let held = claimed(&*broker, &claimant(LONG)).await;
    assert_eq!(told().await, "queued started requeued started");
    broker.publish(&held.lease, 0, &["x".into()]).await.unwrap();
    assert_eq!(told().await, "queued started requeued started token");
    broker.release(&held.lease, &Release::Unused).await.unwrap();
    let held = claimed(&*broker, &claimant(LONG)).await;
    assert_eq!(told().await, "queued started requeued started token requeued started");
    broker.finish(&held.lease, &completed("x")).await.unwrap();
    let all = "queued started requeued started token requeued started completed";
    assert_eq!(told().await, all);
}

async fn oldest_events_are_trimmed_at_the_bound(on: Fixture) {
    let broker = on.broker;
    let task = submitted(&*broker).await;
    let held = claimed(&*broker, &claimant(LONG)).await;
    let chunks: Vec<_> = (0..1_000).map(|n| Chunk::from(n.to_string())).collect();
    for round in 0..6 {
        broker.publish(&held.lease, round * 1_000, &chunks).await.unwrap();
    }
    broker.finish(&held.lease, &completed("the whole text")).await.unwrap();
    let events = broker.events(task.id, EventSeq::START, 100_000).await.unwrap();
    assert!((4_096..4_400).contains(&events.len()), "{} are kept", events.len());
    assert!(events.windows(2).all(|pair| pair[1].seq.get() == pair[0].seq.get() + 1));
    let last = events.last().unwrap();
    assert_eq!((last.seq.get(), last.body.is_last()), (6_003, true), "the outcome is never lost");
}

async fn watch_is_woken_by_every_step(on: Fixture) {
    let broker = on.broker;
    let task = task();
    let mut watch = broker.watch(task.id);
    // A change after the last call must end the next wait.
    let mut woken = async || {
        timeout(Duration::from_secs(2), watch.changed()).await.expect("a wake");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    broker.submit(&task, NO_LIMIT).await.unwrap();
    woken().await;
    let held = claimed(&*broker, &claimant(LONG)).await;
    woken().await;
    broker.publish(&held.lease, 0, &["x".into()]).await.unwrap();
    woken().await;
    broker.release(&held.lease, &Release::Unused).await.unwrap();
    woken().await;
    let held = claimed(&*broker, &claimant(LONG)).await;
    woken().await;
    broker.cancel(task.id).await.unwrap();
    woken().await;
    broker.finish(&held.lease, &completed("x")).await.unwrap();
    woken().await;
}

async fn watch_is_woken_by_another_process(on: Fixture) {
    let (gateway, worker_side) = (Arc::clone(&on.broker), on.another());
    let task = submitted(&*gateway).await;
    let mut watches: Vec<_> = (0..200).map(|_| gateway.watch(task.id)).collect();
    tokio::time::sleep(Duration::from_millis(300)).await; // until the watches are connected
    let held = claimed(&*worker_side, &claimant(LONG)).await;
    worker_side.finish(&held.lease, &completed("x")).await.unwrap();
    for watch in &mut watches {
        timeout(Duration::from_secs(2), watch.changed()).await.expect("every watcher is woken");
    }
}

run_on_every_broker! {
    events_of_a_task_are_in_order,
    events_are_read_after_a_sequence_number,
    new_attempt_emits_requeued_and_started_events,
    every_step_emits_an_event_with_a_stable_sequence_number,
    oldest_events_are_trimmed_at_the_bound,
    watch_is_woken_by_every_step,
    watch_is_woken_by_another_process,
}
