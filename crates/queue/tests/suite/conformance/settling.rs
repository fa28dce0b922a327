//! The end of a task settles its charge, and counts its use, once.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use protocol::{
    ErrorType, KeyId, Message, ModelId, Outcome, Part, Prompt, Task, TaskError, TaskId, TaskState,
    TenantId, Timestamp, Usage, UsageCounts, UsageRow,
};
use queue::{Broker, BrokerError, Charge, Meter, MeterKind, Release, SubmitOptions, UsageQuery};

use super::endings::End;
use super::metering::{charged, meter, reading};
use crate::support::*;

/// Limits that are settled, with room for all tasks of a test.
fn roomy() -> [Meter; 4] {
    [
        meter(MeterKind::Tokens, 1_000_000_000),
        meter(MeterKind::InFlight, 1_000_000),
        meter(MeterKind::DailyTokens, 1_000_000_000),
        Meter { subject: "owner".into(), ..meter(MeterKind::InFlight, 1_000_000) },
    ]
}

/// Returns the tasks in flight, and the tokens used and reserved today.
async fn state(broker: &dyn Broker) -> (u64, u64, u64) {
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

async fn sum(broker: &dyn Broker) -> UsageCounts {
    let rows = usage(broker, None).await;
    rows.iter().fold(UsageCounts::default(), |mut sum, row| {
        sum.add(&row.counts);
        sum
    })
}

fn tokens(usage: Usage) -> u64 {
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
        let charge = Charge { key: key.map(KeyId::from_text), ..Charge::default() };
        broker.submit(&task, &SubmitOptions { charge, ..SubmitOptions::PLAIN }).await.unwrap();
        let usage = Usage {
            prompt_tokens: 100 + nth,
            completion_tokens: 10 + nth,
            cached_tokens: nth,
            reasoning_tokens: 1,
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

/// A linear congruential generator: the same tasks end the same way in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

async fn whatever_ends_tasks_all_reservations_are_settled_to_the_token(on: Fixture) {
    const TASKS: usize = 1_000;
    let lease = Duration::from_millis(300);
    let done = Arc::new(AtomicBool::new(false));
    // Workers that finish, fail, die, return after their lease was lost, and release.
    let workers = (0..6).map(|nth| {
        let (broker, done) = (on.another(), Arc::clone(&done));
        tokio::spawn(async move {
            let (mut random, claimant) = (Random(nth), claimant(lease));
            let mut lost = Vec::new();
            while !done.load(Ordering::Relaxed) {
                let claims =
                    broker.claim_batch(&claimant, 4, Duration::from_millis(20)).await.unwrap();
                for held in claims {
                    let usage = Usage {
                        prompt_tokens: random.below(300) as u32,
                        completion_tokens: random.below(400) as u32,
                        cached_tokens: random.below(20) as u32,
                        reasoning_tokens: 0,
                    };
                    let outcome = match random.below(12) {
                        0 => failed("no \"luck\"").with_usage(usage),
                        1 => {
                            lost.push((held.lease, completed("late").with_usage(usage)));
                            continue;
                        }
                        2 => {
                            let _ = broker.release(&held.lease, &Release::Unused).await;
                            continue;
                        }
                        3 => {
                            let _ = broker.release(&held.lease, &failed_release("hiccup")).await;
                            continue;
                        }
                        4 => {
                            broker.cancel(held.task.id).await.unwrap();
                            Outcome::CANCELLED.with_usage(usage)
                        }
                        5 => {
                            // Cancelled, and then given back or lost.
                            broker.cancel(held.task.id).await.unwrap();
                            if random.below(2) == 0 {
                                let _ = broker.release(&held.lease, &Release::Unused).await;
                            }
                            continue;
                        }
                        _ => completed("x").with_usage(usage),
                    };
                    let recorded = broker.finish(&held.lease, &outcome).await;
                    if recorded.is_ok() && random.below(4) == 0 {
                        broker.finish(&held.lease, &outcome).await.unwrap(); // its reply was lost
                    }
                }
                if lost.len() > 10 {
                    let (lease, outcome) = lost.remove(0);
                    let _ = broker.finish(&lease, &outcome).await;
                }
            }
        })
    });
    let workers: Vec<_> = workers.collect();
    let reaper = {
        let (broker, done) = (on.another(), Arc::clone(&done));
        tokio::spawn(async move {
            while !done.load(Ordering::Relaxed) {
                for held in broker.reap(&claimant(lease)).await.unwrap().exhausted {
                    let usage = Usage { prompt_tokens: 3, ..Usage::default() };
                    let lost = Outcome::Failed(TaskError::new(ErrorType::WorkerLost, "all died"));
                    let _ = broker.finish(&held.lease, &lost.with_usage(usage)).await;
                }
                tokio::time::sleep(lease / 10).await;
            }
        })
    };
    let (broker, mut random, mut ids) = (&*on.broker, Random(77), Vec::<TaskId>::new());
    while ids.len() < TASKS {
        let some: Vec<_> = (0..20).map(|_| task()).collect();
        let options: Vec<_> = some
            .iter()
            .map(|_| SubmitOptions {
                expires_in: (random.below(8) == 0).then_some(Duration::from_millis(30)),
                ..charged(random.below(500), &roomy())
            })
            .collect();
        let submits = some.iter().zip(&options).map(|(task, options)| broker.submit(task, options));
        let accepted = futures::future::try_join_all(submits).await.unwrap();
        ids.extend(accepted.iter().map(|accepted| accepted.task_id));
        for _ in 0..2 {
            broker.cancel(ids[random.below(ids.len() as u64) as usize]).await.unwrap();
        }
    }
    let [_, in_flight, ..] = roomy();
    let mut patience = 600;
    while reading(broker, &in_flight).await.remaining < in_flight.limit && patience > 0 {
        patience -= 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    done.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.await.unwrap();
    }
    reaper.await.unwrap();

    let (mut used, mut states) = (Usage::default(), HashMap::new());
    for id in &ids {
        let end = broker.snapshot(*id).await.unwrap().unwrap();
        assert!(end.state.is_terminal(), "{end:?}");
        *states.entry(end.state).or_insert(0_u64) += 1;
        let usage = end.outcome.unwrap().usage();
        used.prompt_tokens += usage.prompt_tokens;
        used.completion_tokens += usage.completion_tokens;
        used.cached_tokens += usage.cached_tokens;
    }
    assert_eq!(state(broker).await, (0, tokens(used), 0), "{states:?}");
    let counts = sum(broker).await;
    assert_eq!(counts.requests, TASKS as u64);
    assert_eq!(counts.errors, states[&TaskState::Failed], "{states:?}");
    assert_eq!(counts.cancelled, states[&TaskState::Cancelled], "{states:?}");
    assert_eq!(counts.prompt_tokens, u64::from(used.prompt_tokens));
    assert_eq!(counts.completion_tokens, u64::from(used.completion_tokens));
    assert_eq!(counts.cached_tokens, u64::from(used.cached_tokens));
}

run_on_every_broker! {
    every_end_settles_and_counts_once,
    a_late_outcome_is_not_counted_and_the_first_start_ends_the_wait,
    unused_tokens_are_given_back_and_those_beyond_are_taken,
    what_has_come_back_by_itself_is_not_given_back_again,
    usage_is_counted_by_owner_key_and_model,
    a_replayed_task_is_charged_no_limits_and_counts_for_no_key,
    whatever_ends_tasks_all_reservations_are_settled_to_the_token,
}
