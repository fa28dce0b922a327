//! The bench's Redis: a server of its own, durable as in `docker-compose.yml`, or an empty one that
//! the caller names; and its statistics.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use redis::Connection;
use tempfile::TempDir;

/// Maximum time for a server's answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A Redis that contains only the bench's data.
pub(super) struct Redis {
    /// Its URL.
    pub(super) url: String,
    /// The server, if the bench started it.
    own: Option<Server>,
    control: Connection,
}

struct Server {
    process: Child,
    port: u16,
    _folder: TempDir,
}

impl Redis {
    /// Starts a server with an append-only file that is synced every second, and with these
    /// additional arguments.
    ///
    /// # Errors
    /// If `redis-server` is not installed or does not start.
    pub(super) fn start(arguments: &[String]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = free_port()?;
        let process = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--appendonly", "yes", "--appendfsync", "everysec"])
            .args(["--auto-aof-rewrite-min-size", "256mb"])
            .args(arguments)
            .args(["--maxmemory-policy", "noeviction", "--dir"])
            .arg(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .context(
                "can't start redis-server: install it, or name an empty Redis with --redis-url",
            )?;
        let own = Server { process, port, _folder: folder };
        let url = format!("redis://127.0.0.1:{port}");
        let control = connect(&url)?;
        Ok(Self { url, own: Some(own), control })
    }

    /// Uses a server that is running.
    ///
    /// # Errors
    /// If it cannot be reached or is not empty: the bench deletes all its data.
    pub(super) fn borrow(url: &str) -> Result<Self> {
        let mut control = connect(url)?;
        let keys: u64 = redis::cmd("DBSIZE").query(&mut control)?;
        if keys > 0 {
            bail!(
                "the Redis of --redis-url holds {keys} keys: the bench deletes all data of the Redis that it \
                 uses, so name an empty one"
            );
        }
        Ok(Self { url: url.to_owned(), own: None, control })
    }

    /// The port of the server, if the bench started it.
    pub(super) fn own_port(&self) -> Option<u16> {
        self.own.as_ref().map(|own| own.port)
    }

    /// The process id of the server, if the bench started it.
    pub(super) fn own_pid(&self) -> Option<u32> {
        self.own.as_ref().map(|own| own.process.id())
    }

    /// Returns the server's version.
    pub(super) fn version(&mut self) -> Result<String> {
        let info: String = redis::cmd("INFO").arg("server").query(&mut self.control)?;
        Ok(field(&info, "redis_version").unwrap_or("unknown").to_owned())
    }

    /// Returns the bytes that the data takes, without the buffers of clients and of the append-only
    /// file.
    pub(super) fn used_memory(&mut self) -> Result<u64> {
        let info: String = redis::cmd("INFO").arg("memory").query(&mut self.control)?;
        let number = |name| field(&info, name).and_then(|n| n.parse::<u64>().ok());
        let used = number("used_memory").context("INFO has no used_memory")?;
        let buffers = ["mem_aof_buffer", "mem_clients_normal"].into_iter().filter_map(number);
        Ok(used.saturating_sub(buffers.sum()))
    }

    /// Returns the commands that it has run since it started.
    pub(super) fn counts(&mut self) -> Result<Counts> {
        let info: String = redis::cmd("INFO").arg("commandstats").query(&mut self.control)?;
        Ok(Counts::of(&info))
    }

    /// Runs `operation` and returns the commands that Redis ran meanwhile, those inside scripts
    /// included, as `MONITOR` prints them.
    ///
    /// # Errors
    /// If the bench did not start the server, or cannot connect to it.
    pub(super) fn watch(&self, operation: impl FnOnce() -> Result<()>) -> Result<Vec<String>> {
        let port =
            self.own_port().context("only a Redis that the bench started can be monitored")?;
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_millis(300)))?;
        stream.write_all(b"MONITOR\r\n")?;
        let mut reader = BufReader::new(stream);
        reader.read_line(&mut String::new())?;
        operation()?;
        let mut lines = Vec::new();
        let mut line = String::new();
        while reader.read_line(&mut line).is_ok_and(|read| read > 0) {
            lines.push(std::mem::take(&mut line));
        }
        Ok(lines)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        match &mut self.own {
            Some(server) => {
                // Its folder is deleted too, so it need not save anything.
                let _ = server.process.kill();
                let _ = server.process.wait();
            }
            None => drop(redis::cmd("FLUSHDB").query::<()>(&mut self.control)),
        }
    }
}

