//! The servers that a broker knows: those of the URL, and those that a Cluster has named since; or the primary that
//! Sentinels name.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::join_all;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

use super::sentinel_url::SentinelUrl;
use super::server::{ConnectionSettings, Server};
use super::vetting::Vetting;
use super::{RedisOptions, error, tls};
use crate::{BrokerError, Fitness, OpenError};

/// All servers, each with its connections.
pub(crate) struct Servers {
    seeds: Vec<Arc<Server>>,
    /// Servers named by redirections.
    learned: Mutex<Vec<Arc<Server>>>,
    /// The connection settings for servers that are not seeds: those of the first seed.
    template: ConnectionInfo,
    settings: ConnectionSettings,
}

impl Servers {
    /// Creates the servers of the URL without opening a connection.
    ///
    /// # Errors
    /// Returns [`OpenError::RedisUrl`] if one of them is not a valid Redis URL.
    pub(crate) fn new(options: &RedisOptions) -> Result<Arc<Self>, OpenError> {
        let bad_url = |reason: String| OpenError::RedisUrl { reason };
        let urls = urls(&options.url);
        let settings = ConnectionSettings {
            lines: options.connections,
            limit: options.command_timeout,
            vetting: Arc::new(Vetting::new(options, urls.len() > 1)),
        };
        if let Some(sentinels) = urls.iter().find_map(|url| SentinelUrl::of(url)) {
            if urls.len() > 1 {
                let reason = "a URL with Sentinels must be the only one: it names them all";
                return Err(bad_url(reason.to_owned()));
            }
            let url = sentinels.map_err(|problem| bad_url(format!("it {problem}")))?;
            let url = url.prepared(options)?;
            let template = url.template.clone();
            let primary = Server::primary(url, settings.clone()).map_err(bad_url)?;
            let seeds = vec![Arc::new(primary)];
            return Ok(Arc::new(Self { seeds, learned: Mutex::default(), template, settings }));
        }
        let mut template = None;
        let mut seeds = Vec::new();
        for url in urls {
            let address = url.into_connection_info().map_err(|error| bad_url(error.to_string()))?;
            let address = tls::prepared(address, options.ca_file.as_deref())?;
            template.get_or_insert_with(|| address.clone());
            seeds.push(Arc::new(Server::new(address, settings.clone()).map_err(bad_url)?));
        }
        let template = template.ok_or_else(|| bad_url("it is empty".to_owned()))?;
        Ok(Arc::new(Self { seeds, learned: Mutex::default(), template, settings }))
    }

    /// Returns the server at which the `number`-th partition is looked for first.
    pub(crate) fn seed(&self, number: u32) -> Arc<Server> {
        Arc::clone(&self.seeds[number as usize % self.seeds.len()])
    }

    /// Returns all known servers.
    pub(crate) fn all(&self) -> Vec<Arc<Server>> {
        self.seeds.iter().chain(self.learned().iter()).map(Arc::clone).collect()
    }

    /// Returns the fitness of all reachable servers.
    ///
    /// # Errors
    /// Returns [`BrokerError::Unavailable`] if none is reachable.
    pub(crate) async fn vet(&self) -> Result<Fitness, BrokerError> {
        let servers = self.all();
        let (mut found, mut failure) = (None::<Fitness>, None);
        for answer in join_all(servers.iter().map(|server| server.vet())).await {
            match answer {
                Ok(one) => found = Some(found.unwrap_or_default().and(one)),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        match (found, failure) {
            (None, Some(error)) => Err(error),
            (found, _) => Ok(found.unwrap_or_default()),
        }
    }

    /// Returns the server after `server`, or `server` itself if it is the only one.
    pub(crate) fn after(&self, server: &Arc<Server>) -> Arc<Server> {
        let all = self.all();
        let place = all.iter().position(|known| Arc::ptr_eq(known, server)).unwrap_or(0);
        Arc::clone(&all[(place + 1) % all.len()])
    }

    /// Returns the server that `by` named in a redirection, as `host:port`; without a host it is on the
    /// same host as `by`.
    ///
    /// # Errors
    /// Returns [`BrokerError::Corrupt`] if the address is invalid.
    pub(crate) fn at(&self, address: &str, by: &Server) -> Result<Arc<Server>, BrokerError> {
        let parts = address.rsplit_once(':').and_then(|(host, port)| {
            let name = by.name();
            let own = name.rsplit_once(':').map_or("", |(host, _)| host);
            let host = if host.is_empty() || host == "?" { own } else { host };
            Some((host.trim_matches(['[', ']']).to_owned(), port.parse::<u16>().ok()?))
        });
        let (host, port) = parts.ok_or_else(|| error::no_address(&by.name(), address))?;
        let found = match self.template.addr() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => ConnectionAddr::TcpTls {
                host,
                port,
                insecure: *insecure,
                tls_params: tls_params.clone(),
            },
            _ => ConnectionAddr::Tcp(host, port),
        };
        let name = found.to_string();
        if let Some(known) = self.all().into_iter().find(|known| known.name() == name) {
            return Ok(known);
        }
        let server = Server::new(self.template.clone().set_addr(found), self.settings.clone())
            .map(Arc::new)
            .map_err(|_| error::no_address(&by.name(), address))?;
        let mut learned = self.learned();
        // A server that no link uses any more may be gone permanently.
        learned.retain(|known| Arc::strong_count(known) > 1);
        learned.push(Arc::clone(&server));
        Ok(server)
    }

    fn learned(&self) -> MutexGuard<'_, Vec<Arc<Server>>> {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Splits a list of URLs at the commas that another URL follows: a password may contain other commas.
pub fn urls(urls: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = urls;
    let mut from = 0;
    while let Some(comma) = rest[from..].find(',').map(|at| from + at) {
        if rest[comma + 1..].trim_start().starts_with("redis") && rest[comma + 1..].contains("://")
        {
            parts.push(rest[..comma].trim());
            rest = &rest[comma + 1..];
            from = 0;
        } else {
            from = comma + 1;
        }
    }
    parts.push(rest.trim());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_list_is_split_at_commas_outside_passwords() {
        let two = ["redis://:a,b@one:7000", "rediss://two:7001"];
        assert_eq!(urls("redis://:a,b@one:7000, rediss://two:7001"), two);
        assert_eq!(urls("redis://one"), ["redis://one"]);
    }

    #[tokio::test]
    async fn redirections_reuse_known_servers_and_may_omit_the_host() {
        let servers = Servers::new(&RedisOptions::new("redis://:secret@one:7000")).unwrap();
        let seed = servers.seed(5);
        let other = servers.at("10.0.0.2:7001", &seed).unwrap();
        assert!(Arc::ptr_eq(&other, &servers.at("10.0.0.2:7001", &seed).unwrap()));
        assert_eq!(servers.at(":7002", &seed).unwrap().name(), "one:7002");
        assert_eq!(servers.at("one:7000", &seed).unwrap().name(), seed.name());
        assert!(servers.at("nonsense", &seed).is_err());
        assert!(!other.name().contains("secret"));
    }
}
