//! A Redis of the test's own.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::{free_port, wait_for};

/// `redis-server` on a free port with an append-only file. Dropping it kills it.
pub struct RedisServer {
    child: Child,
    port: u16,
    dir: TempDir,
}

impl RedisServer {
    /// Starts one and waits until it answers.
    ///
    /// # Panics
    /// When `redis-server` is not installed: run `scripts/test`.
    #[allow(clippy::new_without_default)]
    pub fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let port = free_port();
        let child = spawn(port, &dir);
        let server = Self { child, port, dir };
        server.wait_until_ready();
        server
    }

    /// Its address, as `REDIS_URL` wants it.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Kills it as a power cut would.
    ///
    /// # Panics
    /// When it is gone already.
    pub fn kill_9(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it was ours");
    }

    /// Brings it back with what its append-only file holds.
    pub fn restart(&mut self) {
        self.child = spawn(self.port, &self.dir);
        self.wait_until_ready();
    }

    /// Runs a command by `redis-cli` and gives its raw reply.
    ///
    /// # Panics
    /// When `redis-cli` can't be run.
    pub fn command(&self, args: &[&str]) -> String {
        let output = Command::new("redis-cli")
            .args(["-p", &self.port.to_string()])
            .args(args)
            .output()
            .expect("redis-cli runs: scripts/test installs it");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn wait_until_ready(&self) {
        wait_for("Redis to answer", Duration::from_secs(20), || {
            (self.command(&["ping"]) == "PONG").then_some(())
        });
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(port: u16, dir: &TempDir) -> Child {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
        .args(["--appendonly", "yes", "--appendfsync", "everysec", "--dir"])
        .arg(dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server runs: scripts/test installs it")
}
