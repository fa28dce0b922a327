//! Limits on use: what a submit is charged, and when it is refused.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use protocol::{KeyId, Task, TenantId};
use queue::{
    Bounds, Broker, BrokerError, Charge, Exhausted, Idempotency, Matches, Meter, MeterKind, Payer,
    Reading, SubmitOptions, Submitted,
};

use crate::support::*;

const PER_MINUTE: MeterKind = MeterKind::Requests { period_s: 60 };

pub(super) fn meter(kind: MeterKind, limit: u64) -> Meter {
    Meter { kind, subject: "key_1".into(), limit }
}

/// Options of a submit that reserves so many tokens.
pub(super) fn charged(tokens: u64, meters: &[Meter]) -> SubmitOptions {
    let charge =
        Charge { payer: Payer::new(Some(KeyId::from_text("key_1")), meters.to_vec()), tokens };
    SubmitOptions { charge, ..SubmitOptions::PLAIN }
}

async fn accept(broker: &dyn Broker, options: &SubmitOptions) -> Submitted {
    broker.submit(&task(), options).await.unwrap()
}

async fn refuse(broker: &dyn Broker, options: &SubmitOptions) -> Exhausted {
    match broker.submit(&task(), options).await {
        Err(BrokerError::LimitReached(refusal)) => *refusal,
        other => panic!("{other:?}"),
    }
}

pub(super) async fn reading(broker: &dyn Broker, meter: &Meter) -> Reading {
    let readings = broker.readings(&task().tenant, std::slice::from_ref(meter)).await.unwrap();
    readings.into_iter().next().unwrap()
}

async fn left(broker: &dyn Broker, meters: &[Meter]) -> Vec<u64> {
    let readings = broker.readings(&task().tenant, meters).await.unwrap();
    readings.into_iter().map(|reading| reading.remaining).collect()
}

async fn the_whole_limit_may_be_used_at_once_and_comes_back_evenly(on: Fixture) {
    let broker = &*on.broker;
    // One more each 12 minutes: not during the test.
    let slow = charged(0, &[meter(MeterKind::Requests { period_s: 3_600 }, 5)]);
    for left in (0..5).rev() {
        let [reading] = &accept(broker, &slow).await.readings[..] else { panic!("one meter") };
        assert_eq!((reading.remaining, reading.reserved), (left, 0));
        assert_eq!(reading.meter, slow.charge.meters()[0]);
        let spent = Duration::from_secs(720) * (5 - u32::try_from(left).unwrap());
        assert!(reading.reset <= spent && reading.reset + LONG > spent, "{reading:?}");
    }
    let refusal = refuse(broker, &slow).await;
    assert_eq!((refusal.reading.remaining, refusal.asked), (0, 1));
    let wait = refusal.retry_after.unwrap();
    assert!(wait <= Duration::from_secs(720) && wait > Duration::from_secs(660), "{wait:?}");
    let told = reading(broker, &refusal.reading.meter).await;
    assert_eq!(told, Reading { reset: told.reset, ..refusal.reading });

    // One more each 50 ms.
    let fast = charged(
        0,
        &[Meter { subject: "fast".into(), ..meter(MeterKind::Requests { period_s: 1 }, 20) }],
    );
    let (begun, mut accepted) = (Instant::now(), 0);
    while begun.elapsed() < Duration::from_millis(700) {
        match broker.submit(&task(), &fast).await {
            Ok(_) => accepted += 1,
            Err(BrokerError::LimitReached(refusal)) => {
                let wait = refusal.retry_after.unwrap();
                assert!(wait <= Duration::from_millis(50), "{wait:?}");
                tokio::time::sleep(wait).await;
            }
            Err(other) => panic!("{other}"),
        }
    }
    let most = 20 + (begun.elapsed().as_millis() + 1) / 50;
    assert!((20 + 5..=most).contains(&accepted), "{accepted} of at most {most}");
}

