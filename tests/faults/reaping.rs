//! Outcomes that a reaper records, which may be cut off while it does.

use std::time::Duration;

use harness::client::Client;
use harness::process::KEY;
use harness::proxy::Proxy;
use harness::system::{Node, Plan, System};
use harness::{free_port, models, wait_for};

use crate::watching::{LONG, Witness, attempts, long};

const LEASE: Duration = Duration::from_secs(3);

#[test]
fn a_task_failed_by_a_reaper_that_gets_no_reply_is_logged_once() {
    let model = models::slow();
    let model = model.to_str().expect("UTF-8");
    let settings = [("MAX_BATCH_SIZE", "1"), ("MAX_ATTEMPTS", "1")];
    let mut system = System::start(&Plan { model, workers: 1, lease: LEASE, settings: &settings });
    let mut witness = Witness::new();
    // Makes the worker load its scripts, so that the next finish is a single command.
    witness.submit(&system.client, &long(2));
    witness.wait_for_all(&system.client, LONG);
    let doomed = witness.submit(&system.client, &long(2000));
    system.client.follow(&doomed, |event| event.name == "token");

    // From here on there is only one reaper, behind a proxy.
    let proxy = Proxy::to(system.redis.port());
    let (url, port) = (format!("redis://127.0.0.1:{}", proxy.port()), free_port());
    let port_text = port.to_string();
    let own = [
        ("REDIS_URL", url.as_str()),
        ("PORT", &port_text),
        ("API_KEYS", KEY),
        ("MODEL_NAME", model),
        ("LEASE_SECONDS", "3"),
    ];
    let mut reaper = Node::new("qwen-queue-gateway", &own);
    reaper.start();
    Client::new(port).wait_until_healthy(reaper.process(), false);
    system.gateway.kill_9();
    // The reap mentions a lost worker too; only the record has the failed state with it.
    proxy.hold_replies_from(r#""state":"failed","error_type":"worker_lost""#);
    system.workers[0].kill_9();

    wait_for("the outcome to be recorded without a reply", LONG, || {
        proxy.holds_replies().then_some(())
    });
    let recorded = || system.redis.command(&["GET", &format!("qq:{{0}}:task:{doomed}")]);
    wait_for("the record", LONG, || recorded().starts_with("failed ").then_some(()));
    // The reaper's deadline for a reply is two seconds. After that it learns of the record only by
    // asking again. While replies are held, its health is bad, and the response comes only after
    // the deadline.
    let health = Client::new(port).get("/health");
    assert_eq!(health.status, 503, "{health:?}");
    assert!(
        !reaper.log("llm_requests").contains(&doomed),
        "it logged a record that it cannot know of"
    );
    proxy.heal();
    system.gateway.start();
    system.client.wait_until_healthy(system.gateway.process(), false);
    system.workers.push(reaper); // its log lines are checked too
    let history = witness.judge(&system, 0);
    let events = &history.events[&doomed];
    assert_eq!(attempts(events), 1, "{events:?}");
    assert_eq!(events.last().expect("an end").data["error_type"], "worker_lost", "{events:?}");
}
