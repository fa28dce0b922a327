//! Tests of the client commands.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::time::Duration;

use harness::cli::Cli;
use harness::client::Client;
use harness::process::{Home, KEY, Process, binary};
use harness::{free_port, models, system, wait_for};
use serde_json::Value;

struct System {
    home: Home,
    _up: Process,
    cli: Cli,
}

impl System {
    fn start(model: &str) -> Self {
        let (home, port) = (Home::new(), free_port());
        let port_text = port.to_string();
        let settings = [
            ("PORT", port_text.as_str()),
            ("API_KEYS", KEY),
            ("MODEL_NAME", model),
            ("LOG_TASK_DETAILS", "true"),
        ];
        let mut up = Process::start(&home, "qwen-queue", &["up"], &settings);
        Client::new(port).wait_until_healthy(&mut up, true);
        Self { home, _up: up, cli: Cli::new(port) }
    }

    fn stdout(&self, args: &[&str]) -> String {
        self.cli.stdout(args)
    }
}

#[test]
fn submit_result_status_and_cancel_print_plain_values() {
    let system = System::start("demo");
    let task = system.stdout(&["submit", "What is a lease?"]);
    assert_eq!(task.len(), 36, "expected only a task id: {task}");
    let waited = system.stdout(&["result", &task, "--wait"]);
    assert!(!waited.is_empty());
    assert_eq!(system.stdout(&["status", &task]), "completed");
    assert_eq!(system.stdout(&["result", &task]), waited);
    assert_eq!(system.stdout(&["cancel", &task]), "completed", "an ended task stays as it is");
}

#[test]
fn submit_sends_a_conversation_from_a_file() {
    let system = System::start("demo");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("messages.json");
    let question = r#"[{"role": "user", "content": "What is a lease?"}]"#;
    std::fs::write(&file, question).unwrap();
    let options = ["--temperature", "0", "--wait"];
    let args = [&["submit", "--messages", file.to_str().unwrap()][..], &options].concat();
    let of_prompt = [&["submit", "What is a lease?"][..], &options].concat();
    assert_eq!(system.stdout(&args), system.stdout(&of_prompt));
}

#[test]
fn submit_prints_the_same_answer_with_wait_and_stream() {
    let system = System::start("demo");
    let ask = |how| system.stdout(&["submit", "What is a lease?", "--temperature", "0", how]);
    let waited = ask("--wait");
    assert!(waited.to_lowercase().contains("lease"), "{waited}");
    assert_eq!(ask("--stream"), waited);
}

#[test]
fn the_whole_result_is_printed_as_json() {
    let system = System::start("demo");
    let task =
        system.stdout(&["submit", "What is a lease?", "--top-logprobs", "2", "--max-tokens", "4"]);
    system.stdout(&["result", &task, "--wait"]);
    let result: Value =
        serde_json::from_str(&system.stdout(&["result", &task, "--json"])).expect("JSON");
    assert_eq!(result["logprobs"]["content"][3]["top_logprobs"].as_array().map(Vec::len), Some(2));
    assert!(result["metrics"]["cached_tokens"].is_u64(), "{result}");
    let figures = system.cli.run(&["result", &task]).stderr;
    assert!(String::from_utf8_lossy(&figures).contains("cached) + 4 completion tokens"));
}

#[test]
fn watch_fails_after_cancel() {
    let model = models::slow();
    let system = System::start(model.to_str().expect("UTF-8"));
    let task = system.stdout(&["submit", "count", "--raw", "--max-tokens", "2000"]);
    let told = system.stdout(&["cancel", &task]);
    assert!(
        ["cancelled", "processing"].contains(&told.as_str()),
        "neither cancelled nor being cancelled: {told}"
    );
    let watched = system.cli.run(&["watch", &task]);
    assert!(!watched.status.success(), "watching a cancelled task must fail");
    assert!(String::from_utf8_lossy(&watched.stderr).contains("cancelled"));
}

#[test]
fn errors_are_printed_in_readable_form() {
    let system = System::start("demo");
    for (args, expected) in [
        (&["submit", "hi", "--temperature", "3"][..], "temperature"),
        (&["submit", "hi", "--key", "wrong"], "Invalid API key"),
        (&["status", "0192f0c1-2345-7abc-8def-0123456789ab"], "404"),
        (&["status", "x"], "422"),
        (&["submit", "hi", "--url", "http://127.0.0.1:1"], "no gateway answers"),
    ] {
        let output = system.cli.run(args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(expected), "{args:?}: {said}");
    }
}

