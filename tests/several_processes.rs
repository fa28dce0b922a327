//! Gateway and workers as separate processes that share a Redis.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use harness::client::Client;
use harness::cluster::RedisCluster;
use harness::process::{Home, KEY, Process};
use harness::redis::RedisServer;
use harness::{free_port, models, wait_for};
use serde_json::{Value, json};

const LEASE: Duration = Duration::from_secs(3);

/// A gateway and two workers.
struct System {
    redis: RedisServer,
    client: Client,
    gateway: Process,
    workers: Vec<Process>,
    homes: Vec<Home>,
}

impl System {
    fn start(model: &str, more: &[(&str, &str)]) -> Self {
        let redis = RedisServer::durable();
        let homes: Vec<Home> = (0..3).map(|_| Home::new()).collect();
        let port = free_port();
        let (url, port_text) = (redis.url(), port.to_string());
        let lease = LEASE.as_secs().to_string();
        let mut settings = vec![
            ("REDIS_URL", url.as_str()),
            ("PORT", port_text.as_str()),
            ("API_KEYS", KEY),
            ("MODEL_NAME", model),
            ("LEASE_SECONDS", lease.as_str()),
        ];
        settings.extend_from_slice(more);
        let mut gateway = Process::start(&homes[0], "qwen-queue-gateway", &[], &settings);
        let workers = homes[1..]
            .iter()
            .map(|home| Process::start(home, "qwen-queue-worker", &[], &settings))
            .collect();
        let client = Client::new(port);
        client.wait_until_healthy(&mut gateway, true);
        let system = Self { redis, client, gateway, workers, homes };
        wait_for("both workers", Duration::from_secs(60), || {
            (system.client.get("/health").body["workers"].as_u64() >= Some(2)).then_some(())
        });
        system
    }

    /// Returns how often each task was logged as ended, by workers and gateway.
    fn outcomes(&self) -> HashMap<String, usize> {
        let mut counts = HashMap::new();
        for line in self.homes.iter().map(|home| home.read("logs/llm_requests.log")) {
            for id in line.lines().filter_map(|l| l.split("task_id=").nth(1)?.split(' ').next()) {
                *counts.entry(id.to_owned()).or_default() += 1;
            }
        }
        counts
    }
}

fn long(max_tokens: u32) -> Value {
    json!({"prompt": "count", "raw": true, "max_tokens": max_tokens, "temperature": 0.0})
}

#[test]
fn two_workers_share_fifty_tasks_and_each_has_one_outcome() {
    let system = System::start("demo", &[]);
    let tasks: Vec<String> =
        (0..50).map(|n| system.client.ask(&format!("How long are results kept? ({n})"))).collect();
    for task in &tasks {
        let result = system.client.wait_for_result(task, Duration::from_secs(60));
        assert_eq!(result.body["status"], "completed", "{result:?}");
    }
    let outcomes = wait_for("50 log lines", Duration::from_secs(10), || {
        Some(system.outcomes()).filter(|counts| counts.len() >= 50)
    });
    assert!(tasks.iter().all(|task| outcomes[task] == 1), "{outcomes:?}");
    for home in &system.homes[1..] {
        let share = home.read("logs/llm_requests.log").lines().count();
        assert!(share > 0, "one worker did all the work");
    }
}

#[test]
fn disconnected_client_does_not_affect_its_task() {
    let system = System::start("demo", &[]);
    let task = system.client.ask("What is a lease?");
    // Another client, on its own connection, requests the result.
    let port = system.client.port();
    drop(system.client);
    let later = Client::new(port);
    let result = later.wait_for_result(&task, Duration::from_secs(30));
    assert_eq!(result.body["status"], "completed", "{result:?}");
}

#[test]
fn a_worker_killed_during_an_answer_loses_nothing() {
    let model = models::slow();
    let mut system = System::start(model.to_str().expect("UTF-8"), &[("MAX_BATCH_SIZE", "1")]);
    let task = system.client.submit(&long(200));
    system.client.wait_for_state(&task, "processing");
    let victim = wait_for("the worker that has it", Duration::from_secs(10), || {
        (1..3).find(|&n| system.homes[n].read("logs/app.log").contains(&task))
    });
    let began = Instant::now();
    system.workers.remove(victim - 1).kill_9();
    let recovered = wait_for("the other worker to take over", 2 * LEASE, || {
        let other = &system.homes[3 - victim];
        other.read("logs/app.log").contains(&task).then(|| began.elapsed())
    });
    println!("recovered after {:.2} s, the lease is {LEASE:?}", recovered.as_secs_f64());
    let result = system.client.wait_for_result(&task, Duration::from_secs(60));
    assert_eq!(result.body["status"], "completed", "{result:?}");
    wait_for("its log line", Duration::from_secs(5), || system.outcomes().get(&task).copied());
    assert_eq!(system.outcomes()[&task], 1);
}

