//! A worker that serves several models, with memory for one at a time.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use harness::client::Client;
use harness::history::LogLine;
use harness::process::{ADMIN_KEY, Home, Process};
use harness::system::{Plan, System};
use harness::{models, wait_for};
use serde_json::{Value, json};

const LEASE: Duration = Duration::from_secs(3);
const LONG: Duration = Duration::from_secs(120);
/// Memory for one of the slow models, which take some 130 MiB each by the worker's plan, and not
/// for two.
const ROOM_FOR_ONE: &str = "209715200";

/// Copies the slow model to two names.
fn two(home: &Home) -> [PathBuf; 2] {
    ["one.gguf", "two.gguf"].map(|name| {
        let path = home.path().join(name);
        fs::copy(models::slow(), &path).expect("a copy");
        path
    })
}

fn named(paths: &[&Path]) -> String {
    let names: Vec<&str> = paths.iter().map(|path| path.to_str().expect("UTF-8")).collect();
    names.join(",")
}

fn start(model: &str, settings: &[(&str, &str)]) -> System {
    let common = [
        ("ADMIN_API_KEY", ADMIN_KEY),
        ("MAX_BATCH_SIZE", "2"),
        ("KV_TOKENS", "2048"),
        ("MODEL_TURN_SECONDS", "1"),
    ];
    let settings = [&common, settings].concat();
    System::start(&Plan { model, workers: 1, lease: LEASE, settings: &settings })
}

fn long(model: &str, max_tokens: u32) -> Value {
    json!({
        "model": model, "prompt": "count", "raw": true, "max_tokens": max_tokens, "temperature": 0.0
    })
}

/// Returns the report of the only worker on each of its models, by name.
fn served(system: &System) -> HashMap<String, Value> {
    let answer = Client::with_key(system.client.port(), ADMIN_KEY).get("/admin/workers");
    let models = answer.body["workers"][0]["models"].as_array().cloned().unwrap_or_default();
    let name = |model: &Value| model["model"].as_str().map(str::to_owned);
    models.into_iter().filter_map(|model| Some((name(&model)?, model))).collect()
}

fn state(system: &System, model: &str) -> String {
    served(system).get(model).and_then(|one| one["state"].as_str()).unwrap_or("").to_owned()
}

/// Returns the resident memory of a process in bytes.
fn held(process: &Process) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid()))
        .expect("the process has ended");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux");
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).expect("KiB") << 10
}

fn completed(system: &System, tasks: &[String]) {
    for task in tasks {
        let result = system.client.wait_for_result(task, LONG);
        assert_eq!(result.body["status"], "completed", "{result:?}");
    }
}

/// Checks that each task has one line in `llm_requests.log`.
fn assert_each_ended_once(system: &System, tasks: &[String]) {
    let lines = wait_for("a line for each task", Duration::from_secs(10), || {
        let lines: Vec<LogLine> = system.lines();
        (lines.len() >= tasks.len()).then_some(lines)
    });
    for task in tasks {
        assert_eq!(lines.iter().filter(|line| line.task == *task).count(), 1, "{task}");
    }
    assert_eq!(lines.len(), tasks.len());
}

