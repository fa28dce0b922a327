//! A real `redis-server` for a test: on a free port, in a temporary folder.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::clock::Clock;
use crate::{free_port, wait_for};

/// Replaces `PASSWORD` in the rule of the docs.
const ACL_PASSWORD: &str = "test-redis-0123456789";

/// A running server. Dropping it kills the server and deletes its folder.
pub struct RedisServer {
    process: Option<Child>,
    port: u16,
    settings: Vec<String>,
    /// Moves its clock.
    clock: Option<Clock>,
    folder: TempDir,
}

impl RedisServer {
    /// Starts a server without persistence.
    ///
    /// # Panics
    /// If it does not start; `scripts/test` installs it.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts a server that appends every write to a file, as `docker-compose.yml` does.
    ///
    /// # Panics
    /// If it does not start; `scripts/test` installs it.
    pub fn durable() -> Self {
        Self::with(&["--appendonly", "yes", "--appendfsync", "everysec"])
    }

    /// Starts a server with further settings.
    ///
    /// # Panics
    /// If it does not start; `scripts/test` installs it.
    pub fn with(settings: &[&str]) -> Self {
        Self::start_with(settings, None)
    }

    /// Starts one whose clock can be moved. It appends every write to a file before it answers.
    ///
    /// # Panics
    /// If it does not start.
    pub fn with_clock(clock: &Clock) -> Self {
        let settings = ["--appendonly", "yes", "--appendfsync", "always"];
        Self::start_with(&settings, Some(clock.clone()))
    }

    fn start_with(settings: &[&str], clock: Option<Clock>) -> Self {
        let mut server = Self {
            process: None,
            port: 0,
            settings: settings.iter().map(|setting| (*setting).to_owned()).collect(),
            clock,
            folder: memory_folder(),
        };
        // Another process may take the port before the server does.
        for _ in 0..5 {
            server.port = free_port();
            if server.launch() {
                return server;
            }
        }
        panic!("redis-server does not start: see its output above");
    }

    /// Returns its URL.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Returns the URL for a user with the rights of the rule in docs/OPERATING.md and with `rights`. An existing
    /// user is replaced. A rule may be left out by naming it with a minus: `-+xadd`, `-~qq:*`.
    ///
    /// # Panics
    /// If the docs have no such rule, or the server does not take it.
    pub fn user(&self, name: &str, rights: &[&str]) -> String {
        let mut rule = acl_rule();
        for right in rights {
            match right.strip_prefix('-') {
                Some(left_out) => {
                    let before = rule.len();
                    rule.retain(|word| word != left_out);
                    assert!(rule.len() < before, "the rule has no {left_out}");
                }
                None => rule.push((*right).to_owned()),
            }
        }
        let words = ["ACL", "SETUSER", name].into_iter().chain(rule.iter().map(String::as_str));
        assert_eq!(self.command(&words.collect::<Vec<_>>()), "OK", "{rule:?}");
        format!("redis://{name}:{ACL_PASSWORD}@127.0.0.1:{}", self.port)
    }

    /// The folder of its files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// How large a file it may write from now on; `None` for any size. (`prlimit --fsize`)
    ///
    /// # Panics
    /// If the system won't.
    pub fn limit_files(&self, bytes: Option<u64>) {
        let id = self.process.as_ref().expect("a running server").id().to_string();
        limit_files(&id, bytes);
    }

