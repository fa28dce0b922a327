//! The client's verbs, as typed.

use std::process::{Command, Output};

use harness::client::Client;
use harness::process::{Home, KEY, Process, binary};
use harness::{free_port, models};

struct System {
    _home: Home,
    _up: Process,
    port: u16,
}

impl System {
    fn start(model: &str) -> Self {
        let (home, port) = (Home::new(), free_port());
        let port_text = port.to_string();
        let settings = [("PORT", port_text.as_str()), ("API_KEYS", KEY), ("MODEL_NAME", model)];
        let mut up = Process::start(&home, "qwen-queue", &["up"], &settings);
        Client::new(port).wait_until_healthy(&mut up, true);
        Self { _home: home, _up: up, port }
    }

    fn run(&self, args: &[&str]) -> Output {
        Command::new(binary("qwen-queue"))
            .args(args)
            .env("QWEN_QUEUE_URL", format!("http://127.0.0.1:{}", self.port))
            .env("QWEN_QUEUE_API_KEY", KEY)
            .output()
            .expect("qwen-queue runs")
    }

    fn stdout(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {errors}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

#[test]
fn submit_status_result() {
    let system = System::start("demo");
    let task = system.stdout(&["submit", "What is a lease?"]);
    assert_eq!(task.len(), 36, "a task id and nothing else: {task}");
    let waited = system.stdout(&["result", &task, "--wait"]);
    assert!(!waited.is_empty());
    assert_eq!(system.stdout(&["status", &task]), "completed");
    assert_eq!(system.stdout(&["result", &task]), waited);
    assert_eq!(system.stdout(&["cancel", &task]), "completed", "an ended task stays as it is");
}

#[test]
fn waiting_and_streaming_give_the_same_answer() {
    let system = System::start("demo");
    let ask = |how| system.stdout(&["submit", "What is a lease?", "--temperature", "0", how]);
    let waited = ask("--wait");
    assert!(waited.to_lowercase().contains("lease"), "{waited}");
    assert_eq!(ask("--stream"), waited);
}

#[test]
fn cancel_and_watch() {
    let model = models::slow();
    let system = System::start(model.to_str().expect("UTF-8"));
    let task = system.stdout(&["submit", "count", "--raw", "--max-tokens", "2000"]);
    let told = system.stdout(&["cancel", &task]);
    assert!(["cancelled", "processing"].contains(&told.as_str()), "ended or told to stop: {told}");
    let watched = system.run(&["watch", &task]);
    assert!(!watched.status.success(), "a cancelled task is no success");
    assert!(String::from_utf8_lossy(&watched.stderr).contains("cancelled"));
}

#[test]
fn refusals_are_told_in_words() {
    let system = System::start("demo");
    for (args, expected) in [
        (&["submit", "hi", "--temperature", "3"][..], "temperature"),
        (&["submit", "hi", "--key", "wrong"], "Invalid API key"),
        (&["status", "0192f0c1-2345-7abc-8def-0123456789ab"], "404"),
        (&["status", "x"], "422"),
        (&["submit", "hi", "--url", "http://127.0.0.1:1"], "no gateway answers"),
    ] {
        let output = system.run(args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(expected), "{args:?}: {said}");
    }
}
