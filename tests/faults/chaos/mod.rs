//! Random faults, for a configurable time.
//!
//! ```sh
//! QWEN_QUEUE_CHAOS_SECONDS=3600 QWEN_QUEUE_CHAOS_SEED=7 \
//!     cargo test -p qwen-queue-tests --test faults chaos -- --nocapture
//! ```
//!
//! The seed is printed. The same seed gives the same faults at the same times; which tasks they hit
//! depends on the machine.

mod clients;
mod fault;
mod rng;

use std::time::{Duration, Instant};

use harness::client::Client;
use harness::history::TaskEvent;
use harness::process::KEY;
use harness::proxy::Proxy;
use harness::system::{Node, Plan, System};
use harness::{free_port, wait_for};

use crate::watching::attempts;
use clients::Load;
use fault::Schedule;
use rng::Rng;

const LEASE: Duration = Duration::from_secs(2);
const WORKERS: usize = 3;
/// The least number of tasks, however soon the time is over.
const TASKS: usize = 500;
const DEFAULT_SECONDS: u64 = 45;

/// The system under test.
struct ChaosSystem {
    system: System,
    /// A proxy between each worker and Redis.
    lines: Vec<Proxy>,
    /// In addition to the system's own gateway.
    second_gateway: Node,
}

impl ChaosSystem {
    fn start() -> (Self, [u16; 2]) {
        // Faults are not the tasks' fault, so no task may run out of attempts. Outcomes must not
        // expire during long runs.
        let settings =
            [("MAX_ATTEMPTS", "100"), ("RESULT_TTL", "2592000"), ("MAX_BATCH_SIZE", "4")];
        let plan = Plan { model: "demo", workers: 0, lease: LEASE, settings: &settings };
        let mut system = System::start(&plan);
        let lines: Vec<Proxy> = (0..WORKERS).map(|_| Proxy::to(system.redis.port())).collect();
        for line in &lines {
            system.add_worker(&[("REDIS_URL", &format!("redis://127.0.0.1:{}", line.port()))]);
        }
        system.wait_for_workers(WORKERS);

        let (url, port) = (system.redis.url(), free_port());
        let (port_text, lease) = (port.to_string(), LEASE.as_secs().to_string());
        let mut own = vec![("REDIS_URL", url.as_str()), ("PORT", &port_text), ("API_KEYS", KEY)];
        own.push(("LEASE_SECONDS", &lease));
        let log_dir = system.log_dir().to_str().expect("UTF-8").to_owned();
        own.push(("LOG_DIR", &log_dir));
        own.extend(settings);
        let mut second_gateway = Node::new("qwen-queue-gateway", &own);
        second_gateway.start();
        Client::new(port).wait_until_healthy(second_gateway.process(), true);
        let ports = [system.client.port(), port];
        (Self { system, lines, second_gateway }, ports)
    }
}

#[test]
fn chaos_breaks_no_promise() {
    let seconds = number("QWEN_QUEUE_CHAOS_SECONDS").unwrap_or(DEFAULT_SECONDS);
    let seed = number("QWEN_QUEUE_CHAOS_SEED").unwrap_or_else(harness::system::now_ms);
    println!("QWEN_QUEUE_CHAOS_SEED={seed} QWEN_QUEUE_CHAOS_SECONDS={seconds}");

    let (mut chaos, ports) = ChaosSystem::start();
    let load = Load::start(ports, TASKS, seed);
    let mut schedule = Schedule::new(Rng::new(seed));
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        schedule.advance(&mut chaos);
    }
    let tally = schedule.heal_all(&mut chaos);
    let healed = Instant::now();
    load.wait_for_tasks();
    let (mut witness, unsure_cancels) = load.stop();
    witness.wait_for_all(&chaos.system.client, Duration::from_secs(120));
    let took = healed.elapsed();

    wait_for("all workers", Duration::from_secs(30), || {
        let health = chaos.system.client.try_get("/health")?;
        (health.body["workers"].as_u64()? >= WORKERS as u64).then_some(())
    });
    // Another process writes the line that a killed one did not. A cancel without a response may also end a
    // task that nobody waits for.
    chaos.system.workers.push(chaos.second_gateway); // its log lines are checked too
    let history = witness.judge(&chaos.system, unsure_cancels);

    let last = |events: &Vec<TaskEvent>| events.last().map(|event| event.name.clone());
    let ended = |name: &str| {
        history.events.values().filter(|events| last(events).as_deref() == Some(name)).count()
    };
    let logged: std::collections::BTreeSet<&String> =
        history.lines.iter().map(|line| &line.task).collect();
    let unlogged = history.accepted.iter().filter(|task| !logged.contains(task)).count();
    println!(
        "{} tasks: {} completed, {} cancelled, {} failed; {} begun more than once; {unlogged} of {} \
         excusable log lines missing; all had ended {:.2} s after the last repair; {tally:?}",
        history.accepted.len(),
        ended("completed"),
        ended("cancelled"),
        ended("failed"),
        history.events.values().filter(|events| attempts(events) > 1).count(),
        unsure_cancels,
        took.as_secs_f64(),
    );
    assert!(history.accepted.len() >= TASKS, "too few tasks for a test");
    assert_eq!(ended("failed"), 0, "a task failed because of the faults");
}

/// Reads a number from an environment variable.
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}