/// The number of calls of each command, and the microseconds spent in them.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts(BTreeMap<String, (u64, u64)>);

impl Counts {
    fn of(info: &str) -> Self {
        let mut counts = BTreeMap::new();
        for line in info.lines() {
            let Some((name, rest)) = line.strip_prefix("cmdstat_").and_then(|l| l.split_once(':'))
            else {
                continue;
            };
            let number = |key: &str| {
                let mut parts = rest.split(',');
                parts.find_map(|part| part.strip_prefix(key)?.parse().ok()).unwrap_or(0)
            };
            counts.insert(name.to_owned(), (number("calls="), number("usec=")));
        }
        Self(counts)
    }

    /// Returns the difference to an earlier count.
    pub(super) fn since(&self, before: &Self) -> Self {
        let then = |name: &str| before.0.get(name).copied().unwrap_or((0, 0));
        let newer = |(name, now): (&String, &(u64, u64))| {
            let then = then(name);
            (name.clone(), (now.0 - then.0, now.1 - then.1))
        };
        Self(self.0.iter().map(newer).collect())
    }

    /// Returns the number of commands, those inside scripts included, without the bench's own INFO.
    pub(super) fn commands(&self) -> u64 {
        self.0.iter().filter(|(name, _)| *name != "info").map(|(_, count)| count.0).sum()
    }

    /// Returns the number of commands that came over the network: those that no script of the queue
    /// calls.
    pub(super) fn round_trips(&self) -> u64 {
        const NETWORK_COMMANDS: [&str; 8] = [
            "evalsha",
            "evalsha_ro",
            "eval",
            "fcall",
            "ping",
            "xread",
            "script|load",
            "client|setinfo",
        ];
        NETWORK_COMMANDS.iter().filter_map(|name| self.0.get(*name)).map(|count| count.0).sum()
    }

    /// Returns the microseconds that Redis spent in scripts.
    pub(super) fn script_micros(&self) -> u64 {
        ["evalsha", "evalsha_ro", "eval", "fcall"]
            .iter()
            .filter_map(|name| self.0.get(*name))
            .map(|count| count.1)
            .sum()
    }
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

fn connect(url: &str) -> Result<Connection> {
    let client = redis::Client::open(url).context("the Redis URL can't be used")?;
    let until = Instant::now() + TIMEOUT;
    loop {
        let connected = client.get_connection_with_timeout(Duration::from_secs(1));
        let answer = connected.and_then(|mut connection| {
            redis::cmd("PING").query::<()>(&mut connection).map(|()| connection)
        });
        match answer {
            Ok(connection) => return Ok(connection),
            Err(error) if Instant::now() > until => {
                return Err(error).context("Redis does not answer");
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Returns a port that was free a moment ago.
pub(super) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_commands_are_counted_separately_from_script_commands() {
        let before = Counts::of("cmdstat_evalsha:calls=1,usec=10,usec_per_call=10.00\r\n");
        let after = Counts::of(
            "# Commandstats\r\ncmdstat_evalsha:calls=3,usec=50,usec_per_call=16.66\r\n\
             cmdstat_hset:calls=4,usec=8,usec_per_call=2.00\r\ncmdstat_info:calls=9,usec=1\r\n",
        );
        let delta = after.since(&before);
        assert_eq!((delta.commands(), delta.round_trips(), delta.script_micros()), (6, 2, 40));
    }
}
