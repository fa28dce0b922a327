//! A gateway, workers and a Redis, each of which can be killed and restarted.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::client::Client;
use crate::history::{History, LogLine, TaskEvent};
use crate::process::{Home, KEY, Process};
use crate::redis::RedisServer;
use crate::{free_port, wait_for};

/// The time limit for a process to start on a busy machine.
const START: Duration = Duration::from_secs(60);

/// A process with a folder and settings that survive its restarts.
pub struct Node {
    binary: &'static str,
    settings: Vec<(String, String)>,
    home: Home,
    process: Option<Process>,
}

impl Node {
    /// Creates a node without starting it.
    pub fn new(binary: &'static str, settings: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self {
            binary,
            settings: settings.iter().map(owned).collect(),
            home: Home::new(),
            process: None,
        }
    }

    /// Starts it in its folder. Does nothing if it runs.
    pub fn start(&mut self) {
        if self.process.is_none() {
            let settings: Vec<(&str, &str)> =
                self.settings.iter().map(|(name, value)| (&**name, &**value)).collect();
            self.process = Some(Process::start(&self.home, self.binary, &[], &settings));
        }
    }

    /// Kills it with SIGKILL. Does nothing if it does not run.
    pub fn kill_9(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill_9();
        }
    }

    /// Asks it to stop and waits until it has ended.
    ///
    /// # Panics
    /// If it does not end within 30 seconds, or fails.
    pub fn terminate(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal("TERM");
            let status = process.wait(Duration::from_secs(30));
            assert!(status.success(), "{status}: {}", process.output());
        }
    }

    /// Waits until it ends, with whatever status, after it was asked to stop.
    ///
    /// # Panics
    /// If it does not end within `limit`.
    pub fn wait_for_end(&mut self, limit: Duration) {
        if let Some(mut process) = self.process.take() {
            process.wait(limit);
        }
    }

    /// Returns the running process.
    ///
    /// # Panics
    /// If it does not run.
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("the process does not run")
    }

    /// Whether it was started and not stopped since.
    pub fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// Returns the text of a log file in its `LOG_DIR`, over all restarts, with the lines of all processes that share it.
    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.log_dir().join(format!("{name}.log"))).unwrap_or_default()
    }

    /// Returns the folder of its log files.
    fn log_dir(&self) -> PathBuf {
        let set = self.settings.iter().rfind(|(name, _)| name == "LOG_DIR");
        set.map_or_else(|| self.home.path().join("logs"), |(_, dir)| PathBuf::from(dir))
    }

    /// What it wrote on its console, in all its lives: its own part of `app.log`.
    pub fn console(&self) -> String {
        self.home.read("output.txt")
    }

    /// Whether it ever began this attempt at this task.
    pub fn began(&self, task: &str, attempt: u64) -> bool {
        let begins = format!("attempt {attempt} begins");
        self.console().lines().any(|line| line.contains(&begins) && line.contains(task))
    }
}

/// The parts of a [`System`].
pub struct Plan<'a> {
    /// `MODEL_NAME`.
    pub model: &'a str,
    /// The number of workers to start; more can be added by [`System::add_worker`].
    pub workers: usize,
    /// `LEASE_SECONDS`.
    pub lease: Duration,
    /// Further settings of all processes.
    pub settings: &'a [(&'a str, &'a str)],
}

/// A gateway and workers that share a Redis.
pub struct System {
    /// The Redis.
    pub redis: RedisServer,
    /// The gateway.
    pub gateway: Node,
    /// The workers, in the order in which they were added.
    pub workers: Vec<Node>,
    /// A client of the gateway.
    pub client: Client,
    /// The duration of a lease.
    pub lease: Duration,
    settings: Vec<(String, String)>,
    logs: Home,
}

impl System {
    /// Starts everything and waits until it serves.
    pub fn start(plan: &Plan<'_>) -> Self {
        let redis = RedisServer::durable();
        let port = free_port();
        let url = redis.url();
        let (port_text, lease) = (port.to_string(), plan.lease.as_secs().to_string());
        // As processes of one machine do, they share it: so none writes a line that another has written.
        let logs = Home::new();
        let log_dir = logs.path().to_str().expect("UTF-8").to_owned();
        let mut settings = vec![
            ("LOG_DIR", log_dir.as_str()),
            ("REDIS_URL", url.as_str()),
            ("PORT", &port_text),
            ("API_KEYS", KEY),
            ("MODEL_NAME", plan.model),
            ("LEASE_SECONDS", &lease),
        ];
        settings.extend_from_slice(plan.settings);
        let mut system = Self {
            gateway: Node::new("qwen-queue-gateway", &settings),
            workers: Vec::new(),
            client: Client::new(port),
            lease: plan.lease,
            settings: settings.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
            redis,
            logs,
        };
        system.gateway.start();
        for _ in 0..plan.workers {
            system.add_worker(&[]);
        }
        system.client.wait_until_healthy(system.gateway.process(), plan.workers > 0);
        system.wait_for_workers(plan.workers);
        system
    }