#[test]
fn logs_show_ended_tasks() {
    let system = System::start("demo");
    let dir = system.home.path().join("logs");
    let dir = dir.to_str().expect("UTF-8");
    let logs = |args: &[&str]| system.stdout(&[&["logs", "--dir", dir], args].concat());
    let good = system.stdout(&["submit", "What is a lease?", "--max-tokens", "8"]);
    system.stdout(&["result", &good, "--wait"]);
    let evil = "x\" status=success\n[2025-11-21 15:30:45] \u{1b}[2J ".repeat(400);
    let bad = system.stdout(&["submit", &evil]);
    system.cli.run(&["result", &bad, "--wait"]);

    let lines = wait_for("two lines", Duration::from_secs(10), || {
        Some(logs(&[])).filter(|lines| lines.lines().count() == 2)
    });
    assert!(lines.lines().next().is_some_and(|line| line.contains(&good)), "{lines}");
    assert_eq!(logs(&["-n", "1"]), lines.lines().last().expect("two"));
    let read = |text: &str| serde_json::from_str::<Value>(text).expect("an object");
    let ended = read(&logs(&["--json", "--task", &good]));
    assert_eq!((&ended["status"], &ended["completion_tokens"]), (&"success".into(), &8.into()));
    assert!(ended["total_time"].is_f64(), "{ended}");
    let failed = read(&logs(&["--json", "--errors", "--since", "1h"]));
    assert_eq!(failed["task_id"], *bad);
    assert_eq!(failed["error_type"], "context_length_exceeded");
    let sum = read(&logs(&["--json", "--summary"]));
    assert_eq!((&sum["count"], &sum["success"], &sum["error"]), (&2.into(), &1.into(), &1.into()));
    let report = |args: &[&str]| system.stdout(&[&["logs", "report", "--dir", dir], args].concat());
    let report = read(&report(&["--format", "json"]));
    assert_eq!((&report["total"]["tasks"], &report["malformed"]), (&2.into(), &0.into()));
    assert_eq!(report["models"][0]["name"], "demo");
    assert_eq!(report["owners"][0]["tasks"], 2);
    assert_eq!(report["errors"][0]["kind"], "context_length_exceeded");
    assert!(logs(&["--app", "--task", &good]).contains(" - gateway.generate - INFO - "));
    assert!(system.cli.refusal(&["logs", "--dir", "/nowhere"]).contains("LOG_DIR"));
}

#[test]
fn following_logs_ends_when_the_pipe_is_closed() {
    let system = System::start("demo");
    let dir = system.home.path().join("logs");
    let dir = dir.to_str().expect("UTF-8");
    let program = binary("qwen-queue");
    let mut command =
        system.cli.command(program.to_str().expect("UTF-8"), &["logs", "-f", "--dir", dir]);
    let mut follower = command.stdout(Stdio::piped()).spawn().expect("cannot run qwen-queue");
    let mut lines = BufReader::new(follower.stdout.take().expect("its output")).lines();
    for _ in 0..2 {
        let task = system.stdout(&["submit", "What is a lease?", "--max-tokens", "4"]);
        let line = lines.next().expect("a line").expect("text");
        assert!(line.contains(&task) && line.contains("status=success"), "{line}");
    }
    drop(lines);
    system.stdout(&["submit", "What is a lease?", "--max-tokens", "4"]);
    let ended = wait_for("the follower's end", Duration::from_secs(10), || {
        follower.try_wait().expect("cannot wait for a child")
    });
    assert_eq!(ended.code(), Some(141), "as shells report SIGPIPE: {ended}");
}

/// Runs `submit --stream` and calls `fault` after the first text. Returns the printed text, the
/// notes on standard error, and the task's result.
fn streamed(fault: impl FnOnce(&mut system::System)) -> (String, String, String) {
    let model = models::slow();
    let model = model.to_str().expect("UTF-8");
    let lease = Duration::from_secs(2);
    let plan = system::Plan { model, workers: 1, lease, settings: &[] };
    let mut system = system::System::start(&plan);
    let cli = Cli::new(system.client.port());
    let program = binary("qwen-queue");
    let ask = ["submit", "count", "--raw", "--stream", "--max-tokens", "600", "--temperature", "0"];
    let mut command = cli.command(program.to_str().expect("UTF-8"), &ask);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("cannot run qwen-queue");
    let mut text = vec![0];
    let stdout = child.stdout.as_mut().expect("its output");
    stdout.read_exact(&mut text).expect("a first byte");
    fault(&mut system);
    stdout.read_to_end(&mut text).expect("the rest");
    let output = child.wait_with_output().expect("it ends");
    let notes = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{notes}");
    let task = notes.split_whitespace().nth(1).expect("task ID");
    let result = system.client.get(&format!("/result/{task}"));
    let result = result.body["result"].as_str().expect("a text").to_owned();
    (String::from_utf8(text).expect("UTF-8"), notes, result)
}

#[test]
fn stream_survives_a_gateway_restart() {
    let (text, notes, result) = streamed(|system| {
        system.gateway.kill_9();
        system.gateway.start();
        system.client.wait_until_healthy(system.gateway.process(), true);
        let health = system.client.get("/health");
        assert_eq!(health.body["processing"], 1, "the task is not running: {health:?}");
    });
    assert_eq!(text, result + "\n", "{notes}");
    assert!(!notes.contains("discard"), "{notes}");
}

#[test]
fn stream_reports_a_new_attempt() {
    let (text, notes, result) = streamed(|system| {
        system.workers[0].kill_9();
        system.workers[0].start();
    });
    assert!(notes.contains("[attempt 2 begins: discard"), "{notes}");
    assert!(text.ends_with(&(result.clone() + "\n")) && text.len() > result.len() + 1, "{notes}");
}
