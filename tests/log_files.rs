//! Log files that are full for a while, moved and cut: each end of a task has its one line all the same.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use harness::client::Client;
use harness::history::LogLine;
use harness::process::{Home, KEY, Process, binary};
use harness::redis::RedisServer;
use harness::{free_port, wait_for};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(60);
const REQUESTS: &str = "llm_requests";

/// Logs and what is in them.
struct Logs<'a>(&'a Home);

impl Logs<'_> {
    /// The file of the day. Made, when it is not there yet, by who calls this before midnight.
    fn today(&self, log: &str) -> PathBuf {
        let date = Command::new("date").args(["-u", "+%F"]).output().expect("date runs");
        let date = String::from_utf8(date.stdout).expect("a date");
        self.0.path().join(format!("logs/{log}.{}.log", date.trim()))
    }

    /// Makes a file full before anything is written to it.
    fn fill(&self, log: &str) {
        fs::create_dir_all(self.0.path().join("logs")).expect("a folder");
        symlink("/dev/full", self.today(log)).expect("a link");
    }

    /// How often each task has a line, in all files of a log, moved ones too.
    fn lines(&self, log: &str) -> HashMap<String, usize> {
        let folder = fs::read_dir(self.0.path().join("logs")).expect("a folder");
        let mut count = HashMap::new();
        for entry in folder.flatten() {
            let name = entry.file_name().into_string().expect("UTF-8");
            let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
            if is_file && name.starts_with(&format!("{log}.")) {
                let text = fs::read_to_string(entry.path()).expect("a text");
                assert!(!text.contains('\0'), "a hole in {name}");
                for line in LogLine::read_all(&text) {
                    *count.entry(line.task).or_default() += 1;
                }
            }
        }
        count
    }

    /// Waits until each of these tasks has a line, and asserts that none has two.
    fn wait_for_each(&self, tasks: &[String]) {
        wait_for("a line for each task", SOON, || {
            let lines = self.lines(REQUESTS);
            assert!(lines.values().all(|count| *count == 1), "two lines: {lines:?}");
            tasks.iter().all(|task| lines.contains_key(task)).then_some(())
        });
    }
}

/// A process that ends with the test, however that goes.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn up(home: &Home) -> (Process, Client) {
    let port = free_port();
    let port_text = port.to_string();
    let settings = [("PORT", port_text.as_str()), ("API_KEYS", KEY)];
    let mut process = Process::start(home, "qwen-queue", &["up"], &settings);
    let client = Client::new(port);
    client.wait_until_healthy(&mut process, true);
    (process, client)
}

/// Tasks of all three ends: by the worker, in the queue, and failed.
fn ends(client: &Client, count: usize) -> Vec<String> {
    let too_long = "long ".repeat(20_000);
    let end = |n: usize| match n % 4 {
        0 => {
            let task = client.ask("Never mind");
            assert_eq!(client.post(&format!("/cancel/{task}"), &Value::Null).status / 100, 2);
            task
        }
        1 => client.submit(&json!({"prompt": too_long})),
        _ => client.submit(&json!({"prompt": "What is a lease?", "max_tokens": 1})),
    };
    let tasks: Vec<String> = (0..count).map(end).collect();
    for task in &tasks {
        client.wait_for_result(task, SOON);
    }
    tasks
}

