//! A real `redis-server` for a test: on a free port, in a temporary folder, gone with the value.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{free_port, wait_for};

/// A running server.
pub struct RedisServer {
    process: Option<Child>,
    port: u16,
    settings: Vec<String>,
    folder: TempDir,
}

impl RedisServer {
    /// Starts one that forgets everything when it ends.
    ///
    /// # Panics
    /// When it does not start; `scripts/test` installs it.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts one that appends every write to a file, as `docker-compose.yml` does.
    ///
    /// # Panics
    /// When it does not start; `scripts/test` installs it.
    pub fn durable() -> Self {
        Self::with(&["--appendonly", "yes", "--appendfsync", "everysec"])
    }

    /// Starts one with further settings.
    ///
    /// # Panics
    /// When it does not start; `scripts/test` installs it.
    pub fn with(settings: &[&str]) -> Self {
        let mut server = Self {
            process: None,
            port: 0,
            settings: settings.iter().map(|setting| (*setting).to_owned()).collect(),
            folder: memory_folder(),
        };
        // Another process may take the port between our look and the server's start.
        for _ in 0..5 {
            server.port = free_port();
            if server.launch() {
                return server;
            }
        }
        panic!("redis-server does not start: see its output above");
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The port it listens on, also while it is dead.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs a command by `redis-cli` and gives its answer as text.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn command(&self, words: &[&str]) -> String {
        let port = self.port.to_string();
        let done = Command::new("redis-cli").args(["-p", &port]).args(words).output();
        let done = done.unwrap_or_else(|error| panic!("install redis-tools: {error}"));
        assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).trim_end().to_owned()
    }

    /// How many commands it has run since it started.
    ///
    /// # Panics
    /// When it does not tell.
    pub fn commands_run(&self) -> u64 {
        let info = self.command(&["INFO", "stats"]);
        let line = info.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
        line.and_then(|count| count.trim().parse().ok()).expect("a count of commands")
    }

    /// `kill -9`.
    ///
    /// # Panics
    /// When the system won't.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("the server was running");
            process.wait().expect("it ends");
        }
    }

    /// Asks it to end and waits until it has.
    ///
    /// # Panics
    /// When it does not within 20 seconds.
    pub fn stop(&mut self) {
        self.signal("TERM");
        let mut process = self.process.take().expect("a running server");
        wait_for("the end of redis-server", Duration::from_secs(20), || {
            process.try_wait().expect("a child can be asked")
        });
    }

    /// Starts it again on the same port and folder.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        self.kill();
        assert!(self.launch(), "redis-server does not start again");
    }

    /// Stops (`STOP`) or continues (`CONT`) the process without ending it.
    ///
    /// # Panics
    /// When it is gone.
    pub fn signal(&self, name: &str) {
        let id = self.process.as_ref().expect("a running server").id().to_string();
        let done = Command::new("kill").args([format!("-{name}"), id]).status();
        assert!(done.is_ok_and(|status| status.success()), "kill -{name} failed");
    }

    /// Whether it runs and answers now.
    fn launch(&mut self) -> bool {
        let mut command = Command::new("redis-server");
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
        command.arg("--dir").arg(self.folder.path()).args(&self.settings);
        let process = command.stdout(Stdio::null()).spawn();
        let mut process = process.unwrap_or_else(|error| panic!("install redis-server: {error}"));
        let patience = Instant::now() + Duration::from_secs(20);
        while Instant::now() < patience {
            if process.try_wait().expect("a child can be asked").is_some() {
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
            // One that wants a password says so as soon as it serves.
            && [b"+PONG", b"-NOAU"].contains(&&reply)
    }
}

/// A folder in memory if there is one. On a busy disk `appendfsync everysec` writes late by up to two
/// seconds (the sync before is still running), so that a kill loses what was acknowledged: a loss of
/// the store's, which the promise leaves out and the tests do not wait for.
fn memory_folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary folder")
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
