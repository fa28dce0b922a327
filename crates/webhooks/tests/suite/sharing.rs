//! Tests with several deliverers, some of which die.

use std::time::{Duration, Instant};

use harness::receiver::{Receiver, ReceiverReply};
use harness::redis::RedisServer;
use queue::WebhookState;

use crate::rig::{LIMIT, Rig, SOON};

#[tokio::test(flavor = "multi_thread")]
async fn several_deliverers_share_the_work_and_send_nothing_twice() {
    let redis = RedisServer::start();
    let rigs = [Rig::redis(&redis.url()), Rig::redis(&redis.url())];
    let receiver = Receiver::kind();
    let mut ids = Vec::new();
    for _ in 0..100 {
        ids.push(rigs[0].ended(&receiver.url("/")).await);
    }
    let _deliverers = [rigs[0].deliver(), rigs[1].deliver(), rigs[1].deliver()];
    receiver.wait_for(100, SOON);
    tokio::time::sleep(LIMIT * 4).await;
    for id in &ids {
        assert_eq!(receiver.requests_for(&id.to_string()).len(), 1, "{id}");
    }
    assert_eq!(receiver.heard().len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_deliverers_work_is_sent_by_another_under_the_same_id() {
    let redis = RedisServer::start();
    let rig = Rig::redis(&redis.url());
    kill_one_during_a_try(&rig).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_deliverers_work_is_sent_by_another_on_the_embedded_queue() {
    kill_one_during_a_try(&Rig::embedded()).await;
}

async fn kill_one_during_a_try(rig: &Rig) {
    let receiver =
        Receiver::start(
            |nth| if nth == 0 { ReceiverReply::Silence } else { ReceiverReply::status(200) },
        );
    let first = rig.deliver();
    let id = rig.ended(&receiver.url("/")).await;
    receiver.wait_for(1, SOON);
    drop(first);
    let died = Instant::now();
    let _second = rig.deliver();
    let report = rig.report_when(id, |report| report.state == WebhookState::Delivered).await;
    assert_eq!(report.tries.len(), 1, "the dead one recorded nothing: {report:?}");
    let heard = receiver.requests_for(&id.to_string());
    assert_eq!(heard.len(), 2);
    assert_eq!(heard[0].body, heard[1].body);
    let after = heard[1].at - died;
    assert!(after < LIMIT * 3 + Duration::from_secs(2), "within a lease: {after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_survive_an_outage_of_the_queue() {
    let mut redis = RedisServer::durable();
    let rig = Rig::redis(&redis.url());
    let receiver = Receiver::kind();
    let _deliverer = rig.deliver();
    let id = rig.ended(&receiver.url("/")).await;
    rig.report_when(id, |report| report.state == WebhookState::Delivered).await;
    redis.kill();
    tokio::time::sleep(Duration::from_secs(3)).await;
    redis.restart();
    let id = loop {
        // The broker reconnects by itself.
        if rig.broker.ping().await.is_ok() {
            break rig.ended(&receiver.url("/")).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    rig.report_when(id, |report| report.state == WebhookState::Delivered).await;
    assert_eq!(receiver.heard().len(), 2);
}
