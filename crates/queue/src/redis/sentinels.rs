//! Finds the primary of a Redis that Sentinels watch. Each new connection asks them, so after a failover the next
//! connection goes to the new primary.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, RedisError, RedisResult, cmd,
};
use tokio::sync::watch;
use tokio::time::timeout;

use super::error;
use super::sentinel_url::SentinelUrl;

/// The interval at which the Sentinels are asked whether the primary has moved.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// The Sentinels of one primary.
pub(super) struct Sentinels {
    sentinels: Vec<Client>,
    /// The name under which they monitor the primary.
    primary: String,
    /// Everything about connections to the primary but its address.
    template: ConnectionInfo,
    /// The time limit of one Sentinel's answer, which leaves time to connect to the primary.
    limit: Duration,
    /// The primary's address as last found; empty before.
    found: watch::Sender<String>,
    /// The address at which something failed last, or that was left last: Sentinels that have not noticed the failover
    /// yet still name it.
    suspect: Mutex<Option<String>>,
}

impl Sentinels {
    /// Creates the Sentinels of a URL without opening a connection. `limit` is that of a whole operation.
    ///
    /// # Errors
    /// Returns a message if an address is invalid.
    pub(super) fn new(url: SentinelUrl, limit: Duration) -> Result<Self, String> {
        let clients: RedisResult<Vec<_>> = url.sentinels.into_iter().map(Client::open).collect();
        Ok(Self {
            sentinels: clients.map_err(|error| error.to_string())?,
            primary: url.primary,
            template: url.template,
            limit: limit / 4,
            found: watch::Sender::new(String::new()),
            suspect: Mutex::default(),
        })
    }

    /// Returns the name of the primary, with its address if it is known.
    pub(super) fn name(&self) -> String {
        match self.found.borrow().as_str() {
            "" => format!("the primary '{}'", self.primary),
            address => format!("{address} (primary '{}')", self.primary),
        }
    }

    /// Returns the user of connections to the primary.
    pub(super) fn user(&self) -> Option<&str> {
        self.template.redis_settings().username()
    }

    /// Returns a client for the primary. The first Sentinel's answer counts, except one that names the suspect address:
    /// that one only counts if no other Sentinel names another.
    ///
    /// # Errors
    /// If no Sentinel names the primary in time.
    pub(super) async fn client(&self) -> RedisResult<Client> {
        let suspect = self.suspect().clone();
        let mut answers: FuturesUnordered<_> =
            self.sentinels.iter().map(|sentinel| self.ask(sentinel)).collect();
        let (mut found, mut failure) = (None, None);
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(address) => {
                    let is_suspect = suspect.as_ref() == Some(&address.to_string());
                    found = Some(address);
                    if !is_suspect {
                        break;
                    }
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        let Some(address) = found else {
            return Err(failure.unwrap_or_else(|| error::no_primary("no Sentinel is known")));
        };
        let name = address.to_string();
        let mut left = None;
        self.found.send_if_modified(|known| {
            if *known == name {
                return false;
            }
            left = Some(std::mem::replace(known, name.clone()));
            true
        });
        if let Some(left) = left {
            tracing::info!("the primary '{}' of Redis is at {name}", self.primary);
            *self.suspect() = Some(left);
        }
        Client::open(self.template.clone().set_addr(address))
    }

    /// Notes that something failed at the primary's known address.
    pub(super) fn suspect_known(&self) {
        *self.suspect() = Some(self.found.borrow().clone());
    }

    /// Notes that the primary works at its known address.
    pub(super) fn trust_known(&self) {
        let mut suspect = self.suspect();
        if suspect.as_ref() == Some(&*self.found.borrow()) {
            *suspect = None;
        }
    }

    /// Asks the Sentinels every second, and returns once the primary is at another address. A former primary that lives
    /// accepts writes until the Sentinels make it a replica, some ten seconds later, and then loses them.
    pub(super) async fn moved_from(&self, address: &str) {
        let mut found = self.found.subscribe();
        loop {
            let moved = found.wait_for(|found| found != address);
            if timeout(ASK_EVERY, moved).await.is_ok() {
                return;
            }
            // An error shows in the operations.
            drop(self.client().await);
        }
    }

    /// Asks one Sentinel for the primary's address.
    async fn ask(&self, sentinel: &Client) -> RedisResult<ConnectionAddr> {
        let name = sentinel.get_connection_info().addr().to_string();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.limit))
            .set_response_timeout(Some(self.limit));
        let asked = async {
            let mut connection =
                sentinel.get_multiplexed_async_connection_with_config(&config).await?;
            let mut question = cmd("SENTINEL");
            question.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.primary);
            question.query_async::<Option<(String, u16)>>(&mut connection).await
        };
        match timeout(self.limit, asked).await {
            Ok(Ok(Some((host, port)))) => Ok(self.address(host, port)),
            Ok(Ok(None)) => Err(refused(&name, "it monitors no primary of that name")),
            Ok(Err(error)) => Err(refused(&name, &error::of_sentinel(&error))),
            Err(_) => Err(refused(&name, "it does not answer in time")),
        }
    }

    /// Returns the address of the primary, with the TLS settings of the URL.
    fn address(&self, host: String, port: u16) -> ConnectionAddr {
        match self.template.addr() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => ConnectionAddr::TcpTls {
                host,
                port,
                insecure: *insecure,
                tls_params: tls_params.clone(),
            },
            _ => ConnectionAddr::Tcp(host, port),
        }
    }

    fn suspect(&self) -> MutexGuard<'_, Option<String>> {
        self.suspect.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refused(sentinel: &str, reason: &str) -> RedisError {
    error::no_primary(&format!("the Sentinel at {sentinel} does not name it: {reason}"))
}
