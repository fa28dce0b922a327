//! Checks each server's abilities and configuration on each new connection, before any task depends on it.
//! Otherwise a missing right would fail a script halfway, and a server that evicts keys would silently lose
//! accepted tasks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool_redis::HookError;
use futures::future::join;
use redis::aio::MultiplexedConnection;
use redis::{RedisError, RedisResult, Script, cmd};

use super::RedisOptions;
use super::address::Address;
use super::error;
use super::keys::Keys;
use super::prefix::KeyPrefix;
use super::rights::{self, Missing};
use super::scripts::Scripts;
use crate::Fitness;
use crate::contract::causes;

/// The checks of every server of a broker.
pub(super) struct Vetting {
    /// `rights.lua`.
    script: Script,
    /// The prefix of the keys and channels that the user must be allowed to use.
    prefix: KeyPrefix,
    bases: Vec<String>,
    channels: Vec<String>,
    /// `true` if the server must be a node of a Cluster.
    clustered: bool,
    /// `REDIS_ALLOW_EVICTION`.
    allow_eviction: bool,
    /// The time limit of the checks.
    limit: Duration,
}

/// The results of the last checks of a server.
#[derive(Default)]
pub(super) struct Record {
    /// The server passed once. From then on an eviction policy only causes a warning: refusing work would
    /// lose more.
    was_fit: AtomicBool,
    /// A SUBSCRIBE succeeded since connections were last discarded.
    may_subscribe: AtomicBool,
}

impl Record {
    /// Resets the record after connections were discarded: the next one may reach another server.
    pub(super) fn forget(&self) {
        self.may_subscribe.store(false, Ordering::Relaxed);
    }
}

impl Vetting {
    pub(super) fn new(options: &RedisOptions, clustered: bool) -> Self {
        let prefix = options.key_prefix.clone();
        let keys: Vec<_> =
            (0..options.partitions).map(|number| Keys::new(&prefix, number)).collect();
        Self {
            script: Scripts::rights(),
            prefix,
            bases: keys.iter().map(|keys| keys.base().to_owned()).collect(),
            channels: keys.iter().flat_map(|keys| [keys.changed(), keys.cancel()]).collect(),
            clustered,
            allow_eviction: options.allow_eviction,
            limit: options.command_timeout,
        }
    }

    /// Refuses a new connection to a server that the queue can't work with.
    pub(super) async fn admit(
        &self,
        connection: &mut MultiplexedConnection,
        address: &Address,
        record: &Record,
    ) -> Result<(), HookError> {
        let found = self.examine(connection, address, record).await.map_err(HookError::Backend)?;
        match found.obstacles.into_iter().next() {
            None => Ok(()),
            Some(obstacle) => Err(HookError::message(obstacle)),
        }
    }

    /// Returns the server's fitness for the queue.
    pub(super) async fn examine(
        &self,
        connection: &mut MultiplexedConnection,
        address: &Address,
        record: &Record,
    ) -> RedisResult<Fitness> {
        let mut found = Fitness::default();
        let mut missing = self.rights(connection).await?;
        let info = info(connection).await;
        // A Sentinel that has not noticed a failover yet names the former primary.
        if address.is_of_primary()
            && let Ok(Some(info)) = &info
            && info.field("role") == Some("slave")
        {
            return Err(error::replica());
        }
        if self.clustered {
            if let Ok(Some(info)) = &info
                && info.field("cluster_enabled") == Some("0")
            {
                found.obstacles.push(
                    "REDIS_URL names several servers, which means a Redis Cluster, and this one is \
                     not part of one: name one server, or the nodes of one Cluster"
                        .to_owned(),
                );
                return Ok(found);
            }
            if is_refused(&cmd("ASKING").query_async::<()>(connection).await) {
                missing.command("asking");
            }
        }
        let info = match info {
            Ok(info) => info,
            Err(error) if rights::is_refused(&error) => {
                missing.command("info");
                None
            }
            Err(error) => return Err(error),
        };
        if !record.may_subscribe.load(Ordering::Relaxed) {
            self.subscribe(address, &mut missing).await?;
        }
        if !missing.is_empty() {
            found.obstacles.push(self.describe(&missing, address));
        }
        if let Some(eviction) = info.as_ref().and_then(Info::eviction) {
            if self.allow_eviction {
                found.warnings.push(format!("{eviction}; REDIS_ALLOW_EVICTION=true accepts that"));
            } else if record.was_fit.load(Ordering::Relaxed) {
                found.warnings.push(format!("{eviction}; set maxmemory-policy noeviction"));
            } else {
                found.obstacles.push(format!(
                    "{eviction}; set maxmemory-policy noeviction, or REDIS_ALLOW_EVICTION=true to \
                     accept that"
                ));
            }
        }
        found.capacity = info.as_ref().and_then(Info::max_memory).filter(|_| !self.clustered);
        if found.obstacles.is_empty() {
            record.was_fit.store(true, Ordering::Relaxed);
            record.may_subscribe.store(true, Ordering::Relaxed);
        }
        Ok(found)
    }

