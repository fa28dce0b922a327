//! The pool that makes the connections of one server.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool_redis::{Connection, Hook, Manager, Pool, PoolConfig, PoolError, Runtime, Timeouts};
use redis::{AsyncConnectionConfig, Client};

use super::address::Address;
use super::vetting::{Record, Vetting};

/// Makes the connections of one server. A server that moves gets a new pool at its new address.
pub(super) struct Pools {
    address: Arc<Address>,
    vetting: Arc<Vetting>,
    record: Arc<Record>,
    /// The maximum number of connections.
    size: usize,
    /// The time limit for connecting.
    limit: Duration,
    /// The pool in use, with the `host:port` of its connections.
    latest: Mutex<Option<(String, Pool)>>,
}

impl Pools {
    pub(super) fn new(
        address: &Arc<Address>,
        vetting: &Arc<Vetting>,
        record: &Arc<Record>,
        (size, limit): (usize, Duration),
    ) -> Self {
        let (address, vetting) = (Arc::clone(address), Arc::clone(vetting));
        Self { address, vetting, record: Arc::clone(record), size, limit, latest: Mutex::default() }
    }

    /// Makes a connection to the server's present address.
    pub(super) async fn get(&self) -> Result<Connection, PoolError> {
        let client = self.address.client().await.map_err(PoolError::Backend)?;
        self.at(&client)?.get().await
    }

    fn at(&self, client: &Client) -> Result<Pool, PoolError> {
        let name = client.get_connection_info().addr().to_string();
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, pool)) = latest.as_ref().filter(|(known, _)| *known == name) {
            return Ok(pool.clone());
        }
        let pool = self.pool(client).map_err(PoolError::Backend)?;
        *latest = Some((name, pool.clone()));
        Ok(pool)
    }

    fn pool(&self, client: &Client) -> redis::RedisResult<Pool> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.limit))
            .set_response_timeout(Some(self.limit));
        let manager = Manager::new_with_config(client.get_connection_info().clone(), config)?;
        let limit = Some(self.limit);
        let pool = Pool::builder(manager)
            .config(PoolConfig {
                max_size: self.size,
                timeouts: Timeouts { wait: limit, create: limit, recycle: limit },
                ..PoolConfig::default()
            })
            .runtime(Runtime::Tokio1)
            .post_create(self.admission());
        pool.build().map_err(|error| {
            redis::RedisError::from((redis::ErrorKind::Client, "no pool", error.to_string()))
        })
    }

    /// Returns the hook that admits each new connection, or refuses it with the reason.
    fn admission(&self) -> Hook {
        let (vetting, address, record) =
            (Arc::clone(&self.vetting), Arc::clone(&self.address), Arc::clone(&self.record));
        Hook::async_fn(move |connection, _| {
            let (vetting, address, record) =
                (Arc::clone(&vetting), Arc::clone(&address), Arc::clone(&record));
            Box::pin(async move { vetting.admit(connection, &address, &record).await })
        })
    }
}
