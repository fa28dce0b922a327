//! Text that is published again after a lost reply.

use protocol::{Chunk, EventBody, EventSeq, TaskId};
use queue::{Broker, BrokerError, Release};

use crate::support::*;

fn chunks(texts: &[&str]) -> Vec<Chunk> {
    texts.iter().map(|text| (*text).into()).collect()
}

/// Returns the text that readers see, one string per attempt.
async fn told(broker: &dyn Broker, id: TaskId) -> Vec<String> {
    let events = broker.events(id, EventSeq::START, 1_000).await.unwrap();
    let mut attempts = Vec::new();
    for event in events {
        match event.body {
            EventBody::Started { .. } => attempts.push(String::new()),
            EventBody::Token { chunk, .. } => attempts.last_mut().unwrap().push_str(&chunk.text),
            _ => {}
        }
    }
    attempts
}

async fn published_chunks_are_not_published_twice(on: Fixture) {
    let broker = on.broker;
    let task = submitted(&*broker).await;
    let lease = claimed(&*broker, &claimant(LONG)).await.lease;
    broker.publish(&lease, 0, &chunks(&["a", "b"])).await.unwrap();
    broker.publish(&lease, 0, &chunks(&["a", "b"])).await.unwrap();
    assert_eq!(told(&*broker, task.id).await, ["ab"], "the same again");
    broker.publish(&lease, 0, &chunks(&["a", "b", "c"])).await.unwrap();
    assert_eq!(told(&*broker, task.id).await, ["abc"], "the same with more");
    broker.publish(&lease, 2, &chunks(&["c", "d", "e"])).await.unwrap();
    broker.publish(&lease, 1, &chunks(&["b"])).await.unwrap();
    broker.publish(&lease, 5, &chunks(&["f"])).await.unwrap();
    assert_eq!(told(&*broker, task.id).await, ["abcdef"], "an overlap, a late one, the next");
    let events = broker.events(task.id, EventSeq::START, 1_000).await.unwrap();
    let numbers: Vec<_> = events.iter().map(|event| event.seq.get()).collect();
    assert_eq!(numbers, (1..=8).collect::<Vec<_>>(), "no number was used up");
}

async fn each_attempt_publishes_from_its_start(on: Fixture) {
    let broker = on.broker;
    let task = submitted(&*broker).await;
    let first = claimed(&*broker, &claimant(LONG)).await.lease;
    broker.publish(&first, 0, &chunks(&["old ", "text"])).await.unwrap();
    broker.release(&first, &Release::Unused).await.unwrap();
    let second = claimed(&*broker, &claimant(LONG)).await.lease;
    broker.publish(&second, 0, &chunks(&["new"])).await.unwrap();
    assert_eq!(told(&*broker, task.id).await, ["old text", "new"]);

    let late = broker.publish(&first, 2, &chunks(&["late"])).await;
    assert!(matches!(late, Err(BrokerError::LeaseLost { .. })), "{late:?}");
    broker.publish(&second, 1, &chunks(&["est"])).await.unwrap();
    assert_eq!(told(&*broker, task.id).await, ["old text", "newest"], "the late one left no trace");
}

async fn repeated_publish_returns_the_cancel_request(on: Fixture) {
    let broker = on.broker;
    let task = submitted(&*broker).await;
    let lease = claimed(&*broker, &claimant(LONG)).await.lease;
    let text = chunks(&["a"]);
    assert!(!broker.publish(&lease, 0, &text).await.unwrap().cancel_requested);
    broker.cancel(task.id).await.unwrap();
    assert!(broker.publish(&lease, 0, &text).await.unwrap().cancel_requested);
    assert!(broker.publish(&lease, 1, &[]).await.unwrap().cancel_requested, "with nothing new");
    assert_eq!(told(&*broker, task.id).await, ["a"]);
}

run_on_every_broker! {
    published_chunks_are_not_published_twice,
    each_attempt_publishes_from_its_start,
    repeated_publish_returns_the_cancel_request,
}
