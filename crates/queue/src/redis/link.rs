//! The route to one partition. All its keys are in one slot, so one server has them all. A link knows
//! that server, follows the slot when a Cluster moves it or fails over, and puts every operation under
//! one deadline, so that an unavailable Redis costs a caller about two seconds and never blocks it.
//!
//! This is all the Cluster support that the queue needs, and it isolates partitions: an unresponsive
//! node delays only the operations that need it. (The Cluster connection of the redis crate stops all
//! requests while it looks for a lost node, and loads a script on all nodes or on none.)

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{
    Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult, ScriptInvocation, ServerErrorKind,
    Value, pipe,
};

use super::error;
use super::rights;
use super::server::Server;
use super::servers::Servers;
use crate::BrokerError;

/// The maximum number of redirections per operation: more indicate a contradictory Cluster.
const MOST_HOPS: usize = 8;

/// The pause between two tries while a slot is being moved.
const MOVING_PAUSE: Duration = Duration::from_millis(50);

/// Routes operations to their partition.
pub(crate) struct Link {
    servers: Arc<Servers>,
    /// The server last known to have the partition.
    home: Mutex<Arc<Server>>,
    /// The timeout of an operation, including connecting.
    limit: Duration,
}

/// The server that an operation queried last.
struct Asked {
    server: Arc<Server>,
    at: Instant,
    /// `true` if it replied that the slot is being moved to another node.
    moving: bool,
}

/// A request to a server.
enum Request<'a> {
    Command(&'a Cmd),
    Script(&'a ScriptInvocation<'a>),
}

impl Link {
    /// Creates the link without opening a connection. Links start at different servers.
    pub(crate) fn new(servers: Arc<Servers>, partition: u32, limit: Duration) -> Self {
        let home = servers.seed(partition);
        Self { servers, home: Mutex::new(home), limit }
    }

    /// Runs one command.
    pub(crate) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, BrokerError> {
        self.ask(Request::Command(command), self.limit).await
    }

    /// Runs one script; loads it first if Redis does not have it (a restart, `SCRIPT FLUSH`).
    pub(crate) async fn run(
        &self,
        call: &ScriptInvocation<'_>,
    ) -> Result<Vec<String>, BrokerError> {
        self.run_within(call, self.limit).await
    }

    /// Runs one script under another deadline.
    pub(crate) async fn run_within(
        &self,
        call: &ScriptInvocation<'_>,
        limit: Duration,
    ) -> Result<Vec<String>, BrokerError> {
        self.ask(Request::Script(call), limit).await
    }