    /// Starts a worker like the others, with `more` settings. Returns its index.
    pub fn add_worker(&mut self, more: &[(&str, &str)]) -> usize {
        let mut worker = self.node("qwen-queue-worker", more);
        worker.start();
        self.workers.push(worker);
        self.workers.len() - 1
    }

    /// Starts another gateway like the first, on a port of its own, and waits until it serves.
    pub fn another_gateway(&self) -> (Node, Client) {
        let port = free_port();
        let mut gateway = self.node("qwen-queue-gateway", &[("PORT", &port.to_string())]);
        gateway.start();
        let client = Client::new(port);
        client.wait_until_healthy(gateway.process(), false);
        (gateway, client)
    }

    /// Creates a node with the settings of all and `more`, without starting it.
    fn node(&self, binary: &'static str, more: &[(&str, &str)]) -> Node {
        let settings = self.settings.iter().map(|(name, value)| (&**name, &**value));
        let settings: Vec<(&str, &str)> = settings.chain(more.iter().copied()).collect();
        Node::new(binary, &settings)
    }

    /// Waits until at least `count` workers have loaded their model and reported.
    ///
    /// # Panics
    /// If a minute passes.
    pub fn wait_for_workers(&self, count: usize) {
        wait_for(&format!("{count} workers"), START, || {
            let health = self.client.try_get("/health")?;
            (health.body["workers"].as_u64()? >= count as u64).then_some(())
        });
    }

    /// Waits until a worker has begun this attempt at this task. Returns its index.
    ///
    /// # Panics
    /// If none does within `limit`.
    pub fn holder(&self, task: &str, attempt: u64, limit: Duration) -> usize {
        wait_for(&format!("attempt {attempt} at {task}"), limit, || {
            self.workers.iter().position(|worker| worker.began(task, attempt))
        })
    }

    /// The folder that all its processes log to.
    pub fn log_dir(&self) -> &Path {
        self.logs.path()
    }

    /// How often each task was ended, by the logs of all.
    pub fn lines(&self) -> Vec<LogLine> {
        let nodes = self.workers.iter().chain([&self.gateway]);
        let folders: BTreeSet<PathBuf> = nodes.map(Node::log_dir).collect();
        let read = |dir: &PathBuf| std::fs::read_to_string(dir.join("llm_requests.log"));
        folders.iter().flat_map(|dir| LogLine::read_all(&read(dir).unwrap_or_default())).collect()
    }

    /// Completes a history with the events of its accepted tasks, which must have ended, and with
    /// the log lines once they are written.
    pub fn collect(&self, history: &mut History) {
        for task in &history.accepted {
            history.events.insert(task.clone(), self.client.events(task));
        }
        history.lines = self.lines();
        // Another process writes the pending lines of a dead one after ten seconds.
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        let has_line = |lines: &[LogLine], task: &String| lines.iter().any(|l| l.task == *task);
        while std::time::Instant::now() < deadline
            && !history.accepted.iter().all(|task| has_line(&history.lines, task))
        {
            std::thread::sleep(Duration::from_millis(50));
            history.lines = self.lines();
        }
    }
}

/// Returns the Unix time in milliseconds. Redis on this machine uses the same clock.
///
/// # Panics
/// If the clock is before 1970.
pub fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(now.as_millis()).expect("before the year 500 million")
}

/// Returns how long after `since` an attempt at a task began.
///
/// # Panics
/// If it did not begin.
pub fn began_after(events: &[TaskEvent], attempt: u64, since: u64) -> Duration {
    let begins = |event: &&TaskEvent| event.name == "started" && event.attempt() == Some(attempt);
    let event = events.iter().find(begins);
    let at = event.and_then(TaskEvent::at).unwrap_or_else(|| {
        panic!("attempt {attempt} never began: {events:?}");
    });
    Duration::from_millis(at.saturating_sub(since))
}
