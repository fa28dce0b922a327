//! The network address of a request's client. Headers such as `X-Forwarded-For`, which a client can forge, are
//! believed only from the proxies that are configured.

use std::fmt;
use std::net::IpAddr;

use actix_web::dev::ServiceRequest;
use actix_web::http::header::{FORWARDED, HeaderMap, HeaderName, X_FORWARDED_FOR};
use actix_web::{HttpMessage, HttpRequest};
use ipnet::IpNet;

/// The address of a request's client, or that of the last proxy that is not trusted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientAddress(Option<IpAddr>);

impl ClientAddress {
    /// Finds out the client's address, and keeps it for [`Self::of`].
    pub(super) fn find(request: &ServiceRequest, trusted: &[IpNet]) -> Self {
        // Maps IPv4-mapped IPv6 addresses (sockets that listen on [::]) to IPv4, so that a client
        // has one address.
        let peer = request.peer_addr().map(|peer| peer.ip().to_canonical());
        let address = Self(peer.map(|peer| behind(peer, request.headers(), trusted)));
        request.extensions_mut().insert(address);
        address
    }

    /// Returns the address that was found out.
    pub(crate) fn of(request: &HttpRequest) -> Self {
        request.extensions().get().copied().unwrap_or(Self(None))
    }

    /// Returns the address, if it is known.
    pub(crate) fn ip(self) -> Option<IpAddr> {
        self.0
    }
}

/// Returns the address of the client for which `peer`, if it is a trusted proxy, sends a request: the last that is not
/// itself a trusted proxy. `peer` if the proxies' headers are missing, malformed or contradictory.
fn behind(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    if !is_trusted(&peer) {
        return peer;
    }
    let x_forwarded = hops(headers, &X_FORWARDED_FOR, |hop| parse(hop.trim()));
    let forwarded = hops(headers, &FORWARDED, forwarded_for);
    let hops = match (x_forwarded, forwarded) {
        (Some(hops), Some(others)) if hops.is_empty() || hops == others => others,
        (Some(hops), Some(others)) if others.is_empty() => hops,
        _ => return peer,
    };
    // If all are proxies, the first is the client.
    let first = hops.first().copied();
    hops.into_iter().rev().find(|hop| !is_trusted(hop)).or(first).unwrap_or(peer)
}

/// Returns the addresses in a header, which may come several times. `None` if one is malformed.
fn hops(
    headers: &HeaderMap,
    name: &HeaderName,
    read: impl Fn(&str) -> Option<IpAddr>,
) -> Option<Vec<IpAddr>> {
    let mut addresses = Vec::new();
    for value in headers.get_all(name) {
        for hop in value.to_str().ok()?.split(',') {
            addresses.push(read(hop)?);
        }
    }
    Some(addresses)
}

/// Reads the `for` of an element of `Forwarded` (RFC 7239).
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let value = element.split(';').find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        name.eq_ignore_ascii_case("for").then_some(value)
    })?;
    match value.strip_prefix('"') {
        Some(quoted) => parse(quoted.strip_suffix('"')?),
        None => parse(value),
    }
}

/// Reads an address with or without a port.
fn parse(text: &str) -> Option<IpAddr> {
    let address = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0.parse(),
        None => text.parse().or_else(|error| match text.split_once(':') {
            Some((v4, _port)) => v4.parse(),
            None => Err(error),
        }),
    };
    address.ok().map(|address: IpAddr| address.to_canonical())
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
    use actix_web::http::header::HeaderValue;
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn client_addresses_have_one_notation() {
        for (peer, shown) in [
            ("203.0.113.7:4711", "203.0.113.7"),
            ("[::ffff:203.0.113.7]:4711", "203.0.113.7"),
            ("[2001:db8::1]:80", "2001:db8::1"),
        ] {
            let request = TestRequest::default().peer_addr(peer.parse().unwrap());
            let request = request.to_srv_request();
            assert_eq!(ClientAddress::find(&request, &[]).to_string(), shown);
        }
        let unknown = TestRequest::default().to_srv_request();
        assert_eq!(ClientAddress::find(&unknown, &[]).to_string(), "unknown");
    }

    fn seen(peer: &str, headers: &[(HeaderName, &'static str)]) -> String {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.clone(), HeaderValue::from_static(value));
        }
        let trusted: Vec<IpNet> =
            ["10.0.0.0/8", "2001:db8::/32"].map(|network| network.parse().unwrap()).into();
        behind(peer.parse().unwrap(), &map, &trusted).to_string()
    }

    #[test]
    fn trusted_proxies_are_believed_from_the_right() {
        let (xff, forwarded) = (X_FORWARDED_FOR, FORWARDED);
        for (value, client) in [
            ("203.0.113.7", "203.0.113.7"),
            ("1.2.3.4, 203.0.113.7, 10.0.0.9", "203.0.113.7"),
            ("10.0.0.8,10.0.0.9", "10.0.0.8"),
            ("203.0.113.7:4711", "203.0.113.7"),
            ("[2001:db9::1]:80", "2001:db9::1"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
        ] {
            assert_eq!(seen("10.0.0.1", &[(xff.clone(), value)]), client, "{value}");
        }
        for (value, client) in [
            ("for=203.0.113.7", "203.0.113.7"),
            ("for=1.2.3.4, For=\"[2001:db9::1]:80\";proto=https", "2001:db9::1"),
            ("proto=http; for=203.0.113.7, for=10.0.0.9", "203.0.113.7"),
        ] {
            assert_eq!(seen("10.0.0.1", &[(forwarded.clone(), value)]), client, "{value}");
        }
        let both = [(xff.clone(), "203.0.113.7"), (forwarded.clone(), "for=203.0.113.7")];
        assert_eq!(seen("10.0.0.1", &both), "203.0.113.7");
        let twice = [(xff.clone(), "1.2.3.4"), (xff, "203.0.113.7")];
        assert_eq!(seen("2001:db8::1", &twice), "203.0.113.7");
    }

    #[test]
    fn others_and_malformed_headers_are_not_believed() {
        let (xff, forwarded) = (X_FORWARDED_FOR, FORWARDED);
        assert_eq!(seen("203.0.113.9", &[(xff.clone(), "1.2.3.4")]), "203.0.113.9");
        for value in ["", "unknown", "1.2.3.4, x", "1.2.3.4,,10.0.0.9", "1.2.3", "_hidden"] {
            assert_eq!(seen("10.0.0.1", &[(xff.clone(), value)]), "10.0.0.1", "{value}");
        }
        for value in ["proto=https", "for=_hidden", "for=\"1.2.3.4", "for=unknown"] {
            assert_eq!(seen("10.0.0.1", &[(forwarded.clone(), value)]), "10.0.0.1", "{value}");
        }
        let differ = [(xff, "203.0.113.7"), (forwarded, "for=203.0.113.8")];
        assert_eq!(seen("10.0.0.1", &differ), "10.0.0.1");
    }
}
