//! The system that is measured: a new broker, and a gateway on a socket.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use protocol::ModelId;
use queue::{Broker, RedisBroker, RedisOptions, SqliteBroker};
use serde::Serialize;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::super::cores::Reserved;
use super::super::cpu;
use super::super::load::Target;
use super::super::processes::Process;
use super::super::redis::Redis;

/// The model of all tasks. No worker of the bench loads it.
pub(super) const MODEL: &str = "demo";
/// A bound that no bench reaches.
const NO_BOUND: u64 = 10_000_000;

/// A queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BrokerKind {
    /// Redis Streams.
    Redis,
    /// The embedded queue.
    Sqlite,
}

/// An empty queue, and a gateway in front of it.
pub(super) struct Rig {
    pub(super) broker: Arc<dyn Broker>,
    pub(super) target: Target,
    /// The Redis, if it is the queue.
    pub(super) redis: Option<Redis>,
    /// Runs the broker's operations and the workers.
    pub(super) runtime: Runtime,
    gateway: Gateway,
    folder: TempDir,
    /// The core reserved for Redis.
    _core: Option<Reserved>,
}

/// Processor time of each process; `None` for processes that do not exist or cannot be measured.
pub(super) struct Cpu {
    pub(super) bench: Option<Duration>,
    pub(super) gateway: Option<Duration>,
    pub(super) redis: Option<Duration>,
}

/// The gateway: with Redis, a process of its own, as deployed. The embedded queue allows only one
/// process.
enum Gateway {
    Process(Process),
    Here { stop: Option<tokio::sync::oneshot::Sender<()>> },
}

impl Rig {
    /// Starts all parts.
    ///
    /// # Errors
    /// If Redis or the gateway cannot be started.
    pub(super) fn start(kind: BrokerKind, redis_url: Option<&str>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        // Before anything that must keep off the core is started.
        let core = match kind {
            BrokerKind::Redis if redis_url.is_none() => Reserved::one(),
            _ => None,
        };
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let key = service::settings::fresh_key();
        let headers = vec![format!("X-API-Key: {key}")];
        match kind {
            BrokerKind::Redis => {
                let redis = match (redis_url, &core) {
                    (Some(url), _) => Redis::borrow(url)?,
                    (None, Some(core)) => Redis::start(&core.redis_arguments())?,
                    (None, None) => Redis::start(&[])?,
                };
                let broker = RedisBroker::connect(RedisOptions::new(&redis.url))?;
                let bound = NO_BOUND.to_string();
                let bounds = [
                    ("MAX_QUEUE_SIZE", &*bound),
                    ("MAX_TENANT_TASKS", &*bound),
                    ("MAX_QUEUE_BYTES", "1099511627776"),
                ];
                let (process, address) = Process::gateway(&redis.url, &key, MODEL, &bounds)?;
                Ok(Self {
                    broker: Arc::new(broker),
                    target: Target { address, headers },
                    redis: Some(redis),
                    runtime,
                    gateway: Gateway::Process(process),
                    folder,
                    _core: core,
                })
            }
            BrokerKind::Sqlite => {
                let broker: Arc<dyn Broker> = Arc::new(SqliteBroker::open(folder.path())?);
                let listener = TcpListener::bind("127.0.0.1:0")?;
                let address = listener.local_addr()?;
                let options = gateway::Options {
                    max_queue_size: NO_BOUND,
                    ..gateway::Options::new(vec![key], ModelId::new(MODEL))
                };
                let (stop, stopped) = tokio::sync::oneshot::channel();
                let served = gateway::serve(listener, Arc::clone(&broker), options, async {
                    let _ = stopped.await;
                });
                runtime.spawn(served);
                Ok(Self {
                    broker,
                    target: Target { address, headers },
                    redis: None,
                    runtime,
                    gateway: Gateway::Here { stop: Some(stop) },
                    folder,
                    _core: core,
                })
            }
        }
    }

    /// Returns the processor time so far.
    pub(super) fn cpu(&self) -> Cpu {
        let gateway = match &self.gateway {
            Gateway::Process(process) => cpu::of(process.id()),
            Gateway::Here { .. } => None,
        };
        let redis = self.redis.as_ref().and_then(|redis| cpu::of(redis.own_pid()?));
        Cpu { bench: cpu::of(std::process::id()), gateway, redis }
    }

    /// Returns the size of the queue in bytes: Redis' memory, or the embedded queue's files.
    pub(super) fn size(&mut self) -> Result<u64> {
        if let Some(redis) = &mut self.redis {
            return redis.used_memory();
        }
        let mut bytes = 0;
        for entry in std::fs::read_dir(self.folder.path())? {
            bytes += entry?.metadata()?.len();
        }
        Ok(bytes)
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Gateway::Here { stop } = &mut self.gateway {
            let _ = stop.take().map(|stop| stop.send(()));
        }
    }
}