    /// Returns the server last known to have the partition.
    pub(crate) fn home(&self) -> Arc<Server> {
        Arc::clone(&self.home.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Maps an error of Redis to one of the contract.
    pub(crate) fn error(&self, error: &RedisError) -> BrokerError {
        error::broker_error(&self.home().name(), error)
    }

    /// Maps a script's `error` about one of several tasks.
    pub(crate) fn error_of_one(&self, text: &str) -> BrokerError {
        let home = self.home();
        if rights::is_refusal(text) {
            // The next connection determines which right is missing.
            home.hang_up(Instant::now());
        }
        error::of_one(&home.name(), text.strip_prefix("error ").unwrap_or(text))
    }

    async fn ask<T: FromRedisValue>(
        &self,
        request: Request<'_>,
        limit: Duration,
    ) -> Result<T, BrokerError> {
        let asked = Mutex::new(Asked { server: self.home(), at: Instant::now(), moving: false });
        let answer = tokio::time::timeout(limit, self.follow(&request, &asked)).await;
        let value = answer.unwrap_or_else(|_| {
            let Asked { server, at, moving } =
                asked.into_inner().unwrap_or_else(PoisonError::into_inner);
            if moving {
                return Err(error::moving(&server.name()));
            }
            self.leave(&server, at);
            Err(error::timed_out(&server.name(), limit))
        })?;
        T::from_redis_value(value).map_err(|error| self.error(&error.into()))
    }

    /// Sends the request to the partition's server, following redirections. Records the server and the
    /// time in `asked`.
    async fn follow(
        &self,
        request: &Request<'_>,
        asked: &Mutex<Asked>,
    ) -> Result<Value, BrokerError> {
        let mut server = self.home();
        let mut asking = false;
        let mut repeated = false;
        let mut unreachable: Vec<(Arc<Server>, BrokerError)> = Vec::new();
        let mut hops = 0;
        while hops < MOST_HOPS {
            let mut connection = match server.connection().await {
                Ok(connection) => connection,
                // Nothing was sent: another node may know the partition's new server.
                Err(error) => {
                    if error::is_silence(&error) {
                        server.hang_up(Instant::now());
                    }
                    let error = error::pool_error(&server.name(), error);
                    unreachable.push((server, error));
                    match self.untried(&unreachable) {
                        Some(next) => server = next,
                        None => break,
                    }
                    continue;
                }
            };
            let sent = Instant::now();
            let note = |moving| {
                *asked.lock().unwrap_or_else(PoisonError::into_inner) =
                    Asked { server: Arc::clone(&server), at: sent, moving };
            };
            note(false);
            let error = match request.send(&mut connection, asking).await {
                Ok(value) => {
                    if !asking {
                        self.settle(&server);
                    }
                    return Ok(value);
                }
                Err(error) => error,
            };
            asking = false;
            match (error.kind(), error.redirect_node()) {
                (ErrorKind::Server(ServerErrorKind::Moved), Some((address, _))) => {
                    hops += 1;
                    server = self.servers.at(address, &server)?;
                    self.settle(&server);
                    if unreachable.iter().any(|(gone, _)| Arc::ptr_eq(gone, &server)) {
                        match self.untried(&unreachable) {
                            Some(next) => server = next,
                            None => break,
                        }
                    }
                }
                (ErrorKind::Server(ServerErrorKind::Ask), Some((address, _)))
                    if matches!(request, Request::Command(_)) =>
                {
                    hops += 1;
                    server = self.servers.at(address, &server)?;
                    asking = true;
                }
                // The slot is being moved. A script needs all its keys, so wait until the move is
                // complete: Redis refuses the script on both sides, since its first key, the base, is
                // a prefix under which no key is stored.
                (ErrorKind::Server(ServerErrorKind::Ask | ServerErrorKind::TryAgain), _) => {
                    note(true);
                    tokio::time::sleep(MOVING_PAUSE).await;
                    server = self.home();
                }
                // Most likely the connection had been dead for a while. Whether the request was executed
                // is unknown, but every operation may be repeated.
                // A failed-over primary refuses writes.
                _ if (error.is_connection_dropped() || server.is_replaced(&error)) && !repeated => {
                    repeated = true;
                    server.hang_up(sent);
                }
                _ => {
                    if error::is_gone(&error) {
                        self.leave(&server, sent);
                    }
                    return Err(error::broker_error(&server.name(), &error));
                }
            }
        }
        // The first is the one that was known to have the partition.
        let first = unreachable.into_iter().next();
        Err(first.map_or_else(|| error::astray(&self.home().name()), |(_, error)| error))
    }

    /// Returns a server that this operation has not found unreachable.
    fn untried(&self, unreachable: &[(Arc<Server>, BrokerError)]) -> Option<Arc<Server>> {
        let tried =
            |server: &Arc<Server>| unreachable.iter().any(|(gone, _)| Arc::ptr_eq(gone, server));
        self.servers.all().into_iter().find(|server| !tried(server))
    }

    fn settle(&self, server: &Arc<Server>) {
        *self.home.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(server);
    }

    /// After a failure, makes the next operation use new connections and start at another node, which
    /// knows whether this one's partitions were taken over.
    fn leave(&self, server: &Arc<Server>, sent: Instant) {
        server.hang_up(sent);
        self.settle(&self.servers.after(server));
    }
}

impl Request<'_> {
    async fn send(
        &self,
        connection: &mut MultiplexedConnection,
        asking: bool,
    ) -> RedisResult<Value> {
        match self {
            Self::Command(command) if asking => {
                let mut both = pipe();
                both.cmd("ASKING").ignore().add_command((*command).clone());
                both.query_async::<(Value,)>(connection).await.map(|(value,)| value)
            }
            Self::Command(command) => command.query_async(connection).await,
            Self::Script(call) => call.invoke_async(connection).await,
        }
    }
}