    /// Describes rights that the user of connections lacks.
    pub(super) fn describe(&self, missing: &Missing, address: &Address) -> String {
        missing.describe(address.user(), &self.prefix)
    }

    /// Returns the missing rights for commands, keys and PUBLISH.
    async fn rights(&self, connection: &mut MultiplexedConnection) -> RedisResult<Missing> {
        let mut other = connection.clone();
        // Load even if Redis has the script: the right to load is needed after the next SCRIPT FLUSH.
        let load = async { self.script.prepare_invoke().load_async(&mut other).await };
        let mut call = cmd("EVALSHA");
        call.arg(self.script.get_hash()).arg(0).arg(&self.bases);
        let (loaded, answer) = join(load, call.query_async::<Vec<String>>(connection)).await;
        let mut missing = match answer {
            Ok(lines) => Missing::read(&lines),
            Err(error) if error.code() == Some("NOSCRIPT") => Missing::default(),
            Err(error) if rights::is_refused(&error) => Missing::of("evalsha"),
            Err(error) => return Err(error),
        };
        match loaded {
            Err(error) if rights::is_refused(&error) => missing.command("script|load"),
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        Ok(missing)
    }

    /// Tries to subscribe, on a separate connection.
    async fn subscribe(&self, address: &Address, missing: &mut Missing) -> RedisResult<()> {
        let listen = async {
            let mut line = address.client().await?.get_async_pubsub().await?;
            for channel in &self.channels {
                match line.subscribe(channel).await {
                    Ok(()) => {}
                    Err(error) if rights::is_refused(&error) => {
                        missing.subscribe(channel, &error);
                        return Ok(());
                    }
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        };
        tokio::time::timeout(self.limit, listen)
            .await
            .unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
    }
}

fn is_refused<T>(answer: &RedisResult<T>) -> bool {
    answer.as_ref().is_err_and(rights::is_refused)
}

/// The text of `INFO`.
struct Info(String);

/// Queries `INFO`; returns `None` if the server does not support these sections.
async fn info(connection: &mut MultiplexedConnection) -> RedisResult<Option<Info>> {
    let mut question = cmd("INFO");
    question.arg(&["memory", "cluster", "replication"]);
    let asked = question.query_async::<String>(connection).await;
    match asked {
        Ok(text) => Ok(Some(Info(text))),
        Err(error) if rights::is_refused(&error) || is_lost(&error) => Err(error),
        Err(_) => Ok(None),
    }
}

fn is_lost(error: &RedisError) -> bool {
    error.is_io_error() || error.is_timeout() || error::is_gone(error)
}

impl Info {
    fn field(&self, name: &str) -> Option<&str> {
        self.0.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':'))
    }

    /// Returns `maxmemory` in bytes, or `None` without a limit.
    fn max_memory(&self) -> Option<u64> {
        self.field("maxmemory")?.parse().ok().filter(|bytes| *bytes > 0)
    }

    /// Returns the effect of an eviction policy. Without a limit nothing is ever evicted.
    fn eviction(&self) -> Option<String> {
        let (limit, policy) = (self.max_memory()?, self.field("maxmemory_policy")?);
        let loses = match policy {
            "noeviction" => return None,
            policy if policy.starts_with("volatile") => "outcomes before their RESULT_TTL",
            _ => "accepted tasks",
        };
        Some(format!(
            "{} (maxmemory-policy {policy}): at its maxmemory of {limit} bytes it deletes {loses}",
            causes::EVICTS
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(limit: u64, policy: &str) -> Info {
        Info(format!("# Memory\r\nmaxmemory:{limit}\r\nmaxmemory_policy:{policy}\r\n"))
    }

    #[test]
    fn eviction_requires_maxmemory_and_an_evicting_policy() {
        assert_eq!(info(0, "allkeys-lru").eviction(), None, "never full");
        assert_eq!(info(1, "noeviction").eviction(), None);
        assert_eq!(Info(String::new()).eviction(), None, "not reported");
        for policy in ["allkeys-lru", "allkeys-lfu", "allkeys-random"] {
            assert!(info(9, policy).eviction().unwrap().contains("accepted tasks"), "{policy}");
        }
        for policy in ["volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"] {
            assert!(info(9, policy).eviction().unwrap().contains("outcomes"), "{policy}");
        }
    }
}
