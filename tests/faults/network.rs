//! Network failures between processes that all keep running.

use std::time::Duration;

use harness::proxy::Proxy;
use harness::system::{Plan, System, began_after, now_ms};
use harness::{models, wait_for};

use crate::watching::{LONG, Witness, attempts, check_recovery, long, short};

const LEASE: Duration = Duration::from_secs(3);

/// Starts a system whose workers each reach Redis through a proxy.
fn behind_proxies(plan: &Plan<'_>) -> (System, Vec<Proxy>) {
    let mut system = System::start(&Plan { workers: 0, ..*plan });
    let proxies: Vec<_> = (0..plan.workers).map(|_| Proxy::to(system.redis.port())).collect();
    for proxy in &proxies {
        system.add_worker(&[("REDIS_URL", &format!("redis://127.0.0.1:{}", proxy.port()))]);
    }
    system.wait_for_workers(plan.workers);
    (system, proxies)
}

#[test]
fn partitioned_worker_is_replaced_and_recovers() {
    let model = models::slow();
    let model = model.to_str().expect("UTF-8");
    let settings = [("MAX_BATCH_SIZE", "1")];
    let (mut system, proxies) =
        behind_proxies(&Plan { model, workers: 2, lease: LEASE, settings: &settings });
    let mut witness = Witness::new();
    let task = witness.submit(&system.client, &long(200));
    system.client.follow(&task, |event| event.name == "token");
    let holder = system.holder(&task, 1, LONG);
    let cut = now_ms();
    proxies[holder].cut();
    witness.wait_for_all(&system.client, LONG);
    proxies[holder].heal();
    wait_for("the worker that was cut off to notice", LONG, || {
        system.workers[holder].log("app").contains("its lease was lost").then_some(())
    });
    let history = witness.judge(&system, 0);
    let events = &history.events[&task];
    check_recovery("cut off", began_after(events, 2, cut), LEASE);
    assert_eq!(attempts(events), 2, "{events:?}");

    // It still works, as the only worker.
    system.workers[1 - holder].terminate();
    let next = system.client.submit(&long(5));
    let result = system.client.wait_for_result(&next, LONG);
    assert_eq!(result.body["status"], "completed", "{result:?}");
}

/// Starts a system with one worker that runs the demo model behind a proxy.
fn demo_behind_a_proxy() -> (System, Proxy) {
    let plan = Plan { model: "demo", workers: 1, lease: LEASE, settings: &[] };
    let (system, mut proxies) = behind_proxies(&plan);
    (system, proxies.remove(0))
}

/// Occurs in every request that records a completed answer.
const FINISH: &str = r#""state":"completed""#;

/// Runs a task whose outcome is recorded while its worker gets no reply.
fn finish_with_lost_reply(system: &System, proxy: &Proxy, witness: &mut Witness) -> String {
    // Makes the worker load its scripts, so that the next finish is a single command.
    witness.submit(&system.client, &short(0));
    witness.wait_for_all(&system.client, LONG);
    proxy.hold_replies_from(FINISH);
    let task = witness.submit(&system.client, &short(1));
    witness.wait_for_all(&system.client, LONG);
    assert!(proxy.holds_replies());
    task
}

#[test]
fn a_worker_killed_between_its_finish_and_the_reply_changes_nothing() {
    let (mut system, proxy) = demo_behind_a_proxy();
    let mut witness = Witness::new();
    let task = finish_with_lost_reply(&system, &proxy, &mut witness);
    system.workers[0].kill_9();
    proxy.heal();
    system.workers[0].start();
    system.wait_for_workers(1);
    witness.submit(&system.client, &short(2));
    // The killed worker had no time to write its log line.
    let history = witness.judge(&system, 1);
    assert_eq!(attempts(&history.events[&task]), 1, "{:?}", history.events[&task]);
}

#[test]
fn an_outcome_whose_reply_is_lost_is_logged_once() {
    let (system, proxy) = demo_behind_a_proxy();
    let mut witness = Witness::new();
    for _ in 0..3 {
        let task = finish_with_lost_reply(&system, &proxy, &mut witness);
        wait_for("the worker to notice", LONG, || {
            let noticed = |l: &str| l.contains(&task) && l.contains("not recorded yet");
            system.workers[0].log("app").lines().any(noticed).then_some(())
        });
        proxy.heal();
    }
    let history = witness.judge(&system, 0);
    for events in history.events.values() {
        assert_eq!(attempts(events), 1, "{events:?}");
    }
}
