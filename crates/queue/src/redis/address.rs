//! Where a server is.

use redis::{Client, RedisResult};

use super::sentinels::Sentinels;

/// Where a server is.
pub(super) enum Address {
    /// At an address that does not change.
    Fixed(Client),
    /// Where the Sentinels say.
    Primary(Sentinels),
}

impl Address {
    /// Returns `host:port`, without the password; for a primary also its name.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Fixed(client) => client.get_connection_info().addr().to_string(),
            Self::Primary(sentinels) => sentinels.name(),
        }
    }

    /// Returns the user of connections, or that of connections without a user.
    pub(super) fn user(&self) -> &str {
        let user = match self {
            Self::Fixed(client) => client.get_connection_info().redis_settings().username(),
            Self::Primary(sentinels) => sentinels.user(),
        };
        user.unwrap_or("default")
    }

    /// Returns a client for the server's present address.
    pub(super) async fn client(&self) -> RedisResult<Client> {
        match self {
            Self::Fixed(client) => Ok(client.clone()),
            Self::Primary(sentinels) => sentinels.client().await,
        }
    }

    /// Returns whether only a primary may be there.
    pub(super) fn is_of_primary(&self) -> bool {
        matches!(self, Self::Primary(_))
    }

    /// Notes that something failed at the present address, or that it works.
    pub(super) fn note(&self, works: bool) {
        match self {
            Self::Fixed(_) => {}
            Self::Primary(sentinels) if works => sentinels.trust_known(),
            Self::Primary(sentinels) => sentinels.suspect_known(),
        }
    }

    /// Waits until the server is at another address; for ever if its address does not change.
    pub(super) async fn moved_from(&self, address: &str) {
        match self {
            Self::Fixed(_) => std::future::pending().await,
            Self::Primary(sentinels) => sentinels.moved_from(address).await,
        }
    }
}
