//! Gateways that die between accepting a task and responding.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use harness::client::Client;
use harness::process::KEY;
use harness::proxy::Proxy;
use harness::system::{Node, Plan, System};
use harness::{free_port, wait_for};

use crate::load::{Load, Submitted};
use crate::watching::{LONG, Witness, short};

const LEASE: Duration = Duration::from_secs(3);

/// Returns the ids and states of all tasks in Redis.
fn stored(system: &System) -> BTreeMap<String, String> {
    let script = "local found = {} \
        for _, key in ipairs(redis.call('KEYS', 'qq:{0}:task:*')) do \
            local state = redis.call('TYPE', key).ok == 'string' and \
                string.match(redis.call('GET', key), '^%S+') or redis.call('HGET', key, 'state') \
            found[#found + 1] = key .. ' ' .. state \
        end \
        return found";
    let found = system.redis.command(&["EVAL", script, "0"]);
    let task = |line: &str| {
        let (key, state) = line.split_once(' ')?;
        Some((key.rsplit(':').next()?.to_owned(), state.to_owned()))
    };
    found.lines().filter_map(task).collect()
}

#[test]
fn a_task_runs_although_its_gateway_died_before_responding() {
    let plan = Plan { model: "demo", workers: 1, lease: LEASE, settings: &[] };
    let system = System::start(&plan);
    let proxy = Proxy::to(system.redis.port());
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    let port = free_port().to_string();
    let settings =
        [("REDIS_URL", url.as_str()), ("PORT", &port), ("API_KEYS", KEY), ("LEASE_SECONDS", "3")];
    let mut doomed = Node::new("qwen-queue-gateway", &settings);
    doomed.start();
    let client = Client::new(port.parse().expect("a port"));
    client.wait_until_healthy(doomed.process(), false);

    // Makes the gateway load its scripts, so that the next submit is a single command.
    client.wait_for_result(&client.submit(&short(0)), LONG);
    let before = stored(&system);

    let body = short(1);
    proxy.hold_replies_from(body["prompt"].as_str().expect("a prompt"));
    let asking = thread::spawn(move || client.try_post("/generate", &body));
    let task = wait_for("the task to be stored", LONG, || {
        stored(&system).into_keys().find(|id| !before.contains_key(id))
    });
    assert!(proxy.holds_replies());
    doomed.kill_9();
    let answer = asking.join().expect("the client panicked");
    // The gateway may have responded with 503 after its deadline of two seconds, but not with 202.
    assert!(answer.is_none_or(|answer| answer.status == 503), "unexpected response");

    let result = system.client.wait_for_result(&task, LONG);
    assert_eq!(result.body["status"], "completed", "{result:?}");
}

#[test]
fn every_accepted_task_ends_although_its_gateway_is_killed_repeatedly() {
    const KILLS: usize = 6;
    let plan = Plan { model: "demo", workers: 1, lease: LEASE, settings: &[] };
    let mut system = System::start(&plan);
    let load = Load::start(system.client.port());
    for kill in 0..KILLS {
        load.wait_for_more(10 + kill);
        system.gateway.kill_9();
        system.gateway.start();
    }
    system.client.wait_until_healthy(system.gateway.process(), true);
    let Submitted { accepted, unanswered, .. } = load.stop();

    let mut witness = Witness::new();
    witness.history.accepted = accepted;
    let history = witness.judge(&system, 0);
    wait_for("every stored task to end", LONG, || {
        stored(&system).values().all(|state| state == "completed").then_some(())
    });
    let stored = stored(&system);
    assert!(
        history.accepted.iter().all(|task| stored.contains_key(task)),
        "an accepted task is not stored"
    );
    println!(
        "{} accepted, {unanswered} requests without an answer, {} stored, {KILLS} kills",
        history.accepted.len(),
        stored.len()
    );
}
