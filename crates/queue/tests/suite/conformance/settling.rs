//! The end of a task settles its charge, and counts its use, once.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use protocol::{
    KeyId, Message, ModelId, Part, Prompt, Task, TaskState, TenantId, Timestamp, Usage,
    UsageCounts, UsageRow,
};
use queue::{Broker, BrokerError, Charge, Meter, MeterKind, Payer, SubmitOptions, UsageQuery};

use super::endings::End;
use super::metering::{charged, meter, reading};
use crate::support::*;

/// Limits that are settled, with room for all tasks of a test.
pub(super) fn roomy() -> [Meter; 4] {
    [
        meter(MeterKind::Tokens, 1_000_000_000),
        meter(MeterKind::InFlight, 1_000_000),
        meter(MeterKind::DailyTokens, 1_000_000_000),
        Meter { subject: "owner".into(), ..meter(MeterKind::InFlight, 1_000_000) },
    ]
}

/// Returns the tasks in flight, and the tokens used and reserved today.
pub(super) async fn state(broker: &dyn Broker) -> (u64, u64, u64) {
    let [_, in_flight, day, of_owner] = &roomy();
    let flying = reading(broker, in_flight).await;
    let flying = flying.meter.limit - flying.remaining;
    let same = reading(broker, of_owner).await;
    assert_eq!(flying, same.meter.limit - same.remaining);
    let day = reading(broker, day).await;
    (flying, day.meter.limit - day.remaining - day.reserved, day.reserved)
}

async fn usage(broker: &dyn Broker, owner: Option<&TenantId>) -> Vec<UsageRow> {
    // Also of the day before: midnight may pass during a test.
    let (today, owner) = (Timestamp::now().day(), owner.cloned());
    let query = UsageQuery { from: today.before(1).to_string(), to: today.to_string(), owner };
    broker.usage(&query).await.unwrap()
}

pub(super) async fn sum(broker: &dyn Broker) -> UsageCounts {
    let rows = usage(broker, None).await;
    rows.iter().fold(UsageCounts::default(), |mut sum, row| {
        sum.add(&row.counts);
        sum
    })
}

pub(super) fn tokens(usage: Usage) -> u64 {
    u64::from(usage.prompt_tokens) + u64::from(usage.completion_tokens)
}

async fn every_end_settles_and_counts_once(on: Fixture) {
    let broker = &*on.broker;
    let (mut used, mut counts) = (0, UsageCounts::default());
    for end in End::ALL {
        let options = SubmitOptions { charge: charged(500, &roomy()).charge, ..end.options() };
        let task = end.submit_with(broker, task(), &options).await;
        assert_eq!(state(broker).await, (1, used, 500), "{end:?}");
        end.come(broker, &task).await;
        let outcome = broker.snapshot(task.id).await.unwrap().unwrap().outcome.unwrap();
        used += tokens(outcome.usage());
        assert_eq!(state(broker).await, (0, used, 0), "{end:?}");
        // Repeated calls settle nothing again.
        broker.cancel(task.id).await.unwrap();
        broker.reap(&claimant(SHORT)).await.unwrap();
        assert_eq!(state(broker).await, (0, used, 0), "{end:?}");

        counts.requests += 1;
        counts.errors += u64::from(outcome.state() == TaskState::Failed);
        counts.cancelled += u64::from(outcome.state() == TaskState::Cancelled);
        counts.prompt_tokens += u64::from(outcome.usage().prompt_tokens);
        counts.cached_tokens += u64::from(outcome.usage().cached_tokens);
        counts.completion_tokens += u64::from(outcome.usage().completion_tokens);
        let told = sum(broker).await;
        let UsageCounts { wait_ms, compute_ms, .. } = told;
        assert_eq!(told, UsageCounts { wait_ms, compute_ms, ..counts }, "{end:?}");
    }
    let rows = usage(broker, None).await;
    assert!(rows.iter().all(|row| row.key.as_str() == "key_1"), "{rows:?}");
}

