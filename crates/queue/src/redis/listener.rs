//! The single pub/sub connection of a broker, which passes hints from Redis to the [`Hub`]. It starts
//! with the first watch, reconnects automatically, and wakes all watchers after each (re)connect, since
//! hints may have been missed.

use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures::StreamExt;
use protocol::TaskId;
use redis::{Msg, RedisError};
use tokio::task::AbortHandle;

use super::RedisOptions;
use super::backoff::Backoff;
use super::keys::Keys;
use super::prefix::KeyPrefix;
use super::server::Server;
use super::servers::Servers;
use crate::watch::Hub;

/// The interval of checks of an idle connection, and the timeout of connecting and of a check. Without
/// checks, a connection that was cut without a FIN would go unnoticed.
const CHECK_EVERY: Duration = Duration::from_secs(10);
const CHECK_LIMIT: Duration = Duration::from_secs(2);

/// Starts listening once; stops when dropped.
pub(crate) struct Listener {
    servers: Arc<Servers>,
    channels: Channels,
    hub: Arc<Hub>,
    running: OnceLock<AbortHandle>,
}

impl Listener {
    /// Creates a listener without opening a connection.
    pub(crate) fn new(servers: Arc<Servers>, options: &RedisOptions, hub: Arc<Hub>) -> Self {
        let channels = Channels::of(&options.key_prefix, options.partitions);
        Self { servers, channels, hub, running: OnceLock::new() }
    }

    /// Ensures that hints are received. Does nothing outside of a runtime: hints are best effort.
    pub(crate) fn ensure_started(&self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        self.running.get_or_init(|| {
            let (servers, hub) = (Arc::clone(&self.servers), Arc::clone(&self.hub));
            runtime.spawn(listen(servers, self.channels.clone(), hub)).abort_handle()
        });
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(task) = self.running.get() {
            task.abort();
        }
    }
}

/// The channels of all partitions.
#[derive(Clone)]
struct Channels {
    changed: Vec<String>,
    cancel: Vec<String>,
}

impl Channels {
    fn of(prefix: &KeyPrefix, partitions: u32) -> Self {
        let keys: Vec<_> = (0..partitions).map(|number| Keys::new(prefix, number)).collect();
        Self {
            changed: keys.iter().map(Keys::changed).collect(),
            cancel: keys.iter().map(Keys::cancel).collect(),
        }
    }
}

/// Listens at one server until it fails, then at the next: the nodes of a Cluster forward messages.
async fn listen(servers: Arc<Servers>, channels: Channels, hub: Arc<Hub>) {
    let mut backoff = Backoff::new();
    let mut server = servers.seed(0);
    loop {
        if let Err(error) = listen_once(&server, &channels, &hub, &mut backoff).await {
            tracing::debug!(%error, server = server.name().as_str(), "the connection for wake-ups was lost");
        }
        server = servers.after(&server);
        tokio::time::sleep(backoff.next()).await;
    }
}

/// Listens until the connection fails.
async fn listen_once(
    server: &Server,
    channels: &Channels,
    hub: &Hub,
    backoff: &mut Backoff,
) -> Result<(), RedisError> {
    let connect = async {
        let (mut pubsub, address) = server.pubsub().await?;
        pubsub.subscribe(&channels.changed).await?;
        pubsub.subscribe(&channels.cancel).await?;
        Ok::<_, RedisError>((pubsub.split(), address))
    };
    let ((mut sink, mut messages), address) = in_time(connect).await?;
    *backoff = Backoff::new();
    hub.wake_all();
    let mut moved = pin!(server.moved_from(&address));
    loop {
        tokio::select! {
            message = messages.next() => match message {
                Some(message) => pass_on(&message, &channels.cancel, hub),
                None => return Ok(()),
            },
            () = &mut moved => {
                server.discard(Instant::now());
                return Ok(());
            }
            () = tokio::time::sleep(CHECK_EVERY) => {
                in_time(sink.ping::<redis::Value>()).await?;
            }
        }
    }
}

/// Passes on a message, which names one or several tasks, separated by spaces.
fn pass_on(message: &Msg, cancel: &[String], hub: &Hub) {
    let cancels = cancel.iter().any(|name| name == message.get_channel_name());
    let payload = message.get_payload::<String>().unwrap_or_default();
    for id in payload.split(' ') {
        match id.parse::<TaskId>() {
            Ok(id) if cancels => hub.cancel(id),
            Ok(id) => hub.wake(id),
            Err(_) => tracing::debug!("ignored a message that is not a wake-up"),
        }
    }
}

async fn in_time<T>(work: impl Future<Output = Result<T, RedisError>>) -> Result<T, RedisError> {
    tokio::time::timeout(CHECK_LIMIT, work)
        .await
        .unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
}