    /// Returns its port, which stays the same after a restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs a command with `redis-cli` and returns the reply as text.
    ///
    /// # Panics
    /// If there is no reply.
    pub fn command(&self, words: &[&str]) -> String {
        let port = self.port.to_string();
        let done = Command::new("redis-cli").args(["-p", &port]).args(words).output();
        let done = done.unwrap_or_else(|error| panic!("install redis-tools: {error}"));
        assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).trim_end().to_owned()
    }

    /// Returns the number of commands it has run since it started.
    ///
    /// # Panics
    /// If it does not report the number.
    pub fn commands_run(&self) -> u64 {
        let info = self.command(&["INFO", "stats"]);
        let line = info.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
        line.and_then(|count| count.trim().parse().ok()).expect("a count of commands")
    }

    /// Kills it with SIGKILL.
    ///
    /// # Panics
    /// If the signal cannot be sent.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("the server was running");
            process.wait().expect("it ends");
        }
    }

    /// Asks it to stop and waits until it has ended.
    ///
    /// # Panics
    /// If it does not within 20 seconds.
    pub fn stop(&mut self) {
        self.signal("TERM");
        let mut process = self.process.take().expect("a running server");
        wait_for("the end of redis-server", Duration::from_secs(20), || {
            process.try_wait().expect("cannot wait for a child")
        });
    }

    /// Starts it again with the same port and folder.
    ///
    /// # Panics
    /// If it does not start.
    pub fn restart(&mut self) {
        self.kill();
        assert!(self.launch(), "redis-server does not start again");
    }

    /// Sends it a signal by name, e.g. `STOP` or `CONT`.
    ///
    /// # Panics
    /// If it has ended.
    pub fn signal(&self, name: &str) {
        let id = self.process.as_ref().expect("a running server").id().to_string();
        let done = Command::new("kill").args([format!("-{name}"), id]).status();
        assert!(done.is_ok_and(|status| status.success()), "kill -{name} failed");
    }

    /// Starts the process. Returns whether it serves.
    fn launch(&mut self) -> bool {
        // A write beyond a limit is to fail, as on a full disk, not to end the process.
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; exec redis-server \"$@\"", "sh"]);
        command.envs(self.clock.iter().flat_map(Clock::environment));
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
        command.arg("--dir").arg(self.folder.path()).args(&self.settings);
        let process = command.stdout(Stdio::null()).spawn();
        let mut process = process.unwrap_or_else(|error| panic!("install redis-server: {error}"));
        let patience = Instant::now() + Duration::from_secs(20);
        while Instant::now() < patience {
            if process.try_wait().expect("cannot wait for a child").is_some() {
                return false;
            }
            if self.answers() {
                self.process = Some(process);
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = process.kill();
        let _ = process.wait();
        false
    }

    /// Whether it has loaded its data and serves.
    fn answers(&self) -> bool {
        use std::io::{Read, Write};
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
        let mut reply = [0; 5];
        stream.write_all(b"PING\r\n").is_ok()
            && stream.read_exact(&mut reply).is_ok()
            // A server that requires a password replies -NOAUTH as soon as it serves.
            && [b"+PONG", b"-NOAU"].contains(&&reply)
    }
}

/// The words after the user's name of the ACL rule in docs/OPERATING.md.
///
/// # Panics
/// If there is none.
pub fn acl_rule() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/OPERATING.md");
    let docs = std::fs::read_to_string(path).expect("docs/OPERATING.md");
    let mut rules =
        docs.lines().filter_map(|line| line.strip_prefix("ACL SETUSER qwen-queue reset "));
    let rule = rules.next().expect("a line with the rule");
    assert_eq!(rules.next(), None, "one rule");
    let rule = format!("reset {}", rule.replace("PASSWORD", ACL_PASSWORD));
    rule.split_whitespace().map(str::to_owned).collect()
}

/// Limits the size of the files that a process writes from now on; `None` for any size.
///
/// # Panics
/// If the system won't.
pub fn limit_files(process: &str, bytes: Option<u64>) {
    let limit = bytes.map_or_else(|| "unlimited".to_owned(), |bytes| bytes.to_string());
    let words = ["--pid", process, &format!("--fsize={limit}:unlimited")];
    let done = Command::new("prlimit").args(words).status();
    assert!(done.is_ok_and(|status| status.success()), "prlimit {words:?} failed");
}

/// Creates a folder in memory if possible. On a busy disk, `appendfsync everysec` may write up to
/// two seconds late (while the previous sync runs), so a kill could lose acknowledged writes. That
/// is a loss of data by the store, which the promise excludes.
fn memory_folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary folder")
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
