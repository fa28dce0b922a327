//! The one pub/sub connection of a broker: hints from Redis to the [`Hub`]. It begins with the first
//! watch, reconnects by itself, and wakes everyone after each (re)connect, since hints may have been
//! missed.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::StreamExt;
use protocol::TaskId;
use redis::{Client, Msg, RedisError};
use tokio::task::AbortHandle;

use super::backoff::Backoff;
use super::keys::Keys;
use crate::watch::Hub;

/// How often a quiet connection is checked, and how long connecting and a check may take. Without
/// it a connection cut without a farewell would be silent for ever.
const CHECK_EVERY: Duration = Duration::from_secs(10);
const CHECK_LIMIT: Duration = Duration::from_secs(2);

/// Starts listening once, stops when dropped.
pub(crate) struct Listener {
    client: Client,
    keys: Keys,
    hub: Arc<Hub>,
    running: OnceLock<AbortHandle>,
}

impl Listener {
    pub(crate) fn new(client: Client, keys: Keys, hub: Arc<Hub>) -> Self {
        Self { client, keys, hub, running: OnceLock::new() }
    }

    /// Makes sure that hints come in. Outside of a runtime none do: hints are no promise.
    pub(crate) fn ensure_started(&self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        self.running.get_or_init(|| {
            let (client, keys) = (self.client.clone(), self.keys.clone());
            runtime.spawn(listen(client, keys, Arc::clone(&self.hub))).abort_handle()
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

async fn listen(client: Client, keys: Keys, hub: Arc<Hub>) {
    let mut backoff = Backoff::new();
    loop {
        if let Err(error) = listen_once(&client, &keys, &hub, &mut backoff).await {
            tracing::debug!(%error, "the line for wake-ups is cut; connecting again");
        }
        tokio::time::sleep(backoff.next()).await;
    }
}

/// Listens until the connection fails.
async fn listen_once(
    client: &Client,
    keys: &Keys,
    hub: &Hub,
    backoff: &mut Backoff,
) -> Result<(), RedisError> {
    let (changed, cancel) = (keys.changed(), keys.cancel());
    let connect = async {
        let mut pubsub = client.get_async_pubsub().await?;
        pubsub.subscribe(&[&changed, &cancel]).await?;
        Ok::<_, RedisError>(pubsub.split())
    };
    let (mut sink, mut messages) = in_time(connect).await?;
    *backoff = Backoff::new();
    hub.wake_all();
    loop {
        tokio::select! {
            message = messages.next() => match message {
                Some(message) => pass_on(&message, &cancel, hub),
                None => return Ok(()),
            },
            () = tokio::time::sleep(CHECK_EVERY) => {
                in_time(sink.ping::<redis::Value>()).await?;
            }
        }
    }
}

fn pass_on(message: &Msg, cancel: &str, hub: &Hub) {
    let id = message.get_payload::<String>().ok().and_then(|id| id.parse::<TaskId>().ok());
    match id {
        Some(id) if message.get_channel_name() == cancel => hub.cancel(id),
        Some(id) => hub.wake(id),
        None => tracing::debug!("a foreign message on the line for wake-ups"),
    }
}

async fn in_time<T>(work: impl Future<Output = Result<T, RedisError>>) -> Result<T, RedisError> {
    tokio::time::timeout(CHECK_LIMIT, work)
        .await
        .unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
}
