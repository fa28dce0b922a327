//! The loop: what is tried again, what is not, and what is told of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::receiver::{Manner, Receiver};
use protocol::{TenantId, Timestamp};
use queue::{TryResult, WebhookState};
use webhooks::{Guard, Secret, Sender};

use crate::rig::{KEY, LIMIT, Rig, Running, SOON};

#[tokio::test(flavor = "multi_thread")]
async fn an_end_is_told_once_and_the_signature_verifies() {
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
async fn what_fails_is_tried_again_until_it_arrives() {
    let rig = Rig::embedded();
    let receiver = Receiver::start(|nth| Manner::status([500, 302, 404, 200][nth.min(3)]));
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
async fn a_receiver_that_is_gone_hears_no_more() {
    let (rig, receiver) = (Rig::embedded(), Receiver::start(|_| Manner::status(410)));
    let _deliverer = rig.deliver();
    let id = rig.ended(&receiver.url("/")).await;
    let report = rig.report_when(id, |report| report.state == WebhookState::GivenUp).await;
    assert_eq!((report.tries.len(), report.next_at), (1, None));
    tokio::time::sleep(LIMIT * 4).await;
    assert_eq!(receiver.heard().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_last_try_it_is_given_up() {
    let (rig, receiver) = (Rig::embedded(), Receiver::start(|_| Manner::status(500)));
    let _deliverer = rig.deliver();
    let id = rig.ended(&receiver.url("/")).await;
    let report = rig.report_when(id, |report| report.state == WebhookState::GivenUp).await;
    assert_eq!((report.tries.len(), receiver.heard().len()), (10, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_and_never_tried_costs_no_try() {
    let (rig, receiver) = (Rig::embedded(), Receiver::start(|_| Manner::status(500)));
    let id = rig.ended(&receiver.url("/")).await;
    for _ in 0..12 {
        // Deliverers that die, or whose turn does not come.
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
async fn a_tenant_without_a_key_is_tried_again_with_the_reason() {
    let (rig, receiver) = (Rig::embedded(), Receiver::kind());
    let deliverer = rig.deliver();
    let id = rig.ended_of(TenantId::new("key-of-tomorrow"), &receiver.url("/")).await;
    let report = rig.report_when(id, |report| report.tries.len() >= 2).await;
    assert_eq!(report.state, WebhookState::Pending);
    let TryResult::Error(words) = &report.tries[0].result else { panic!("{report:?}") };
    assert!(words.contains("not configured here"), "{words}");
    assert!(receiver.heard().is_empty());

    // Keys are changed on one gateway after the other: the next one knows it.
    deliverer.stop().await;
    let secret = Secret::of_key("tomorrow's key");
    let secrets = [(TenantId::new("key-of-tomorrow"), secret)].into_iter().collect();
    let _deliverer =
        Running::start(webhooks::Deliverer { secrets: Arc::new(secrets), ..rig.deliverer() });
    rig.report_when(id, |report| report.state == WebhookState::Delivered).await;
    assert_eq!(receiver.heard().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_address_is_refused_in_words_that_give_nothing_away() {
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
async fn a_slow_receiver_delays_its_own_tenants_webhooks_only() {
    let rig = Rig::embedded();
    let (slow, quick) = (Receiver::start(|_| Manner::Silence), Receiver::kind());
    for _ in 0..60 {
        rig.ended(&slow.url("/")).await;
    }
    let began = Instant::now();
    let _deliverer = rig.deliver();
    slow.wait_for(1, SOON);
    let id = rig.ended_of(TenantId::new("key-2"), &quick.url("/")).await;
    rig.report_when(id, |report| report.state == WebhookState::Delivered).await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    // In the time of one try, no more than four of the slow one's were under way.
    let first = slow.heard()[0].at;
    let at_first = slow.heard().iter().filter(|heard| heard.at - first < LIMIT / 2).count();
    assert!(at_first <= 4, "{at_first}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_ends_at_once_are_all_told_soon() {
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
async fn a_stop_ends_what_is_under_way_and_takes_nothing_more() {
    let rig = Rig::embedded();
    let receiver = Receiver::start(|_| {
        std::thread::sleep(LIMIT / 2);
        Manner::status(200)
    });
    let id = rig.ended(&receiver.url("/")).await;
    let deliverer = rig.deliver();
    receiver.wait_for(1, SOON);
    deliverer.stop().await;
    let report = rig.broker.webhook(id).await.unwrap().unwrap();
    assert_eq!(report.state, WebhookState::Delivered, "it was recorded before the stop was over");
    rig.ended(&receiver.url("/")).await;
    tokio::time::sleep(LIMIT).await;
    assert_eq!(receiver.heard().len(), 1);
}
