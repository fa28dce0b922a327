//! One Redis server: a few connections shared by all short commands, and separate ones for the rest.
//!
//! A short command uses one of several multiplexed connections, always the same one for one thread;
//! commands of other callers may share it. So an operation is one round trip, concurrent ones travel
//! together, and a connection is usually driven by the thread that uses it: waking another thread for
//! each command costs more than the command. For the same reason, threads that have a runtime of
//! their own (actix's) share no connection with the threads of a common runtime. The pool makes the connections, under a deadline. They
//! are not returned to it, since that would cost a `PING` whenever one is taken again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use deadpool_redis::{Connection, HookError, PoolError};
use redis::aio::{MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, Client, ConnectionInfo, RedisError};
use tokio::runtime::{Handle, RuntimeFlavor};

use super::address::Address;
use super::error;
use super::pools::Pools;
use super::rights::{self, Missing};
use super::sentinel_url::SentinelUrl;
use super::sentinels::Sentinels;
use super::vetting::{Record, Vetting};
use crate::{BrokerError, Fitness};

/// The number of threads that have used a connection so far: those of a common runtime, and those
/// that have a runtime of their own.
static THREADS: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

thread_local! {
    /// This thread's number: even in a common runtime, odd in one of its own.
    static THREAD: usize = {
        let is_own = Handle::try_current()
            .is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::CurrentThread);
        let kind = usize::from(is_own);
        2 * THREADS[kind].fetch_add(1, Ordering::Relaxed) + kind
    };
}

/// Returns this thread's number, to choose among an even number of things that threads share.
pub(crate) fn thread() -> usize {
    THREAD.with(|number| *number)
}

/// One server, and the connections to it. The primary that Sentinels name is one server, wherever it is.
pub(crate) struct Server {
    address: Arc<Address>,
    pools: Pools,
    lines: Vec<Line>,
    /// Idle connections for blocking reads.
    idle: Mutex<Vec<MultiplexedConnection>>,
    /// The name of the server to which the connections go.
    settled: Mutex<String>,
    limit: Duration,
    vetting: Arc<Vetting>,
    record: Arc<Record>,
}

/// A slot for one shared connection.
#[derive(Default)]
struct Line {
    held: Mutex<Option<(Instant, Connection)>>,
    /// Held while connecting; other callers wait for the result.
    connecting: tokio::sync::Mutex<()>,
}

/// Settings that all servers of a broker share.
#[derive(Clone)]
pub(crate) struct ConnectionSettings {
    /// The number of connections for short commands.
    pub(crate) lines: usize,
    /// The time limit for connecting.
    pub(crate) limit: Duration,
    /// The checks of new connections.
    pub(crate) vetting: Arc<Vetting>,
}

impl Server {
    /// Creates the server without opening a connection.
    ///
    /// # Errors
    /// Returns a message if the address is invalid.
    pub(crate) fn new(address: ConnectionInfo, shared: ConnectionSettings) -> Result<Self, String> {
        let client = Client::open(without_name(address)).map_err(|error| error.to_string())?;
        Ok(Self::at(Address::Fixed(client), shared))
    }

    /// Creates the primary that Sentinels name, without opening a connection.
    ///
    /// # Errors
    /// Returns a message if an address is invalid.
    pub(crate) fn primary(url: SentinelUrl, shared: ConnectionSettings) -> Result<Self, String> {
        let SentinelUrl { primary, sentinels, template } = url;
        let sentinels = sentinels.into_iter().map(without_name).collect();
        let url = SentinelUrl { primary, sentinels, template: without_name(template) };
        Ok(Self::at(Address::Primary(Sentinels::new(url, shared.limit)?), shared))
    }

    fn at(address: Address, shared: ConnectionSettings) -> Self {
        let ConnectionSettings { lines, limit, vetting } = shared;
        let (address, record) = (Arc::new(address), Arc::<Record>::default());
        Self {
            pools: Pools::new(&address, &vetting, &record, (lines, limit)),
            address,
            lines: (0..lines.max(1)).map(|_| Line::default()).collect(),
            idle: Mutex::default(),
            settled: Mutex::default(),
            limit,
            vetting,
            record,
        }
    }

    /// Returns `host:port`, without the password, and of a primary its name: for messages, and to identify the server.
    pub(crate) fn name(&self) -> String {
        self.address.name()
    }

    /// Returns whether the next connection may reach another server, since this one has become a replica.
    pub(crate) fn is_replaced(&self, error: &RedisError) -> bool {
        self.address.is_of_primary() && error::is_of_replica(error)
    }

    /// Returns a shared connection for short commands.
    pub(crate) async fn connection(&self) -> Result<MultiplexedConnection, PoolError> {
        let line = &self.lines[thread() % self.lines.len()];
        if let Some(connection) = line.connection() {
            return Ok(connection);
        }
        let _turn = line.connecting.lock().await;
        if let Some(connection) = line.connection() {
            return Ok(connection);
        }
        let connection = self.pools.get().await.map_err(|error| self.refused(error))?;
        self.address.note(true);
        self.settle();
        let shared = connection.clone();
        *line.lock() = Some((Instant::now(), connection));
        Ok(shared)
    }

