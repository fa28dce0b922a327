//! Tests `audit.log`, and the operators' commands on a listener of their own.

use std::time::Duration;

use harness::cli::{ADMIN_KEY, Cli};
use harness::client::Client;
use harness::process::{Home, KEY, Process};
use harness::{free_port, wait_for};
use serde_json::json;

const SOON: Duration = Duration::from_secs(20);

fn up(home: &Home, more: &[(&str, &str)]) -> (Process, u16) {
    let port = free_port();
    let port_text = port.to_string();
    let settings = [("PORT", port_text.as_str()), ("API_KEYS", KEY), ("ADMIN_API_KEY", ADMIN_KEY)];
    let mut process = Process::start(home, "qwen-queue", &["up"], &[&settings, more].concat());
    Client::new(port).wait_until_healthy(&mut process, true);
    (process, port)
}

/// Waits for a line with all these parts.
fn line(home: &Home, parts: &[&str]) -> String {
    wait_for(&format!("a line with {parts:?}"), SOON, || {
        let log = home.read("logs/audit.log");
        log.lines().find(|line| parts.iter().all(|part| line.contains(part))).map(str::to_owned)
    })
}

#[test]
fn acts_and_refused_calls_have_their_lines() {
    let home = Home::new();
    let (mut process, port) = up(&home, &[]);
    let cli = Cli::new(port);
    cli.stdout(&["pause", "demo"]);
    cli.stdout(&["resume", "demo"]);
    let paused = line(&home, &["act=pause "]);
    assert!(paused.contains("] act=pause actor=env_"), "{paused}");
    assert!(paused.ends_with(" address=127.0.0.1 object=demo result=ok status=200"), "{paused}");
    line(&home, &["act=resume ", "result=ok"]);
    cli.stdout(&["tasks", "cancel", "--model", "demo", "--older-than", "1h", "--dry-run"]);
    line(&home, &["act=tasks.count ", "model:demo older_than:3600", "result=ok"]);
    cli.stdout(&["tasks", "cancel", "--all", "--yes"]);
    line(&home, &["act=tasks.cancel ", " object=all result=ok"]);
    let admin = Client::with_key(port, ADMIN_KEY);
    let evil = "x result=ok\n[2025-11-21 15:30:45] act=pause";
    assert_eq!(admin.post("/admin/pause", &json!({"model": evil})).status, 404);
    let failed = line(&home, &["act=pause ", "status=404"]);
    assert!(
        failed.contains(" result=refused ") && failed.matches("result=").count() == 1,
        "{failed}"
    );

    let client = Client::new(port);
    assert_eq!(client.get("/admin/overview").status, 403);
    let refused = line(&home, &["act=access ", "status=403"]);
    assert!(refused.contains("object=\"GET /admin/overview\" result=refused"), "{refused}");
    client.ask("Never logged here");

    // A flood from one address has 20 lines; the rest is counted.
    let wrong = Client::with_key(port, "wrong-key-0123456789");
    for _ in 0..100 {
        assert!([401, 429].contains(&wrong.get("/v1/models").status));
    }
    process.signal("TERM");
    assert!(process.wait(SOON).success());
    let log = home.read("logs/audit.log");
    let lines = log.lines().filter(|line| line.contains("act=access ")).count();
    assert!((15..=22).contains(&lines), "{lines} lines:\n{log}");
    let counted = log.lines().find(|line| line.contains("suppressed=")).expect("a count");
    assert!(counted.contains("address=127.0.0.1 result=refused suppressed=8"), "{counted}");
    for secret in [KEY, ADMIN_KEY, "wrong-key", "Never logged"] {
        assert!(!log.contains(secret), "{secret} is in audit.log");
    }
    let shown = cli.stdout(&[
        "logs",
        "--audit",
        "--dir",
        &home.path().join("logs").display().to_string(),
        "-n",
        "500",
    ]);
    assert_eq!(shown.lines().count(), log.lines().count());
    let json = cli.stdout(&[
        "logs",
        "--audit",
        "--json",
        "-n",
        "1",
        "--dir",
        &home.path().join("logs").display().to_string(),
    ]);
    let last: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(last["act"], "access", "{last}");
}

#[test]
fn operators_use_the_listener_of_their_own() {
    let home = Home::new();
    let admin = free_port().to_string();
    let (_up, port) = up(&home, &[("ADMIN_PORT", &admin), ("LOG_FORMAT", "json")]);
    assert_eq!(Client::with_key(port, ADMIN_KEY).get("/admin/overview").status, 404);
    let cli = Cli::new(port);
    let told = cli.refusal(&["queues"]);
    assert!(told.contains("404"), "{told}");
    for (name, value) in [
        ("ADMIN_PORT", admin.clone()),
        ("QWEN_QUEUE_ADMIN_URL", format!("http://127.0.0.1:{admin}")),
    ] {
        for args in [&["queues"][..], &["top", "--once"], &["pause", "demo"], &["resume", "demo"]] {
            let program = harness::process::binary("qwen-queue");
            let output =
                cli.command(program.to_str().expect("UTF-8"), args).env(name, &value).output();
            let output = output.expect("it runs");
            assert!(output.status.success(), "{name} {args:?}: {output:?}");
        }
    }
    assert!(
        cli.stdout(&["submit", "--wait", "--max-tokens", "1", "What is a lease?"]).len() < 10_000
    );
    let paused = line(&home, &["\"act\":\"pause\""]);
    let paused: serde_json::Value = serde_json::from_str(&paused).expect("JSON");
    assert_eq!((&paused["object"], &paused["result"]), (&json!("demo"), &json!("ok")));
}
