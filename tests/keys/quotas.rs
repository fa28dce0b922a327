//! Tokens that tasks reserve are settled to the token, whatever dies.
#![allow(clippy::print_stdout)] // what was measured belongs to the test's output

use std::time::Duration;

use harness::client::Client;
use harness::process::ADMIN_KEY;
use harness::system::{Plan, System};
use harness::wait_for;
use serde_json::{Value, json};

use crate::make_key;

/// Tokens per day that the key allows.
const DAILY: u64 = 50_000_000;

/// Returns the state of a limit, from the owner's usage.
fn limit(client: &Client, kind: &str) -> Option<Value> {
    let usage = client.try_get("/v1/usage")?;
    let limits = usage.body["limits"].as_array()?.clone();
    limits.into_iter().find(|limit| limit["kind"] == kind)
}

#[test]
fn reserved_tokens_are_settled_to_the_token_although_processes_are_killed() {
    let (count, kills) = (1_000, 12);
    let plan = Plan {
        model: "demo",
        workers: 2,
        lease: Duration::from_secs(2),
        settings: &[("ADMIN_API_KEY", ADMIN_KEY), ("MAX_ATTEMPTS", "20")],
    };
    let mut system = System::start(&plan);
    let port = system.client.port();
    // One key's tasks are all answered. Some of the other's are cancelled, whose tokens only the usage shows.
    let [answered, disturbed] = ["answered", "disturbed"].map(|name| {
        let limits = json!({
            "name": name, "owner": "metered", "tokens_per_day": DAILY, "max_in_flight": count,
        });
        let made = make_key(port, &limits);
        (Client::with_key(port, &made.key), made.id)
    });

    let mut tasks = Vec::new();
    for n in 0..count {
        let body = json!({
            "prompt": format!("What is a lease? ({n})"), "temperature": 0.0, "max_tokens": 16 + n % 32,
        });
        let is_cancelled = n % 11 == 0;
        let client = if is_cancelled { &disturbed.0 } else { &answered.0 };
        // Repeating the call after a kill makes no second task.
        let key = format!("task-{n}");
        let task = wait_for("a task to be accepted", Duration::from_secs(60), || {
            let answer = client.try_post_with("/generate", &body, &[("Idempotency-Key", &key)])?;
            assert!([200, 202, 503].contains(&answer.status), "{answer:?}");
            Some(answer.body["task_id"].as_str()?.to_owned())
        });
        if is_cancelled {
            let _ = client.try_post(&format!("/cancel/{task}"), &Value::Null);
        }
        tasks.push((task, is_cancelled));
        if (n + 1) % (count / kills) == 0 {
            let node = if n % 2 == 0 { &mut system.gateway } else { &mut system.workers[n % 2] };
            node.kill_9();
            node.start();
        }
    }
    let (mut expected, mut cancelled) = (0, 0);
    for (task, is_cancelled) in &tasks {
        let end = wait_for("the end of a task", Duration::from_secs(120), || {
            let answer = answered.0.try_get(&format!("/result/{task}"))?;
            ["completed", "failed", "cancelled"]
                .contains(&answer.body["status"].as_str()?)
                .then_some(answer.body)
        });
        let tokens = |name: &str| end["metrics"][name].as_u64().expect("a number");
        match end["status"].as_str() {
            Some("completed") if *is_cancelled => {}
            Some("completed") => expected += tokens("prompt_tokens") + tokens("completion_tokens"),
            Some("cancelled") if *is_cancelled => cancelled += 1,
            _ => panic!("{end}"),
        }
    }

    let admin = Client::with_key(port, ADMIN_KEY);
    let usage = admin.get("/admin/usage?owner=metered&group_by=key").body;
    let rows = usage["rows"].as_array().expect("rows");
    for (client, id) in [&answered, &disturbed] {
        let daily = limit(client, "tokens_per_day").expect("the limit's state");
        let used = DAILY - daily["remaining"].as_u64().expect("a number");
        let row = rows.iter().find(|row| row["key"] == **id).expect("the key's usage");
        println!("{row} {daily}");
        assert_eq!(daily["reserved"], 0, "tokens are still reserved");
        let sum = |name: &str| row[name].as_u64().expect("a number");
        assert_eq!(sum("prompt_tokens") + sum("completion_tokens"), used, "usage and limit differ");
        if *id == answered.1 {
            assert_eq!(used, expected, "used is not what the answers say");
        }
        let flight = limit(client, "in_flight").expect("the limit's state");
        assert_eq!(flight["remaining"], count, "tasks are still counted as in flight");
    }
    assert_eq!(usage["total"]["requests"], count, "{usage}");
    assert_eq!(usage["total"]["cancelled"], cancelled, "{usage}");
    println!(
        "{count} tasks, {cancelled} cancelled, {kills} kills: {expected} tokens of answers, all settled"
    );
}
