//! The network address of a request's peer. It never comes from a header such as `X-Forwarded-For`,
//! which the client can forge.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The peer address of a request: the client's, or that of the proxy in front of the gateway.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientAddress(Option<IpAddr>);

impl ClientAddress {
    /// Wraps the peer address of a connection.
    pub(crate) fn of(peer: Option<SocketAddr>) -> Self {
        // Maps IPv4-mapped IPv6 addresses (sockets that listen on [::]) to IPv4, so that a client
        // has one address.
        Self(peer.map(|peer| peer.ip().to_canonical()))
    }
}

impl ClientAddress {
    /// Returns the address, if it is known.
    pub(crate) fn ip(self) -> Option<IpAddr> {
        self.0
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_addresses_have_one_notation() {
        for (peer, shown) in [
            ("203.0.113.7:4711", "203.0.113.7"),
            ("[::ffff:203.0.113.7]:4711", "203.0.113.7"),
            ("[2001:db8::1]:80", "2001:db8::1"),
        ] {
            assert_eq!(ClientAddress::of(peer.parse().ok()).to_string(), shown);
        }
        assert_eq!(ClientAddress::of(None).to_string(), "unknown");
    }
}
