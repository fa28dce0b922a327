//! One Redis server: a few connections that all short commands share, and what connects otherwise.
//!
//! A short command goes down one of some multiplexed connections, always the same for one thread;
//! those of other callers may be on it at the same time. So an operation is one round trip, many at
//! once travel together, and a connection is mostly driven by the thread that uses it: waking another
//! for each command costs more than the command. The pool makes the connections, under a deadline;
//! nothing goes back into it, since that would cost a `PING` whenever one is taken out again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use deadpool_redis::{
    Connection, Hook, HookError, Manager, Pool, PoolConfig, PoolError, Runtime, Timeouts,
};
use redis::aio::{MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, Client, ConnectionInfo, RedisError};

use super::error;
use super::rights::{self, Missing};
use super::vetting::{Record, Vetting};
use crate::{BrokerError, Fitness};

/// Threads that asked for a connection so far.
static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Which of them this one is.
    static THREAD: usize = THREADS.fetch_add(1, Ordering::Relaxed);
}

/// A number of this thread's own, to choose by among things that threads share.
pub(crate) fn thread() -> usize {
    THREAD.with(|number| *number)
}

/// One server, and the connections to it.
pub(crate) struct Server {
    /// `host:port`, without the password: for messages, and to know it again.
    name: String,
    client: Client,
    pool: Pool,
    lines: Vec<Line>,
    /// Connections whose blocking read has ended, for the next to wait.
    idle: Mutex<Vec<MultiplexedConnection>>,
    limit: Duration,
    vetting: Arc<Vetting>,
    record: Arc<Record>,
}

/// A place for one shared connection.
#[derive(Default)]
struct Line {
    held: Mutex<Option<(Instant, Connection)>>,
    /// One connects, the others wait for what it gets.
    connecting: tokio::sync::Mutex<()>,
}

/// What every server of a broker has in common.
#[derive(Clone)]
pub(crate) struct Manners {
    /// Connections for short commands.
    pub(crate) lines: usize,
    /// How long connecting may take.
    pub(crate) limit: Duration,
    /// What it must be able to do.
    pub(crate) vetting: Arc<Vetting>,
}

impl Server {
    /// Opens no connection yet.
    ///
    /// # Errors
    /// When the address can't be one.
    pub(crate) fn new(address: ConnectionInfo, manners: Manners) -> Result<Self, String> {
        let Manners { lines, limit, vetting } = manners;
        // A name in CLIENT LIST is not worth a right of its own (CLIENT SETINFO).
        let settings = address.redis_settings().clone().set_skip_set_lib_name();
        let address = address.set_redis_settings(settings);
        let client = Client::open(address.clone()).map_err(|error| error.to_string())?;
        let timeouts = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(limit))
            .set_response_timeout(Some(limit));
        let manager = Manager::new_with_config(address, timeouts);
        let record = Arc::<Record>::default();
        let pool = Pool::builder(manager.map_err(|error| error.to_string())?)
            .config(PoolConfig {
                max_size: lines,
                timeouts: Timeouts { wait: Some(limit), create: Some(limit), recycle: Some(limit) },
                ..PoolConfig::default()
            })
            .runtime(Runtime::Tokio1)
            .post_create(admission(&vetting, &client, &record));
        Ok(Self {
            name: client.get_connection_info().addr().to_string(),
            client,
            pool: pool.build().map_err(|error| error.to_string())?,
            lines: (0..lines.max(1)).map(|_| Line::default()).collect(),
            idle: Mutex::default(),
            limit,
            vetting,
            record,
        })
    }

    /// `host:port`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A connection for short commands, shared with others.
    pub(crate) async fn connection(&self) -> Result<MultiplexedConnection, PoolError> {
        let line = &self.lines[thread() % self.lines.len()];
        if let Some(connection) = line.connection() {
            return Ok(connection);
        }
        let _turn = line.connecting.lock().await;
        if let Some(connection) = line.connection() {
            return Ok(connection);
        }
        let connection = self.pool.get().await.map_err(|error| self.refused(error))?;
        let shared = connection.clone();
        *line.lock() = Some((Instant::now(), connection));
        Ok(shared)
    }

    /// What became of a new connection that was refused. What is true of it is true of those before, so they go too.
    fn refused(&self, error: PoolError) -> PoolError {
        let error = match error {
            // The right that connecting itself needs, of a database other than 0.
            PoolError::Backend(refused) if rights::is_refused(&refused) => {
                let user = self.client.get_connection_info().redis_settings().username();
                let missing = Missing::of("select").describe(user.unwrap_or("default"));
                PoolError::PostCreateHook(HookError::message(missing))
            }
            other => other,
        };
        if matches!(error, PoolError::PostCreateHook(HookError::Message(_))) {
            self.hang_up(Instant::now());
        }
        error
    }

    /// How fit it is for the queue.
    ///
    /// # Errors
    /// [`BrokerError::Unavailable`] when it can't be asked.
    pub(crate) async fn vet(&self) -> Result<Fitness, BrokerError> {
        let asked = async {
            let mut connection = match self.connection().await {
                Ok(connection) => connection,
                Err(PoolError::PostCreateHook(HookError::Message(obstacle))) => {
                    return Ok(Fitness::unfit(obstacle));
                }
                Err(error) => return Err(error::pool_error(&self.name, error)),
            };
            let found = self.vetting.examine(&mut connection, &self.client, &self.record).await;
            found.map_err(|error| error::broker_error(&self.name, &error))
        };
        let found = tokio::time::timeout(self.limit, asked).await;
        let found = found.unwrap_or_else(|_| Err(error::timed_out(&self.name, self.limit)))?;
        if !found.obstacles.is_empty() {
            // Whoever needs it next gets a connection that is refused with the reason.
            self.hang_up(Instant::now());
        }
        Ok(found.of(&error::named(&self.name)))
    }

    /// Hangs up on the connections made before `then`: one that was in use then failed, so what
    /// broke it may have broken the others, half-open, without a sign. Who is still waiting for an
    /// answer on them keeps them until it came, or the deadline.
    pub(crate) fn hang_up(&self, then: Instant) {
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

    /// A connection for one blocking read, without a response timeout.
    pub(crate) async fn waiting(&self) -> Result<MultiplexedConnection, RedisError> {
        if let Some(connection) = self.idle().pop() {
            return Ok(connection);
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.limit))
            .set_response_timeout(None);
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }

    /// Takes back a connection whose blocking read has ended.
    pub(crate) fn waited(&self, connection: MultiplexedConnection) {
        self.idle().push(connection);
    }

    /// A connection for pub/sub.
    pub(crate) async fn pubsub(&self) -> Result<PubSub, RedisError> {
        self.client.get_async_pubsub().await
    }

    fn idle(&self) -> MutexGuard<'_, Vec<MultiplexedConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn connection(&self) -> Option<MultiplexedConnection> {
        // Cloning takes the multiplexed connection, not its place in the pool.
        self.lock().as_ref().map(|(_, connection)| MultiplexedConnection::clone(connection))
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Instant, Connection)>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Admits each new connection, or refuses it with the reason.
fn admission(vetting: &Arc<Vetting>, client: &Client, record: &Arc<Record>) -> Hook {
    let (vetting, client, record) = (Arc::clone(vetting), client.clone(), Arc::clone(record));
    Hook::async_fn(move |connection, _| {
        let (vetting, client, record) = (Arc::clone(&vetting), client.clone(), Arc::clone(&record));
        Box::pin(async move { vetting.admit(connection, &client, &record).await })
    })
}
