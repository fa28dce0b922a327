//! The connections for short commands: a deadpool pool under one deadline, so that a Redis that is
//! gone costs a caller about two seconds and never hangs it. What waits (blocking reads, pub/sub)
//! has connections of its own and never comes here.

use std::time::Duration;

use deadpool_redis::{Manager, Pool, PoolConfig, Runtime, Timeouts};
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, ScriptInvocation};

use super::{RedisOptions, error};
use crate::{BrokerError, OpenError};

/// How commands reach Redis.
pub(crate) struct Link {
    pool: Pool,
    /// Where to, without the password: for messages.
    server: String,
    /// How long a command may take, connecting included.
    limit: Duration,
}

impl Link {
    /// Opens no connection yet.
    pub(crate) fn new(client: &Client, options: &RedisOptions) -> Result<Self, OpenError> {
        let server = client.get_connection_info().addr().to_string();
        let limit = options.command_timeout;
        let bad_url = |reason: String| OpenError::RedisUrl { reason };
        let manager = Manager::new_with_config(
            client.get_connection_info().clone(),
            AsyncConnectionConfig::new()
                .set_connection_timeout(Some(limit))
                .set_response_timeout(Some(limit)),
        )
        .map_err(|error| bad_url(error.to_string()))?;
        let pool = Pool::builder(manager)
            .config(PoolConfig {
                max_size: options.pool_size,
                timeouts: Timeouts { wait: Some(limit), create: Some(limit), recycle: Some(limit) },
                ..PoolConfig::default()
            })
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| bad_url(error.to_string()))?;
        Ok(Self { pool, server, limit })
    }

    /// Runs one command.
    pub(crate) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, BrokerError> {
        self.in_time(async {
            let mut connection = self.connection().await?;
            command.query_async(&mut connection).await.map_err(|error| self.error(&error))
        })
        .await
    }

    /// Runs one script; loads it first where Redis does not know it (a restart, `SCRIPT FLUSH`).
    pub(crate) async fn run(
        &self,
        call: &ScriptInvocation<'_>,
    ) -> Result<Vec<String>, BrokerError> {
        self.in_time(async {
            let mut connection = self.connection().await?;
            call.invoke_async(&mut connection).await.map_err(|error| self.error(&error))
        })
        .await
    }

    /// What a Redis error means to a caller.
    pub(crate) fn error(&self, error: &redis::RedisError) -> BrokerError {
        error::broker_error(&self.server, error)
    }

    async fn connection(&self) -> Result<deadpool_redis::Connection, BrokerError> {
        self.pool.get().await.map_err(|error| error::pool_error(&self.server, error))
    }

    async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, BrokerError>>,
    ) -> Result<T, BrokerError> {
        tokio::time::timeout(self.limit, work)
            .await
            .unwrap_or_else(|_| Err(error::timed_out(&self.server, self.limit)))
    }
}
