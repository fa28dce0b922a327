//! Waiting for a task to come, without polling and without risk to a task.
//!
//! `work.lua` never blocks. When a claim finds nothing it answers each stream's latest entry id;
//! a plain `XREAD BLOCK` from those ids returns as soon as anything newer is added, also when that
//! happened before it began. It takes nothing: it is a wake-up, after which the claimant claims again.
//! So a reader that is dropped, or cut off while a task arrives, loses nothing.

use std::time::Duration;

use redis::{ErrorKind, RedisError, ServerErrorKind, Value, cmd};

use super::link::Link;

/// How long one read blocks at most: so that tasks that become due, which are no entries until then,
/// start at most this late on an idle queue; and so that queues that were deleted and begun anew
/// (`FLUSHALL`) are noticed even if the clock went back.
const LONGEST_BLOCK: Duration = Duration::from_secs(1);

/// What Redis may be late beyond the time to block.
const SLACK: Duration = Duration::from_secs(2);

/// Waits until one of a partition's queues has an entry newer than the id beside it (then true),
/// `longest` passes, or the connection fails. It has a connection of its own: on a shared one it
/// would keep the others waiting. Dropping the future closes that, which ends the read.
pub(super) async fn for_entry(
    link: &Link,
    queues: &[String],
    ids: &[String],
    longest: Duration,
) -> Result<bool, RedisError> {
    let block = longest.min(LONGEST_BLOCK);
    let mut read = cmd("XREAD");
    // BLOCK 0 would mean for ever.
    read.arg("COUNT").arg(1).arg("BLOCK").arg(block.as_millis().max(1) as u64);
    read.arg("STREAMS").arg(queues).arg(ids);

    let server = link.home();
    let mut connection = server.waiting().await?;
    let answer = read.query_async::<Value>(&mut connection);
    match tokio::time::timeout(block + SLACK, answer).await {
        Ok(Ok(entries)) => {
            server.waited(connection);
            Ok(entries != Value::Nil)
        }
        // The partition has gone to another node, or is on its way: the claim that follows a wake-up
        // finds it.
        Ok(Err(error)) if is_elsewhere(&error) => {
            server.waited(connection);
            Ok(true)
        }
        Ok(Err(error)) => Err(error),
        Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
    }
}

fn is_elsewhere(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(ServerErrorKind::Moved))
}
