//! Who is at the other end of the connection. Nothing that a client writes gets in here: a header such as
//! `X-Forwarded-For` can say anything.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The address that a request came from: the client's, or that of the proxy before us.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientAddress(Option<IpAddr>);

impl ClientAddress {
    /// Of the other end of the connection.
    pub(crate) fn of(peer: Option<SocketAddr>) -> Self {
        // An IPv4 client of a socket that listens on [::] is one client, not two.
        Self(peer.map(|peer| peer.ip().to_canonical()))
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
    fn an_address_is_shown_in_one_way() {
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
