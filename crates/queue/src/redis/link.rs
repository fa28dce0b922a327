//! The way to one partition. All its keys lie in one slot, so one server has them all: a link knows
//! which, follows it when a Cluster moves the slot or fails over, and puts every operation under one
//! deadline, so that a Redis that is gone costs a caller about two seconds and never hangs it.
//!
//! This is all of a Cluster that the queue needs, and it keeps partitions apart: a node that hangs
//! holds up nobody but those who need it. (The Cluster connection of the redis crate stops all
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

/// Redirections that one operation follows at most: more is a Cluster that contradicts itself.
const MOST_HOPS: usize = 8;

/// Between two tries while a slot is on its way to another node.
const MOVING_PAUSE: Duration = Duration::from_millis(50);

/// How operations reach their partition.
pub(crate) struct Link {
    servers: Arc<Servers>,
    /// Who has the partition, as far as is known.
    home: Mutex<Arc<Server>>,
    /// How long an operation may take, connecting included.
    limit: Duration,
}

/// Whom an operation asked last.
struct Asked {
    server: Arc<Server>,
    at: Instant,
    /// It answered that the slot is on its way to another node.
    moving: bool,
}

/// What is asked of a server.
enum Request<'a> {
    Command(&'a Cmd),
    Script(&'a ScriptInvocation<'a>),
}

impl Link {
    /// Opens no connection yet. Links begin at different servers.
    pub(crate) fn new(servers: Arc<Servers>, partition: u32, limit: Duration) -> Self {
        let home = servers.seed(partition);
        Self { servers, home: Mutex::new(home), limit }
    }

    /// Runs one command.
    pub(crate) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, BrokerError> {
        self.ask(Request::Command(command), self.limit).await
    }

    /// Runs one script; loads it first where Redis does not know it (a restart, `SCRIPT FLUSH`).
    pub(crate) async fn run(
        &self,
        call: &ScriptInvocation<'_>,
    ) -> Result<Vec<String>, BrokerError> {
        self.run_within(call, self.limit).await
    }

    /// The same under another deadline.
    pub(crate) async fn run_within(
        &self,
        call: &ScriptInvocation<'_>,
        limit: Duration,
    ) -> Result<Vec<String>, BrokerError> {
        self.ask(Request::Script(call), limit).await
    }

    /// How long an operation may take.
    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    /// Who has the partition, as far as is known.
    pub(crate) fn home(&self) -> Arc<Server> {
        Arc::clone(&self.home.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What a Redis error means to a caller.
    pub(crate) fn error(&self, error: &RedisError) -> BrokerError {
        error::broker_error(self.home().name(), error)
    }

    /// What a script's `error` says of one of several tasks.
    pub(crate) fn error_of_one(&self, text: &str) -> BrokerError {
        let home = self.home();
        if rights::is_refusal(text) {
            // The next connection says which right is missing.
            home.hang_up(Instant::now());
        }
        error::of_one(home.name(), text.strip_prefix("error ").unwrap_or(text))
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
                return Err(error::moving(server.name()));
            }
            self.leave(&server, at);
            Err(error::timed_out(server.name(), limit))
        })?;
        T::from_redis_value(value).map_err(|error| self.error(&error.into()))
    }

    /// Asks the partition's server, wherever it has gone. Notes in `asked` whom, and when.
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
                // Nothing was sent: another node may know who took the partition over.
                Err(error) => {
                    if error::is_silence(&error) {
                        server.hang_up(Instant::now());
                    }
                    let error = error::pool_error(server.name(), error);
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
                // The slot is on its way. A script needs all of it, so it waits until that has
                // arrived: Redis refuses it on both sides, since its first key, the base, is a
                // prefix that no key is stored under.
                (ErrorKind::Server(ServerErrorKind::Ask | ServerErrorKind::TryAgain), _) => {
                    note(true);
                    tokio::time::sleep(MOVING_PAUSE).await;
                    server = self.home();
                }
                // Most likely it had been dead for a while. Whether the request was carried out is
                // unknown, but every operation may be repeated.
                _ if error.is_connection_dropped() && !repeated => {
                    repeated = true;
                    server.hang_up(sent);
                }
                _ => {
                    if error::is_gone(&error) {
                        self.leave(&server, sent);
                    }
                    return Err(error::broker_error(server.name(), &error));
                }
            }
        }
        // The first is the one that was known to have the partition.
        let first = unreachable.into_iter().next();
        Err(first.map_or_else(|| error::astray(self.home().name()), |(_, error)| error))
    }

    /// A server that was not found unreachable by this operation.
    fn untried(&self, unreachable: &[(Arc<Server>, BrokerError)]) -> Option<Arc<Server>> {
        let tried =
            |server: &Arc<Server>| unreachable.iter().any(|(gone, _)| Arc::ptr_eq(gone, server));
        self.servers.all().into_iter().find(|server| !tried(server))
    }

    fn settle(&self, server: &Arc<Server>) {
        *self.home.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(server);
    }

    /// After a failure: new connections for the next operation, and another node to begin with,
    /// which knows if this one's partitions were taken over.
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
