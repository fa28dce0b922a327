//! Tests stores that the queue can't use or that accept no tasks: they are refused at start and reported by `/ready`.

use std::fs;
use std::process::Command;
use std::time::Duration;

use harness::client::{Answer, Client};
use harness::process::{Home, KEY, Process};
use harness::redis::{RedisServer, limit_files};
use harness::system::{Node, Plan, System};
use harness::{free_port, wait_for};
use serde_json::json;

const SOON: Duration = Duration::from_secs(20);

/// Starts a process that must refuse to start, and returns its output.
fn refused(binary: &str, url: &str) -> String {
    let home = Home::new();
    let settings = [("REDIS_URL", url), ("PORT", "0"), ("API_KEYS", KEY), ("MODEL_NAME", "demo")];
    let mut process = Process::start(&home, binary, &[], &settings);
    let status = process.wait(SOON);
    let output = process.output();
    assert!(!status.success() && !output.contains("panicked"), "{output}");
    output
}

#[test]
fn missing_redis_right_is_named_and_prevents_the_start() {
    let redis = RedisServer::start();
    for binary in ["qwen-queue-gateway", "qwen-queue-worker"] {
        for (right, name) in [
            ("+publish", "PUBLISH"),
            ("+xadd", "XADD"),
            ("+script|load", "SCRIPT LOAD"),
            ("+subscribe", "SUBSCRIBE"),
            ("~qq:*", "writing the keys qq:*"),
            ("&qq:*", "the channels qq:*"),
        ] {
            let url = redis.user("partial", &[&format!("-{right}")]);
            let said = refused(binary, &url);
            let grant = format!("ACL SETUSER partial {right}");
            assert!(
                said.contains(name) && said.contains(&grant),
                "{binary} without {right}: {said}"
            );
            assert!(!said.contains("test-redis-0123456789"), "the password is shown: {said}");
        }
    }
}

#[test]
fn documented_acl_rule_is_sufficient_for_a_task() {
    let redis = RedisServer::start();
    let url = redis.user("qwen-queue", &[]);
    let port = free_port().to_string();
    let settings =
        [("REDIS_URL", url.as_str()), ("PORT", &port), ("API_KEYS", KEY), ("MODEL_NAME", "demo")];
    let homes = [Home::new(), Home::new()];
    let mut gateway = Process::start(&homes[0], "qwen-queue-gateway", &[], &settings);
    let _worker = Process::start(&homes[1], "qwen-queue-worker", &[], &settings);
    let client = Client::new(port.parse().expect("a port"));
    client.wait_until_healthy(&mut gateway, true);
    let task = client.submit(&json!({"prompt": "How do I add a worker?", "max_tokens": 8}));
    assert_eq!(client.wait_for_result(&task, SOON).body["status"], "completed");
    let denied = redis.command(&["ACL", "LOG"]);
    assert!(!denied.contains("qwen-queue"), "Redis refused something: {denied}");
}

#[test]
fn evicting_redis_is_refused_at_start() {
    let redis = RedisServer::with(&["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"]);
    for binary in ["qwen-queue-gateway", "qwen-queue-worker"] {
        let said = refused(binary, &redis.url());
        for words in ["allkeys-lru", "noeviction", "REDIS_ALLOW_EVICTION=true"] {
            assert!(said.contains(words), "{words}: {said}");
        }
    }
    let port = free_port();
    let (url, port_text) = (redis.url(), port.to_string());
    let settings = [
        ("REDIS_URL", url.as_str()),
        ("PORT", &port_text),
        ("API_KEYS", KEY),
        ("REDIS_ALLOW_EVICTION", "true"),
    ];
    let home = Home::new();
    let mut gateway = Process::start(&home, "qwen-queue-gateway", &[], &settings);
    Client::new(port).wait_until_healthy(&mut gateway, false);
    let log = home.read("logs/app.log");
    assert!(log.contains("it evicts (maxmemory-policy allkeys-lru)"), "{log}");
    assert!(log.contains("MAX_QUEUE_BYTES=536870912 is more than half"), "{log}");
}

/// Both are 503 with that reason, and a submit is refused.
fn is_full(client: &Client, words: &str) {
    let full = |path: &str| {
        wait_for(&format!("{path} to say '{words}'"), SOON, || {
            let answer = client.try_get(path)?;
            let says = answer.body["reason"].as_str().is_some_and(|said| said.contains(words));
            (answer.status == 503 && says).then_some(answer)
        })
    };
    for answer in [full("/ready"), full("/health")] {
        let Answer { body, retry_after, .. } = answer;
        assert_eq!(body["status"], "unhealthy", "{body}");
        assert!(retry_after.is_some(), "{body}");
        let reason = body["reason"].as_str().expect("a reason");
        assert!(!reason.contains("127.0.0.1") && !reason.contains("/tmp"), "{reason}");
    }
    let submit = client.post("/generate", &json!({"prompt": "x".repeat(300_000)}));
    assert_eq!(submit.status, 503, "{submit:?}");
}