#[test]
#[allow(clippy::print_stdout)] // what was measured belongs to a test's output
fn two_models_with_memory_for_one_take_turns_and_no_task_is_lost() {
    let home = Home::new();
    let [one, two] = two(&home);
    let mut system = start(&named(&[&one, &two]), &[("MAX_MODEL_BYTES", ROOM_FOR_ONE)]);
    let of = served(&system);
    assert_eq!((&of["one"]["state"], &of["two"]["state"]), (&json!("loaded"), &json!("unloaded")));
    assert!(of["one"]["load_seconds"].as_f64() > Some(0.0), "{of:?}");
    assert_eq!(of["two"]["load_seconds"], Value::Null, "{of:?}");
    // Lets the first model compute once, so that all memory it uses is resident.
    let warm = system.client.submit(&long("one", 100));
    completed(&system, std::slice::from_ref(&warm));
    let before = held(system.workers[0].process());

    // Submits tasks for both until they have taken turns.
    let mut tasks = vec![warm];
    let mut most = before;
    let turns = |system: &System, name: &str| {
        system.workers[0].log("app").matches(&format!("{name} makes room")).count()
    };
    let began = Instant::now();
    while turns(&system, "one") < 2 || turns(&system, "two") < 1 {
        assert!(began.elapsed() < LONG, "{}", system.workers[0].log("app"));
        tasks.extend(["one", "two"].map(|name| system.client.submit(&long(name, 100))));
        most = most.max(held(system.workers[0].process()));
        std::thread::sleep(Duration::from_millis(100));
    }
    let waits = Instant::now();
    while waits.elapsed() < LONG && system.client.status(&tasks[tasks.len() - 1]) != "completed" {
        most = most.max(held(system.workers[0].process()));
        std::thread::sleep(Duration::from_millis(50));
    }
    completed(&system, &tasks);
    assert_each_ended_once(&system, &tasks);

    println!(
        "one went {} times, two {} times; {} MiB held with one loaded, at most {} MiB later",
        turns(&system, "one"),
        turns(&system, "two"),
        before >> 20,
        most >> 20
    );
    // A model's weights take 40 MB, so memory that was not returned would show at the first turn.
    assert!(most < before + (30 << 20), "{} MiB, then {} MiB", before >> 20, most >> 20);
}

#[test]
fn models_that_fit_together_stay_loaded_and_run_concurrently() {
    let home = Home::new();
    let [one, two] = two(&home);
    let mut system = start(&named(&[&one, &two]), &[("MAX_MODEL_BYTES", "1073741824")]);
    let mut tasks: Vec<String> = (0..8).map(|_| system.client.submit(&long("one", 900))).collect();
    system.client.wait_for_state(&tasks[0], "processing");
    let other = system.client.submit(&long("two", 5));
    completed(&system, std::slice::from_ref(&other));
    assert_ne!(
        system.client.status(&tasks[7]),
        "completed",
        "the second model did not run beside the first"
    );
    tasks.push(other);
    wait_for("the report of both", LONG, || {
        (state(&system, "one") == "loaded" && state(&system, "two") == "loaded").then_some(())
    });
    completed(&system, &tasks);
    assert_each_ended_once(&system, &tasks);
    system.workers[0].terminate();
}

#[test]
fn a_worker_killed_while_it_switches_models_loses_nothing() {
    let home = Home::new();
    let [one, two] = two(&home);
    let mut system = start(&named(&[&one, &two]), &[("MAX_MODEL_BYTES", ROOM_FOR_ONE)]);
    let mut tasks: Vec<String> = Vec::new();
    for _ in 0..4 {
        tasks.push(system.client.submit(&long("one", 150)));
        tasks.push(system.client.submit(&long("two", 20)));
    }
    wait_for("the change to begin", LONG, || {
        system.workers[0].log("app").contains("loading two").then_some(())
    });
    system.workers[0].kill_9();
    system.workers[0].start();
    completed(&system, &tasks);
    assert_each_ended_once(&system, &tasks);
}

#[test]
fn a_model_that_cannot_be_loaded_fails_only_its_own_tasks() {
    let home = Home::new();
    let [one, two] = two(&home);
    let settings = [("MAX_MODEL_BYTES", ROOM_FOR_ONE), ("MAX_ATTEMPTS", "2")];
    let mut system = start(&named(&[&one, &two]), &settings);
    // The file existed when the worker started.
    fs::remove_file(&two).expect("the file is missing");
    let (good, bad) = (system.client.ask("x"), system.client.submit(&long("two", 5)));
    let result = system.client.wait_for_result(&bad, LONG);
    assert_eq!(result.body["status"], "error", "{result:?}");
    let message = result.body["error_message"].as_str().unwrap_or_default();
    assert!(
        message.contains("two could not be loaded") && message.contains("two.gguf"),
        "{result:?}"
    );
    completed(&system, std::slice::from_ref(&good));
    wait_for("the report", LONG, || (state(&system, "two") == "failed").then_some(()));
    let after = system.client.ask("y");
    let result = system.client.wait_for_result(&after, LONG);
    assert_eq!(result.body["status"], "completed", "the other model must still answer: {result:?}");
    assert_each_ended_once(&system, &[good, bad, after]);
    system.workers[0].terminate();
}
