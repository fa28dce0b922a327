//! Concurrent operations on one task: exactly one outcome.

use std::sync::Arc;
use std::time::Duration;

use protocol::{EventSeq, Outcome, TaskState};
use queue::{Broker, BrokerError, CancelReply, Depth, Release};
use tokio::join;

use crate::support::*;

/// Checks that the task has ended once, and returns its state.
async fn ended_once(broker: &dyn Broker, id: protocol::TaskId) -> TaskState {
    let end = broker.snapshot(id).await.unwrap().unwrap();
    assert!(end.state.is_terminal(), "{:?}", end.state);
    assert_eq!(end.outcome.map(|outcome| outcome.state()), Some(end.state));
    let events = broker.events(id, EventSeq::START, 1_000).await.unwrap();
    assert_eq!(events.iter().filter(|event| event.body.is_last()).count(), 1, "{events:?}");
    assert!(events.last().unwrap().body.is_last());
    end.state
}

async fn racing_cancel_claim_and_finish_record_one_outcome(on: Fixture) {
    let (worker_side, gateway) = (Arc::clone(&on.broker), on.another());
    let mut states = std::collections::HashMap::new();
    for round in 0..1_000u64 {
        let task = submitted(&*gateway).await;
        let work = async {
            let held = worker_side.claim(&claimant(LONG), NO_WAIT).await.unwrap()?;
            let wanted = worker_side.renew(&held.lease, LONG).await.unwrap();
            let outcome = if wanted.cancel_requested { Outcome::CANCELLED } else { completed("x") };
            Some(worker_side.finish(&held.lease, &outcome).await.unwrap())
        };
        let cancel = async {
            tokio::time::sleep(Duration::from_micros(round % 20 * 150)).await;
            gateway.cancel(task.id).await.unwrap()
        };
        let (finished, reply) = join!(work, cancel);
        let state = ended_once(&*gateway, task.id).await;
        *states.entry(state).or_insert(0) += 1;
        match reply {
            CancelReply::Cancelled => {
                assert!(finished.is_none() && state == TaskState::Cancelled);
            }
            CancelReply::Requested => assert!(finished.is_some()),
            CancelReply::AlreadyEnded(told) => assert!(finished.is_some() && told == state),
            CancelReply::NotFound => panic!("it is there"),
        }
    }
    assert_eq!(gateway.depth(&model()).await.unwrap(), Depth::default(), "{states:?}");
}

async fn racing_finishes_accept_only_the_current_lease(on: Fixture) {
    let (one, two) = (Arc::clone(&on.broker), on.another());
    for _ in 0..50 {
        let task = submitted(&*one).await;
        let old = claimed(&*one, &claimant(LONG)).await;
        one.release(&old.lease, &Release::Unused).await.unwrap();
        let new = claimed(&*one, &claimant(LONG)).await;
        let (old_text, new_text) = (completed("old"), completed("new"));
        let (late, good) =
            join!(one.finish(&old.lease, &old_text), two.finish(&new.lease, &new_text));
        assert!(matches!(late, Err(BrokerError::LeaseLost { .. })));
        good.unwrap();
        ended_once(&*one, task.id).await;
        let end = one.snapshot(task.id).await.unwrap().unwrap();
        assert_eq!(end.outcome, Some(new_text));
    }
    assert_eq!(one.depth(&model()).await.unwrap(), Depth::default());
}

async fn racing_reapers_and_finishers_record_one_outcome(on: Fixture) {
    // Leases so short that many expire just as their holder finishes.
    let lease = Duration::from_millis(60);
    let mut reapers = Vec::new();
    for _ in 0..2 {
        let broker = on.another();
        reapers.push(tokio::spawn(async move {
            let reaper = claimant(lease);
            loop {
                for lost in broker.reap(&reaper).await.unwrap().exhausted {
                    broker.finish(&lost.lease, &failed("lost")).await.ok();
                }
                tokio::time::sleep(lease / 12).await;
            }
        }));
    }
    let mut workers = Vec::new();
    for slowness in 0..4u64 {
        let broker = on.another();
        workers.push(tokio::spawn(async move {
            let worker = claimant(lease);
            while let Some(held) = broker.claim(&worker, Duration::from_secs(2)).await.unwrap() {
                tokio::time::sleep(Duration::from_millis(slowness * 22)).await;
                match broker.finish(&held.lease, &completed("x")).await {
                    Ok(_) | Err(BrokerError::LeaseLost { .. }) => {}
                    Err(other) => panic!("{other}"),
                }
            }
        }));
    }
    let mut ids = Vec::new();
    for _ in 0..60 {
        ids.push(submitted(&*on.broker).await.id);
    }
    for worker in workers {
        worker.await.unwrap();
    }
    eventually("all have ended", async || {
        on.broker.depth(&model()).await.unwrap() == Depth::default()
    })
    .await;
    for id in ids {
        ended_once(&*on.broker, id).await;
    }
    reapers.iter().for_each(tokio::task::JoinHandle::abort);
}

run_on_every_broker! {
    racing_cancel_claim_and_finish_record_one_outcome,
    racing_finishes_accept_only_the_current_lease,
    racing_reapers_and_finishers_record_one_outcome,
}