async fn concurrent_submits_of_several_processes_never_exceed_the_limit(on: Fixture) {
    const SUBMITS: usize = 2_000;
    const LIMIT: u128 = 600;
    let brokers = [Arc::clone(&on.broker), on.another(), on.another()];
    let options = charged(0, &[meter(PER_MINUTE, LIMIT as u64)]);
    let begun = Instant::now();
    let submits = (0..SUBMITS).map(|nth| {
        let (broker, options) = (Arc::clone(&brokers[nth % 3]), options.clone());
        tokio::spawn(async move { broker.submit(&task(), &options).await })
    });
    let mut accepted = 0;
    for answer in join_all(submits.collect::<Vec<_>>()).await {
        match answer.unwrap() {
            Ok(_) => accepted += 1,
            Err(BrokerError::LimitReached(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
    let most = LIMIT + (begun.elapsed().as_millis() + 1) / 100;
    assert!((LIMIT..=most).contains(&accepted), "{accepted} of at most {most}");
    assert_eq!(on.broker.depth(&model()).await.unwrap().queued, accepted as u64);
}

async fn tokens_are_reserved_by_the_minute(on: Fixture) {
    let broker = &*on.broker;
    let meters = [meter(MeterKind::Tokens, 60)]; // one a second
    let submitted = accept(broker, &charged(40, &meters)).await;
    assert_eq!(submitted.readings[0].remaining, 20);
    let refusal = refuse(broker, &charged(50, &meters)).await;
    assert_eq!(refusal.asked, 50);
    assert!((20..=25).contains(&refusal.reading.remaining), "{refusal:?}");
    let wait = refusal.retry_after.unwrap();
    assert!(wait <= Duration::from_secs(30) && wait > Duration::from_secs(24), "{wait:?}");
    let never = refuse(broker, &charged(61, &meters)).await;
    assert_eq!((never.asked, never.retry_after), (61, None));
    assert!(never.to_string().contains("61 tokens"), "{never}");
    accept(broker, &charged(20, &meters)).await;

    let requests = MeterKind::Requests { period_s: 60 };
    for kind in [requests, MeterKind::Tokens, MeterKind::InFlight, MeterKind::DailyTokens] {
        let none = Meter { subject: "none".into(), ..meter(kind, 0) };
        let refusal = refuse(broker, &charged(1, std::slice::from_ref(&none))).await;
        assert_eq!((refusal.reading.remaining, refusal.retry_after), (0, None), "{kind:?}");
        assert_eq!(reading(broker, &none).await.remaining, 0);
    }
}

async fn tasks_in_flight_are_counted_until_they_end(on: Fixture) {
    let broker = &*on.broker;
    let options = charged(0, &[meter(MeterKind::InFlight, 2)]);
    let first = accept(broker, &options).await;
    assert_eq!(first.readings[0].remaining, 1);
    accept(broker, &options).await;
    let refusal = refuse(broker, &options).await;
    assert!(refusal.retry_after.unwrap() <= Duration::from_secs(1), "{refusal:?}");
    let held = claimed(broker, &claimant(LONG)).await;
    broker.release(&held.lease, &queue::Release::Unused).await.unwrap();
    refuse(broker, &options).await;
    broker.cancel(first.task_id).await.unwrap();
    accept(broker, &options).await;
    refuse(broker, &options).await;
    let held = claimed(broker, &claimant(LONG)).await;
    refuse(broker, &options).await;
    broker.finish(&held.lease, &completed("x")).await.unwrap();
    accept(broker, &options).await;
}

async fn tokens_of_a_day_are_reserved_and_those_of_batches_apart(on: Fixture) {
    let broker = &*on.broker;
    let (day, batch) =
        (meter(MeterKind::DailyTokens, 100), meter(MeterKind::DailyBatchTokens, 100));
    let submitted = accept(broker, &charged(60, std::slice::from_ref(&day))).await;
    let told = &submitted.readings[0];
    assert_eq!((told.remaining, told.reserved), (40, 60));
    assert!(told.reset <= Duration::from_secs(86_400) && !told.reset.is_zero());
    let refusal = refuse(broker, &charged(41, std::slice::from_ref(&day))).await;
    assert_eq!((refusal.reading.reserved, refusal.asked), (60, 41));
    assert_eq!(refusal.retry_after.map(|wait| wait <= Duration::from_secs(86_400)), Some(true));
    let never = refuse(broker, &charged(101, std::slice::from_ref(&day))).await;
    assert_eq!(never.retry_after, None);
    accept(broker, &charged(100, std::slice::from_ref(&batch))).await;
    refuse(broker, &charged(1, std::slice::from_ref(&batch))).await;

    let held = claimed(broker, &claimant(LONG)).await;
    broker.finish(&held.lease, &completed("12 tokens")).await.unwrap();
    let told = reading(broker, &day).await;
    assert_eq!((told.remaining, told.reserved), (88, 0));
    let held = claimed(broker, &claimant(LONG)).await;
    broker.finish(&held.lease, &completed("12 tokens")).await.unwrap();
    let told = reading(broker, &batch).await;
    assert_eq!((told.remaining, told.reserved), (88, 0));
}

async fn a_refused_submit_is_charged_nothing(on: Fixture) {
    let broker = &*on.broker;
    let meters = [
        meter(MeterKind::Requests { period_s: 86_400 }, 10),
        meter(MeterKind::InFlight, 10),
        meter(MeterKind::DailyTokens, 100),
        Meter { subject: "owner".into(), ..meter(MeterKind::InFlight, 1) },
    ];
    accept(broker, &charged(30, &meters)).await;
    let before = [9, 9, 70, 0];
    assert_eq!(left(broker, &meters).await, before);
    let refusal = refuse(broker, &charged(30, &meters)).await;
    assert_eq!(refusal.reading.meter, meters[3]);
    assert_eq!(left(broker, &meters).await, before);

    let roomy = &meters[..3];
    for bounds in [
        Bounds { model: 1, ..Bounds::NONE },
        Bounds { tenant: 1, ..Bounds::NONE },
        Bounds { bytes: 1, ..Bounds::NONE },
    ] {
        let full = SubmitOptions { bounds, ..charged(30, roomy) };
        let refused = broker.submit(&task(), &full).await.unwrap_err();
        assert!(matches!(refused, BrokerError::QueueFull { .. }), "{refused}");
    }
    assert_eq!(left(broker, &meters).await, before);
}

async fn the_refusal_names_the_limit_that_has_room_last(on: Fixture) {
    let broker = &*on.broker;
    let meters = [
        meter(MeterKind::InFlight, 1),
        meter(MeterKind::Requests { period_s: 86_400 }, 1),
        meter(MeterKind::Requests { period_s: 3_600 }, 1),
    ];
    accept(broker, &charged(0, &meters)).await;
    let refusal = refuse(broker, &charged(0, &meters)).await;
    assert_eq!(refusal.reading.meter, meters[1]);
    let [_, _, hour] = &meters;
    let refusal = refuse(broker, &charged(0, &[meters[0].clone(), hour.clone()])).await;
    assert_eq!(refusal.reading.meter, *hour);
}

async fn a_repeated_submit_is_not_charged_again(on: Fixture) {
    let broker = &*on.broker;
    let meters = [
        meter(MeterKind::Requests { period_s: 86_400 }, 10),
        meter(MeterKind::InFlight, 2),
        meter(MeterKind::DailyTokens, 100),
    ];
    let key = Idempotency { key: "key".into(), body_hash: "hash".into(), matches: Matches::Always };
    let options = SubmitOptions { idempotency: Some(key), ..charged(30, &meters) };
    let first = task();
    let submitted = broker.submit(&first, &options).await.unwrap();
    assert_eq!(submitted.readings.len(), 3);
    for again in [&first, &task()] {
        let repeated = broker.submit(again, &options).await.unwrap();
        assert_eq!((repeated.task_id, repeated.created), (submitted.task_id, false));
        assert_eq!(repeated.readings, [], "nothing was charged");
    }
    assert_eq!(left(broker, &meters).await, [9, 1, 70]);
    accept(broker, &charged(30, &meters)).await;
    // Without room, too.
    assert!(!broker.submit(&first, &options).await.unwrap().created);
    let held = claimed(broker, &claimant(LONG)).await;
    broker.finish(&held.lease, &completed("x")).await.unwrap();
    assert!(!broker.submit(&first, &options).await.unwrap().created);
    assert_eq!(left(broker, &meters).await, [8, 1, 58]);
}

async fn meters_of_other_owners_subjects_and_kinds_are_apart(on: Fixture) {
    let broker = &*on.broker;
    let hour = meter(MeterKind::Requests { period_s: 3_600 }, 1);
    let one = charged(0, std::slice::from_ref(&hour));
    accept(broker, &one).await;
    refuse(broker, &one).await;
    let others = [
        Meter { subject: "key_2".into(), ..hour.clone() },
        Meter { subject: "key 1".into(), ..hour.clone() },
        Meter { subject: "key_1\nr3600 1 key_1".into(), ..hour.clone() },
        Meter { subject: "2001:db8::1".into(), ..hour.clone() },
        Meter { kind: MeterKind::Requests { period_s: 3_601 }, ..hour.clone() },
        Meter { kind: MeterKind::InFlight, ..hour.clone() },
    ];
    for other in others {
        let options = charged(0, &[other]);
        accept(broker, &options).await;
        refuse(broker, &options).await;
    }
    let stranger = Task { tenant: TenantId::new("stranger"), ..task() };
    broker.submit(&stranger, &one).await.unwrap();
    refuse(broker, &one).await;
    // The limit is raised: half of the hour is used.
    let raised = Meter { limit: 2, ..hour };
    let told = reading(broker, &raised).await;
    assert_eq!((told.remaining, told.meter.limit), (0, 2));
}

run_on_every_broker! {
    the_whole_limit_may_be_used_at_once_and_comes_back_evenly,
    concurrent_submits_of_several_processes_never_exceed_the_limit,
    tokens_are_reserved_by_the_minute,
    tasks_in_flight_are_counted_until_they_end,
    tokens_of_a_day_are_reserved_and_those_of_batches_apart,
    a_refused_submit_is_charged_nothing,
    the_refusal_names_the_limit_that_has_room_last,
    a_repeated_submit_is_not_charged_again,
    meters_of_other_owners_subjects_and_kinds_are_apart,
}
