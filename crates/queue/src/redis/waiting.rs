//! Waiting for a task to come, without polling and without risk to a task.
//!
//! `claim.lua` never blocks. When it finds nothing it answers each queue's last-generated entry id;
//! a plain `XREAD BLOCK` from those ids, outside of the consumer group, returns as soon as anything
//! newer is added, also when that happened before it began. It takes nothing: it is a wake-up, after
//! which the claimant claims again. So a reader that is dropped, or cut off while a task arrives,
//! loses nothing.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError, cmd};

/// How long one read blocks at most: so that tasks that become due, which are no entries until then,
/// start at most this late on an idle queue; and so that queues that were deleted and begun anew
/// (`FLUSHALL`) are noticed even if the clock went back.
const LONGEST_BLOCK: Duration = Duration::from_secs(1);

/// What Redis may be late beyond the time to block.
const SLACK: Duration = Duration::from_secs(2);

/// Connections for blocking reads, one per claimant that waits. Never from the pool: a read would
/// keep the others waiting, and its short timeout would end the read.
pub(crate) struct Waiting {
    client: Client,
    connect_timeout: Duration,
    /// Connections whose read has ended, for the next to wait.
    idle: Mutex<Vec<MultiplexedConnection>>,
}

impl Waiting {
    pub(crate) fn new(client: Client, connect_timeout: Duration) -> Self {
        Self { client, connect_timeout, idle: Mutex::default() }
    }

    /// Waits until one of the queues has an entry newer than the id beside it, `longest` passes, or
    /// the connection fails. Dropping the future closes the connection, which ends the read.
    pub(crate) async fn for_entry(
        &self,
        queues: &[String],
        ids: &[String],
        longest: Duration,
    ) -> Result<(), RedisError> {
        let block = longest.min(LONGEST_BLOCK);
        let mut read = cmd("XREAD");
        // BLOCK 0 would mean for ever.
        read.arg("COUNT").arg(1).arg("BLOCK").arg(block.as_millis().max(1) as u64);
        read.arg("STREAMS").arg(queues).arg(ids);

        let mut connection = self.connection().await?;
        let answer = read.query_async::<redis::Value>(&mut connection);
        match tokio::time::timeout(block + SLACK, answer).await {
            Ok(Ok(_)) => self.idle().push(connection),
            Ok(Err(error)) => return Err(error),
            Err(_) => return Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
        }
        Ok(())
    }

    async fn connection(&self) -> Result<MultiplexedConnection, RedisError> {
        if let Some(connection) = self.idle().pop() {
            return Ok(connection);
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(None); // for_entry has its own
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<MultiplexedConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