#[test]
fn worker_frozen_past_its_lease_records_no_outcome() {
    let model = models::slow();
    let system = System::start(model.to_str().expect("UTF-8"), &[("MAX_BATCH_SIZE", "1")]);
    let task = system.client.submit(&long(300));
    system.client.wait_for_state(&task, "processing");
    let victim = wait_for("the worker that has it", Duration::from_secs(10), || {
        (1..3).find(|&n| system.homes[n].read("logs/app.log").contains(&task))
    });
    system.workers[victim - 1].signal("STOP");
    let result = system.client.wait_for_result(&task, 2 * LEASE + Duration::from_secs(60));
    system.workers[victim - 1].signal("CONT");
    assert_eq!(result.body["status"], "completed", "{result:?}");
    wait_for("the late worker to notice", Duration::from_secs(60), || {
        system.homes[victim].read("logs/app.log").contains("its lease was lost").then_some(())
    });
    assert_eq!(system.outcomes()[&task], 1);
}

#[test]
fn tasks_survive_kill_and_restart_of_redis() {
    let mut system = System::start("demo", &[]);
    let before = system.client.ask("What is a lease?");
    system.client.wait_for_result(&before, Duration::from_secs(30));
    std::thread::sleep(Duration::from_millis(1100)); // until after the append-only file's next fsync
    system.redis.kill();
    let began = Instant::now();
    let refused = system.client.post("/generate", &json!({"prompt": "hello"}));
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.retry_after.is_some_and(|s| (1..=120).contains(&s)), "{refused:?}");
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "an unreachable queue must be reported at once"
    );
    let health = system.client.get("/health");
    assert_eq!(health.body["redis_connected"], false, "{health:?}");

    system.redis.restart();
    system.client.wait_until_healthy(&mut system.gateway, true);
    assert_eq!(system.client.status(&before), "completed", "an acknowledged outcome was lost");
    let after = system.client.ask("What is a worker?");
    let result = system.client.wait_for_result(&after, Duration::from_secs(60));
    assert_eq!(result.body["status"], "completed", "{result:?}");
}

#[test]
fn cancel_stops_a_running_task_and_a_full_queue_says_when_to_retry() {
    let model = models::slow();
    let settings = [("MAX_BATCH_SIZE", "1"), ("MAX_QUEUE_SIZE", "2")];
    let system = System::start(model.to_str().expect("UTF-8"), &settings);
    let running: Vec<String> = (0..2)
        .map(|_| {
            let task = system.client.submit(&long(2000));
            system.client.wait_for_state(&task, "processing");
            task
        })
        .collect();
    let queued: Vec<String> = (0..2).map(|_| system.client.submit(&long(2000))).collect();
    let full = system.client.post("/generate", &long(5));
    assert_eq!(full.status, 429, "{full:?}");
    assert!(full.retry_after.is_some_and(|s| (1..=120).contains(&s)), "{full:?}");

    for (tasks, expected) in [(&queued, 200), (&running, 202)] {
        for task in tasks {
            let reply = system.client.post(&format!("/cancel/{task}"), &json!({}));
            assert_eq!(reply.status, expected, "{reply:?}");
        }
    }
    let began = Instant::now();
    for task in queued.iter().chain(&running) {
        system.client.wait_for_state(task, "cancelled");
    }
    println!("all cancelled after {:.3} s", began.elapsed().as_secs_f64());
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "cancelling must take one step, not a whole answer"
    );
    let next = system.client.submit(&long(3));
    system.client.wait_for_result(&next, Duration::from_secs(20));
}

