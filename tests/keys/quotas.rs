//! Tokens that tasks reserve are settled to the token, whatever dies.
//!
//! ```sh
//! QWEN_QUEUE_FULL_QUOTA=1 cargo nextest run --workspace --test keys quotas --no-capture
//! ```
//! runs 1,000 tasks with more kills.
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
    let full = std::env::var_os("QWEN_QUEUE_FULL_QUOTA").is_some();
    let (count, kills) = if full { (1_000, 12) } else { (250, 4) };
    let plan = Plan {
        model: "demo",
        workers: 2,
        lease: Duration::from_secs(2),
        settings: &[("ADMIN_API_KEY", ADMIN_KEY), ("MAX_ATTEMPTS", "20")],
    };
    let mut system = System::start(&plan);
    let port = system.client.port();
    let fields = json!({
        "name": "metered", "owner": "metered", "tokens_per_day": DAILY, "max_in_flight": count,
    });
    let client = Client::with_key(port, &make_key(port, &fields).key);

    let mut tasks = Vec::new();
    for n in 0..count {
        let body = json!({
            "prompt": format!("What is a lease? ({n})"), "temperature": 0.0, "max_tokens": 16 + n % 32,
            // Repeating the call after a kill makes no second task.
            "metadata": {"n": n.to_string()},
        });
        let key = format!("task-{n}");
        let task = wait_for("a task to be accepted", Duration::from_secs(60), || {
            let answer = client.try_post_with("/generate", &body, &[("Idempotency-Key", &key)])?;
            assert!([200, 202, 503].contains(&answer.status), "{answer:?}");
            Some(answer.body["task_id"].as_str()?.to_owned())
        });
        if n % 11 == 0 {
            let _ = client.try_post(&format!("/cancel/{task}"), &Value::Null);
        }
        tasks.push(task);
        if (n + 1) % (count / kills) == 0 {
            let node = if n % 2 == 0 { &mut system.gateway } else { &mut system.workers[n % 2] };
            node.kill_9();
            node.start();
        }
    }
    let mut expected = 0;
    let (mut completed, mut cancelled) = (0, 0);
    for task in &tasks {
        let end = wait_for("the end of a task", Duration::from_secs(120), || {
            let answer = client.try_get(&format!("/result/{task}"))?;
            ["completed", "failed", "cancelled"]
                .contains(&answer.body["status"].as_str()?)
                .then_some(answer.body)
        });
        match end["status"].as_str() {
            Some("completed") => completed += 1,
            Some("cancelled") => cancelled += 1,
            _ => panic!("{end}"),
        }
        let tokens = |name: &str| end["metrics"][name].as_u64().unwrap_or(0);
        expected += tokens("prompt_tokens") + tokens("completion_tokens");
    }
    let state = limit(&client, "tokens_per_day").expect("the limit's state");
    println!(
        "{count} tasks ({completed} completed, {cancelled} cancelled), {kills} kills: {expected} tokens; {state}"
    );
    assert_eq!(state["reserved"], 0, "tokens are still reserved");
    assert_eq!(state["limit"], DAILY);
    assert_eq!(
        DAILY - state["remaining"].as_u64().expect("a number"),
        expected,
        "used is not what tasks used"
    );
    let flight = limit(&client, "in_flight").expect("the limit's state");
    assert_eq!(flight["remaining"], count, "tasks are still counted as in flight");

    let admin = Client::with_key(port, ADMIN_KEY);
    let total = &admin.get("/admin/usage?owner=metered&group_by=owner").body["total"];
    assert_eq!(total["requests"], count, "{total}");
    assert_eq!(total["cancelled"], cancelled, "{total}");
    let sum = |name: &str| total[name].as_u64().expect("a number");
    assert_eq!(sum("prompt_tokens") + sum("completion_tokens"), expected, "{total}");
}