    /// Handles the refusal of a new connection. Its reason also applies to earlier ones, so it discards them.
    fn refused(&self, error: PoolError) -> PoolError {
        self.address.note(false);
        let error = match error {
            // Connecting to a database other than 0 needs a right itself.
            PoolError::Backend(refused) if rights::is_refused(&refused) => {
                let missing = self.vetting.describe(&Missing::of("select"), &self.address);
                PoolError::PostCreateHook(HookError::message(missing))
            }
            other => other,
        };
        if matches!(error, PoolError::PostCreateHook(HookError::Message(_))) {
            self.hang_up(Instant::now());
        }
        error
    }

    /// Returns the server's fitness for the queue.
    ///
    /// # Errors
    /// Returns [`BrokerError::Unavailable`] if the server can't be queried.
    pub(crate) async fn vet(&self) -> Result<Fitness, BrokerError> {
        let asked = async {
            let mut connection = match self.connection().await {
                Ok(connection) => connection,
                Err(PoolError::PostCreateHook(HookError::Message(obstacle))) => {
                    return Ok(Fitness::unfit(obstacle));
                }
                Err(error) => return Err(error::pool_error(&self.name(), error)),
            };
            let found = self.vetting.examine(&mut connection, &self.address, &self.record).await;
            found.map_err(|error| {
                if self.is_replaced(&error) {
                    self.hang_up(Instant::now());
                }
                error::broker_error(&self.name(), &error)
            })
        };
        let found = tokio::time::timeout(self.limit, asked).await;
        let found = found.unwrap_or_else(|_| Err(error::timed_out(&self.name(), self.limit)))?;
        if !found.obstacles.is_empty() {
            // The next caller gets a new connection, which is refused with the reason.
            self.hang_up(Instant::now());
        }
        Ok(found.of(&error::named(&self.name())))
    }

    /// Discards the connections made before `then`, when one of them failed: the cause may have left the
    /// others half-open without a sign. Callers that still wait for a reply on them keep them until it
    /// arrives or their deadline passes.
    pub(crate) fn hang_up(&self, then: Instant) {
        // A connection made since then works: the failure says nothing about the present address.
        let is_old = self.lines.iter().any(|line| line.is_newer_than(then));
        self.discard(then);
        if !is_old {
            self.address.note(false);
        }
    }

    /// Discards the connections to another address than the present one.
    fn settle(&self) {
        let name = self.name();
        let mut settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        if *settled != name {
            *settled = name;
            self.discard(Instant::now());
        }
    }

    /// Discards the connections made before `then`, because the server has moved.
    pub(crate) fn discard(&self, then: Instant) {
        for line in &self.lines {
            let mut held = line.lock();
            if held.as_ref().is_some_and(|(made, _)| *made <= then)
                && let Some((_, connection)) = held.take()
            {
                drop(Connection::take(connection)); // not back into the pool
            }
        }
        self.idle().clear();
        self.record.forget();
    }

    /// Returns a connection for one blocking read, without a response timeout.
    pub(crate) async fn waiting(&self) -> Result<MultiplexedConnection, RedisError> {
        if let Some(connection) = self.idle().pop() {
            return Ok(connection);
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.limit))
            .set_response_timeout(None);
        self.address.client().await?.get_multiplexed_async_connection_with_config(&config).await
    }

    /// Takes back a connection after its blocking read.
    pub(crate) fn waited(&self, connection: MultiplexedConnection) {
        self.idle().push(connection);
    }

    /// Returns a connection for pub/sub, and the address to which it goes.
    pub(crate) async fn pubsub(&self) -> Result<(PubSub, String), RedisError> {
        let client = self.address.client().await?;
        let address = client.get_connection_info().addr().to_string();
        Ok((client.get_async_pubsub().await?, address))
    }

    /// Waits until the server is at another address.
    pub(crate) async fn moved_from(&self, address: &str) {
        self.address.moved_from(address).await;
    }

    fn idle(&self) -> MutexGuard<'_, Vec<MultiplexedConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn connection(&self) -> Option<MultiplexedConnection> {
        // Cloning copies the multiplexed connection, not its slot in the pool.
        self.lock().as_ref().map(|(_, connection)| MultiplexedConnection::clone(connection))
    }

    fn is_newer_than(&self, then: Instant) -> bool {
        self.lock().as_ref().is_some_and(|(made, _)| *made > then)
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Instant, Connection)>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Turns off the name in CLIENT LIST, which would require a further right (CLIENT SETINFO).
fn without_name(address: ConnectionInfo) -> ConnectionInfo {
    let settings = address.redis_settings().clone().set_skip_set_lib_name();
    address.set_redis_settings(settings)
}