/// They recover by themselves, and a task is done.
fn is_well(client: &Client) {
    wait_for("/ready", SOON, || (client.try_get("/ready")?.status == 200).then_some(()));
    let health = client.get("/health");
    assert_eq!((health.status, &health.body["status"]), (200, &json!("healthy")));
    assert!(health.body.get("reason").is_none(), "{health:?}");
    let task = client.submit(&json!({"prompt": "again", "max_tokens": 4}));
    assert_eq!(client.wait_for_result(&task, SOON).body["status"], "completed");
}

#[test]
fn readiness_follows_a_redis_that_refuses_tasks() {
    let system = System::start(&Plan {
        model: "demo",
        workers: 1,
        lease: Duration::from_secs(5),
        settings: &[],
    });
    let System { redis, client, gateway, .. } = &system;
    is_well(client);
    let set = |name: &str, value: &str| {
        assert_eq!(redis.command(&["CONFIG", "SET", name, value]), "OK");
    };
    set("maxmemory", "1");
    is_full(client, "out of memory");
    set("maxmemory", "0");
    is_well(client);

    redis.command(&["REPLICAOF", "127.0.0.1", "1"]);
    is_full(client, "read-only replica");
    redis.command(&["REPLICAOF", "NO", "ONE"]);
    is_well(client);

    redis.limit_files(Some(16));
    is_full(client, "can't write to its disk");
    redis.limit_files(None);
    is_well(client);

    // A configuration that may lose tasks later causes a warning, and the process continues.
    set("maxmemory", "1gb");
    set("maxmemory-policy", "volatile-lru");
    let warned =
        |node: &Node| node.log("app").contains("it evicts (maxmemory-policy volatile-lru)");
    wait_for("warnings", SOON, || (warned(gateway) && warned(&system.workers[0])).then_some(()));
    is_well(client);
    set("maxmemory-policy", "noeviction");
    wait_for("the all-clear", SOON, || {
        gateway.log("app").contains("set up as it should be again").then_some(())
    });
    assert!(!gateway.log("app").contains("panicked"));
}

fn up(home: &Home) -> (Process, Client) {
    let port = free_port();
    let port_text = port.to_string();
    let settings = [("PORT", port_text.as_str()), ("API_KEYS", KEY), ("MODEL_NAME", "demo")];
    let mut process = Process::start(home, "qwen-queue", &["up"], &settings);
    let client = Client::new(port);
    client.wait_until_healthy(&mut process, true);
    (process, client)
}

#[test]
fn submits_are_refused_after_the_data_dir_is_deleted() {
    let home = Home::new();
    let (mut process, client) = up(&home);
    is_well(&client);
    let done = client.submit(&json!({"prompt": "before", "max_tokens": 4}));
    assert_eq!(client.wait_for_result(&done, SOON).body["status"], "completed");
    let data = home.path().join("data");

    // The folder is moved away and back, and the process continues.
    let aside = home.path().join("aside");
    fs::rename(&data, &aside).expect("moved");
    for _ in 0..20 {
        assert_eq!(client.post("/generate", &json!({"prompt": "x"})).status, 503);
    }
    is_full(&client, "deleted, moved or replaced");
    fs::rename(&aside, &data).expect("moved back");
    is_well(&client);

    fs::remove_dir_all(&data).expect("deleted");
    for _ in 0..20 {
        assert_eq!(client.post("/generate", &json!({"prompt": "x"})).status, 503);
    }
    is_full(&client, "deleted, moved or replaced");
    assert_eq!(client.get(&format!("/result/{done}")).status, 200, "what is there can be read");
    let log = home.read("logs/app.log");
    assert!(log.contains("queue.db") && log.contains("start the process again"), "{log}");
    process.signal("TERM");
    process.wait(Duration::from_secs(60));
    let (_process, client) = up(&home);
    is_well(&client);
}

#[test]
fn readiness_of_up_follows_a_full_disk() {
    let home = Home::new();
    let port = free_port();
    let port_text = port.to_string();
    // A write beyond the limit fails, as on a full disk, and does not end the process. Logs are elsewhere.
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; exec \"$0\" up"]).arg(harness::process::binary("qwen-queue"));
    shell
        .current_dir(home.path())
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", home.path());
    shell.envs([("PORT", port_text.as_str()), ("API_KEYS", KEY), ("MODEL_NAME", "demo")]);
    shell.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut process = Killed(shell.spawn().expect("it starts"));
    let client = Client::new(port);
    wait_for("/ready", Duration::from_secs(60), || {
        (client.try_get("/ready")?.status == 200).then_some(())
    });
    let id = process.0.id().to_string();
    for bytes in [64 << 10, 200 << 10] {
        limit_files(&id, Some(bytes));
        is_full(&client, "disk is full");
        limit_files(&id, None);
        is_well(&client);
    }
    assert!(process.0.try_wait().expect("a child").is_none(), "it lives");
}

/// A process that ends with the test.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
