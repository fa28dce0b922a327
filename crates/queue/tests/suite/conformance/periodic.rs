//! Periodic tasks: a submit takes the step of an entry together with its task, once, whoever submits.

use futures::future::join_all;
use protocol::{Task, TaskId, TenantId, Timestamp};
use queue::{
    Broker, BrokerError, Meter, MeterKind, PeriodicId, PeriodicRun, PeriodicState, PeriodicStep,
    PeriodicTrouble, StoredPeriodic, SubmitOptions, Submitted,
};

use super::metering::charged;
use crate::support::*;

fn id(name: &str) -> PeriodicId {
    PeriodicId { owner: TenantId::new("tenant"), name: name.to_owned() }
}

fn state(reached: u64) -> PeriodicState {
    PeriodicState {
        timing: "0 3 * * * \"UTC\" ä".to_owned(),
        since: Timestamp::from_millis(1),
        reached: Timestamp::from_millis(reached),
        runs: reached,
        skipped: 2,
        last: None,
        trouble: None,
    }
}

fn step(name: &str, revision: u64, reached: u64) -> PeriodicStep {
    PeriodicStep { id: id(name), revision, state: state(reached) }
}

fn stepping(step: &PeriodicStep) -> SubmitOptions {
    SubmitOptions { step: Some(Box::new(step.clone())), ..SubmitOptions::PLAIN }
}

async fn submit(broker: &dyn Broker, step: &PeriodicStep) -> Result<Submitted, BrokerError> {
    broker.submit(&task(), &stepping(step)).await
}

async fn stored(broker: &dyn Broker) -> Vec<StoredPeriodic> {
    broker.periodic_tasks().await.unwrap().1
}

fn is_changed(result: &Result<Submitted, BrokerError>) -> bool {
    matches!(result, Err(BrokerError::PeriodicChanged(_)))
}

async fn number_of_tasks(broker: &dyn Broker) -> u64 {
    broker.depth(&model()).await.unwrap().queued
}

async fn of_20_submitters_one_makes_the_run(on: Fixture) {
    let brokers = [on.another(), on.another(), on.another(), on.another()];
    let mut revision = 0;
    for round in 1..=3_u64 {
        let step = step("nightly", revision, round);
        let tries = (0..20).map(|nth| submit(&*brokers[nth % brokers.len()], &step));
        let results = join_all(tries).await;
        let made: Vec<_> = results.iter().flatten().collect();
        let [made] = made[..] else { panic!("{} runs", made.len()) };
        assert!(made.created);
        assert_eq!(results.iter().filter(|result| is_changed(result)).count(), 19);
        revision = round;
        let state = state(round);
        let expected =
            StoredPeriodic { id: id("nightly"), revision, task_id: Some(made.task_id), state };
        assert_eq!(stored(&*on.broker).await, [expected]);
        assert!(on.broker.snapshot(made.task_id).await.unwrap().is_some());
    }
    assert_eq!(number_of_tasks(&*on.broker).await, 3);
}

async fn an_outdated_step_changes_nothing(on: Fixture) {
    let broker = &*on.broker;
    submit(broker, &step("a", 0, 1)).await.unwrap();
    let before = stored(broker).await;
    for outdated in [0, 2, 9] {
        let late = task();
        let refused = broker.submit(&late, &stepping(&step("a", outdated, 5))).await;
        assert!(is_changed(&refused), "{refused:?}");
        assert!(broker.snapshot(late.id).await.unwrap().is_none());
        assert!(!broker.step_periodic(&step("a", outdated, 5)).await.unwrap());
    }
    assert_eq!(stored(broker).await, before);
    assert_eq!(number_of_tasks(broker).await, 1);
}

async fn a_repeated_submit_returns_the_run(on: Fixture) {
    let (broker, task, step) = (&*on.broker, task(), step("a", 0, 1));
    let first = broker.submit(&task, &stepping(&step)).await.unwrap();
    let again = broker.submit(&task, &stepping(&step)).await.unwrap();
    assert_eq!((again.task_id, again.created), (first.task_id, false));
    assert_eq!(stored(broker).await[0].revision, 1);
}

