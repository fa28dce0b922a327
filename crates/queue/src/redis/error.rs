//! Maps errors of Redis and the network to errors of the contract.

use std::time::Duration;

use deadpool_redis::{HookError, PoolError};
use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::rights;
use crate::BrokerError;
use crate::contract::causes;

/// The code of errors of Sentinels.
const SENTINEL: &str = "SENTINEL";

/// Classifies an error: `Unavailable` if it may be transient, `Corrupt` if it should never occur.
pub(crate) fn broker_error(server: &str, error: &RedisError) -> BrokerError {
    let text = error.to_string();
    let foreign = match error.kind() {
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => true,
        ErrorKind::Server(ServerErrorKind::ResponseError | ServerErrorKind::CrossSlot) => true,
        ErrorKind::Extension => error.code() == Some("WRONGTYPE"),
        _ => false,
    };
    if rights::is_refused(error) {
        // Retrying helps: the right may be granted. The next connection is refused with the missing rights.
        return unavailable(server, &format!("{} ({text})", causes::RIGHTS));
    }
    if text.contains("unexpected symbol near '#'") {
        return unavailable(server, "it is too old: Redis 7.0 (or Valkey) or newer is needed");
    }
    if foreign { BrokerError::Corrupt(text) } else { unavailable(server, &reason(error, text)) }
}

/// Maps a script's error about one of several tasks, as if the task had been alone in the call.
pub(crate) fn of_one(server: &str, said: &str) -> BrokerError {
    let (code, detail) = said.split_once(' ').unwrap_or((said, ""));
    let code = code.trim_start_matches('-').to_owned();
    if rights::is_refusal(said) {
        return unavailable(server, &format!("{} ({said})", causes::RIGHTS));
    }
    match broker_error(server, &redis::make_extension_error(code, Some(detail.to_owned()))) {
        // The connection was good, and so was the script's beginning: retrying does not help.
        BrokerError::Unavailable { .. } => BrokerError::Corrupt(said.to_owned()),
        error => error,
    }
}

/// Copies an error for another request of the same call.
pub(crate) fn shared(error: &BrokerError) -> BrokerError {
    match error {
        BrokerError::Unavailable { reason } => BrokerError::Unavailable { reason: reason.clone() },
        other => BrokerError::Corrupt(other.to_string()),
    }
}

/// Maps an error of the pool.
pub(crate) fn pool_error(server: &str, error: PoolError) -> BrokerError {
    match error {
        PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
            broker_error(server, &error)
        }
        PoolError::PostCreateHook(HookError::Message(reason)) => unavailable(server, &reason),
        PoolError::Timeout(_) => unavailable(server, "it does not accept connections in time"),
        other => unavailable(server, &other.to_string()),
    }
}

/// Returns whether an attempt to connect got no answer. Then established connections may be dead as
/// well.
pub(crate) fn is_silence(error: &PoolError) -> bool {
    match error {
        PoolError::Timeout(_) => true,
        PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
            error.is_timeout()
        }
        _ => false,
    }
}

/// Returns whether the connection is unusable after this error: broken, unresponsive, to a server that
/// another has replaced, or of a user whose rights were revoked.
pub(crate) fn is_gone(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_unrecoverable_error()
        || is_of_replica(error)
        || rights::is_refused(error)
}

/// Returns whether a replica refused a write.
pub(crate) fn is_of_replica(error: &RedisError) -> bool {
    error.code() == Some("READONLY")
}

/// Returns the error for a server that should be a primary and is a replica.
pub(crate) fn replica() -> RedisError {
    redis::make_extension_error("READONLY".to_owned(), Some("it is a replica".to_owned()))
}

/// Returns the error for a primary that no Sentinel names.
pub(crate) fn no_primary(reason: &str) -> RedisError {
    redis::make_extension_error(SENTINEL.to_owned(), Some(reason.to_owned()))
}

/// Returns the reason why a Sentinel does not answer a question.
pub(crate) fn of_sentinel(error: &RedisError) -> String {
    let is_auth = error.kind() == ErrorKind::AuthenticationFailed;
    if is_auth || matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "NOPERM")) {
        return "it refuses the user or the password: set REDIS_SENTINEL_USERNAME and \
                REDIS_SENTINEL_PASSWORD"
            .to_owned();
    }
    reason(error, error.to_string())
}

/// Returns the error for a slot that is being moved between nodes for longer than an operation may take.
pub(crate) fn moving(server: &str) -> BrokerError {
    unavailable(server, "this part of the queue is moving to another node of the Cluster")
}

/// Returns the error for nodes of a Cluster that redirect in a circle.
pub(crate) fn astray(server: &str) -> BrokerError {
    unavailable(
        server,
        "the nodes of the Cluster do not agree on the owner of this part of the queue",
    )
}

/// Returns the error for a redirection to an invalid address.
pub(crate) fn no_address(server: &str, address: &str) -> BrokerError {
    BrokerError::Corrupt(format!("Redis at {server} points at '{}'", address.escape_debug()))
}

/// Returns the error for a Redis that did not answer in time.
pub(crate) fn timed_out(server: &str, limit: Duration) -> BrokerError {
    unavailable(server, &format!("no answer within {:.1} s", limit.as_secs_f64()))
}

fn unavailable(server: &str, reason: &str) -> BrokerError {
    BrokerError::Unavailable { reason: format!("{}{reason}", named(server)) }
}

/// Returns the prefix of messages about a server.
pub(crate) fn named(server: &str) -> String {
    format!("Redis at {server}: ")
}

/// Returns a plain description of the most frequent failures.
fn reason(error: &RedisError, text: String) -> String {
    if error.is_connection_refusal() {
        return "connection refused".into();
    }
    if error.is_timeout() {
        return "timed out".into();
    }
    match error.code() {
        Some("LOADING") => causes::LOADING.into(),
        Some("CLUSTERDOWN" | "MASTERDOWN") => {
            "the Cluster does not serve this part of the queue now".into()
        }
        Some(SENTINEL) => error.detail().unwrap_or_default().to_owned(),
        Some("OOM") => causes::MEMORY.into(),
        Some("READONLY") => causes::REPLICA.into(),
        Some("MISCONF") => causes::DISK.into(),
        Some("NOREPLICAS") => causes::REPLICAS.into(),
        Some("NOAUTH" | "WRONGPASS") => "it refused the password".into(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_error(code: &'static str) -> RedisError {
        redis::make_extension_error(code.to_owned(), Some("detail".to_owned()))
    }

    #[test]
    fn transient_redis_errors_map_to_unavailable_with_a_reason() {
        for (code, words) in [
            ("OOM", "out of memory"),
            ("MISCONF", "disk"),
            ("NOAUTH", "password"),
            ("NOREPLICAS", "replicas"),
            ("NOPERM", "rights"),
        ] {
            let error = broker_error("host:1", &server_error(code));
            let BrokerError::Unavailable { reason } = &error else { panic!("{error}") };
            assert!(reason.contains(words) && reason.contains("host:1"), "{reason}");
        }
    }

    #[test]
    fn value_of_the_wrong_type_is_reported_as_corrupt() {
        let error = broker_error("host:1", &server_error("WRONGTYPE"));
        assert!(matches!(error, BrokerError::Corrupt(_)), "{error}");
    }
}
