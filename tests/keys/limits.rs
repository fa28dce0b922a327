//! A limit holds across gateways and restarts.
#![allow(clippy::print_stdout)] // what was measured belongs to the test's output

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use harness::client::Client;
use harness::process::{ADMIN_KEY, Home, KEY, Process};
use harness::system::{Plan, System};
use harness::{free_port, wait_for};
use serde_json::json;

use crate::{make_key, prompt};

/// Requests per minute that the tests' key allows, and how many are sent at once.
const PER_MINUTE: usize = 600;
const REQUESTS: usize = 2_000;
const CLIENTS: usize = 48;

/// What became of requests that were sent at once.
struct Burst {
    accepted: usize,
    elapsed: Duration,
}

impl Burst {
    /// Sends `requests` to the gateways on `ports` by turns.
    fn send(ports: &[u16], key: &str, requests: usize) -> Self {
        let (next, accepted) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let began = Instant::now();
        thread::scope(|scope| {
            for client in 0..CLIENTS {
                let client = Client::with_key(ports[client % ports.len()], key);
                let (next, accepted) = (&next, &accepted);
                scope.spawn(move || {
                    loop {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        if n >= requests {
                            break;
                        }
                        let answer = client.post("/generate", &prompt(n));
                        match answer.status {
                            202 => _ = accepted.fetch_add(1, Ordering::Relaxed),
                            429 => {
                                let wait = answer.retry_after.expect("Retry-After");
                                assert!((1..=120).contains(&wait), "{answer:?}");
                            }
                            _ => panic!("{answer:?}"),
                        }
                    }
                });
            }
        });
        Self { accepted: accepted.into_inner(), elapsed: began.elapsed() }
    }

    /// The most that the limit allows in this time, if `left` of it were left at first.
    fn allowed(&self, left: f64) -> f64 {
        left + self.elapsed.as_secs_f64() * PER_MINUTE as f64 / 60.0
    }

    /// Checks that the limit was kept, and that no room was wasted.
    fn check(&self, name: &str, left: f64) {
        let allowed = self.allowed(left);
        println!(
            "{name}: {} accepted in {:.2} s of {allowed:.1} allowed ({:+.2} %)",
            self.accepted,
            self.elapsed.as_secs_f64(),
            (self.accepted as f64 / allowed - 1.0) * 100.0
        );
        assert!(self.accepted as f64 <= allowed * 1.01, "{name}: more than the limit");
        assert!(self.accepted as f64 >= left.floor(), "{name}: less than the limit");
    }
}

fn limited_key(port: u16) -> String {
    make_key(port, &json!({"name": "limited", "requests_per_minute": PER_MINUTE})).key
}

#[test]
fn three_gateways_keep_one_limit_over_restarts() {
    // Every write is on the disk before it is answered.
    let plan = Plan {
        model: "demo",
        workers: 0,
        lease: Duration::from_secs(3),
        settings: &[("ADMIN_API_KEY", ADMIN_KEY)],
    };
    let mut system = System::start(&plan);
    system.redis.command(&["CONFIG", "SET", "appendfsync", "always"]);
    let (others, clients): (Vec<_>, Vec<_>) = (0..2).map(|_| system.another_gateway()).unzip();
    let mut ports = vec![system.client.port()];
    ports.extend(clients.iter().map(Client::port));
    let key = limited_key(ports[0]);

    let first = Burst::send(&ports, &key, REQUESTS);
    first.check("three gateways", PER_MINUTE as f64);
    let left = first.allowed(PER_MINUTE as f64) - first.accepted as f64;

    let down = Instant::now();
    system.gateway.kill_9();
    system.redis.kill();
    system.redis.restart();
    system.gateway.start();
    system.client.wait_until_healthy(system.gateway.process(), false);
    wait_for("the other gateways", Duration::from_secs(20), || {
        clients
            .iter()
            .all(|client| client.try_get("/health").is_some_and(|a| a.status == 200))
            .then_some(())
    });
    let came_back = down.elapsed().as_secs_f64() * PER_MINUTE as f64 / 60.0;
    let second = Burst::send(&ports, &key, REQUESTS / 2);
    // Not more than came back since the first burst ended.
    let allowed = second.allowed(left.max(0.0) + came_back);
    println!("after the restarts: {} accepted of {allowed:.1} allowed", second.accepted);
    assert!(second.accepted as f64 <= allowed * 1.01 + 1.0, "the limit was forgotten");
    assert!(second.accepted > 0);
    drop(others);
}

#[test]
fn embedded_queue_keeps_a_limit_over_a_kill() {
    let home = Home::new();
    let port = free_port();
    let settings = [("PORT", &*port.to_string()), ("API_KEYS", KEY), ("ADMIN_API_KEY", ADMIN_KEY)];
    let client = Client::new(port);
    let mut process = Process::start(&home, "qwen-queue", &["up"], &settings);
    client.wait_until_healthy(&mut process, true);
    let key = limited_key(port);
    let first = Burst::send(&[port], &key, REQUESTS);
    first.check("embedded queue", PER_MINUTE as f64);
    let left = (first.allowed(PER_MINUTE as f64) - first.accepted as f64).max(0.0);

    let down = Instant::now();
    process.kill_9();
    let mut process = Process::start(&home, "qwen-queue", &["up"], &settings);
    client.wait_until_healthy(&mut process, false);
    let came_back = down.elapsed().as_secs_f64() * PER_MINUTE as f64 / 60.0;
    let second = Burst::send(&[port], &key, REQUESTS / 2);
    let allowed = second.allowed(left + came_back);
    println!("after the kill: {} accepted of {allowed:.1} allowed", second.accepted);
    assert!(second.accepted as f64 <= allowed * 1.01 + 1.0, "the limit was forgotten");
    assert!(second.accepted > 0);
}