fn health(client: &Client, name: &str) -> u64 {
    client.get("/health").body[name].as_u64().unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn full_log_folder_loses_no_line_and_is_reported() {
    let home = Home::new();
    let logs = Logs(&home);
    logs.fill(REQUESTS);
    logs.fill("errors");
    let (process, client) = up(&home);
    let tasks = ends(&client, 40);
    wait_for("waiting lines", SOON, || (health(&client, "log_lines_waiting") >= 20).then_some(()));
    assert_eq!([health(&client, "log_files_failing"), health(&client, "log_lines_lost")], [2, 0]);
    assert!(home.read("logs/app.log").contains("llm_requests.log can't be written: No space left"));

    for log in [REQUESTS, "errors"] {
        fs::remove_file(logs.today(log)).expect("the link");
    }
    logs.wait_for_each(&tasks);
    let errors = home.read("logs/errors.log");
    for task in tasks.iter().skip(1).step_by(4) {
        assert_eq!(errors.matches(&format!("Task {task} failed")).count(), 1, "{errors}");
    }
    wait_for("room", SOON, || (health(&client, "log_lines_waiting") == 0).then_some(()));
    assert_eq!([health(&client, "log_files_failing"), health(&client, "log_lines_lost")], [0, 0]);
    for said in [home.read("logs/app.log"), process.output()] {
        assert!(said.contains("llm_requests.log can be written again after"), "{said}");
        assert_eq!(said.matches("llm_requests.log can't be written").count(), 1, "{said}");
    }
}

/// A limit of the file's size ends a write in the middle of a line, as a full disk does.
#[test]
fn partially_written_line_is_removed_and_written_later() {
    let (redis, home, port) = (RedisServer::start(), Home::new(), free_port());
    let (url, port_text) = (redis.url(), port.to_string());
    // The gateway writes lines that stay pending in the worker for too long, into the same folder.
    let log_dir = home.path().join("logs").to_str().expect("UTF-8").to_owned();
    let settings =
        [("REDIS_URL", &*url), ("PORT", &port_text), ("API_KEYS", KEY), ("LOG_DIR", &log_dir)];
    let elsewhere = Home::new();
    let mut gateway = Process::start(&elsewhere, "qwen-queue-gateway", &[], &settings);
    let client = Client::new(port);
    client.wait_until_healthy(&mut gateway, false);

    // Limits files to 4 KiB, and ignores the signal that reports the limit.
    let limited =
        format!("trap '' XFSZ; ulimit -S -f 8; exec {}", binary("qwen-queue-worker").display());
    let worker = Command::new("sh")
        .args(["-c", &limited])
        .current_dir(home.path())
        .envs([("REDIS_URL", &*url), ("LOG_LEVEL", "warn")])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("sh runs");
    let worker = Ended(worker);
    client.wait_until_healthy(&mut gateway, true);

    let logs = Logs(&home);
    let done = json!({"prompt": "What is a lease?", "max_tokens": 1});
    let tasks: Vec<String> = (0..60).map(|_| client.submit(&done)).collect();
    for task in &tasks {
        client.wait_for_result(task, SOON);
    }
    let full = wait_for("a full file", SOON, || {
        Some(logs.lines(REQUESTS).len()).filter(|lines| *lines > 10)
    });
    std::thread::sleep(Duration::from_secs(1));
    assert!(full < tasks.len(), "4 KiB hold no {full} lines");
    let text = fs::read_to_string(logs.today(REQUESTS)).expect("the log");
    assert!(text.ends_with('\n'), "a torn line was left: {text}");

    let pid = worker.0.id().to_string();
    let lifted = Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited:"]).status();
    assert!(lifted.expect("prlimit runs").success());
    logs.wait_for_each(&tasks);
    let text = fs::read_to_string(logs.today(REQUESTS)).expect("the log");
    assert_eq!(text.lines().count(), tasks.len(), "whole lines and nothing else: {text}");
}

/// What `logrotate` does, or it itself where it is installed.
fn rotate(home: &Home, logs: &Logs<'_>, how: &str, nth: usize) {
    let file = logs.today(REQUESTS);
    let config = home.path().join("logrotate.conf");
    let rules = format!("{} {{\n rotate 100\n nocompress\n {how}\n}}\n", file.display());
    fs::write(&config, rules).expect("a file");
    fs::set_permissions(&config, std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .expect("ours");
    let state = home.path().join("logrotate.state");
    let run =
        Command::new("logrotate").arg("--force").arg("--state").arg(state).arg(&config).output();
    match run {
        Ok(done) => assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr)),
        Err(_) => {
            let old = file.with_extension(format!("log.{nth}"));
            if how == "copytruncate" {
                fs::copy(&file, old).expect("a copy");
                File::options().write(true).open(&file).and_then(|f| f.set_len(0)).expect("a cut");
            } else {
                fs::rename(&file, old).expect("a move");
                if how == "create" {
                    File::create(&file).expect("a new one");
                }
            }
        }
    }
}

#[test]
fn rotation_loses_no_line_and_is_followed() {
    let home = Home::new();
    let logs = Logs(&home);
    let (_process, client) = up(&home);
    let followed = home.path().join("followed.txt");
    let follower = Command::new(binary("qwen-queue"))
        .args(["logs", "--follow", "--json", "--dir", "logs"])
        .current_dir(home.path())
        .stdout(File::create(&followed).expect("a file"))
        .spawn()
        .expect("it runs");
    let _follower = Ended(follower);
    let shown = || -> Vec<String> {
        let text = fs::read_to_string(&followed).expect("its output");
        let entries = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        entries.filter_map(|entry| Some(entry["task_id"].as_str()?.to_owned())).collect()
    };
    let mut tasks = ends(&client, 4);
    // It begins with the last lines there are: the others come only when it has begun.
    wait_for("the follower to begin", SOON, || (shown().len() == 4).then_some(()));
    for (nth, how) in ["create", "nocreate", "create"].into_iter().enumerate() {
        let more = std::thread::scope(|scope| {
            let running = scope.spawn(|| ends(&client, 60));
            std::thread::sleep(Duration::from_millis(300));
            rotate(&home, &logs, how, nth);
            running.join().expect("a client")
        });
        tasks.extend(more);
        logs.wait_for_each(&tasks);
        // `logs -f` looks five times a second.
        std::thread::sleep(Duration::from_millis(700));
    }
    // Between copy and cut nothing may come: that is logrotate's own loss.
    rotate(&home, &logs, "copytruncate", 9);
    std::thread::sleep(Duration::from_millis(700));
    tasks.extend(ends(&client, 8));
    logs.wait_for_each(&tasks);
    assert!(fs::read_to_string(logs.today(REQUESTS)).expect("the log").starts_with('['));
    assert_eq!(health(&client, "log_lines_lost"), 0);

    let told = wait_for("the follower", SOON, || {
        let ids = shown();
        tasks.iter().all(|task| ids.contains(task)).then_some(ids)
    });
    assert_eq!(told.len(), tasks.len(), "none twice");
}
