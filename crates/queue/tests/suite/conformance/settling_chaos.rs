//! Tasks that end in every way at once, among workers that die: everything is settled, to the token.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use protocol::{ErrorType, Outcome, TaskError, TaskId, TaskState, Usage};
use queue::{Release, SubmitOptions};

use super::metering::{charged, reading};
use super::settling::{roomy, state, sum, tokens};
use crate::support::*;

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
                        ..Usage::NONE
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
    whatever_ends_tasks_all_reservations_are_settled_to_the_token,
}