async fn a_refused_submit_takes_no_step(on: Fixture) {
    let broker = &*on.broker;
    let full = SubmitOptions { step: Some(Box::new(step("a", 0, 1))), ..up_to(0) };
    let refused = broker.submit(&task(), &full).await.unwrap_err();
    assert!(matches!(refused, BrokerError::QueueFull { .. }), "{refused}");
    let meter =
        Meter { kind: MeterKind::Requests { period_s: 60 }, subject: "key_1".into(), limit: 1 };
    let limited = |step| SubmitOptions { step, ..charged(0, std::slice::from_ref(&meter)) };
    broker.submit(&task(), &limited(None)).await.unwrap();
    let first = Some(Box::new(step("a", 0, 1)));
    let refused = broker.submit(&task(), &limited(first)).await.unwrap_err();
    assert!(matches!(refused, BrokerError::LimitReached(_)), "{refused}");
    assert_eq!(stored(broker).await, []);
}

async fn a_step_with_a_charge_pays_once(on: Fixture) {
    let broker = &*on.broker;
    let meter =
        Meter { kind: MeterKind::Requests { period_s: 60 }, subject: "key_1".into(), limit: 100 };
    let first = Some(Box::new(step("a", 0, 1)));
    let options = SubmitOptions { step: first, ..charged(0, &[meter]) };
    let submitted = broker.submit(&task(), &options).await.unwrap();
    assert_eq!(submitted.readings[0].remaining, 99);
    assert!(is_changed(&broker.submit(&task(), &options).await));
    let readings = broker.readings(&TenantId::new("tenant"), options.charge.meters()).await;
    assert_eq!(readings.unwrap()[0].remaining, 99);
}

async fn steps_without_a_task_keep_the_latest_one(on: Fixture) {
    let broker = &*on.broker;
    let before = Timestamp::now();
    assert!(broker.step_periodic(&step("b", 0, 1)).await.unwrap());
    assert_eq!(stored(broker).await[0].task_id, None);
    let run = submit(broker, &step("b", 1, 2)).await.unwrap();
    let (occurrence, at) = (Timestamp::from_millis(7), Timestamp::from_millis(8));
    let state = PeriodicState {
        last: Some(PeriodicRun { occurrence, at, manual: true }),
        trouble: Some(PeriodicTrouble { occurrence, at, reason: "no \"room\"\n".to_owned() }),
        ..state(3)
    };
    let troubled = PeriodicStep { state: state.clone(), ..step("b", 2, 3) };
    assert!(broker.step_periodic(&troubled).await.unwrap());
    let expected = StoredPeriodic { id: id("b"), revision: 3, task_id: Some(run.task_id), state };
    let (now, states) = broker.periodic_tasks().await.unwrap();
    assert_eq!(states, [expected]);
    assert!(now.seconds_since(before) < 60.0 && before.seconds_since(now) < 60.0);
}

async fn states_belong_to_an_owner_and_are_forgotten(on: Fixture) {
    let broker = &*on.broker;
    let of = |owner: &str, name: &str| {
        let id = PeriodicId { owner: TenantId::new(owner), name: name.to_owned() };
        PeriodicStep { id, ..step("", 0, 1) }
    };
    let steps = [of("acme:x y", "a"), of("acme:x y", "b"), of("beta", "a"), of("gamma", "a")];
    for step in steps.iter().rev() {
        let task = Task { tenant: step.id.owner.clone(), ..task() };
        broker.submit(&task, &stepping(step)).await.unwrap();
    }
    let ids = |states: Vec<StoredPeriodic>| states.into_iter().map(|state| state.id);
    let expected: Vec<_> = steps.iter().map(|step| step.id.clone()).collect();
    assert_eq!(ids(stored(broker).await).collect::<Vec<_>>(), expected);

    broker.forget_periodic(&steps[1].id).await.unwrap();
    broker.forget_periodic(&steps[1].id).await.unwrap();
    let left = stored(broker).await;
    assert_eq!(left.len(), 3);
    let kept: Vec<TaskId> = left.iter().filter_map(|state| state.task_id).collect();
    assert_eq!(kept.len(), 3);
    assert!(broker.step_periodic(&steps[1]).await.unwrap(), "it begins anew");
}

run_on_every_broker!(
    of_20_submitters_one_makes_the_run,
    an_outdated_step_changes_nothing,
    a_repeated_submit_returns_the_run,
    a_refused_submit_takes_no_step,
    a_step_with_a_charge_pays_once,
    steps_without_a_task_keep_the_latest_one,
    states_belong_to_an_owner_and_are_forgotten,
);