#[test]
fn workers_of_two_models_claim_only_their_own_tasks() {
    let redis = RedisServer::durable();
    let url = redis.url();
    let slow = models::slow();
    let slow = slow.to_str().expect("UTF-8");
    let port = free_port();
    let port_text = port.to_string();
    let settings = |model| {
        [
            ("REDIS_URL", url.as_str()),
            ("PORT", &port_text),
            ("API_KEYS", KEY),
            ("MODEL_NAME", model),
        ]
    };
    let homes: Vec<Home> = (0..3).map(|_| Home::new()).collect();
    let mut gateway = Process::start(&homes[0], "qwen-queue-gateway", &[], &settings("demo"));
    let _demo = Process::start(&homes[1], "qwen-queue-worker", &[], &settings("demo"));
    let _slow = Process::start(&homes[2], "qwen-queue-worker", &[], &settings(slow));
    let client = Client::new(port);
    client.wait_until_healthy(&mut gateway, true);
    wait_for("both workers", Duration::from_secs(60), || {
        (client.get("/health").body["workers"].as_u64() >= Some(2)).then_some(())
    });
    let ask = |model: &str| {
        client.submit(&json!({"prompt": "count", "raw": true, "max_tokens": 5, "model": model}))
    };
    let other = protocol_name(slow);
    let tasks: Vec<(usize, String)> =
        (0..20).map(|n| if n % 2 == 0 { (1, ask("demo")) } else { (2, ask(&other)) }).collect();
    for (home, task) in &tasks {
        let result = client.wait_for_result(task, Duration::from_secs(60));
        assert_eq!(result.body["status"], "completed", "{result:?}");
        wait_for("its line in the right worker's log", Duration::from_secs(10), || {
            homes[*home].read("logs/llm_requests.log").contains(task).then_some(())
        });
    }
    let unknown = client.post("/generate", &json!({"prompt": "x", "model": "no-such-model"}));
    assert_eq!(unknown.status, 422, "{unknown:?}");
    let told = unknown.body.to_string();
    assert!(told.contains("demo") && told.contains(&other), "it names those that are: {told}");
}

/// Three partitions on three nodes. While a node is away, submits to its partition are refused with
/// 503 and those to the others are accepted; no accepted task is lost.
#[test]
fn a_cluster_tolerates_the_temporary_loss_of_a_node() {
    let mut cluster = RedisCluster::durable();
    let (url, port) = (cluster.url(), free_port());
    let port_text = port.to_string();
    let settings = [
        ("REDIS_URL", url.as_str()),
        ("REDIS_PARTITIONS", "3"),
        ("PORT", &port_text),
        ("API_KEYS", KEY),
        ("LEASE_SECONDS", "3"),
    ];
    let homes: Vec<Home> = (0..3).map(|_| Home::new()).collect();
    let mut gateway = Process::start(&homes[0], "qwen-queue-gateway", &[], &settings);
    let _workers: Vec<Process> = homes[1..]
        .iter()
        .map(|home| Process::start(home, "qwen-queue-worker", &[], &settings))
        .collect();
    let client = Client::new(port);
    client.wait_until_healthy(&mut gateway, true);
    let mut accepted = Vec::new();
    let mut submit = |wanted: usize, limit: Duration| {
        let (goal, mut refused) = (accepted.len() + wanted, 0);
        wait_for("submits to be accepted", limit, || {
            let answer = client.post(
                "/generate",
                &json!({"prompt": "What is a lease?", "temperature": 0.0, "max_tokens": 16}),
            );
            match answer.status {
                202 => accepted.push(answer.body["task_id"].as_str().expect("an id").to_owned()),
                503 if answer.retry_after.is_some() => refused += 1,
                _ => panic!("{answer:?}"),
            }
            (accepted.len() >= goal).then_some(())
        });
        refused
    };
    assert_eq!(
        submit(30, Duration::from_secs(60)),
        0,
        "submits were refused although all nodes are up"
    );
    cluster.nodes[1].kill();
    let refused = submit(10, Duration::from_secs(90));
    cluster.nodes[1].restart();
    cluster.wait_until_all_slots_served();
    submit(30, Duration::from_secs(60));
    println!("{} accepted, {refused} refused while a node was away", accepted.len());
    for task in &accepted {
        let end = wait_for("an outcome", Duration::from_secs(90), || {
            let answer = client.get(&format!("/result/{task}"));
            assert!(matches!(answer.status, 200 | 202 | 503), "{task}: {answer:?}");
            (answer.status == 200).then_some(answer)
        });
        assert_eq!(end.body["status"], "completed", "{end:?}");
    }
}

/// Returns the public name of a model file: its stem.
fn protocol_name(path: &str) -> String {
    let name = std::path::Path::new(path).file_stem().and_then(|stem| stem.to_str());
    name.expect("a file name").to_owned()
}
