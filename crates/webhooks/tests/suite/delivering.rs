//! Tests of the delivery loop: retries, verdicts and what is recorded.

use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::receiver::{Receiver, ReceiverReply};
use protocol::{TenantId, Timestamp, WebhookId};
use queue::{Notice, TryResult, WebhookState};
use webhooks::payload::openai_event;
use webhooks::{Guard, Secret, Sender};

use crate::rig::{KEY, LIMIT, Rig, Running, SOON, tenant};

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_is_sent_once_and_its_signature_verifies() {
    let (rig, receiver) = (Rig::embedded(), Receiver::kind());
    let _deliverer = rig.deliver();
    let id = rig.ended(&receiver.url("/hook")).await;
    let report = rig.report_when(id, |report| report.state == WebhookState::Delivered).await;
    assert_eq!(report.tries.len(), 1, "{report:?}");
    assert_eq!(report.tries[0].result, TryResult::Status(204));
    assert_eq!(report.next_at, None);
    tokio::time::sleep(LIMIT * 4).await; // longer than a lease: nothing comes again
    let heard = receiver.heard();
    assert_eq!(heard.len(), 1);
    let heard = &heard[0];
    assert_eq!(heard.header("webhook-id"), id.to_string());
    let timestamp: u64 = heard.header("webhook-timestamp").parse().unwrap();
    assert!(timestamp.abs_diff(Timestamp::now().as_millis() / 1_000) < 60);
    let signature = Secret::of_key(KEY).sign(&id.to_string(), timestamp, &heard.body);
    assert_eq!(heard.header("webhook-signature"), signature);
    let body = heard.json();
    assert_eq!(body["type"], "task.completed");
    assert_eq!(body["data"]["task_id"], id.to_string());
    assert_eq!(body["data"]["metadata"]["order"], "17");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_is_sent_as_it_is_and_retried_with_the_same_bytes() {
    let rig = Rig::embedded();
    let receiver = Receiver::start(|nth| ReceiverReply::status([500, 200][nth.min(1)]));
    let _deliverer = rig.deliver();
    let id = WebhookId::new();
    let at = Timestamp::from_millis(1_763_739_045_123);
    let body = openai_event(id, at, "batch.completed", "batch_1");
    let url = receiver.url("/hook");
    let notice = Notice { id, tenant: tenant(), url, body: body.clone() };
    rig.broker.notify(&notice).await.unwrap();
    rig.report_when(id, |report| report.state == WebhookState::Delivered).await;
    let heard = receiver.heard();
    assert_eq!(heard.len(), 2);
    for heard in &heard {
        assert_eq!(String::from_utf8_lossy(&heard.body), body);
        assert_eq!(heard.header("webhook-id"), id.to_string());
        let timestamp: u64 = heard.header("webhook-timestamp").parse().unwrap();
        let signature = Secret::of_key(KEY).sign(&id.to_string(), timestamp, &heard.body);
        assert_eq!(heard.header("webhook-signature"), signature);
    }
    let event = heard[0].json();
    assert_eq!(event["id"], format!("evt_{}", id.as_uuid().simple()));
    assert_eq!(
        (&event["type"], &event["created_at"]),
        (&"batch.completed".into(), &1_763_739_045.into())
    );
    assert_eq!((&event["object"], &event["data"]["id"]), (&"event".into(), &"batch_1".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_delivery_is_retried_until_it_arrives() {
    let rig = Rig::embedded();
    let receiver = Receiver::start(|nth| ReceiverReply::status([500, 302, 404, 200][nth.min(3)]));
    let _deliverer = rig.deliver();
    let id = rig.ended(&receiver.url("/")).await;
    let report = rig.report_when(id, |report| report.state == WebhookState::Delivered).await;
    assert_eq!(report.tries.iter().map(|tried| tried.number).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(report.tries[0].result, TryResult::Status(500));
    let TryResult::Error(words) = &report.tries[1].result else { panic!("{report:?}") };
    assert!(words.contains("not followed"), "{words}");
    let heard = receiver.heard();
    assert_eq!(heard.len(), 4);
    for again in &heard[1..] {
        assert_eq!(again.body, heard[0].body, "the same bytes");
        assert_eq!(again.header("webhook-id"), heard[0].header("webhook-id"));
    }
    let pause = heard[1].at - heard[0].at;
    assert!(pause >= Duration::from_millis(180), "{pause:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn status_410_ends_the_delivery() {
    let (rig, receiver) = (Rig::embedded(), Receiver::start(|_| ReceiverReply::status(410)));
    let _deliverer = rig.deliver();
    let id = rig.ended(&receiver.url("/")).await;
    let report = rig.report_when(id, |report| report.state == WebhookState::GivenUp).await;
    assert_eq!((report.tries.len(), report.next_at), (1, None));
    tokio::time::sleep(LIMIT * 4).await;
    assert_eq!(receiver.heard().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_is_given_up_after_the_last_try() {
    let (rig, receiver) = (Rig::embedded(), Receiver::start(|_| ReceiverReply::status(500)));
    let _deliverer = rig.deliver();
    let id = rig.ended(&receiver.url("/")).await;
    let report = rig.report_when(id, |report| report.state == WebhookState::GivenUp).await;
    assert_eq!((report.tries.len(), receiver.heard().len()), (10, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_taken_but_not_sent_costs_no_try() {
    let (rig, receiver) = (Rig::embedded(), Receiver::start(|_| ReceiverReply::status(500)));
    let id = rig.ended(&receiver.url("/")).await;
    for _ in 0..12 {
        // Takes the delivery without sending it, as a deliverer that dies or in which it waits too long.
        let taken = rig.broker.due_webhooks(Duration::from_millis(20), 1).await.unwrap();
        assert_eq!(taken.len(), 1);
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    let _deliverer = rig.deliver();
    let report = rig.report_when(id, |report| report.state == WebhookState::GivenUp).await;
    assert_eq!((report.tries.len(), receiver.heard().len()), (10, 10));
    assert_eq!(report.tries[0].number, 13);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_without_a_configured_key_is_retried() {
    let (rig, receiver) = (Rig::embedded(), Receiver::kind());
    let deliverer = rig.deliver();
    let id = rig.ended_of(TenantId::new("key-of-tomorrow"), &receiver.url("/")).await;
    let report = rig.report_when(id, |report| report.tries.len() >= 2).await;
    assert_eq!(report.state, WebhookState::Pending);
    let TryResult::Error(words) = &report.tries[0].result else { panic!("{report:?}") };
    assert!(words.contains("not configured here"), "{words}");
    assert!(receiver.heard().is_empty());

    // Keys are changed on one gateway after the other: the next one has this tenant's.
    deliverer.stop().await;
    let secret = Secret::of_key("tomorrow's key");
    let secrets = [(TenantId::new("key-of-tomorrow"), secret)].into_iter().collect();
    let _deliverer =
        Running::start(webhooks::Deliverer { secrets: Arc::new(secrets), ..rig.deliverer() });
    rig.report_when(id, |report| report.state == WebhookState::Delivered).await;
    assert_eq!(receiver.heard().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_address_is_refused_without_naming_it() {
    let (rig, receiver) = (Rig::embedded(), Receiver::kind());
    let sender = Sender::new(Guard { allow_private: false }, LIMIT).unwrap();
    let deliverer = webhooks::Deliverer { sender, ..rig.deliverer() };
    let _deliverer = Running::start(deliverer);
    for url in [receiver.url("/"), receiver.url("/").replace("127.0.0.1", "localhost")] {
        let id = rig.ended(&url).await;
        let report = rig.report_when(id, |report| report.tries.len() >= 2).await;
        assert_eq!(report.state, WebhookState::Pending);
        let TryResult::Error(words) = &report.tries[0].result else { panic!("{report:?}") };
        assert!(words.contains("not public") && !words.contains("127"), "{words}");
    }
    assert!(receiver.heard().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_receiver_delays_only_its_own_tenant() {
    let rig = Rig::embedded();
    let (slow, quick) = (Receiver::start(|_| ReceiverReply::Silence), Receiver::kind());
    for _ in 0..60 {
        rig.ended(&slow.url("/")).await;
    }
    let began = Instant::now();
    let _deliverer = rig.deliver();
    slow.wait_for(1, SOON);
    let id = rig.ended_of(TenantId::new("key-2"), &quick.url("/")).await;
    rig.report_when(id, |report| report.state == WebhookState::Delivered).await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    // Within the time of one try, at most four of the slow receiver's tries were in progress.
    let first = slow.heard()[0].at;
    let at_first = slow.heard().iter().filter(|heard| heard.at - first < LIMIT / 2).count();
    assert!(at_first <= 4, "{at_first}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_simultaneous_outcomes_are_all_sent_quickly() {
    let (rig, receiver) = (Rig::embedded(), Receiver::kind());
    for _ in 0..200 {
        rig.ended(&receiver.url("/")).await;
    }
    let _deliverer = rig.deliver();
    receiver.wait_for(200, SOON);
    tokio::time::sleep(LIMIT * 4).await;
    assert_eq!(receiver.heard().len(), 200, "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_finishes_tries_in_progress_and_takes_no_more() {
    let rig = Rig::embedded();
    let receiver = Receiver::start(|_| {
        std::thread::sleep(LIMIT / 2);
        ReceiverReply::status(200)
    });
    let id = rig.ended(&receiver.url("/")).await;
    let deliverer = rig.deliver();
    receiver.wait_for(1, SOON);
    deliverer.stop().await;
    let report = rig.broker.webhook(id.into()).await.unwrap().unwrap();
    assert_eq!(report.state, WebhookState::Delivered, "it was recorded before the stop was over");
    rig.ended(&receiver.url("/")).await;
    tokio::time::sleep(LIMIT).await;
    assert_eq!(receiver.heard().len(), 1);
}