async fn a_late_outcome_is_not_counted_and_the_first_start_ends_the_wait(on: Fixture) {
    let broker = &*on.broker;
    broker.submit(&task(), &charged(500, &roomy())).await.unwrap();
    let late = claimed(broker, &claimant(SHORT)).await;
    let reaped = reap_until_found(broker, &claimant(SHORT)).await;
    assert_eq!(reaped.requeued, [late.task.id]);
    let held = claimed(broker, &claimant(LONG)).await;
    let refused = broker.finish(&late.lease, &completed("late")).await;
    assert!(matches!(refused, Err(BrokerError::LeaseLost { .. })));
    assert_eq!(state(broker).await, (1, 0, 500));
    tokio::time::sleep(Duration::from_millis(60)).await;
    broker.finish(&held.lease, &completed("x")).await.unwrap();
    assert!(broker.finish(&late.lease, &completed("late")).await.is_err());
    broker.finish(&held.lease, &completed("x")).await.unwrap();
    assert_eq!(state(broker).await, (0, 12, 0));
    let counts = sum(broker).await;
    assert_eq!((counts.requests, counts.prompt_tokens, counts.completion_tokens), (1, 5, 7));
    assert!(counts.wait_ms < 350, "the wait for the first start: {counts:?}");
    assert!((60..350).contains(&counts.compute_ms), "the last attempt's: {counts:?}");
}

async fn unused_tokens_are_given_back_and_those_beyond_are_taken(on: Fixture) {
    let broker = &*on.broker;
    let rate = meter(MeterKind::Tokens, 6_000); // a hundred a second
    let options = |tokens| charged(tokens, std::slice::from_ref(&rate));
    let end = async |prompt_tokens| {
        let usage = Usage { prompt_tokens, ..Usage::default() };
        let held = claimed(broker, &claimant(LONG)).await;
        broker.finish(&held.lease, &completed("x").with_usage(usage)).await.unwrap();
        reading(broker, &rate).await.remaining
    };
    broker.submit(&task(), &options(6_000)).await.unwrap();
    assert!(broker.submit(&task(), &options(3_000)).await.is_err());
    let left = end(2_000).await;
    assert!((4_000..4_500).contains(&left), "{left}");
    broker.submit(&task(), &options(1_000)).await.unwrap();
    let left = end(5_500).await;
    assert!(left < 500, "the use beyond the reservation is taken: {left}");
    assert!(broker.submit(&task(), &options(1_000)).await.is_err());
}

async fn what_has_come_back_by_itself_is_not_given_back_again(on: Fixture) {
    let broker = &*on.broker;
    let rate = meter(MeterKind::Tokens, 60_000); // one each millisecond
    let options = |tokens| charged(tokens, std::slice::from_ref(&rate));
    let early = broker.submit(&task(), &options(300)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(350)).await;
    let begun = Instant::now();
    broker.submit(&task(), &options(60_000)).await.unwrap();
    broker.cancel(early.task_id).await.unwrap();
    let left = u128::from(reading(broker, &rate).await.remaining);
    let passed = begun.elapsed().as_millis() + 1;
    assert!(left <= passed, "{left} tokens after {passed} ms: more than the limit");
}

