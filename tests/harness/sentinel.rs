//! A real Redis with Sentinels for tests: a primary, a replica, and three Sentinels that watch them.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::redis::RedisServer;
use crate::{free_port, wait_for};

/// The name of the primary at the Sentinels.
const NAME: &str = "main-1";
/// The password at the Sentinels.
const PASSWORD: &str = "test-sentinel-0123456789";
/// How long a server may be silent before a Sentinel considers it down, in ms.
const DOWN_AFTER: &str = "500";
/// How long to wait for any change.
const PATIENCE: Duration = Duration::from_secs(20);

/// A primary, a replica, and three Sentinels.
pub struct RedisSentinels {
    /// The primary at the start, then its replica.
    pub servers: [RedisServer; 2],
    sentinels: Vec<Sentinel>,
}

struct Sentinel {
    process: Child,
    port: u16,
    _folder: TempDir,
}

impl RedisSentinels {
    /// Starts them, and waits until a failover can succeed.
    ///
    /// # Panics
    /// If they do not start.
    pub fn start() -> Self {
        let at_once = ["--repl-diskless-sync-delay", "0"];
        let primary = RedisServer::with(&at_once);
        let port = primary.port().to_string();
        let replica =
            RedisServer::with(&[&at_once[..], &["--replicaof", "127.0.0.1", &port]].concat());
        let watched = primary.port();
        let mut all = Self { servers: [primary, replica], sentinels: Vec::new() };
        // Sentinels look for replicas once when they start, then every ten seconds.
        all.wait_until_replicated();
        all.sentinels = (0..3).map(|_| Sentinel::start(watched)).collect();
        all.wait_until_watched(watched);
        all
    }

    /// Returns the URL for a user with the rights of the rule in docs/OPERATING.md.
    pub fn url(&self, user: &str) -> String {
        let [one, _] = self.servers.each_ref().map(|server| server.user(user, &[]));
        let (credentials, _) = one.rsplit_once('@').expect("a user");
        let credentials = credentials.trim_start_matches("redis://");
        let sentinels: Vec<_> =
            self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port)).collect();
        format!("redis+sentinel://{credentials}@{}/{NAME}", sentinels.join(","))
    }

    /// Returns the password at the Sentinels.
    pub fn password(&self) -> String {
        PASSWORD.to_owned()
    }

    /// Kills the first Sentinel with SIGKILL. The others are enough for a failover.
    pub fn kill_first_sentinel(&mut self) {
        self.sentinels[0].kill();
    }

    /// Waits until all Sentinels know the primary at that port, its replica, and each other.
    fn wait_until_watched(&self, primary: u16) {
        let port = primary.to_string();
        for sentinel in &self.sentinels {
            wait_for("the Sentinels", PATIENCE, || {
                let of_primary = sentinel.command(&["SENTINEL", "MASTER", NAME]);
                let of_replica = sentinel.command(&["SENTINEL", "REPLICAS", NAME]);
                let known = field(&of_primary, "port") == Some(&port)
                    && field(&of_primary, "flags") == Some("master")
                    && field(&of_primary, "num-other-sentinels") == Some("2")
                    && field(&of_replica, "flags") == Some("slave");
                known.then_some(())
            });
        }
    }

    /// Waits until the replica has all data of the first primary.
    ///
    /// # Panics
    /// If that takes more than 20 seconds.
    pub fn wait_until_replicated(&self) {
        let [primary, replica] = self.servers.each_ref();
        let offset = |server: &RedisServer, name: &str| {
            let info = server.command(&["INFO", "replication"]);
            info.lines().find_map(|line| Some(line.trim().strip_prefix(name)?.to_owned()))
        };
        wait_for("the replica", PATIENCE, || {
            let has = offset(replica, "slave_repl_offset:")?;
            let is_up = offset(replica, "master_link_status:")? == "up";
            (is_up && has == offset(primary, "master_repl_offset:")?).then_some(())
        });
    }

    /// Makes the replica the primary while both live.
    ///
    /// # Panics
    /// If the Sentinels refuse for more than 20 seconds.
    pub fn fail_over(&self) {
        let sentinel = self.sentinels.last().expect("there are three");
        wait_for("the failover", PATIENCE, || {
            (sentinel.command(&["SENTINEL", "FAILOVER", NAME]) == "OK").then_some(())
        });
    }
}

impl Sentinel {
    fn start(primary: u16) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (port, file) = (free_port(), folder.path().join("sentinel.conf"));
        let settings = format!(
            "port {port}\n\
             bind 127.0.0.1\n\
             dir {}\n\
             requirepass {PASSWORD}\n\
             sentinel sentinel-pass {PASSWORD}\n\
             sentinel monitor {NAME} 127.0.0.1 {primary} 2\n\
             sentinel down-after-milliseconds {NAME} {DOWN_AFTER}\n\
             sentinel failover-timeout {NAME} 3000\n",
            folder.path().display()
        );
        std::fs::write(&file, settings).expect("a writable folder");
        let mut command = Command::new("redis-server");
        command.arg(&file).arg("--sentinel").stdout(Stdio::null());
        let process =
            command.spawn().unwrap_or_else(|error| panic!("install redis-server: {error}"));
        let sentinel = Self { process, port, _folder: folder };
        wait_for("a Sentinel", PATIENCE, || (sentinel.command(&["PING"]) == "PONG").then_some(()));
        sentinel
    }

    /// Runs a command with `redis-cli`; returns the reply as text, which is empty if there is none.
    fn command(&self, words: &[&str]) -> String {
        let port = self.port.to_string();
        let mut command = Command::new("redis-cli");
        command
            .args(["-p", &port])
            .args(words)
            .env("REDISCLI_AUTH", PASSWORD)
            .stderr(Stdio::null());
        let done = command.output().unwrap_or_else(|error| panic!("install redis-tools: {error}"));
        String::from_utf8_lossy(&done.stdout).trim_end().to_owned()
    }

    fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns the value of a field in a reply, in which names and values take turns.
fn field<'a>(reply: &'a str, name: &str) -> Option<&'a str> {
    reply.lines().skip_while(|line| *line != name).nth(1)
}

impl Drop for RedisSentinels {
    fn drop(&mut self) {
        self.sentinels.iter_mut().for_each(Sentinel::kill);
    }
}
