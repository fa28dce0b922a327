//! Waits for new tasks without polling and without the risk of losing one.
//!
//! `finish_and_claim.lua` never blocks. If a claim finds nothing, it returns each stream's latest entry id. A plain
//! `XREAD BLOCK` from those ids returns as soon as a newer entry exists, even if it was added before the
//! read began. The read takes nothing: it is a wake-up, after which the claimant claims again. So a
//! reader that is dropped or disconnected while a task arrives loses nothing.

use std::time::Duration;

use redis::{ErrorKind, RedisError, ServerErrorKind, Value, cmd};

use super::link::Link;

/// The maximum time that one read blocks. It limits the delay of tasks that become due on an idle queue,
/// which have no entry before, and ensures that queues that were deleted and recreated (`FLUSHALL`) are
/// noticed even if the clock went back.
const LONGEST_BLOCK: Duration = Duration::from_secs(1);

/// The time that Redis may take beyond the blocking time.
const SLACK: Duration = Duration::from_secs(2);

/// Waits until one of a partition's queues has an entry newer than its id (returns true), `longest`
/// passes, or the connection fails. Uses a separate connection: on a shared one it would block other
/// commands. Dropping the future closes that connection, which ends the read.
pub(super) async fn for_entry(
    link: &Link,
    queues: &[String],
    ids: &[String],
    longest: Duration,
) -> Result<bool, RedisError> {
    let block = longest.min(LONGEST_BLOCK);
    let mut read = cmd("XREAD");
    // BLOCK 0 would wait forever.
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
        // The partition has moved to another node or is being moved: the claim after the wake-up follows
        // it.
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