async fn usage_is_counted_by_owner_key_and_model(on: Fixture) {
    let broker = &*on.broker;
    let (one, two) = (TenantId::new("one"), TenantId::new("two"));
    let models = [model(), ModelId::new("org/other:Q4")];
    let images = vec![Part::Image { blob: "a".into() }, Part::Image { blob: "b".into() }];
    let shown = Prompt::Chat(vec![Message { parts: images, ..Message::user("") }]);
    let mut expected = HashMap::new();
    for (nth, (owner, key, model, prompt)) in [
        (&one, Some("key_1"), &models[0], None),
        (&one, Some("key_1"), &models[0], Some(shown.clone())),
        (&one, Some("key_1"), &models[1], None),
        (&one, Some("key_2"), &models[0], None),
        (&two, Some("key_3"), &models[1], None),
        (&two, None, &models[0], Some(shown)),
    ]
    .into_iter()
    .enumerate()
    {
        let nth = u32::try_from(nth).unwrap();
        let prompt = prompt.unwrap_or_else(|| task().prompt);
        let images = prompt.images() as u64;
        let task = Task { tenant: owner.clone(), model: model.clone(), prompt, ..task() };
        let charge = Charge { payer: Payer::new(key.map(KeyId::from_text), Vec::new()), tokens: 0 };
        broker.submit(&task, &SubmitOptions { charge, ..SubmitOptions::PLAIN }).await.unwrap();
        let usage = Usage {
            prompt_tokens: 100 + nth,
            completion_tokens: 10 + nth,
            cached_tokens: nth,
            reasoning_tokens: 1,
            ..Usage::NONE
        };
        let claimant = queue::Claimant { models: models.to_vec(), ..claimant(LONG) };
        let held = claimed(broker, &claimant).await;
        broker.finish(&held.lease, &completed("x").with_usage(usage)).await.unwrap();
        let row: &mut UsageCounts =
            expected.entry((owner.clone(), key.unwrap_or("none"), model.clone())).or_default();
        row.add(&UsageCounts {
            requests: 1,
            prompt_tokens: usage.prompt_tokens.into(),
            completion_tokens: usage.completion_tokens.into(),
            cached_tokens: usage.cached_tokens.into(),
            images,
            ..UsageCounts::default()
        });
    }
    let rows = usage(broker, None).await;
    let place =
        |row: &UsageRow| (row.day.clone(), row.owner.clone(), row.key.clone(), row.model.clone());
    assert!(rows.is_sorted_by_key(place), "{rows:?}");
    assert_eq!(rows.len(), expected.len());
    for row in &rows {
        let UsageCounts { wait_ms, compute_ms, .. } = row.counts;
        let known = expected[&(row.owner.clone(), row.key.as_str(), row.model.clone())];
        assert_eq!(row.counts, UsageCounts { wait_ms, compute_ms, ..known });
    }
    let of_one = usage(broker, Some(&one)).await;
    assert_eq!(of_one, rows[..3]);
    assert_eq!(usage(broker, Some(&TenantId::new("stranger"))).await, []);

    let today = Timestamp::now().day();
    let elsewhere = UsageQuery { from: "1999-01-01".into(), to: "1999-12-31".into(), owner: None };
    assert_eq!(broker.usage(&elsewhere).await.unwrap(), []);
    broker.forget_usage(&today.before(1).to_string()).await.unwrap();
    assert_eq!(usage(broker, None).await, rows);
    for _ in 0..2 {
        broker
            .forget_usage(&protocol::Day::from_number(today.number() + 2).to_string())
            .await
            .unwrap();
        assert_eq!(usage(broker, None).await, []);
    }
}

async fn a_replayed_task_is_charged_no_limits_and_counts_for_no_key(on: Fixture) {
    let broker = &*on.broker;
    let dead = broker.submit(&task(), &charged(500, &roomy())).await.unwrap();
    let held = claimed(broker, &claimant(LONG)).await;
    broker.finish(&held.lease, &failed("no more")).await.unwrap();
    assert_eq!(state(broker).await, (0, 0, 0));
    broker.replay(dead.task_id).await.unwrap().expect("a letter");
    assert_eq!(state(broker).await, (0, 0, 0));
    let held = claimed(broker, &claimant(LONG)).await;
    broker.finish(&held.lease, &completed("x")).await.unwrap();
    assert_eq!(state(broker).await, (0, 0, 0));
    let rows = usage(broker, None).await;
    let tokens: Vec<_> = rows
        .iter()
        .map(|row| (row.key.as_str(), row.counts.prompt_tokens, row.counts.errors))
        .collect();
    assert_eq!(tokens, [("key_1", 0, 1), ("none", 5, 0)]);
}

run_on_every_broker! {
    every_end_settles_and_counts_once,
    a_late_outcome_is_not_counted_and_the_first_start_ends_the_wait,
    unused_tokens_are_given_back_and_those_beyond_are_taken,
    what_has_come_back_by_itself_is_not_given_back_again,
    usage_is_counted_by_owner_key_and_model,
    a_replayed_task_is_charged_no_limits_and_counts_for_no_key,
}
